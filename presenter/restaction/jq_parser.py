"""The parser of jq: text into a tree. What is jq but not known here is refused, never guessed."""

from __future__ import annotations

import json
from functools import cache, lru_cache, reduce
from pathlib import Path
from typing import Any, cast

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, UnexpectedToken, VisitError
from lark.tree import Meta

from presenter.restaction import syntax
from presenter.restaction.syntax import Node

_Pair = tuple[Node, Node]


class JqSyntaxError(ValueError):
    """A text that is not recognised as jq; `line` and `column` count from 1."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(f"line {line}, column {column}: {message}")
        self.line = line
        self.column = column


@lru_cache(256)
def parse(text: str) -> Node:
    """The tree of a program. Raises JqSyntaxError."""
    try:
        return _ToNodes().transform(_parser().parse(text))
    except UnexpectedInput as error:
        raise _explained(text, error) from None
    except (RecursionError, VisitError):  # which lark makes of it in a tree
        raise JqSyntaxError("it is nested too deeply", 1, 1) from None


@cache
def _parser() -> Lark:
    grammar = Path(__file__).with_name("jq.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", propagate_positions=True, maybe_placeholders=True)


def _explained(text: str, error: UnexpectedInput) -> JqSyntaxError:
    match error:
        case UnexpectedToken(token=Token(type="$END")) | UnexpectedEOF():
            return JqSyntaxError("the expression ends too early", text.count("\n") + 1, len(text.split("\n")[-1]) + 1)
        case UnexpectedToken(token=token):
            shown = str(token).split("\n")[0][:20]
            return JqSyntaxError(f"`{shown}` is not recognised here", error.line, error.column)
        case UnexpectedCharacters():
            return JqSyntaxError(
                f"`{text[cast('int', error.pos_in_stream)]}` is not recognised here", error.line, error.column
            )
    return JqSyntaxError("this is not recognised", 1, 1)


@v_args(inline=True, meta=True)
class _ToNodes(Transformer[Token, Node]):
    """The node of each rule of the grammar, made of what its parts have become."""

    def __default__(self, rule: str, parts: list[Any], meta: Meta) -> Node:
        """Rules whose parts are the fields of the node that they are named for; names are without their `$`."""
        named = (part.removeprefix("$") if isinstance(part, Token) else part for part in parts)
        node: Node = getattr(syntax, rule.title())(*named, span=_span(meta))
        return node

    def operation(self, meta: Meta, left: Node, operator: Token, right: Node) -> Node:
        return syntax.Operation(str(operator), left, right, span=_span(meta))

    def parameters(self, meta: Meta, *names: Token | None) -> tuple[str, ...]:
        return tuple(map(str, filter(None, names)))

    def recurse(self, meta: Meta) -> Node:
        return syntax.Call("recurse", span=_span(meta))

    def field(self, meta: Meta, *parts: Node | Token) -> Node:
        *target, key = parts
        return syntax.Index(cast("Node", target[0]) if target else syntax.Identity(), _key(key), span=_span(meta))

    def start(self, meta: Meta, target: Node, high: Node) -> Node:
        return syntax.Slice(target, None, high, span=_span(meta))

    def number(self, meta: Meta, token: Token) -> Node:
        return syntax.Constant(int(token) if token.isdigit() else float(token), span=_span(meta))

    def string(self, meta: Meta, form: Token | None, _opening: Token, *rest: Any) -> Node:
        parts = [_text(part) if isinstance(part, Token) else part for part in rest[:-1]]  # without the closing quote
        match form, parts:
            case None, []:
                return syntax.Constant("", span=_span(meta))
            case None, [syntax.Constant(value)]:
                return syntax.Constant(value, span=_span(meta))
        return syntax.Text(str(form) if form else None, tuple(parts), span=_span(meta))

    def optional(self, meta: Meta, body: Node) -> Node:
        steps = isinstance(body, syntax.Index | syntax.Iterate | syntax.Slice) and body.target != syntax.Identity()
        return syntax.Optional(body, steps and meta.start_pos < body.span[0], span=_span(meta))

    def interpolation(self, meta: Meta, body: Node) -> Node:
        return syntax.Pipe(body, syntax.Call("tostring"), span=_span(meta))

    def object(self, meta: Meta, *entries: Any) -> Node:
        return syntax.Object(tuple(pair for entry in filter(None, entries) for pair in entry), span=_span(meta))

    def pair(self, meta: Meta, key: Node | Token, value: Node) -> list[_Pair]:
        return [(_key(key), value)]

    def own_pair(self, meta: Meta, key: Node | Token) -> list[_Pair]:
        return [(_key(key), syntax.Index(syntax.Identity(), _key(key), span=_span(meta)))]

    def variable_pair(self, meta: Meta, name: Token) -> list[_Pair]:
        return [(syntax.Constant(name[1:]), syntax.Variable(name[1:], span=_span(meta)))]

    def bound_pair(self, meta: Meta, name: Token, pattern: Node) -> list[_Pair]:
        """`{$a: pattern}`, which is `{a: $a, a: pattern}`."""
        return [*self.variable_pair(meta, name), (syntax.Constant(name[1:]), pattern)]

    def array_pattern(self, meta: Meta, *items: Node) -> Node:
        return syntax.Array(reduce(syntax.Comma, items), span=_span(meta))

    def word(self, meta: Meta, name: Token) -> Node:
        return _key(name)

    def call(self, meta: Meta, name: Token, *arguments: Node) -> Node:
        return syntax.Call(str(name), arguments, span=_span(meta))

    def condition(self, meta: Meta, *parts: Node | None) -> Node:
        *branches, otherwise = parts
        pairs = zip(branches[::2], branches[1::2], strict=True)
        return syntax.Condition(cast("Any", tuple(pairs)), otherwise, span=_span(meta))


def _span(meta: Meta | Token) -> tuple[int, int]:
    return (cast("int", meta.start_pos), cast("int", meta.end_pos))


def _key(key: Node | Token) -> Node:
    return syntax.Constant(key.removeprefix("."), span=_span(key)) if isinstance(key, Token) else key


def _text(token: Token) -> syntax.Constant:
    return syntax.Constant(json.loads(f'"{token}"', strict=False), span=_span(token))
