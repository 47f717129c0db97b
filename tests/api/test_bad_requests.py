"""Every malformed request is a 400 that names the parameter, what came and what is allowed."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.api.service import Reply
from tests.api.world import WIDGETS, World

pytestmark = pytest.mark.asyncio(loop_scope="session")

SORTS = ("created_at", "updated_at", "name", "resource", "global_uid", "composition_id")
NAMES = ("version", "resource", "namespace", "cluster", "name", "name_contains")
ALLOWED = {
    "composition_id": ("a UUID",),
    "since": ("RFC 3339",),
    "raw": ("true or false",),
    "status_raw": ("true or false",),
    "labels": ("a JSON object of strings", "4096"),
    "limit": ("from 1 to 5000", "null"),
    "sort_by": SORTS,
    "sort_order": ("asc or desc",),
    "cursor": ("the cursor of a previous page",),
    "group": ("an API group", "256"),
    **dict.fromkeys(NAMES, ("256",)),
}
LONG = "x" * 257

MALFORMED_TEXTS = [
    ("composition_id", "abc"),
    ("composition_id", "3f0c1d8e7a534d6f9b2e5c1a7e9d4b60"),
    ("composition_id", "{3f0c1d8e-7a53-4d6f-9b2e-5c1a7e9d4b60}"),
    ("composition_id", "3f0c1d8e-7a53-4d6f-9b2e-5c1a7e9d4b6g"),
    ("since", "yesterday"),
    ("since", "2026-03-01"),
    ("since", "2026-03-01T10:00:00"),
    ("since", "2026-13-01T10:00:00Z"),
    ("since", "2026-02-30T10:00:00Z"),
    ("since", "2026-03-01T25:00:00Z"),
    ("since", "2026-03-01T10:00:00+00:60"),
    ("since", "2026-03-01T10:00:00+24:00"),
    ("since", "0001-01-01T00:00:00+01:00"),
    ("since", "9999-12-31T23:59:59-01:00"),
    ("since", "1772359200"),
    ("sort_by", "kind"),
    ("sort_by", "created_at,name"),
    ("sort_by", "NAME"),
    ("sort_order", "up"),
    ("sort_order", "DESC"),
    ("resource", "Panels"),
    ("name", "a\x00b"),
    ("name_contains", "\x00"),
    ("namespace", "de\x00fault"),
    ("cluster", "\x00"),
    ("cursor", "x" * 4097),
    ("group", LONG),
    *((name, LONG) for name in NAMES),
]
ONLY_IN_A_QUERY_STRING = [
    ("raw", "yes"),
    ("raw", "1"),
    ("raw", "null"),
    ("status_raw", "on"),
    ("limit", "0"),
    ("limit", "-1"),
    ("limit", "5001"),
    ("limit", "1.5"),
    ("limit", "1e3"),
    ("limit", "abc"),
    ("limit", "None"),
    ("limit", "٣"),
    ("limit", "9" * 40),
    ("labels", "a=b"),
    ("labels", "[]"),
    ("labels", "Null"),
    ("labels", '"a"'),
    ("labels", '["a"]'),
    ("labels", '{"a":1}'),
    ("labels", '{"a":null}'),
    ("labels", '{"a":true}'),
    ("labels", '{"a":{"b":"c"}}'),
    ("labels", '{"a":["b"]}'),
    ("labels", '{"a":"b"'),
    ("labels", "{a:b}"),
    ("labels", '{"a":"b"}{}'),
    ("labels", '{"":"b"}'),
    ("labels", r'{"a":"\u0000"}'),
    ("labels", r'{"\u0000":"a"}'),
    ("labels", r'{"a":"\ud800"}'),
    ("labels", "[" * 4000),
    ("labels", json.dumps({"a": "b" * 4096})),
]
NO_BOOLEANS: list[object] = ["true", 1, 0, [], {}]
NO_LIMITS: list[object] = [0, -1, 5001, 1.5, 50.0, "50", True, [50], 10**30]
NO_TEXTS: list[object] = [1, True, ["a"], {"a": "b"}]
NO_LABELS: list[object] = [
    *('{"a":"b"}', ["a"], [], 1, True, 10**30),
    *({"a": 1}, {"a": None}, {"a": {"b": "c"}}, {"a": ["b"]}, {"": "b"}, {"a": "\x00"}, {"a": "b" * 4096}),
]
ONLY_IN_A_BODY = [
    *((name, value) for name in ("raw", "status_raw") for value in NO_BOOLEANS),
    *(("limit", value) for value in NO_LIMITS),
    *(("labels", value) for value in NO_LABELS),
    *((name, value) for name in (*NAMES, "group") for value in NO_TEXTS),
    ("group", None),
    ("since", 1772359200),
    ("since", {}),
    ("composition_id", 1),
    ("sort_by", 1),
    ("sort_by", ["name"]),
    ("sort_order", False),
    ("cursor", 1),
    ("cursor", {}),
]


def assert_explains(answer: Reply, name: str, came: object) -> None:
    """What a 400 has to say; a long value may be cut short."""
    message = answer.failure(400)
    assert answer.json["reason"] == "BadRequest"
    assert message.startswith(f"{name} is {repr(came)[:90]}")
    for allowed in ALLOWED[name]:
        assert allowed in message.partition(": allowed is ")[2]
    assert len(message) < 400


@pytest.mark.parametrize(("name", "value"), [*MALFORMED_TEXTS, *ONLY_IN_A_QUERY_STRING])
async def test_a_malformed_parameter(world: World, name: str, value: str) -> None:
    assert_explains(await world.service.page(**({"group": WIDGETS} | {name: value})), name, value)


@pytest.mark.parametrize(("name", "value"), [*MALFORMED_TEXTS, *ONLY_IN_A_BODY])
async def test_a_malformed_field(world: World, name: str, value: object) -> None:
    assert_explains(await world.service.post({"group": WIDGETS} | {name: value}), name, value)


@pytest.mark.parametrize("name", ["pages", "limit_", "limit[]", "offset", "", "orderBy", "labelSelector"])
@pytest.mark.parametrize("value", ["1", ""])
async def test_an_unknown_parameter(world: World, name: str, value: str) -> None:
    for answer in (
        await world.service.query(f"group={WIDGETS}&{quote(name)}={value}"),
        await world.service.post({"group": WIDGETS, name: value}),
        await world.service.post({"group": WIDGETS, name: None}),
    ):
        message = answer.failure(400)
        assert message.startswith(f"there is no parameter {name!r}: allowed are group, ")
        assert all(known in message for known in ALLOWED)


async def test_the_group_is_required(world: World) -> None:
    for answer in (
        await world.service.query("namespace=*"),
        await world.service.query(""),
        await world.service.post({"namespace": "*"}),
        await world.service.post({}),
    ):
        assert answer.failure(400).startswith("group is missing: give an API group, or core")


async def test_name_and_name_contains_exclude_each_other(world: World) -> None:
    both = {"group": WIDGETS, "name": "one", "name_contains": "two"}
    for answer in (await world.service.page(**both), await world.service.post(both)):
        message = answer.failure(400)
        assert message == "name is 'one' and name_contains is 'two': allowed is one of the two"


async def test_a_parameter_that_is_given_twice(world: World) -> None:
    answer = await world.service.query(f"group={WIDGETS}&limit=1&limit=2")
    assert answer.failure(400) == "parameter limit is given twice: '1' and '2'"
    answer = await world.service.post({"group": WIDGETS, "limit": 1, "Limit": 2})
    assert answer.failure(400) == "parameter limit is given twice: 1 and 2"


async def test_letter_case_counts_in_a_query_string(world: World) -> None:
    message = (await world.service.query(f"group={WIDGETS}&Limit=1")).failure(400)
    assert message.startswith("there is no parameter 'Limit': allowed are group, ")


@pytest.mark.parametrize("piece", ["name=%ff", "name=%c3", "name=%ed%a0%80", "%fe=a"])
async def test_a_parameter_that_is_not_utf_8(world: World, piece: str) -> None:
    message = (await world.service.query(f"group={WIDGETS}&{piece}")).failure(400)
    assert repr(piece.partition("=")[0]) in message
    assert "is not UTF-8" in message


async def test_a_query_string_that_is_longer_than_any_needs_to_be(world: World) -> None:
    message = (await world.service.query(f"group={WIDGETS}&name=" + "a" * 20_000)).failure(400)
    assert "the query string has" in message
    assert "allowed are 16384" in message


@pytest.mark.parametrize("longest", [{"name": "x" * 256}, {"labels": {"a": "b" * 4087}}], ids=["text", "labels"])
async def test_what_is_just_short_enough(world: World, longest: dict[str, Any]) -> None:
    assert (await world.service.page(group=WIDGETS, **longest)).items == []
    assert (await world.service.post({"group": WIDGETS, **longest})).items == []


@pytest.mark.parametrize("body", [b"", b" \n"])
async def test_an_empty_body(world: World, body: bytes) -> None:
    message = (await world.service.post(body)).failure(400)
    assert message.startswith("the body is empty: send a JSON object")


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"group"', b'[{"group":"core"}]', b"true"])
async def test_a_body_that_is_not_an_object(world: World, body: bytes) -> None:
    message = (await world.service.post(body)).failure(400)
    assert message.startswith(f"the body is {json.loads(body)!r}: allowed is a JSON object")


@pytest.mark.parametrize(
    "body",
    [
        *(b"{", b"group=core", b'{"group":"core",}', b"{'group':'core'}", b'{"group":"core"} {}'),
        *(b'{"group":"\xff"}', b'{"group":"\\ud800"}', b'{"limit":NaN}', b'{"limit":1e999}'),
        *(b"[" * 60_000, b'{"labels":' * 5_000),
    ],
    ids=lambda body: repr(body[:24]),
)
async def test_a_body_that_is_not_json(world: World, body: bytes) -> None:
    assert (await world.service.post(body)).failure(400).startswith("the body is not JSON: ")


async def test_a_body_that_is_larger_than_any_needs_to_be(world: World) -> None:
    answer = await world.service.post({"group": WIDGETS, "name": "x" * 2**20})
    assert "1048576 bytes" in answer.failure(413)
    assert answer.json["reason"] == "RequestEntityTooLarge"


async def test_a_post_takes_no_query_string(world: World) -> None:
    answer = await world.service.send("POST", "/resources?limit=1", headers=world.service.authorization, body=b"{}")
    assert "a POST takes its parameters in the body" in answer.failure(400)


@pytest.mark.parametrize(("name", "value"), [("raw", "yes"), ("status_raw", "0")])
async def test_a_malformed_parameter_of_a_detail(world: World, name: str, value: str) -> None:
    uid = world.stored[0].global_uid
    assert_explains(await world.service.detail(uid, f"{name}={value}"), name, value)
    assert "there is no parameter 'limit'" in (await world.service.detail(uid, "limit=1")).failure(400)
    assert "raw is given twice" in (await world.service.detail(uid, "raw=true&raw=true")).failure(400)
