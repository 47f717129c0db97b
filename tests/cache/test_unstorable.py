"""Objects that PostgreSQL refuses do not stand in the way of the others, and are stored as far as they can be."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from presenter.cache.pool import Pool
from presenter.cache.writer import Checkpoint, Writer
from presenter.resource import SANITISED, Event, Object, Watch
from tests.cache.objects import PANELS, PODS, make_object

REFUSED = {
    "a number that is too large": b'{"spec":1e200000}',
    "a number that is too small": b'{"spec":1e-200000}',
    "too many digits": b'{"spec":1' + 200_000 * b"0" + b"}",
    "too many decimals": b'{"spec":0.' + 20_000 * b"1" + b"}",
    "arrays nested too deep": b'{"spec":' + 50_000 * b"[" + 50_000 * b"]" + b"}",
    "objects nested too deep": 50_000 * b'{"spec":' + b"{}" + 50_000 * b"}",
    "a NUL": b'{"spec":"\\u0000"}',
    "half a surrogate pair": b'{"spec":"\\ud83d"}',
    "no UTF-8": b'{"spec":"\xff"}',
    "no JSON": b'{"spec":',
}
ENDLESS = "".join(random.Random(0).choices(string.ascii_lowercase, k=5000))
"""A name that is valid for RBAC objects and fits in no index: what does not compress."""


@pytest.fixture
async def watch(writer: Writer) -> Watch:
    await writer.open_cluster("cluster-uid", ["*.*"])
    [watch] = await writer.declare(PANELS)
    return watch


def refused(number: int, raw: bytes = REFUSED["a number that is too large"], **changes: Any) -> Object:
    made = make_object(number, labels={"app": "mine"}, composition_id="11111111-1111-1111-1111-111111111111", **changes)
    return msgspec.structs.replace(made, raw=raw)


async def rows(pool: Pool, watch: Watch) -> dict[str, Any]:
    async with pool.connection() as connection:
        found = await connection.fetch("SELECT * FROM resources WHERE type_id = $1", watch.type_id)
    return {row["uid"]: row for row in found}


async def bodies(pool: Pool, watch: Watch) -> dict[str, Any]:
    return {uid: json.loads(row["raw"]) for uid, row in (await rows(pool, watch)).items()}


async def counted(pool: Pool, watch: Watch) -> tuple[int, int]:
    """How many objects there are, and how many were sanitised, as the watch tells."""
    async with pool.connection() as connection:
        row = await connection.fetchrow("SELECT objects, sanitised FROM watches WHERE type_id = $1", watch.type_id)
    assert row is not None
    return row["objects"], row["sanitised"]


async def write(writer: Writer, watch: Watch, objects: Sequence[Object], how: str) -> None:
    if how == "events":
        await writer.apply(watch, [Event("upsert", object) for object in objects], "100")
        return
    await writer.begin_list(watch)
    await writer.list_page(watch, objects)
    await writer.finish_list(watch, "100")


@pytest.mark.parametrize("how", ["events", "list"])
@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED)
async def test_what_is_refused_is_stored_by_its_metadata_and_the_others_as_they_are(
    writer: Writer, pool: Pool, watch: Watch, raw: bytes, how: str
) -> None:
    good = [make_object(1), make_object(3)]
    bad = refused(2, raw)
    await write(writer, watch, [good[0], bad, good[1]], how)

    found = await rows(pool, watch)
    assert {object.uid: json.loads(found[object.uid]["raw"]) for object in good} == {
        object.uid: json.loads(object.raw) for object in good
    }
    row = found[bad.uid]
    columns = ("namespace", "name", "version", "resource_version", "created_at")
    assert [row[column] for column in columns] == [getattr(bad, column) for column in columns]
    assert str(row["composition_id"]) == bad.composition_id
    body = json.loads(row["raw"])
    reason = body["metadata"]["annotations"].pop(SANITISED)
    assert reason.startswith("only metadata is kept: ")
    assert body == {
        "apiVersion": "widgets.templates.krateo.io/v1beta1",
        "kind": "Panel",
        "metadata": {
            "name": bad.name,
            "namespace": bad.namespace,
            "uid": bad.uid,
            "resourceVersion": str(bad.resource_version),
            "annotations": {},
        },
    }
    assert await counted(pool, watch) == (3, 1)
    assert await writer.checkpoint(watch) == Checkpoint("100")


async def test_of_the_core_group_and_without_a_namespace_or_a_number(writer: Writer, pool: Pool, watch: Watch) -> None:
    [pods] = await writer.declare(PODS)
    bad = msgspec.structs.replace(refused(1, namespace="", version="v1"), resource_version=None)
    await write(writer, pods, [bad], "events")
    body = (await bodies(pool, pods))[bad.uid]
    assert (body["apiVersion"], body["kind"]) == ("v1", "Pod")
    assert body["metadata"].keys() == {"name", "uid", "annotations"}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["good", "refused", "endless"]), min_size=1, max_size=12), st.data())
async def test_wherever_in_a_batch_they_are(
    writer: Writer, pool: Pool, watch: Watch, kinds: list[str], data: st.DataObject
) -> None:
    make: dict[str, Callable[[int], Object]] = {
        "good": make_object,
        "refused": refused,
        "endless": lambda number: make_object(number, name=ENDLESS),
    }
    objects = [make[kind](number) for number, kind in enumerate(kinds)]
    await write(writer, watch, [], "list")
    _, before = await counted(pool, watch)
    await write(writer, watch, objects, data.draw(st.sampled_from(["events", "list"])))
    found = await bodies(pool, watch)
    kept = {object.uid: kind for object, kind in zip(objects, kinds, strict=True) if kind != "endless"}
    assert {
        uid: "refused" if SANITISED in body["metadata"].get("annotations", {}) else "good"
        for uid, body in found.items()
    } == kept
    assert await counted(pool, watch) == (len(kept), before + len(kinds) - kinds.count("good"))


@pytest.mark.parametrize("how", ["events", "list"])
async def test_a_batch_of_nothing_else(writer: Writer, pool: Pool, watch: Watch, how: str) -> None:
    objects = [refused(number) for number in range(40)]
    await write(writer, watch, objects, how)
    assert (await bodies(pool, watch)).keys() == {object.uid for object in objects}
    assert await counted(pool, watch) == (40, 40)


@pytest.mark.parametrize("how", ["events", "list"])
async def test_what_not_even_the_name_of_can_be_stored_is_left_out(
    writer: Writer, pool: Pool, watch: Watch, how: str
) -> None:
    endless = make_object(2, name=ENDLESS)
    await write(writer, watch, [make_object(1), endless], how)
    assert (await rows(pool, watch)).keys() == {make_object(1).uid}
    assert await counted(pool, watch) == (1, 1)
    await writer.apply(watch, [Event("delete", msgspec.structs.replace(endless, resource_version=101))], "101")
    assert await counted(pool, watch) == (1, 1)
    assert await writer.checkpoint(watch) == Checkpoint("101")


async def test_the_whole_object_is_back_once_it_can_be_stored(writer: Writer, pool: Pool, watch: Watch) -> None:
    await write(writer, watch, [make_object(1)], "list")
    await write(writer, watch, [refused(1, resource_version=50)], "events")
    assert SANITISED in (await bodies(pool, watch))[make_object(1).uid]["metadata"]["annotations"]
    mended = make_object(1, resource_version=60)
    await write(writer, watch, [mended], "events")
    assert await bodies(pool, watch) == {mended.uid: json.loads(mended.raw)}
    assert await counted(pool, watch) == (1, 1)


STORED = {
    "a large body": make_object(1, raw={"data": ENDLESS * 300}),
    "many labels": make_object(1, labels={f"{ENDLESS[n : n + 60]}-{n}": ENDLESS[-n - 60 :][:60] for n in range(4000)}),
    "a large label": make_object(1, labels={"app": ENDLESS * 20}),
    "the longest name there usually is": make_object(1, name=ENDLESS[:253]),
    "a name of odd characters": make_object(1, name="system:Zürich/ø 😀 ''\"\\%_{}"),
    "odd characters in the body": make_object(1, raw={"data": "\uffff\ufeff\x7f\u2028😀" + "e\u0301" * 100}),
    "deep, but not too deep": make_object(1, raw=json.loads(500 * '{"a":' + "1" + 500 * "}")),
    "no body to speak of": make_object(1, raw={}),
    "a key of a megabyte": make_object(1, raw={ENDLESS * 200: 1}),
    "the largest number there usually is": make_object(1, raw={"n": 1.7976931348623157e308, "m": -5e-324}),
}


@pytest.mark.parametrize("object", STORED.values(), ids=STORED)
async def test_what_is_only_unusual_is_stored_as_it_is(
    writer: Writer, pool: Pool, watch: Watch, object: Object
) -> None:
    await write(writer, watch, [object], "events")
    [row] = (await rows(pool, watch)).values()
    assert row["name"] == object.name
    assert json.loads(row["labels"]) == json.loads(object.labels)
    assert json.loads(row["raw"], parse_int=float) == json.loads(object.raw, parse_int=float)
    assert await counted(pool, watch) == (1, 0)
