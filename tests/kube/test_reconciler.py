"""The cache is compared with the cluster: what differs is counted and mended, and nothing else is taken for it."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable

import pytest

from presenter.sandbox.store import Repeat
from tests.eventually import eventually
from tests.kube.world import CONFIG_MAPS, WatchRow, World

OFTEN = 0.05
"""Seconds between comparisons: next to back to back."""


@pytest.fixture
def world(world: World) -> World:
    for name in ("untouched", "changed", "deleted", "renewed"):
        world.put(name, a="1")
    return world


async def the_watch(world: World) -> WatchRow:
    [row] = await world.watches(CONFIG_MAPS)
    return row


async def compared(world: World, times: int = 3, resource: str = "configmaps") -> None:
    """Wait until so many comparisons more were begun, and all but the last are done."""
    asked = {"verb": "list", "resource": resource, "status": 200}

    def begun() -> int:
        return sum("resourceVersionMatch" in request.query for request in world.sandbox.requests.matching(**asked))

    before = begun()
    await world.sees(lambda: begun() > before + times)


async def repaired(world: World, repairs: int) -> None:
    """Wait until so many repairs are counted; then no more follow."""
    await eventually(lambda: the_watch(world), lambda row: row.repairs == repairs)
    await world.equal()
    await compared(world)
    assert (await the_watch(world)).repairs == repairs


def add(world: World) -> None:
    world.put("created", a="2")


def change(world: World) -> None:
    world.put("changed", a="2")


def delete(world: World) -> None:
    world.drop("deleted")


def everything(world: World) -> None:
    for happens in (add, change, delete):
        happens(world)
    world.drop("renewed")
    world.put("renewed", a="2")  # one is only here, one only there


@pytest.mark.parametrize(
    ("lost", "differences"),
    [(add, 1), (change, 1), (delete, 1), (everything, 5)],
    ids=["add", "change", "delete", "everything"],
)
async def test_events_that_never_came(world: World, lost: Callable[[World], None], differences: int) -> None:
    async with world.following(CONFIG_MAPS, reconcile_interval=OFTEN):
        await world.equal()
        await world.watching()
        swallowed = world.sandbox.faults.drop_events(resource=CONFIG_MAPS)
        lost(world)
        await world.all_told()
        world.sandbox.faults.remove(swallowed)
        world.sandbox.bookmark()  # it says that the watch has come further than it has
        await repaired(world, differences)
        assert (await the_watch(world)).lists == 2


@pytest.mark.parametrize(
    ("tampering", "differences"),
    [
        ("DELETE FROM resources WHERE name IN ('untouched', 'changed')", 2),
        ("UPDATE resources SET resource_version = 1 WHERE name = 'untouched'", 1),
        ("UPDATE resources SET resource_version = 10000 WHERE name = 'untouched'", 1),
        ("UPDATE resources SET uid = 'another' WHERE name = 'untouched'", 2),
        ("DELETE FROM resources", 4),
    ],
)
async def test_rows_that_were_tampered_with(world: World, tampering: str, differences: int) -> None:
    async with world.following(CONFIG_MAPS, reconcile_interval=OFTEN):
        await world.equal()
        await compared(world)
        await world.execute(tampering)
        await repaired(world, differences)


async def test_nothing_is_listed_while_nothing_differs(world: World) -> None:
    async with world.following(CONFIG_MAPS, reconcile_interval=OFTEN):
        await world.equal()
        await compared(world, 10)
        row = await the_watch(world)
    assert (row.repairs, row.lists, row.state) == (0, 1, "live")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("prefix", ["", "opaque-"])
async def test_changes_at_full_speed_are_no_differences(world: World, seed: int, prefix: str) -> None:
    """Created, changed, deleted, told of twice, the watch cut: every comparison made meanwhile finds nothing."""
    chance = random.Random(seed)
    world.sandbox.faults.opaque_versions(prefix)
    async with world.following(CONFIG_MAPS, reconcile_interval=0.01):
        await world.equal()
        for number in range(1500):
            name = f"random-{chance.randrange(40)}"
            if name in world.names() and chance.random() < 0.4:
                world.drop(name)
            else:
                world.put(name, a=str(number))
            if chance.random() < 0.02:
                world.sandbox.bookmark()
            if chance.random() < 0.02 and not prefix:  # without numbers nothing tells that an event is old
                world.sandbox.faults.repeat(chance.randrange(1, 10), resource=CONFIG_MAPS)
            if chance.random() < 0.005:
                world.sandbox.faults.cut(chance.choice(["end", "abort", "mid-line"]), resource=CONFIG_MAPS)
            if chance.random() < 0.3:
                await asyncio.sleep(0)  # others get their turn
        await world.equal()
        await compared(world)
        row = await the_watch(world)
    assert (row.repairs, row.lists) == (0, 1)


async def test_an_old_event_in_the_last_place_is_no_difference(world: World) -> None:
    """What is told again behind something new must not have the rows pass for older than they are."""
    store = world.sandbox.cluster.store(world.sandbox.cluster.registry.named(CONFIG_MAPS))
    old = store.since(0)[-1]
    async with world.following(CONFIG_MAPS, reconcile_interval=OFTEN):
        await world.equal()
        await world.watching()
        async with world.one_batch():
            world.put("changed", a="2")
            store.tell(Repeat(old))
        await world.equal()
        await compared(world)
        assert (await the_watch(world)).repairs == 0


async def test_versions_that_are_no_numbers(world: World) -> None:
    world.sandbox.faults.opaque_versions()
    async with world.following(CONFIG_MAPS, reconcile_interval=OFTEN):
        await world.equal()
        await compared(world)
        await world.execute("DELETE FROM resources WHERE name = 'untouched'")
        await repaired(world, 1)


async def test_a_difference_counts_once_however_long_the_list_takes_that_mends_it(world: World) -> None:
    async with world.following(CONFIG_MAPS, reconcile_interval=OFTEN):
        await world.equal()
        await compared(world)
        held = world.sandbox.faults.hold(verb="watch", resource=CONFIG_MAPS)
        await world.execute("DELETE FROM resources WHERE name = 'untouched'")
        await eventually(lambda: the_watch(world), lambda row: row.repairs == 1)
        await held.reached.wait()
        await compared(world, 5, resource="roles")
        assert (await the_watch(world)).repairs == 1
        held.release()
        await repaired(world, 1)


async def test_only_some_namespaces(world: World) -> None:
    for namespace in ("a", "b", "c"):
        world.sandbox.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        for name in ("one", "two"):
            world.put(name, namespace)
    async with world.following(CONFIG_MAPS, namespaces=["a", "b"], reconcile_interval=OFTEN):
        await world.equal(["a", "b"])
        await compared(world)
        await world.execute("DELETE FROM resources WHERE namespace = 'a'")
        await eventually(lambda: world.watches(CONFIG_MAPS), lambda rows: [row.repairs for row in rows] == [2, 0])
        await world.equal(["a", "b"])
        await compared(world)
        assert [row.repairs for row in await world.watches(CONFIG_MAPS)] == [2, 0]


@pytest.mark.parametrize("code", [400, 410])
async def test_a_server_without_lists_of_the_past_is_listed_anew_instead(world: World, code: int) -> None:
    async with world.following(CONFIG_MAPS, reconcile_interval=OFTEN):
        await world.equal()
        await compared(world)
        world.sandbox.faults.refuse(code, verb="list", resource=CONFIG_MAPS, times=1)
        await eventually(lambda: the_watch(world), lambda row: row.lists == 2 and row.state == "live")
        await world.equal()
        await compared(world)
        assert (await the_watch(world)).repairs == 0


async def test_a_past_that_is_forgotten_is_listed_anew_instead(world: World) -> None:
    """Other types have moved on and history is compacted, so that the checkpoint is too old to be listed."""
    async with world.following(CONFIG_MAPS, reconcile_interval=OFTEN):
        await world.equal()
        await compared(world)
        await world.execute("DELETE FROM resources WHERE name = 'untouched'")
        world.sandbox.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
        world.sandbox.cluster.compact()
        await world.equal()
        await eventually(lambda: the_watch(world), lambda row: row.lists > 1 and row.state == "live")


async def test_what_was_sanitised_or_left_out_is_no_difference(world: World) -> None:
    cluster = world.sandbox.cluster
    poison = {
        "nul": rb'"uid":"nul","resourceVersion":"%d"},"data":{"a":"a\u0000"}',
        "huge": b'"uid":"huge","resourceVersion":"%d"},"data":1e200000',
        "deep": b'"uid":"deep","resourceVersion":"%d"},"data":' + b"[" * 9000 + b"]" * 9000,
        "no-uid": b'"resourceVersion":"%d"}',
    }
    for name, members in poison.items():
        metadata = b'{"metadata":{"name":"%s","namespace":"default",' % name.encode()
        members = (metadata + members + b"}").replace(b"%d", b"%d" % (cluster.resource_version + 1))
        cluster.plant(CONFIG_MAPS, name, "default", members)
    cluster.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "secret", "namespace": "default"},
            "data": {"a": "eA=="},
        }
    )
    async with world.following(CONFIG_MAPS, "secrets", reconcile_interval=OFTEN):
        await world.state(CONFIG_MAPS, "live")
        await world.state("secrets", "live")
        await compared(world, 5)
        for name in (CONFIG_MAPS, "secrets"):
            [row] = await world.watches(name)
            assert (row.repairs, row.lists) == (0, 1)


async def test_an_interval_of_0_is_never(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await world.execute("DELETE FROM resources WHERE name = 'untouched'")
        world.put("changed", a="2")
        await eventually(lambda: world.cached(CONFIG_MAPS), lambda rows: len(rows) == 3)
        for number in range(5):
            world.put("changed", b=str(number))
        await eventually(
            lambda: the_watch(world), lambda row: row.checkpoint == str(world.sandbox.cluster.resource_version)
        )
    asked = world.sandbox.requests.matching(verb="list")
    assert not [request for request in asked if "resourceVersionMatch" in request.query]
    assert len(await world.cached(CONFIG_MAPS)) == 3


async def test_a_comparison_outlives_whatever_fails(world: World) -> None:
    """A page that is none, items that are no objects: a later comparison finds what differs."""
    faults = world.sandbox.faults
    async with world.following(CONFIG_MAPS, reconcile_interval=OFTEN):
        await world.equal()
        await compared(world)
        version = (await the_watch(world)).checkpoint
        items: list[object] = [5, None, {"metadata": []}]
        page = json.dumps({"kind": "ConfigMapList", "metadata": {"resourceVersion": version}, "items": items})
        for body in ("<html>", page, '{"kind":"ConfigMapList","metadata":{"resourceVersion":"1"},"items":[]}'):
            fault = faults.refuse(200, verb="list", resource=CONFIG_MAPS, times=1, body=body)
            await world.befell(fault)
        await world.execute("DELETE FROM resources WHERE name = 'untouched'")
        await world.equal()
        await compared(world)
