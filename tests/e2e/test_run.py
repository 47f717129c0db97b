"""`presenter run`: what happens in the cluster is in the next answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import pytest

from tests.e2e.system import PANELS, SAMPLE_TYPES, Json, Service, System
from tests.eventually import eventually
from tests.kube.world import crd, custom

AT_ONCE = 1.0
"""Seconds; generous, for a busy machine."""

LATE = "notes.late.krateo.io"
WIDGETS = "widgets.templates.krateo.io"


@pytest.fixture
async def service(system: System) -> Service:
    return await (await system.start()).ready()


async def _seconds(service: Service, wanted: Callable[[list[Json]], bool], **query: str | int) -> float:
    """How long it takes until a page is as wanted."""
    started = time.monotonic()
    await eventually(partial(service.items, **query), wanted)
    return time.monotonic() - started


async def test_the_cache_equals_the_cluster(system: System, service: Service) -> None:
    for name in SAMPLE_TYPES:
        assert await service.cached(name) == system.served(name), name
    assert await service.process.stop() == 0


async def test_a_change_is_in_the_next_answer(
    system: System, service: Service, record_property: Callable[[str, object], None]
) -> None:
    panel = {"group": WIDGETS, "resource": "panels", "namespace": "demo-system", "name": "mine", "raw": "true"}
    system.put("mine", title="new")
    created = await _seconds(service, lambda items: len(items) == 1, **panel)
    system.put("mine", title="changed")
    changed = await _seconds(service, lambda items: items[0]["raw"]["spec"]["title"] == "changed", **panel)
    system.drop("mine")
    deleted = await _seconds(service, lambda items: items == [], **panel)
    for event, seconds in {"created": created, "changed": changed, "deleted": deleted}.items():
        record_property(f"{event}_seconds", round(seconds, 4))
        assert seconds < AT_ONCE, f"{event}: {seconds:.3f} s from the change to the answer"


async def test_many_changes_at_once_all_arrive(system: System, service: Service) -> None:
    for number in range(300):
        system.put(f"many-{number}", number=number)
    for number in range(0, 300, 3):
        system.drop(f"many-{number}")
    for number in range(1, 300, 3):
        system.put(f"many-{number}", number=-number)
    await system.in_sync(service, PANELS)


async def test_a_type_that_appears_later_is_watched_and_one_that_goes_is_forgotten(
    system: System, service: Service
) -> None:
    query = {"group": "late.krateo.io", "resource": "notes", "namespace": "*"}
    before = await service.get("/resources", **query)
    assert (before.status, before.json["items"]) == (200, [])
    assert before.headers["Warning"].startswith("299 ")

    system.sandbox.cluster.create(crd("notes", "Note", group="late.krateo.io"))
    system.sandbox.cluster.create(custom("Note", "first", api_version="late.krateo.io/v1", text="hello"))
    started = time.monotonic()
    await system.in_sync(service, LATE)
    assert time.monotonic() - started < 10
    system.sandbox.cluster.create(custom("Note", "second", api_version="late.krateo.io/v1", text="hello"))
    await system.in_sync(service, LATE)
    assert (await service.get("/resources", **query)).json["count"] == 2
    assert (await service.get("/readyz")).status == 200

    system.sandbox.cluster.delete("customresourcedefinitions.apiextensions.k8s.io", LATE)
    await eventually(
        partial(service.get, "/resources", **query), lambda reply: reply.status == 200 and not reply.json["items"]
    )
    await eventually(partial(service.get, "/resources", **query), lambda reply: "Warning" in reply.headers)
    assert (await service.get("/readyz")).status == 200


async def test_an_object_is_found_by_its_global_uid(system: System, service: Service) -> None:
    made = system.put("mine", title="new")
    await eventually(partial(service.items, group=WIDGETS, name="mine", namespace="*"), bool)
    (item,) = await service.items(group=WIDGETS, name="mine", namespace="*")
    reply = await service.get(f"/resources/{item['global_uid']}")
    assert reply.status == 200
    assert reply.json["items"][0]["raw"]["metadata"]["uid"] == made["metadata"]["uid"]
