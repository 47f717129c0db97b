"""jq programs as trees, to be read rather than run: the nodes, and a walk over them.

Nodes are equal when they mean the same text, wherever they stand. `.["a"]` and `."a"` are `.a`; parentheses are gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, cast, dataclass_transform

Literal = str | int | float


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Frozen:
    """A class whose subclasses are frozen dataclasses."""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True)(cls)


class Node(Frozen):
    """Some part of a program; `span` is where its text begins and ends, parentheses around it left out."""

    span: tuple[int, int] = field(default=(0, 0), kw_only=True, compare=False, repr=False)

    def children(self) -> Iterator[Node]:
        """The nodes directly below, from left to right."""
        for each in fields(self):
            yield from _nodes_in(getattr(self, each.name))


def _nodes_in(value: object) -> Iterator[Node]:
    if isinstance(value, Node):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from _nodes_in(each)


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it, outer ones first."""
    yield node
    for child in node.children():
        yield from walk(child)


def replaced(node: Node, what: Node, by: Node) -> Node:
    """The tree with something else wherever there is `what`."""
    return cast("Node", _replaced(node, what, by))


def _replaced(value: object, what: Node, by: Node) -> object:
    if value == what:
        return by
    if isinstance(value, tuple):
        return tuple(_replaced(each, what, by) for each in value)
    if isinstance(value, Node):
        new: Any = {each.name: _replaced(getattr(value, each.name), what, by) for each in fields(value)}
        return type(value)(**new)
    return value


class Identity(Node):
    """`.`."""


class Constant(Node):
    """A number, or a string without interpolation. `true`, `false` and `null` are calls, as in jq."""

    value: Literal


class Text(Node):
    r"""`"a\(.b)c"`, perhaps behind a format like `@uri`; the constant parts are Constants."""

    format: str | None
    parts: tuple[Node, ...]


class Format(Node):
    """`@base64`, without a string."""

    name: str


class Variable(Node):
    """`$name`; without the dollar."""

    name: str


class Index(Node):
    """`target.key`, `target["key"]`, `target[0]`."""

    target: Node
    key: Node


class Slice(Node):
    """`target[low:high]`."""

    target: Node
    low: Node | None
    high: Node | None


class Iterate(Node):
    """`target[]`."""

    target: Node


class Optional(Node):
    """`body?`, which forgives the last step of a path; `whole`: `(body)?` or `try body`, which forgives all of it."""

    body: Node
    whole: bool = False


class Try(Node):
    """`try body catch handler`."""

    body: Node
    handler: Node


class Negation(Node):
    """`-body`."""

    body: Node


class Operation(Node):
    """An infix operator other than `|` and `,`."""

    operator: str
    left: Node
    right: Node


class Pipe(Node):
    """`left | right`."""

    left: Node
    right: Node


class Comma(Node):
    """`left, right`."""

    left: Node
    right: Node


class Binding(Node):
    """`source as pattern | body`; a pattern is a Variable, or an Array or Object of patterns."""

    source: Node
    pattern: Node
    body: Node


class Condition(Node):
    """`if test then body elif … else otherwise end`."""

    branches: tuple[tuple[Node, Node], ...]
    otherwise: Node | None


class Array(Node):
    """`[body]`."""

    body: Node | None


class Object(Node):
    """`{key: value}`; `{a}` is `{a: .a}`, `{$a}` is `{a: $a}`."""

    entries: tuple[tuple[Node, Node], ...]


class Call(Node):
    """A function and its arguments."""

    name: str
    arguments: tuple[Node, ...] = ()


class Fold(Node):
    """`reduce source as pattern (initial; update)`, `foreach source as pattern (initial; update; extract)`."""

    keyword: str
    source: Node
    pattern: Node
    initial: Node
    update: Node
    extract: Node | None = None


class Definition(Node):
    """`def name(parameters): body; rest`; a parameter may be `$name`."""

    name: str
    parameters: tuple[str, ...]
    body: Node
    rest: Node


class Label(Node):
    """`label $name | body`."""

    name: str
    body: Node


class Break(Node):
    """`break $name`."""

    name: str


def free_variables(node: Node) -> set[str]:
    """The variables that a node takes from around it."""
    match node:
        case Variable(name):
            return set() if name in ("ENV", "__loc__", "__prog_args") else {name}
        case Binding(source, pattern, body):
            return free_variables(source) | _free_in(pattern, body)
        case Fold(_, source, pattern, initial, update, extract):
            last = () if extract is None else (extract,)
            return free_variables(source) | free_variables(initial) | _free_in(pattern, update, *last)
        case Definition(_, parameters, body, rest):
            names = {name.removeprefix("$") for name in parameters}
            return (free_variables(body) - names) | free_variables(rest)
    return set().union(*(free_variables(child) for child in node.children()))


def _free_in(pattern: Node, *bodies: Node) -> set[str]:
    bound = {each.name for each in walk(pattern) if isinstance(each, Variable)}
    return set().union(*(free_variables(body) for body in bodies)) - bound
