"""What can be told of a jq program by reading it."""

from __future__ import annotations

from presenter.restaction.idioms import keys_read
from presenter.restaction.jq_parser import JqSyntaxError, parse
from presenter.restaction.syntax import Binding, Constant, Index, Node, Optional, Variable, walk


def nodes(program: str) -> list[Node]:
    """All its nodes, the whole first; none when it is not understood."""
    try:
        return list(walk(parse(program)))
    except (JqSyntaxError, RecursionError):
        return []


def fields_read(program: str) -> set[str]:
    """The names of the fields that it reads, of whatever."""
    return {
        str(node.key.value) for node in nodes(program) if isinstance(node, Index) and isinstance(node.key, Constant)
    }


def context_keys_read(program: str) -> set[str]:
    """The keys that it surely reads of its input."""
    tree = nodes(program)
    return (keys_read(tree[0]) or set()) if tree else set()


def slice_fields_read(program: str) -> set[str]:
    """The names of those that it reads of `.slice`, or of a variable that stands for it."""
    slices: set[Node] = set()
    fields: set[str] = set()
    for node in nodes(program):
        match node:
            case Index(_, Constant("slice")) | Optional(Index(_, Constant("slice"))):
                slices.add(node)
            case Binding(Index(_, Constant("slice")), Variable() as variable, _):
                slices.add(variable)
    for node in nodes(program):
        match node:
            case Index(target, Constant(str(name))) if target in slices:
                fields.add(name)
    return fields
