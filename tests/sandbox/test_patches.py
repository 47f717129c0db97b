"""Patch formats as pure functions, by the examples of their specifications."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenter.sandbox import StatusError
from presenter.sandbox.patches import json_patch, merge, strategic_merge

documents = st.recursive(
    st.none() | st.integers() | st.text("ab", max_size=2),
    lambda children: st.lists(children, max_size=2) | st.dictionaries(st.sampled_from("abc"), children, max_size=3),
    max_leaves=8,
)


# RFC 7386, appendix A.
@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target: Any, patch: Any, result: Any) -> None:
    assert merge(target, patch) == result


@given(documents, documents)
def test_merging_alters_neither_argument_and_settles(target: Any, patch: Any) -> None:
    before = copy.deepcopy((target, patch))
    for function in (merge, strategic_merge):
        once = function(target, patch)
        assert function(once, patch) == once
        assert (target, patch) == before


# RFC 6902, appendix A, and its references to paths with escapes.
@pytest.mark.parametrize(
    ("target", "operations", "result"),
    [
        ({"a": 1}, [{"op": "add", "path": "/b", "value": 2}], {"a": 1, "b": 2}),
        ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
        ({"a": [1, 3]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2, 3]}),
        ({"a": [1]}, [{"op": "add", "path": "/a/-", "value": [2]}], {"a": [1, [2]]}),
        ({"a": [1, 2, 3]}, [{"op": "remove", "path": "/a/1"}], {"a": [1, 3]}),
        ({"a": 1}, [{"op": "replace", "path": "/a", "value": 2}], {"a": 2}),
        ({"a": [1, 2]}, [{"op": "replace", "path": "/a/0", "value": 9}], {"a": [9, 2]}),
        ({"a": {"x": 1}, "b": {}}, [{"op": "move", "from": "/a/x", "path": "/b/y"}], {"a": {}, "b": {"y": 1}}),
        ({"a": [1, 2, 3]}, [{"op": "move", "from": "/a/0", "path": "/a/2"}], {"a": [2, 3, 1]}),
        ({"a": {"x": 1}}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": {"x": 1}, "b": {"x": 1}}),
        ({"a/b": 1}, [{"op": "test", "path": "/a~1b", "value": 1}], {"a/b": 1}),
        ({"m~n": 2}, [{"op": "remove", "path": "/m~0n"}], {}),
    ],
)  # fmt: skip
def test_json_patch(target: Any, operations: Any, result: Any) -> None:
    before = copy.deepcopy(target)
    assert json_patch(target, operations) == result
    assert target == before


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/missing"},
        {"op": "replace", "path": "/missing", "value": 1},
        {"op": "test", "path": "/a", "value": 2},
        {"op": "add", "path": "/x/y", "value": 1},
        {"op": "add", "path": "a", "value": 1},
        {"op": "dance", "path": "/a"},
        {"path": "/a"},
        {"op": "add", "path": "/list/4", "value": 1},
        {"op": "add", "path": "/list/-1", "value": 1},
        {"op": "remove", "path": "/list/01"},
        {"op": "test", "path": "/a", "value": True},
        {"op": "add", "path": 3, "value": 1},
        "remove",
        None,
    ],
)
def test_json_patch_that_cannot_be_done(operation: Any) -> None:
    with pytest.raises(StatusError) as caught:
        json_patch({"a": 1, "list": [1, 2, 3]}, [operation])
    assert caught.value.status == 422


def test_what_a_json_patch_adds_is_no_part_of_the_patch() -> None:
    operations: list[Any] = [
        {"op": "add", "path": "/a", "value": {}},
        {"op": "add", "path": "/a/b", "value": 1},
    ]
    before = copy.deepcopy(operations)
    assert json_patch({}, operations) == {"a": {"b": 1}}
    assert operations == before


def pod(*containers: Any) -> Any:
    return {"spec": {"containers": list(containers)}}


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        (
            pod({"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b"}),
            pod({"name": "a", "image": "2", "env": [{"name": "Y", "value": "2"}]}, {"name": "c"}),
            pod(
                {"name": "a", "image": "2", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]},
                {"name": "b"},
                {"name": "c"},
            ),
        ),
        (
            pod({"name": "a"}, {"name": "b"}),
            {"spec": {"containers": [{"$patch": "delete", "name": "a"}], "$setElementOrder/containers": []}},
            pod({"name": "b"}),
        ),
        (
            pod({"name": "a"}, {"name": "b"}),
            pod({"$patch": "replace"}, {"name": "c"}),
            pod({"name": "c"}),
        ),
        ({"args": ["a", "b"]}, {"args": ["c"]}, {"args": ["c"]}),
        ({"finalizers": ["a"]}, {"finalizers": ["b", "a"]}, {"finalizers": ["a", "b"]}),
        ({"finalizers": ["a", "b"]}, {"$deleteFromPrimitiveList/finalizers": ["a"]}, {"finalizers": ["b"]}),
        (
            {"ports": [{"port": 80, "name": "x"}]},
            {"ports": [{"port": 80, "nodePort": 1}, {"port": 443}]},
            {"ports": [{"port": 80, "name": "x", "nodePort": 1}, {"port": 443}]},
        ),
        ({"x": {"type": "A", "a": 1}}, {"x": {"$retainKeys": ["type"], "type": "B"}}, {"x": {"type": "B"}}),
        ({"data": {"a": 1}}, {"data": {"$patch": "replace", "b": 2}}, {"data": {"b": 2}}),
        ({"tolerations": [{"key": "a"}]}, {"tolerations": [{"key": "b"}]}, {"tolerations": [{"key": "b"}]}),
    ],
)  # fmt: skip
def test_strategic_merge(target: Any, patch: Any, result: Any) -> None:
    assert strategic_merge(target, patch) == result
