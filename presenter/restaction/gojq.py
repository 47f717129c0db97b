"""jq programs as gojq takes them, the jq in Go that snowplow has: rewritten for jq where the two differ.

What functions do otherwise is in `gojq.jq`, which is put before a program; what is written with signs is rewritten.
Where it would take much for what no RESTAction does, docs/restactions.md names the difference.
"""

from __future__ import annotations

import sys
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from presenter.restaction.jq_parser import JqSyntaxError, parse
from presenter.restaction.jq_printer import printed
from presenter.restaction.numbers import without_point
from presenter.restaction.syntax import (
    Call,
    Constant,
    Definition,
    Format,
    Identity,
    Index,
    Iterate,
    Negation,
    Node,
    Optional,
    Pipe,
    Slice,
    Text,
    Variable,
    walk,
)

PRELUDE = Path(__file__).with_name("gojq.jq")
"""jq's functions as they are in gojq."""

LACKING = {
    "$__loc__": "leave it out",
    "debug": "leave it out",
    "get_jq_origin": "leave it out",
    "get_prog_origin": "leave it out",
    "get_search_list": "leave it out",
    "have_decnum": "leave it out",
    "have_literal_numbers": "leave it out",
    "input": "a program has one input, which is .",
    "input_filename": "leave it out",
    "input_line_number": "leave it out",
    "inputs": "a program has one input, which is .",
    "keys_unsorted": "use keys",
    "lgamma_r": "use lgamma",
    "stderr": "leave it out",
    "toboolean": 'compare with "true"',
    "trimstr": "use ltrimstr and rtrimstr",
}
"""What jq has and gojq has not, and what to do about it."""

_OF_JSON = {"@json": "tojson", "@text": "tostring"}
_OF_ARRAYS = ("@csv", "@tsv", "@sh")


class LackingError(ValueError):
    """A program with something that gojq does not have."""


@lru_cache(256)
def for_jq(program: str) -> str:
    """The program for jq, with the prelude before it. What is not understood stays as it is. Raises LackingError."""
    try:
        tree = parse(program)
        if lacking := min(names_used(tree) & LACKING.keys(), default=""):
            raise LackingError(f"snowplow does not have {lacking}")
        return printed(_rewritten(tree))
    except (JqSyntaxError, RecursionError):
        return program


def names_used(tree: Node) -> set[str]:
    """The functions and variables that a program uses and does not define."""
    nodes = list(walk(tree))
    own = {name for node in nodes if isinstance(node, Definition) for name in (node.name, *node.parameters)}
    called = {node.name for node in nodes if isinstance(node, Call)} - own
    return called | {f"${node.name}" for node in nodes if isinstance(node, Variable)}


def _rewritten(value: Any) -> Any:
    """A tree, or what is in one, from the leaves up."""
    if isinstance(value, tuple):
        return tuple(map(_rewritten, value))
    if not isinstance(value, Node):
        return value
    parts: Any = {each.name: _rewritten(getattr(value, each.name)) for each in fields(value) if each.name != "span"}
    return _as_gojq(type(value)(**parts))


def _as_gojq(node: Node) -> Node:
    match node:
        case Constant(float(number)):
            return Constant(without_point(min(number, sys.float_info.max)))
        case Iterate(target):
            return _piped(target, Call("_gojq_each", ()))
        case Index(target, (Constant(int()) | Negation(Constant(int())) | Variable()) as key):
            return _piped(target, Call("_gojq_at", (key,)))
        case Optional(Pipe(target, Call("_gojq_each" | "_gojq_at") as call), False):
            return Pipe(target, Optional(call))
        case Slice(target, low, high):
            return Slice(target, _whole(low), _whole(high))
        case Format(name) if name in _OF_JSON:
            return Call(_OF_JSON[name], ())
        case Text(form, parts) if form not in _OF_ARRAYS:
            of_json = "tojson" if form == "@json" else "tostring"
            return Text(None if form in _OF_JSON else form, tuple(_part(part, of_json) for part in parts))
    return node


def _piped(target: Node, call: Call) -> Node:
    return call if isinstance(target, Identity) else Pipe(target, call)


def _part(part: Node, of_json: str) -> Node:
    match part:
        case Pipe(body, Call("tostring", ())):
            return Pipe(Pipe(body, Call(of_json, ())), Call("tostring", ()))
    return part


def _whole(place: Node | None) -> Node | None:
    match place:
        case None | Constant(int()) | Negation(Constant(int())):
            return place
    return Pipe(place, Call("_gojq_whole", ()))
