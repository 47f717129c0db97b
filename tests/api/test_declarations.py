"""A parameter is declared once: what is read, what a refusal says and what is documented are the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenter.api.declarations import (
    Parameter,
    boolean,
    choice,
    parameter,
    parameters_of,
    query_string_fields,
    read,
    text,
    whole_number,
)
from presenter.api.openapi import DETAIL, LIST, LIST_BY_BODY
from presenter.api.parameters import DetailParameters, ListParameters
from presenter.errors import BadRequest


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What a list to come may declare."""

    word: str = parameter(text("a word", longest=4, pattern="[a-z]*"), "Word.", example="abc")
    size: int = parameter(whole_number(2, 7), "Size.", example=3, default=5)
    order: str | None = parameter(choice("up", "down", "none"), "Order.", example="up", default=None)
    whole: bool = parameter(boolean(), "Whole.", example=True, default=False)


ALL = [
    pytest.param(name, known, id=f"{declared.__name__}.{name}")
    for declared in (Sample, ListParameters, DetailParameters)
    for name, known in parameters_of(declared).items()
]
DOCUMENTED = [
    pytest.param(
        parameters_of(declared), {each["name"]: each for each in operation["parameters"]}, id=declared.__name__
    )
    for declared, operation in ((ListParameters, LIST), (DetailParameters, DETAIL))
]
_values = st.none() | st.booleans() | st.integers(-10, 10) | st.integers() | st.text(max_size=6) | st.lists(st.text())
_more = st.sampled_from(["up", "down", "none", "abc", "core", "null", "NULL", "", "true", {"a": "b"}, {"": "b"}, 5000])


def _is_read(known: Parameter, value: object) -> bool:
    try:
        known.kind.read(value, False)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(("name", "known"), ALL)
def test_what_a_body_may_hold_is_what_the_schema_says(name: str, known: Parameter) -> None:
    schema = jsonschema_rs.Draft202012Validator({**known.kind.schema})
    beyond = name in ("composition_id", "since", "labels")  # of which the schema says less than is asked for

    @given(value=_values | _more)
    def agree(value: Any) -> None:
        if _is_read(known, value) and value not in ("null", "NULL"):
            assert schema.is_valid(value)
        elif schema.is_valid(value):
            assert beyond or value in ("null", "NULL") or "\x00" in value

    agree()


@pytest.mark.parametrize(("name", "known"), ALL)
def test_an_example_is_read_from_a_body_and_from_a_query_string_alike(name: str, known: Parameter) -> None:
    in_query_string = known.example if isinstance(known.example, str) else json.dumps(known.example)
    assert known.kind.read(known.example, False) == known.kind.read(in_query_string, True), name


@pytest.mark.parametrize(("declared", "documented"), DOCUMENTED)
def test_the_documentation_says_of_each_what_a_refusal_says(
    declared: Mapping[str, Parameter], documented: Mapping[str, Any]
) -> None:
    for name, known in declared.items():
        assert documented[name]["description"] == f"{known.description} Allowed: {known.kind.allowed}."
        assert documented[name]["required"] is known.required
        described = documented[name].get("schema") or documented[name]["content"]["application/json"]["schema"]
        assert described.items() >= known.kind.schema.items()


def test_a_body_is_documented_as_the_query_string_is() -> None:
    properties = LIST_BY_BODY["requestBody"]["content"]["application/json"]["schema"]["properties"]
    for name, known in parameters_of(ListParameters).items():
        assert properties[name].items() >= known.kind.schema.items()
        assert properties[name]["description"].endswith(f"Allowed: {known.kind.allowed}.")


@pytest.mark.parametrize(
    ("query_string", "message"),
    [
        (b"", "word is missing: give a word; text of at most 4 characters"),
        (b"word=ABC", "word is 'ABC': allowed is a word; text of at most 4 characters"),
        (b"word=a&size=1", "size is '1': allowed is a whole number from 2 to 7"),
        (b"word=a&size=null", "size is 'null': allowed is a whole number from 2 to 7"),
        (b"word=a&order=left", "order is 'left': allowed is one of up, down, none"),
        (b"word=a&whole=1", "whole is '1': allowed is true or false"),
        (b"word=a&wide=1", "there is no parameter 'wide': allowed are word, size, order, whole"),
    ],
)
def test_a_declaration_is_all_that_a_refusal_takes(query_string: bytes, message: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        read(Sample, query_string_fields(query_string), in_query_string=True)
    assert refusal.value.message == message


def test_what_is_empty_or_null_counts_as_absent() -> None:
    nothing = Sample(word="a")
    assert read(Sample, query_string_fields(b"word=a&size=&order=&whole="), in_query_string=True) == nothing
    assert read(Sample, {"word": "a", "size": None, "order": None, "whole": None}, in_query_string=False) == nothing
