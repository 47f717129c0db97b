"""jq programs as trees, to be read rather than run: the nodes, and a walk over them.

Nodes are equal when they mean the same text, wherever they stand. `.["a"]` and `."a"` are `.a`; parentheses are gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, cast

Literal = str | int | float


@dataclass(frozen=True, slots=True)
class Node:
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


@dataclass(frozen=True, slots=True)
class Identity(Node):
    """`.`."""


@dataclass(frozen=True, slots=True)
class Constant(Node):
    """A number, or a string without interpolation. `true`, `false` and `null` are calls, as in jq."""

    value: Literal


@dataclass(frozen=True, slots=True)
class Text(Node):
    r"""`"a\(.b)c"`, perhaps behind a format like `@uri`; the constant parts are Constants."""

    format: str | None
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Format(Node):
    """`@base64`, without a string."""

    name: str


@dataclass(frozen=True, slots=True)
class Variable(Node):
    """`$name`; without the dollar."""

    name: str


@dataclass(frozen=True, slots=True)
class Index(Node):
    """`target.key`, `target["key"]`, `target[0]`."""

    target: Node
    key: Node


@dataclass(frozen=True, slots=True)
class Slice(Node):
    """`target[low:high]`."""

    target: Node
    low: Node | None
    high: Node | None


@dataclass(frozen=True, slots=True)
class Iterate(Node):
    """`target[]`."""

    target: Node


@dataclass(frozen=True, slots=True)
class Optional(Node):
    """`body?`, which is `try body`."""

    body: Node


@dataclass(frozen=True, slots=True)
class Try(Node):
    """`try body catch handler`."""

    body: Node
    handler: Node


@dataclass(frozen=True, slots=True)
class Negation(Node):
    """`-body`."""

    body: Node


@dataclass(frozen=True, slots=True)
class Operation(Node):
    """An infix operator other than `|` and `,`."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Pipe(Node):
    """`left | right`."""

    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Comma(Node):
    """`left, right`."""

    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Binding(Node):
    """`source as pattern | body`."""

    source: Node
    pattern: Node
    body: Node


@dataclass(frozen=True, slots=True)
class Condition(Node):
    """`if test then body elif … else otherwise end`."""

    branches: tuple[tuple[Node, Node], ...]
    otherwise: Node | None


@dataclass(frozen=True, slots=True)
class Array(Node):
    """`[body]`."""

    body: Node | None


@dataclass(frozen=True, slots=True)
class Object(Node):
    """`{key: value}`; `{a}` is `{a: .a}`, `{$a}` is `{a: $a}`."""

    entries: tuple[tuple[Node, Node], ...]


@dataclass(frozen=True, slots=True)
class ArrayPattern(Node):
    """`[$a, $b]` behind `as`."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class ObjectPattern(Node):
    """`{a: $b}` behind `as`."""

    entries: tuple[tuple[Node, Node], ...]


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A function and its arguments."""

    name: str
    arguments: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Reduce(Node):
    """`reduce source as pattern (initial; update)`."""

    source: Node
    pattern: Node
    initial: Node
    update: Node


@dataclass(frozen=True, slots=True)
class Foreach(Node):
    """`foreach source as pattern (initial; update; extract)`."""

    source: Node
    pattern: Node
    initial: Node
    update: Node
    extract: Node | None


@dataclass(frozen=True, slots=True)
class Definition(Node):
    """`def name(parameters): body; rest`; a parameter may be `$name`."""

    name: str
    parameters: tuple[str, ...]
    body: Node
    rest: Node


@dataclass(frozen=True, slots=True)
class Label(Node):
    """`label $name | body`."""

    name: str
    body: Node


@dataclass(frozen=True, slots=True)
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
        case Reduce(source, pattern, initial, update):
            return free_variables(source) | free_variables(initial) | _free_in(pattern, update)
        case Foreach(source, pattern, initial, update, extract):
            rest = [update] if extract is None else [update, extract]
            return free_variables(source) | free_variables(initial) | _free_in(pattern, *rest)
        case Definition(_, parameters, body, rest):
            names = {name.removeprefix("$") for name in parameters}
            return (free_variables(body) - names) | free_variables(rest)
    return set().union(*(free_variables(child) for child in node.children()))


def _free_in(pattern: Node, *bodies: Node) -> set[str]:
    bound = {each.name for each in walk(pattern) if isinstance(each, Variable)}
    return set().union(*(free_variables(body) for body in bodies)) - bound
