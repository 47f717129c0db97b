"""How a watch is followed: by a streamed list or by pages, within bounds, from where it was left.

What may go wrong meanwhile is in tests/kube/faults.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
import time
from collections.abc import Callable
from functools import partial

import pytest

from presenter.kube.read_ahead import Budget
from presenter.kube.reflector import CONCURRENT_LISTS, Reflector, Shared
from presenter.kube.timings import BackoffTimings
from presenter.resource import ResourceType
from presenter.sandbox import ApiRequest
from tests.eventually import eventually
from tests.kube.world import CONFIG_MAPS, FAST, World, crd, custom


@pytest.fixture
def world(world: World) -> World:
    for name in ("untouched", "changed", "deleted", "renewed"):
        world.put(name, a="1")
    return world


async def test_first_list_then_every_change(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        await world.equal()
        world.change()
        await world.equal()
        row = await world.state(CONFIG_MAPS, "live")
    assert row.synced
    assert row.error == ""
    assert world.lists(CONFIG_MAPS) == 1
    assert "default" in {found["columns"][0] for found in (await world.cached(CONFIG_MAPS)).values()}


def pages_read(world: World) -> list[ApiRequest]:
    """The requests for pages of config maps; a probe has a limit of 1."""
    asked = world.sandbox.requests.matching(verb="list", resource="configmaps")
    return [request for request in asked if request.query["limit"] != "1"]


async def test_a_list_of_many_pages(world: World) -> None:
    for number in range(1200):
        world.put(f"many-{number}", value="x" * 50)
    world.sandbox.faults.no_streaming_lists()
    async with world.following(CONFIG_MAPS):
        await world.equal()
    assert [page.query["limit"] for page in pages_read(world)] == ["500"] * 3


async def test_pages_get_smaller_when_objects_are_large(world: World) -> None:
    for number in range(520):
        world.put(f"large-{number:03}", value="x" * 40_000)
    world.sandbox.faults.no_streaming_lists()
    async with world.following(CONFIG_MAPS):
        await world.equal()
    pages = pages_read(world)
    assert pages[0].query["limit"] == "500"
    assert 150 < int(pages[1].query["limit"]) < 250


async def test_resume_without_a_list(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await world.watching()
    world.change()
    world.sandbox.requests.clear()
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await world.state(CONFIG_MAPS, "live")
    assert world.lists(CONFIG_MAPS) == 0


async def test_bookmarks_move_the_checkpoint(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await world.watching()
        world.sandbox.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
        world.sandbox.bookmark()
        version = str(world.sandbox.cluster.resource_version)
        await eventually(lambda: world.watches(CONFIG_MAPS), lambda rows: rows[0].checkpoint == version)
    world.sandbox.cluster.compact()
    world.sandbox.requests.clear()
    async with world.following(CONFIG_MAPS):
        world.put("after", a="1")
        await world.equal()
    assert world.lists(CONFIG_MAPS) == 0


async def test_stopped_between_the_pages_of_a_list(world: World) -> None:
    for number in range(700):
        world.put(f"many-{number:03}")
    async with world.following(CONFIG_MAPS):
        await world.equal()
    world.change()
    for number in range(0, 700, 7):
        world.drop(f"many-{number:03}")
    world.sandbox.cluster.compact()
    world.sandbox.faults.no_streaming_lists()
    gate = world.sandbox.faults.hold(resource=CONFIG_MAPS, page=2)
    async with world.following(CONFIG_MAPS):
        await world.sees(gate.reached.is_set)
    assert len(await world.cached(CONFIG_MAPS)) > len(world.served(CONFIG_MAPS))  # nothing was swept
    world.sandbox.faults.clear()
    world.drop("untouched")
    async with world.following(CONFIG_MAPS):
        await world.equal()


async def test_a_storm_of_events(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await world.watching()
        for number in range(4000):  # 16 MB: more than is read ahead
            world.put(f"storm-{number % 300}", value=str(number) + "x" * 4000)
        await world.equal()
    assert world.lists(CONFIG_MAPS) == 1


# -- streamed lists, and servers that have none ----------------------------------------------------------------


async def test_lists_are_streamed(world: World) -> None:
    for number in range(1200):
        world.put(f"many-{number}", value="x" * 50)
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await world.state(CONFIG_MAPS, "live")
    assert world.sandbox.requests.count(verb="list", resource="configmaps") == 0
    [watch] = world.sandbox.requests.matching(verb="watch", resource="configmaps")
    assert watch.query["sendInitialEvents"] == "true"


async def test_a_group_that_refuses_to_stream_lists_is_asked_once(world: World) -> None:
    cluster = world.sandbox.cluster
    for plural in ("anvils", "rockets"):
        cluster.create(crd(plural, plural.capitalize()))
        cluster.create(custom(plural.capitalize(), "one"))
        world.sandbox.faults.no_streaming_lists(resource=f"{plural}.example.com")
    async with world.following(CONFIG_MAPS, "*.example.com"):
        await world.equal()
        for name in ("anvils.example.com", "rockets.example.com"):
            await world.state(name, "live")
            cluster.compact()
            world.sandbox.faults.expire(resource=name)
            world.sandbox.faults.cut("abort", resource=name)
            await eventually(partial(world.watches, name), lambda rows: rows[0].lists == 2)
        await world.equal()
    refused = world.sandbox.requests.matching(verb="watch", status=422)
    assert {request.group for request in refused} == {"example.com"}
    assert len(refused) <= 2  # both may have been asked at once
    assert world.sandbox.requests.count(verb="list", resource="configmaps") == 0


async def test_a_server_that_does_not_know_of_streamed_lists_is_found_out_once(world: World) -> None:
    world.sandbox.faults.no_streaming_lists("ignore", resource=CONFIG_MAPS)
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await world.state(CONFIG_MAPS, "live")
        world.sandbox.faults.expire(resource=CONFIG_MAPS)
        world.sandbox.faults.cut("abort", resource=CONFIG_MAPS)
        world.change()
        await eventually(lambda: world.watches(CONFIG_MAPS), lambda rows: rows[0].lists == 2)
        await world.equal()
    asked = world.sandbox.requests.matching(verb="watch", resource="configmaps")
    assert sum("sendInitialEvents" in request.query for request in asked) == 1


async def test_a_streamed_list_that_fails_is_read_in_pages_once(world: World) -> None:
    world.sandbox.faults.break_off("abort", resource=CONFIG_MAPS)
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await world.state(CONFIG_MAPS, "live")
        assert len(pages_read(world)) == 1
        world.sandbox.faults.expire(resource=CONFIG_MAPS)
        world.sandbox.faults.cut("abort", resource=CONFIG_MAPS)
        await eventually(lambda: world.watches(CONFIG_MAPS), lambda rows: rows[0].lists == 2)
        await world.equal()
    asked = world.sandbox.requests.matching(verb="watch", resource="configmaps")
    assert sum("sendInitialEvents" in request.query for request in asked) == 2


@pytest.mark.parametrize("code", [400, 422, 501])
async def test_a_server_that_refuses_everything_is_not_asked_without_end(world: World, code: int) -> None:
    slow = dataclasses.replace(FAST, backoff=BackoffTimings(0.4, 0.4))
    refused = world.sandbox.faults.refuse(code, resource=CONFIG_MAPS)
    async with world.following(CONFIG_MAPS, timings=slow):
        row = await world.state(CONFIG_MAPS, "error")
        assert str(code) in row.error
        await world.sandbox.requests.seen(2, verb="list", resource="configmaps")
        second = time.monotonic()
        await world.sandbox.requests.seen(4, verb="list", resource="configmaps")
        assert time.monotonic() - second > 0.3  # two delays of 0.2 s or more
        world.sandbox.faults.remove(refused)
        await world.equal()


# -- bounds ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["watch", "list"])
async def test_only_so_many_list_at_once(world: World, verb: str) -> None:
    if verb == "list":
        world.sandbox.faults.no_streaming_lists()
    for number in range(20):
        world.sandbox.cluster.create(crd(f"type{number}s", f"Type{number}"))
        world.sandbox.cluster.create(custom(f"Type{number}", "one"))
    gate = world.sandbox.faults.hold(verb=verb)
    async with world.following("*.example.com"):
        await eventually(world.known_types, lambda found: len(found) == 20)
        await world.sees(lambda: listing(world, verb) >= CONCURRENT_LISTS)
        await world.client.cluster_uid()  # who else wanted to has had the time
        assert listing(world, verb) == CONCURRENT_LISTS
        gate.release()
        await world.equal()


def listing(world: World, verb: str) -> int:
    """How many lists wait for their answer."""
    return world.sandbox.requests.count(verb=verb, status=None)


class Measured(Budget):
    """A budget that remembers how much was held at most."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.held = self.most = 0

    def take(self, size: int) -> None:
        super().take(size)
        self.held += size
        self.most = max(self.most, self.held)

    def give_back(self, size: int) -> None:
        super().give_back(size)
        self.held -= size


async def test_many_bursts_at_once_stay_within_the_budget(world: World) -> None:
    kinds, budget = range(10), Measured(200_000)
    names = [f"burst{number}s.example.com" for number in kinds]
    shared = Shared(world.client, world.writer, FAST, rediscover=lambda: None, budget=budget)
    await world.writer.open_cluster("uid", ["*.example.com"])
    tasks = []
    for number in kinds:
        world.sandbox.cluster.create(crd(f"burst{number}s", f"Burst{number}"))
        [watch] = await world.writer.declare(
            ResourceType("example.com", "v1", f"burst{number}s", f"Burst{number}", True, ("v1",))
        )
        tasks.append(asyncio.create_task(Reflector(shared, watch).run()))
    for name in names:
        await world.state(name, "live")
    async with world.pool.connection() as connection, connection.transaction():
        await connection.execute("LOCK TABLE resources IN SHARE ROW EXCLUSIVE MODE")
        for round_ in range(100):
            for number in kinds:
                world.sandbox.cluster.apply(custom(f"Burst{number}", f"object-{round_}", text="x" * 10_000))
        await world.sees(lambda: budget.exhausted)
    await world.in_sync(*names)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert 200_000 <= budget.most < 200_000 + len(names) * 11_000  # one item of each stream, when there is no room left
    assert budget.held == 0


# -- everything at once ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
async def test_anything_in_any_order(world: World, seed: int) -> None:
    """Changes, failures and restarts of the service at random; in the end the cache equals the cluster."""
    chance = random.Random(seed)
    cluster, faults = world.sandbox.cluster, world.sandbox.faults
    maps = CONFIG_MAPS
    if seed % 2:
        faults.no_streaming_lists()

    def renew(name: str) -> None:
        if name in {found["metadata"]["name"] for found in cluster.objects(CONFIG_MAPS)}:
            world.drop(name)
        if chance.random() < 0.5:
            world.put(name, a=str(chance.random()))

    failures: list[Callable[[], object]] = [
        lambda: faults.cut(chance.choice(["end", "mid-line", "abort", "error"]), resource=CONFIG_MAPS),
        lambda: faults.break_off(chance.choice(["end", "mid-line", "abort"]), resource=maps, times=1),
        lambda: faults.expire(resource=maps, times=1, in_stream=chance.random() < 0.5),
        lambda: faults.refuse(chance.choice([410, 429, 500, 502, 504]), resource=maps, times=1),
        lambda: faults.stream_error(resource=maps, times=1),
        cluster.compact,
        world.sandbox.bookmark,
    ]
    for _ in range(4):
        async with world.following(CONFIG_MAPS, reconcile_interval=0.05):
            for _ in range(60):
                name = f"random-{chance.randrange(12)}"
                if chance.random() < 0.5:
                    world.put(name, a=str(chance.random()))
                else:
                    renew(name)
                if chance.random() < 0.15:
                    chance.choice(failures)()
                if chance.random() < 0.5:
                    await asyncio.sleep(chance.random() * 0.01)  # no waiting for anything: others get their turn
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await world.state(CONFIG_MAPS, "live")
        await world.equal()
        [row] = await world.watches(CONFIG_MAPS)
    assert row.repairs == 0  # nothing was ever missing that had to be found by comparing
