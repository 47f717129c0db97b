"""The printer of jq: trees as text again, in one line."""

from __future__ import annotations

import json

from presenter.restaction import syntax
from presenter.restaction.syntax import Constant, Node

_PIPE, _COMMA, _ALTERNATIVE, _ASSIGN, _OR, _AND, _COMPARE, _SUM, _PRODUCT, _UNARY, _POSTFIX = range(11)
_LEVELS = (
    {"//": _ALTERNATIVE, "or": _OR, "and": _AND}
    | dict.fromkeys(("=", "|=", "+=", "-=", "*=", "/=", "%=", "//="), _ASSIGN)
    | dict.fromkeys(("==", "!=", "<", "<=", ">", ">="), _COMPARE)
    | dict.fromkeys(("+", "-"), _SUM)
    | dict.fromkeys(("*", "/", "%"), _PRODUCT)
)


def quoted(text: str) -> str:
    """A string as jq writes it."""
    return json.dumps(text, ensure_ascii=False)


def printed(node: Node, level: int = _PIPE) -> str:
    """The text of a tree, in parentheses where what is around it binds as `level` does."""
    text, own = _text(node)
    return text if own >= level else f"({text})"


def _text(node: Node) -> tuple[str, int]:
    """The text, and how tightly its parts hold together."""
    match node:
        case syntax.Pipe(left, right):
            return f"{printed(left, _COMMA)} | {printed(right)}", _PIPE
        case syntax.Comma(left, right):
            return f"{printed(left, _COMMA)}, {printed(right, _ALTERNATIVE)}", _COMMA
        case syntax.Operation(operator, left, right):
            return _operation(operator, left, right)
        case syntax.Negation(body):
            return f"-{printed(body, _POSTFIX)}", _UNARY
        case syntax.Try(body, handler):
            return f"try {printed(body, _POSTFIX)} catch {printed(handler, _POSTFIX)}", _UNARY
        case syntax.Binding(source, pattern, body):
            return f"{printed(source, _POSTFIX)} as {printed(pattern)} | {printed(body)}", _PIPE - 1
        case syntax.Definition(name, parameters, body, rest):
            head = f"{name}({'; '.join(parameters)})" if parameters else name
            return f"def {head}: {printed(body)}; {printed(rest)}", _PIPE - 1
        case syntax.Label(name, body):
            return f"label ${name} | {printed(body)}", _PIPE - 1
    return _term(node), _POSTFIX


def _operation(operator: str, left: Node, right: Node) -> tuple[str, int]:
    level = _LEVELS[operator]
    before = level if operator in ("or", "and", "+", "-", "*", "/", "%") else level + 1
    after = level if operator == "//" else level + 1
    return f"{printed(left, before)} {operator} {printed(right, after)}", level


def _term(node: Node) -> str:  # noqa: C901 - one case for each kind of node
    match node:
        case syntax.Identity():
            return "."
        case Constant(value):
            return quoted(value) if isinstance(value, str) else repr(value)
        case syntax.Text(form, parts):
            return (f"{form} " if form else "") + f'"{"".join(map(_part, parts))}"'
        case syntax.Format(name):
            return name
        case syntax.Variable(name):
            return f"${name}"
        case syntax.Break(name):
            return f"break ${name}"
        case syntax.Index() | syntax.Slice() | syntax.Iterate():
            return _path(node)
        case syntax.Optional(body, whole):
            return f"({printed(body)})?" if whole else f"{printed(body, _POSTFIX)}?"
        case syntax.Array(body):
            return f"[{printed(body) if body else ''}]"
        case syntax.Object(entries):
            return "{" + ", ".join(f"{_key(key)}: {printed(value, _ALTERNATIVE)}" for key, value in entries) + "}"
        case syntax.Call(name, arguments):
            return f"{name}({'; '.join(map(printed, arguments))})" if arguments else name
        case syntax.Condition(branches, otherwise):
            tests = " elif ".join(f"{printed(test)} then {printed(then)}" for test, then in branches)
            return f"if {tests}" + (f" else {printed(otherwise)}" if otherwise else "") + " end"
        case syntax.Fold(keyword, source, pattern, initial, update, extract):
            steps = [initial, update] if extract is None else [initial, update, extract]
            return f"{keyword} {printed(source, _POSTFIX)} as {printed(pattern)} ({'; '.join(map(printed, steps))})"
    raise AssertionError(node)


def _path(node: syntax.Index | syntax.Slice | syntax.Iterate) -> str:
    own = isinstance(node.target, syntax.Identity)
    before = "" if own else printed(node.target, _POSTFIX)
    if isinstance(node.target, Constant) and not isinstance(node.target.value, str):
        before = f"({before})"
    match node:
        case syntax.Index(_, Constant(str() as key)) if key.isascii() and key.isidentifier():
            return f"{before}.{key}"
        case syntax.Index(_, key):
            inside = printed(key)
        case syntax.Slice(_, low, high):
            inside = f"{printed(low) if low else ''}:{printed(high) if high else ''}"
        case _:
            inside = ""
    return f"{before or '.'}[{inside}]"


def _part(part: Node) -> str:
    match part:
        case Constant(str() as text):
            return quoted(text)[1:-1]
        case syntax.Pipe(body, syntax.Call("tostring", ())):
            return f"\\({printed(body)})"
    raise AssertionError(part)


def _key(key: Node) -> str:
    match key:
        case Constant(str() as name):
            return name if name.isascii() and name.isidentifier() else quoted(name)
        case syntax.Text():
            return printed(key)
    return f"({printed(key)})"
