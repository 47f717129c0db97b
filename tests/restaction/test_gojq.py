"""What programs give here is what they give in gojq: in answers that it gave, and in those that it gives."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from presenter.restaction.jq import Jq, JqError
from presenter.restaction.numbers import as_float64, as_json
from tests.restaction.gojq import ANSWERS, Gojq, build

INPUT = {
    "a": {"c": 1, "b": [1, 2, {"z": 0.5, "y": None}]},
    "b": "x,y",
    "c": "",
    "items": [{"name": "two", "at": "2026-01-02T03:04:05Z"}, {"name": "one", "at": "2026-01-02T03:04:05+02:00"}],
    "name": "añb",
    "n": 5.0,
    "none": None,
}
LEAVES = [
    *(".", ".a", ".a.b", ".a.b[]", ".b", ".c", ".n", ".items", ".items[]", ".items[0]", ".items[-1].name", ".name"),
    *(".none", "1", "2.5", "3.0", "-1", '"x,y"', '""', "null", "true", "[]", "{}", "{b: 1, a: 2}", "[3, 1.0, 2]"),
    *(".items[].at", ".slice.perPage", ".a | .c", "empty", '{z: [1], "y": {d: 1, c: 2}}'),
]


@pytest.fixture(scope="session")
def gojq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gojq]:
    with Gojq(build(tmp_path_factory.mktemp("gojq"))) as gojq:
        yield gojq


Evaluated = Callable[[str, Any], list[str] | None]


@pytest.fixture
def evaluated() -> Iterator[Evaluated]:
    """Evaluates here, in a loop of its own, as hypothesis knows of none."""
    with asyncio.Runner() as runner:
        jq = Jq()
        yield lambda program, value: runner.run(_here(jq, program, value))
        runner.run(jq.__aexit__())


async def _here(jq: Jq, program: str, value: Any) -> list[str] | None:
    try:
        return [as_json(output).decode() for output in await jq.all(program, as_float64(value))]
    except JqError:
        return None


async def test_programs_give_what_they_give_in_gojq(jq: Jq) -> None:
    lines = ANSWERS.read_text().splitlines()
    assert len(lines) > 500
    for program, value, answer in map(json.loads, lines):
        assert await _here(jq, program, value) == answer, (program, value)


def test_gojq_gives_what_it_gave(gojq: Gojq) -> None:
    for program, value, answer in map(json.loads, ANSWERS.read_text().splitlines()):
        assert gojq(program, value) == answer, (program, value)


def _above(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    one = [
        *("(X | map(.))", "[X]", "(X | tostring)", "(X | to_entries)", "(X | first)", "(X | .[-1])", "(X | [..])"),
        *('(X | split(","))', '"<\\(X)>"', "(X | with_entries(.value |= tojson))", "(X | [.[]?])", "(X | length)"),
        *("(X | reverse)", "(X | fromdate)", "(X | tojson)", "(X | add)", "(X | [paths])", "(try X catch 1)"),
        *("(X | sort)", "(X | .[1:])", "(X | keys)", "(X | not)", "(X | @json)", "(X)?", "(X | map_values(.))"),
        *("(X | tonumber)", "(X | join(\"-\"))", "(X | unique)", "(X | group_by(.name))", "(X | any)"),
        *("(X | if type == \"object\" then del(.[]) else . end)", "(X | .[0] |= tostring)", "(X | ascii_downcase)"),
        *("(reduce (X) as $each ({}; .[$each | tostring] += 1) | to_entries)", "(X | select(.))"),
    ]  # fmt: skip
    two = [
        *("(X | X)", "(X // X)", "(X, X)", "(X + X)", "{k: X, a: X}", "(X | .[X:])", "(X == X)"),
        *("(X as $x | X | [., $x])", "((X | numbers) as $at | X | .[$at])", "if X then X else 0 end", "(X * X)"),
        *("(X | .[:X])", "(X | sort_by(X))", "(X < X)", "(X - X)", "[limit(2; X, X)]"),
    ]  # fmt: skip
    return st.one_of(
        st.builds(_filled, st.sampled_from(one), inner), st.builds(_filled, st.sampled_from(two), inner, inner)
    )


def _filled(form: str, *parts: str) -> str:
    pieces = form.split("X")
    return "".join(piece + part for piece, part in zip(pieces, [*parts, ""], strict=True))


@settings(
    max_examples=400, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.recursive(st.sampled_from(LEAVES), _above, max_leaves=6))
def test_any_program_gives_what_it_gives_in_gojq(gojq: Gojq, evaluated: Evaluated, program: str) -> None:
    here = evaluated(program, json.loads(json.dumps(INPUT)))
    assert here == gojq(program, INPUT), program
