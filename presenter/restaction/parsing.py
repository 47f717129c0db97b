"""jq text into a tree. What is jq but not known here is refused, never guessed."""

from __future__ import annotations

import json
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, cast

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, UnexpectedToken, VisitError
from lark.tree import Meta

from presenter.restaction import syntax
from presenter.restaction.syntax import Node


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


def _span(meta: Meta) -> tuple[int, int]:
    return (meta.start_pos, meta.end_pos)


def _word(token: Token) -> syntax.Constant:
    start = cast("int", token.start_pos)
    return syntax.Constant(str(token).removeprefix("."), span=(start, cast("int", token.end_pos)))


_NODES: dict[str, type[Node]] = {
    "array": syntax.Array,
    "at": syntax.Index,
    "binding": syntax.Binding,
    "caught": syntax.Try,
    "comma": syntax.Comma,
    "foreach": syntax.Foreach,
    "identity": syntax.Identity,
    "iterate": syntax.Iterate,
    "negation": syntax.Negation,
    "optional": syntax.Optional,
    "part": syntax.Slice,
    "pipe": syntax.Pipe,
    "reduce": syntax.Reduce,
}


@v_args(inline=True, meta=True)
class _ToNodes(Transformer[Token, Node]):
    """Called for each rule when its end is found, with what its parts have become."""

    def __default__(self, rule: str, parts: list[Any], meta: Meta) -> Node:
        """Rules whose parts are the fields of a node."""
        return _NODES[rule](*parts, span=_span(meta))

    def operation(self, meta: Meta, left: Node, operator: Token, right: Node) -> Node:
        return syntax.Operation(str(operator), left, right, span=_span(meta))

    def definition(self, meta: Meta, name: Token, parameters: tuple[str, ...] | None, body: Node, rest: Node) -> Node:
        return syntax.Definition(str(name), parameters or (), body, rest, span=_span(meta))

    def parameters(self, meta: Meta, *names: Token) -> tuple[str, ...]:
        return tuple(map(str, names))

    def label(self, meta: Meta, name: Token, body: Node) -> Node:
        return syntax.Label(name[1:], body, span=_span(meta))

    def leave(self, meta: Meta, name: Token) -> Node:
        return syntax.Break(name[1:], span=_span(meta))

    def recurse(self, meta: Meta) -> Node:
        return syntax.Call("recurse", span=_span(meta))

    def field(self, meta: Meta, target: Node, name: Token) -> Node:
        return syntax.Index(target, _word(name), span=_span(meta))

    def own_field(self, meta: Meta, name: Token) -> Node:
        return syntax.Index(syntax.Identity(), _word(name), span=_span(meta))

    def own_at(self, meta: Meta, key: Node) -> Node:
        return syntax.Index(syntax.Identity(), key, span=_span(meta))

    def start_part(self, meta: Meta, target: Node, high: Node) -> Node:
        return syntax.Slice(target, None, high, span=_span(meta))

    def number(self, meta: Meta, token: Token) -> Node:
        return syntax.Constant(int(token) if token.isdigit() else float(token), span=_span(meta))

    def string(self, meta: Meta, form: Token | None, _opening: Token, *rest: Any) -> Node:
        parts = tuple(
            _constant(part) if isinstance(part, Token) else cast("Node", part)
            for part in rest[:-1]  # without the closing quote
        )
        if form is None and all(isinstance(part, syntax.Constant) for part in parts) and len(parts) <= 1:
            return syntax.Constant(cast("syntax.Constant", parts[0]).value if parts else "", span=_span(meta))
        return syntax.Text(str(form) if form else None, parts, span=_span(meta))

    def interpolation(self, meta: Meta, body: Node) -> Node:
        return syntax.Pipe(body, syntax.Call("tostring"), span=_span(meta))

    def format(self, meta: Meta, name: Token) -> Node:
        return syntax.Format(str(name), span=_span(meta))

    def variable(self, meta: Meta, name: Token) -> Node:
        return syntax.Variable(name[1:], span=_span(meta))

    def object(self, meta: Meta, *entries: tuple[Node, Node] | None) -> Node:
        return syntax.Object(tuple(filter(None, entries)), span=_span(meta))

    def word(self, meta: Meta, name: Token) -> Node:
        return _word(name)

    def pair(self, meta: Meta, key: Any, value: Node) -> tuple[Node, Node]:
        return (syntax.Variable(key[1:]) if isinstance(key, Token) else key, value)

    def own_pair(self, meta: Meta, key: Any) -> tuple[Node, Node]:
        name = _word(key) if isinstance(key, Token) else key
        return (name, syntax.Index(syntax.Identity(), name, span=_span(meta)))

    def variable_pair(self, meta: Meta, name: Token) -> tuple[Node, Node]:
        return (syntax.Constant(name[1:]), syntax.Variable(name[1:], span=_span(meta)))

    def array_pattern(self, meta: Meta, *items: Node) -> Node:
        return syntax.ArrayPattern(items, span=_span(meta))

    def object_pattern(self, meta: Meta, *entries: tuple[Node, Node]) -> Node:
        return syntax.ObjectPattern(entries, span=_span(meta))

    def call(self, meta: Meta, name: Token, *arguments: Node) -> Node:
        return syntax.Call(str(name), arguments, span=_span(meta))

    def condition(self, meta: Meta, *parts: Node | None) -> Node:
        *branches, otherwise = parts
        pairs = zip(branches[::2], branches[1::2], strict=True)
        return syntax.Condition(cast("Any", tuple(pairs)), otherwise, span=_span(meta))


def _constant(token: Token) -> syntax.Constant:
    start = cast("int", token.start_pos)
    return syntax.Constant(json.loads(f'"{token}"', strict=False), span=(start, cast("int", token.end_pos)))
