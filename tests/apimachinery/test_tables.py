"""Tables: cells, durations, the JSONPath of columns, and what a row shows of its object."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenter.apimachinery import golang
from presenter.apimachinery.errors import StatusError
from presenter.apimachinery.jsonpath import JSONPath, JSONPathError
from presenter.apimachinery.metadata import PartialObjectMetadata
from presenter.apimachinery.status import ListMeta
from presenter.apimachinery.tables import AGE, Column, Table, TableConvertor, cell, human_duration

NOW = datetime(2026, 11, 28, tzinfo=UTC)
DOCUMENT = {
    "a": {"b": 1, "null": None},
    "list": [{"x": "p", "n": 1}, {"x": "q", "y": 2, "n": 2.5}, {"n": 3, "on": True}],
    "numbers": [1, 2, 3, 4, 5],
    "empty": [],
    "nested": [[1, 2], [], [3]],
    "dotted.key": "v",
}


@pytest.mark.parametrize(
    ("path", "values"),
    [
        (".a.b", [1]),
        ("$.a.b", [1]),
        (".a['b']", [1]),
        (".a.null", [None]),
        (".a.null.more", []),
        (".missing.more", []),
        (r".dotted\.key", ["v"]),
        (r"['dotted\.key']", ["v"]),
        (".list[0].x", ["p"]),
        (".list[-1].n", [3]),
        (".list[*].x", ["p", "q"]),
        (".list[*]['x','y']", ["p", "q", 2]),
        (".numbers[1:3]", [2, 3]),
        (".numbers[::2]", [1, 3, 5]),
        (".numbers[-2:]", [4, 5]),
        (".numbers[0,2]", [1, 3]),
        (".empty[*]", []),
        (".nested[*][*]", [1, 2]),
        (".a.*", [1, None]),
        ("..x", ["p", "q"]),
        ('.list[?(@.x=="q")].y', [2]),
        (".list[?(@.x == 'q')].y", [2]),
        (".list[?(@.y)].x", ["q"]),
        (".list[?(@.y>1)].x", ["q"]),
        (".list[?(@.on==true)].n", [3]),
        (".list[?(@.x!='p')].n", [2.5]),
    ],
)
def test_paths(path: str, values: list[Any]) -> None:
    assert JSONPath(path).find(DOCUMENT) == values


@pytest.mark.parametrize(
    "path",
    [
        ".list[5].x",
        ".empty[0]",
        ".a[0]",
        ".a[?(@.b)]",
        ".list[?(@.n==1)]",
        ".list[?(@.x==1)]",
        ".list[?(@.x=1)]",
        ".list[?(@.on>true)]",
    ],
)
def test_paths_that_do_not_go_with_the_object(path: str) -> None:
    with pytest.raises(JSONPathError):
        JSONPath(path).find(DOCUMENT)
    assert TableConvertor([Column("X", "string", path)]).cells({"metadata": {}, **DOCUMENT}, NOW) == ["", None]


@pytest.mark.parametrize("path", ["[", "[x]", "[-]", "spec", "%", ".a[?(@.b==1.2.3)]"])
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(JSONPathError):
        JSONPath(path)
    convertor = TableConvertor([Column("A", "string", ".a"), Column("X", "string", path), Column("B", "string", ".b")])
    assert [column["name"] for column in json.loads(convertor.definitions())] == ["Name", "A"], "as the API server does"
    assert convertor.cells({"metadata": {"name": "n"}, "a": "x", "b": "y"}, NOW) == ["n", "x"]


@given(st.text(".[]()?@=<>!'\"*:,a1-\\ ", max_size=12))
def test_any_text_is_a_path_or_none(text: str) -> None:
    with suppress(JSONPathError):
        JSONPath(text).find({"a": [{"a": 1}, "a", None]})


@pytest.mark.parametrize(
    ("type", "value", "shown"),
    [
        ("string", 1e21, "1e+21"),
        ("string", 1e20, "1e+20"),
        ("string", 123456789.125, "1.23456789125e+08"),
        ("string", 123456.5, "123456.5"),
        ("string", 0.00001, "1e-05"),
        ("string", {"b": 1e-7, "a": ["<", "ü", 2.5, None, True]}, '{"a":["\\u003c","ü",2.5,null,true],"b":1e-7}'),
        ("string", None, "<no value>"),
        ("integer", -1.9, -1),
        ("integer", 2**63, -(2**63)),
        ("integer", True, None),
        ("number", 2, 2),
        ("number", 2**53 + 1, 2.0**53),
        ("number", 0.5, 0.5),
        ("number", "1", None),
        ("boolean", 1, None),
        ("date", 5, None),
        ("date", "", "<unknown>"),
        ("date", "0001-01-01T00:00:00Z", "<unknown>"),
        ("date", "0001-01-02T00:00:00Z", "292y"),
        ("date", "2026-11-27T23:58:00.5Z", "119s"),
        ("date", "2026-11-28T02:00:00+02:00", "0s"),
        ("date", "2026-11-28t00:00:00z", "<invalid>"),
        ("date", "2026-02-30T00:00:00Z", "<invalid>"),
        ("array", [1], None),
    ],
)
def test_cells(type: str, value: Any, shown: Any) -> None:
    assert cell(type, value, NOW) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-2, "<invalid>"),
        (-1.9, "0s"),
        (119.9, "119s"),
        (120, "2m"),
        (599, "9m59s"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (8 * 3600 - 1, "7h59m"),
        (48 * 3600 - 1, "47h"),
        (8 * 86400 - 1, "7d23h"),
        (730 * 86400 - 1, "729d"),
        (730 * 86400, "2y"),
        (8 * 365 * 86400 - 1, "7y364d"),
        (8 * 365 * 86400, "8y"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert human_duration(seconds) == shown


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_read_back(number: float) -> None:
    assert float(golang.sprint(number)) == float(golang.marshal(number)) == number


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(json_values)
def test_json_is_read_back(value: Any) -> None:
    text = golang.marshal(value)
    assert json.loads(text, parse_int=float) == json.loads(json.dumps(value), parse_int=float)
    assert not set("<>&\u2028") & set(text)


OBJECT = b'{"apiVersion":"example.com/v1","kind":"Thing","metadata":{"name":"a","resourceVersion":"7"},"spec":{"n":1}}'
METADATA = {"name": "a", "resourceVersion": "7"}


def test_what_a_row_shows_of_its_object() -> None:
    convertor = TableConvertor([Column("N", "integer", ".spec.n"), AGE])
    partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": METADATA}
    for include, shown in (("", partial), ("Metadata", partial), ("Object", json.loads(OBJECT)), ("None", None)):
        table = json.loads(Table(convertor, include).single(OBJECT))
        assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
        assert table["metadata"] == {"resourceVersion": "7"}
        assert table["rows"] == [{"cells": ["a", 1, None], "object": shown}]
    with pytest.raises(StatusError, match=r"^Unable to convert to Table as requested: includeObject: Invalid value: "):
        Table(convertor, "foo")
    older = json.loads(
        Table(convertor, api_version="meta.k8s.io/v1beta1", headers=False).listed([OBJECT], ListMeta("9"))
    )
    assert (older["apiVersion"], older["columnDefinitions"], older["metadata"]) == (
        "meta.k8s.io/v1beta1",
        None,
        {"resourceVersion": "9"},
    )
    assert older["rows"][0]["object"]["apiVersion"] == "meta.k8s.io/v1beta1"


def test_objects_nested_too_deeply_are_shown() -> None:
    deep = OBJECT[:-1] + b',"deep":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    table = json.loads(Table(TableConvertor([Column("N", "integer", ".spec.n")])).listed([OBJECT, deep], ListMeta()))
    assert [row["cells"] for row in table["rows"]] == [["a", 1], ["a", None]]
    assert [row["object"]["metadata"] for row in table["rows"]] == [METADATA, METADATA]


def test_metadata_only() -> None:
    listed = json.loads(PartialObjectMetadata().listed([OBJECT], ListMeta("9", "more", 3)))
    assert listed == {
        "kind": "PartialObjectMetadataList",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": "9", "continue": "more", "remainingItemCount": 3},
        "items": [{"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": METADATA}],
    }


def test_age_is_the_creation() -> None:
    created = (NOW - timedelta(days=3)).isoformat()
    convertor = TableConvertor([AGE])
    assert convertor.cells({"metadata": {"name": "a", "creationTimestamp": created}}, NOW) == ["a", "3d"]
