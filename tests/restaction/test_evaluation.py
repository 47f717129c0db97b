"""What is told of expressions without lists is what jq gives, for whatever slice there is."""

from __future__ import annotations

import json
from math import prod
from typing import Any

import jq
from hypothesis import example, given, settings
from hypothesis import strategies as st

from presenter.restaction import values
from presenter.restaction.evaluation import Evaluation
from presenter.restaction.jq_parser import parse
from presenter.restaction.values import Context, Fails, Known, Nothing, Number, Record, Unrecognised, Value, Wrapped

SLICES = [{"page": page, "perPage": size, "offset": (page - 1) * size} for page in (1, 2, 5) for size in (1, 2, 7)]
LEAVES = [
    "0",
    "1",
    "2",
    "10",
    '"a"',
    '""',
    "null",
    "true",
    "false",
    "[]",
    ".slice.page",
    ".slice.perPage",
    ".slice.offset",
    ".slice.cursor",
    ".slice.sort",
    ".slice",
    "empty",
    "{}",
    "$x",
    ".",
]
OPERATORS = ["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "and", "or", "//"]


def _above(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(OPERATORS), inner),
        st.builds(
            "({} | {})".format,
            inner,
            st.sampled_from(
                [
                    "length",
                    "type",
                    "not",
                    "tonumber",
                    "map(.)",
                    "add",
                    "flatten",
                    "reverse",
                    ".[0]",
                    ".[]",
                    ".[1:]",
                    ".a",
                    'has("page")',
                    'has("slice")',
                    "select(.)",
                    "sort_by(.)",
                    "first",
                ]
            ),
        ),
        st.builds("(if {} then {} else {} end)".format, inner, inner, inner),
        st.builds("({} as $x | {})".format, inner, inner),
        st.builds("[{}]".format, inner),
        st.builds("({})?".format, inner),
        st.builds("(-{})".format, inner),
        st.builds("{{a: {}}}".format, inner),
        st.builds("[limit({}; {})]".format, inner, inner),
    )


@example("[10 / 4, 9 % 2]")
@example("[9 % 2]")
@example("9 / 2")
@example("(1 | .a) // 2")
@example("[limit(null; empty)]")
@example("null[empty:]")
@example("(1 | .[]) + empty")
@settings(max_examples=300, deadline=None)
@given(st.recursive(st.sampled_from(LEAVES), _above, max_leaves=5))
def test_what_is_told_is_what_jq_gives(expression: str) -> None:
    program = f"1 as $x | {expression}"
    for context in ({}, *({"slice": slice} for slice in SLICES)):
        slice = values.Slice() if context else values.NULL
        try:
            told = _concrete(Evaluation({}, slice).of(parse(program), Context()), context)
        except Unrecognised:
            return
        except Fails:
            told = None
        try:
            given: Any = jq.compile(program).input_text(json.dumps(context)).all()
        except ValueError:
            given = None
        assert json.dumps(told) == json.dumps(given), f"{program} of {context}: told {told}, jq gives {given}"


def _concrete(value: Value, context: dict[str, Any]) -> list[Any]:
    """The outputs that a value stands for. Raises Unrecognised for what is more than that."""
    return [] if isinstance(value, Nothing) else [_json(value, context)]


def _json(value: Value, context: dict[str, Any]) -> Any:
    match value:
        case Number(terms):
            return sum(amount * prod(_number(symbol, context["slice"]) for symbol in term) for term, amount in terms)
        case Known(known):
            return known
        case Wrapped(inner):
            return [_json(inner, context)]
        case Record(entries):
            return {key: _json(each, context) for key, each in entries}
        case Context():
            return context
        case values.Slice():
            return context["slice"]
    raise Unrecognised(parse("."), "more than an expression without lists")


def _number(symbol: values.Symbol, slice: dict[str, int]) -> int:
    return {"page - 1": slice["page"] - 1, "perPage - 1": slice["perPage"] - 1}[str(symbol)]
