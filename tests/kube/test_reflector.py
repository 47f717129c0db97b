"""Whatever goes wrong on a watch, the cache ends equal to the cluster."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import time
from collections.abc import Callable

import pytest

from presenter.kube.backoff import BackoffTimings
from presenter.kube.reflector import IN_STREAM_RETRIES
from tests.eventually import eventually
from tests.kube.world import CONFIG_MAPS, FAST, World


async def change(world: World) -> None:
    """Something of everything: created, changed, deleted, deleted and created anew."""
    world.put("created", a="1")
    world.put("changed", a="2")
    world.drop("deleted")
    world.drop("renewed")
    world.put("renewed", a="2")


@pytest.fixture
def world(world: World) -> World:
    for name in ("untouched", "changed", "deleted", "renewed"):
        world.put(name, a="1")
    return world


async def watching(world: World, times: int = 1) -> None:
    await world.sandbox.requests.seen(times, verb="watch", resource="configmaps", status=200)


async def test_first_list_then_every_change(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
        await change(world)
        await world.in_sync(CONFIG_MAPS)
        row = await world.state(CONFIG_MAPS, "live")
    assert row.synced
    assert row.error == ""
    assert world.lists(CONFIG_MAPS) == 1
    assert "default" in {found["columns"][0] for found in (await world.cached(CONFIG_MAPS)).values()}


async def test_a_list_of_many_pages(world: World) -> None:
    for number in range(1200):
        world.put(f"many-{number}", value="x" * 50)
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
    pages = world.sandbox.requests.matching(verb="list", resource="configmaps")
    assert [page.query["limit"] for page in pages] == ["500"] * 3


async def test_pages_get_smaller_when_objects_are_large(world: World) -> None:
    for number in range(520):
        world.put(f"large-{number:03}", value="x" * 40_000)
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
    pages = world.sandbox.requests.matching(verb="list", resource="configmaps")
    assert pages[0].query["limit"] == "500"
    assert 150 < int(pages[1].query["limit"]) < 250


async def test_resume_without_a_list(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
        await watching(world)
    await change(world)
    world.sandbox.requests.clear()
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
        await world.state(CONFIG_MAPS, "live")
    assert world.lists(CONFIG_MAPS) == 0


async def test_bookmarks_move_the_checkpoint(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
        await watching(world)
        world.sandbox.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
        world.sandbox.bookmark()
        version = str(world.sandbox.cluster.resource_version)
        await eventually(lambda: world.watches(CONFIG_MAPS), lambda rows: rows[0].checkpoint == version)
    world.sandbox.cluster.compact()
    world.sandbox.requests.clear()
    async with world.following(CONFIG_MAPS):
        world.put("after", a="1")
        await world.in_sync(CONFIG_MAPS)
    assert world.lists(CONFIG_MAPS) == 0


async def test_deleted_while_nobody_watched_and_history_is_gone(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
    await change(world)
    world.sandbox.cluster.compact()
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
    assert world.lists(CONFIG_MAPS) == 2


@pytest.mark.parametrize("in_stream", [True, False])
async def test_history_expired(world: World, in_stream: bool) -> None:
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
        await watching(world)
        world.sandbox.faults.expire(resource=CONFIG_MAPS, in_stream=in_stream)
        world.sandbox.faults.cut("abort", resource=CONFIG_MAPS)
        await change(world)
        await eventually(lambda: world.cached(CONFIG_MAPS), lambda _: world.lists(CONFIG_MAPS) == 2)
        await world.in_sync(CONFIG_MAPS)


async def test_expired_on_the_list_that_follows_too(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
        await watching(world)
        world.sandbox.faults.expire(resource=CONFIG_MAPS)
        refused = world.sandbox.faults.refuse(410, verb="list", resource=CONFIG_MAPS, times=3)
        world.sandbox.faults.cut("abort", resource=CONFIG_MAPS)
        await change(world)
        await world.in_sync(CONFIG_MAPS)
    assert refused.times == 0


async def test_a_page_expired(world: World) -> None:
    for number in range(700):
        world.put(f"many-{number}")
    world.sandbox.faults.expire_page(resource=CONFIG_MAPS)
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
    assert world.lists(CONFIG_MAPS) == 2
    pages = world.sandbox.requests.matching(verb="list", resource="configmaps")
    tokens = [page.query["continue"] for page in pages if "continue" in page.query]
    assert len(tokens) == 2  # one for each attempt: the inconsistent token of the 410 was never used


@pytest.mark.parametrize(
    ("status", "body", "retry_after"),
    [
        (429, None, 1),
        (500, None, None),
        (502, "<html>Bad Gateway</html>", None),
        (503, "<html>", None),
        (504, None, None),
    ],
)
@pytest.mark.parametrize("verb", ["list", "watch"])
async def test_refused_for_a_while(
    world: World, verb: str, status: int, body: str | None, retry_after: int | None
) -> None:
    times = 1 if retry_after else 3
    refused = world.sandbox.faults.refuse(
        status, verb=verb, resource=CONFIG_MAPS, times=times, body=body, retry_after=retry_after
    )
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
        row = await world.state(CONFIG_MAPS, "live")
        await change(world)
        await world.in_sync(CONFIG_MAPS)
    assert refused.times == 0
    assert row.error == ""


async def test_a_server_that_asks_for_patience_gets_it(world: World) -> None:
    world.sandbox.faults.refuse(429, verb="list", resource=CONFIG_MAPS, times=1, retry_after=1)
    async with world.following(CONFIG_MAPS):
        await world.sandbox.requests.seen(1, verb="list", resource="configmaps")
        refused = time.monotonic()
        row = await world.state(CONFIG_MAPS, "error")
        await world.sandbox.requests.seen(2, verb="list", resource="configmaps")
        assert time.monotonic() - refused > 0.9
        await world.in_sync(CONFIG_MAPS)
    assert "429" in row.error


@pytest.mark.parametrize("how", ["end", "mid-line", "abort", "error"])
async def test_a_watch_cut_off(world: World, how: str) -> None:
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
        for round_ in range(1, 4):
            await watching(world, round_)
            await change(world)
            world.put("last", a=str(round_))
            assert world.sandbox.faults.cut(how, resource=CONFIG_MAPS) == 1
            world.put("deleted", a="again")
            world.put("meanwhile", a=str(round_))
            await world.in_sync(CONFIG_MAPS)
    assert world.lists(CONFIG_MAPS) == 1


async def test_in_stream_errors_are_retried_and_then_lead_to_a_list(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
        await watching(world)
        error = world.sandbox.faults.stream_error(500, "", "", resource=CONFIG_MAPS, times=IN_STREAM_RETRIES + 1)
        world.sandbox.requests.clear()
        world.sandbox.faults.cut("abort", resource=CONFIG_MAPS)
        await change(world)
        await world.sandbox.requests.seen(IN_STREAM_RETRIES + 2, verb="watch", resource="configmaps")
        await world.in_sync(CONFIG_MAPS)
    assert error.times == 0
    assert world.lists(CONFIG_MAPS) == 1


async def test_watches_that_end_at_once_do_not_spin(world: World) -> None:
    slow = dataclasses.replace(FAST, backoff=BackoffTimings(0.4, 0.4))
    async with world.following(CONFIG_MAPS, timings=slow):
        await world.in_sync(CONFIG_MAPS)
        await watching(world)
        closing = world.sandbox.faults.break_off("end", resource=CONFIG_MAPS, times=None)
        world.sandbox.faults.cut("end", resource=CONFIG_MAPS)
        row = await world.state(CONFIG_MAPS, "error")
        assert "ended at once" in row.error
        await change(world)
        await watching(world, 2)
        second = time.monotonic()
        await watching(world, 4)
        assert time.monotonic() - second > 0.3  # two delays of 0.2 s or more
        world.sandbox.faults.remove(closing)
        await world.in_sync(CONFIG_MAPS)
    assert world.lists(CONFIG_MAPS) == 1


async def test_a_silent_connection_is_left_once_bookmarks_were_seen(world: World) -> None:
    async with world.following(CONFIG_MAPS, timings=dataclasses.replace(FAST, silence=0.5)):
        await world.in_sync(CONFIG_MAPS)
        await watching(world)
        world.sandbox.bookmark()
        version = str(world.sandbox.cluster.resource_version)
        await eventually(lambda: world.watches(CONFIG_MAPS), lambda rows: rows[0].checkpoint == version)
        silence = world.sandbox.faults.drop_events(resource=CONFIG_MAPS)
        await change(world)
        await watching(world, 2)
        await world.in_sync(CONFIG_MAPS)
        world.sandbox.faults.remove(silence)
    assert world.lists(CONFIG_MAPS) == 1


@pytest.mark.parametrize("verb", ["list", "watch"])
async def test_an_answer_that_never_comes(world: World, verb: str) -> None:
    world.sandbox.faults.stall(verb=verb, resource=CONFIG_MAPS, times=1)
    async with world.following(CONFIG_MAPS, timings=dataclasses.replace(FAST, watch=(1, 1))):
        await world.sandbox.requests.seen(1, verb=verb, resource="configmaps")
        await change(world)
        await world.in_sync(CONFIG_MAPS)
        await watching(world, 2 if verb == "watch" else 1)
        world.put("later", a="1")
        await world.in_sync(CONFIG_MAPS)


async def test_events_of_any_size_in_pieces_of_any_size(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
        await watching(world)
        world.put("huge", value="äöü€😀" * 400_000)  # more than 4 MiB in one line
        await world.in_sync(CONFIG_MAPS)
        world.drop("huge")
        world.sandbox.faults.fragment(7, resource=CONFIG_MAPS)
        world.sandbox.faults.cut("end", resource=CONFIG_MAPS)
        await watching(world, 2)
        world.put("multibyte", value="äöü€😀" * 20)
        await world.in_sync(CONFIG_MAPS)
    assert world.lists(CONFIG_MAPS) == 1


async def test_what_jsonb_refuses_is_stored_all_the_same(world: World) -> None:
    world.put("nul", value="a\0b")
    async with world.following(CONFIG_MAPS):
        await eventually(lambda: world.cached(CONFIG_MAPS), lambda rows: len(rows) == 5)
        world.put("surrogate", value="a\0b")
        rows = await eventually(lambda: world.cached(CONFIG_MAPS), lambda rows: len(rows) == 6)
        world.drop("nul")
        world.drop("surrogate")
        await world.in_sync(CONFIG_MAPS)
    assert [row["raw"]["data"] for row in rows.values() if row["columns"][1] == "nul"] == [{"value": "a\ufffdb"}]


async def test_deleted_and_created_anew_many_times(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
        for number in range(300):
            world.drop("renewed")
            world.put("renewed", a=str(number))
        await world.in_sync(CONFIG_MAPS)
        rows = [row for row in (await world.cached(CONFIG_MAPS)).values() if row["columns"][1] == "renewed"]
    assert len(rows) == 1


async def test_old_events_replayed_do_not_undo_what_came_later(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        [before] = await eventually(lambda: world.watches(CONFIG_MAPS), lambda rows: any(r.synced for r in rows))
        await change(world)
        version = str(world.sandbox.cluster.resource_version)
        await eventually(lambda: world.watches(CONFIG_MAPS), lambda rows: rows[0].checkpoint == version)
    # As if the last transactions had been committed and their checkpoint had not: every event comes once more,
    # among them the deletion of an object that was created anew.
    async with world.pool.connection() as connection:
        await connection.execute("UPDATE watches SET checkpoint = $1", before.checkpoint)
    world.put("last")
    world.sandbox.requests.clear()
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
    assert world.lists(CONFIG_MAPS) == 0


async def test_stopped_between_the_pages_of_a_list(world: World) -> None:
    for number in range(700):
        world.put(f"many-{number:03}")
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
    await change(world)
    for number in range(0, 700, 7):
        world.drop(f"many-{number:03}")
    world.sandbox.cluster.compact()
    gate = world.sandbox.faults.hold(resource=CONFIG_MAPS, page=2)
    async with world.following(CONFIG_MAPS):
        await eventually(lambda: world.watches(CONFIG_MAPS), lambda _: gate.reached.is_set())
    assert len(await world.cached(CONFIG_MAPS)) > len(world.served(CONFIG_MAPS))  # nothing was swept
    world.sandbox.faults.clear()
    world.drop("untouched")
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)


async def test_etcd_restored_from_a_backup(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
        backup = world.sandbox.cluster.backup()
        await change(world)
        for number in range(20):
            world.put("changed", a=str(number))
        await world.in_sync(CONFIG_MAPS)
        world.sandbox.cluster.restore(backup)
        await world.in_sync(CONFIG_MAPS)
        await change(world)
        await world.in_sync(CONFIG_MAPS)


async def test_etcd_restored_while_nobody_watched(world: World) -> None:
    backup = world.sandbox.cluster.backup()
    await change(world)
    async with world.following(CONFIG_MAPS):
        await world.state(CONFIG_MAPS, "live")
    world.sandbox.cluster.restore(backup)
    world.put("created", b="other")
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)


async def test_etcd_restored_in_the_middle_of_a_list(world: World) -> None:
    for number in range(700):
        world.put(f"many-{number:03}", a="1")
    backup = world.sandbox.cluster.backup()
    for number in range(0, 700, 2):
        world.put(f"many-{number:03}", a="2")
    await change(world)
    gate = world.sandbox.faults.hold(resource=CONFIG_MAPS, page=2)
    async with world.following(CONFIG_MAPS):
        await eventually(lambda: world.cached(CONFIG_MAPS), lambda _: gate.reached.is_set())
        world.sandbox.cluster.restore(backup)
        world.sandbox.faults.clear()
        await world.in_sync(CONFIG_MAPS)


async def test_versions_that_are_no_numbers(world: World) -> None:
    world.sandbox.faults.opaque_versions()
    for name in ("untouched", "changed", "deleted", "renewed"):
        world.put(name, a="opaque")
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
        await change(world)
        await world.in_sync(CONFIG_MAPS)
    world.put("changed", a="while away")
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
    assert world.lists(CONFIG_MAPS) == 1


async def test_a_checkpoint_the_server_cannot_read(world: World) -> None:
    world.sandbox.faults.opaque_versions()
    async with world.following(CONFIG_MAPS):
        await world.state(CONFIG_MAPS, "live")
    world.sandbox.faults.opaque_versions("")
    await change(world)
    world.put("untouched", a="numbered")
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)


async def test_a_200_that_is_no_list_sweeps_nothing(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
    before = await world.cached(CONFIG_MAPS)
    world.sandbox.cluster.compact()
    world.put("created", a="1")
    world.sandbox.cluster.compact()
    body = '{"kind":"Status","metadata":{},"items":[]}'
    world.sandbox.faults.refuse(200, verb="list", resource=CONFIG_MAPS, body=body, content_type="application/json")
    async with world.following(CONFIG_MAPS):
        row = await world.state(CONFIG_MAPS, "error")
        assert "not a list" in row.error
        assert await world.cached(CONFIG_MAPS) == before
        world.sandbox.faults.clear()
        await world.in_sync(CONFIG_MAPS)


async def test_an_empty_list_sweeps_everything(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
    for name in ("untouched", "changed", "deleted", "renewed"):
        world.drop(name)
    world.sandbox.cluster.compact()
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
    assert await world.cached(CONFIG_MAPS) == {}


async def test_the_api_server_restarts(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
        await world.sandbox.stop()
        await change(world)
        [row] = await eventually(lambda: world.watches(CONFIG_MAPS), lambda rows: "cannot be reached" in rows[0].error)
        assert row.state == "error"
        await world.sandbox.start()
        await world.in_sync(CONFIG_MAPS)
    assert world.lists(CONFIG_MAPS) == 1


async def test_a_storm_of_events(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
        await watching(world)
        for number in range(4000):  # 16 MB: more than is read ahead
            world.put(f"storm-{number % 300}", value=str(number) + "x" * 4000)
        await world.in_sync(CONFIG_MAPS)
    assert world.lists(CONFIG_MAPS) == 1


@pytest.mark.parametrize("seed", range(6))
async def test_anything_in_any_order(world: World, seed: int) -> None:
    """Changes, failures and restarts of the service at random; in the end the cache equals the cluster."""
    chance = random.Random(seed)
    cluster, faults = world.sandbox.cluster, world.sandbox.faults
    maps = CONFIG_MAPS

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
        async with world.following(CONFIG_MAPS):
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
        await world.in_sync(CONFIG_MAPS)
        await world.state(CONFIG_MAPS, "live")
        await world.in_sync(CONFIG_MAPS)
