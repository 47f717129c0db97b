"""A watch that goes on from its checkpoint is live once it has told all that the API server had, and not before."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import pytest

from presenter.cache.pool import Address
from presenter.kube.reflector import FRUITLESS_WATCHES
from tests.api.service import serving
from tests.eventually import eventually
from tests.kube.world import CONFIG_MAPS, FAST, World
from tests.rbac.objects import cluster_role, ref, role_binding, rule, user

AWAY = 3600.0
"""Seconds for which nobody has watched."""

LATELY = 60.0
"""Seconds that are nothing beside those."""

ROLE_BINDINGS = "rolebindings.rbac.authorization.k8s.io"

# What is said of the config maps' watch in every transaction, beside the newest of the rows that it is said of.
_NOTE = """
CREATE TABLE said (
    number bigserial, state text, heard timestamptz, lag double precision, lists bigint, newest numeric
);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO said (state, heard, lag, lists, newest)
    SELECT NEW.state, NEW.last_event_at, extract(epoch FROM clock_timestamp() - NEW.last_event_at), NEW.lists, (
        SELECT max(coalesce(resource_version, substring(raw #>> '{metadata,resourceVersion}' from '[0-9]+$')::numeric))
        FROM resources r WHERE r.type_id = t.id)
    FROM resource_types t WHERE t.id = NEW.type_id AND t.resource = 'configmaps';
    RETURN NEW;
END $$;
CREATE TRIGGER note AFTER UPDATE ON watches FOR EACH ROW EXECUTE FUNCTION note()
"""
_SAID = "SELECT state, heard, lag, lists, newest FROM said ORDER BY number"
_LONG_AGO = f"UPDATE watches SET last_event_at = clock_timestamp() - interval '{AWAY} s'"


@dataclass(frozen=True)
class Said:
    state: str
    heard: datetime
    lag: float
    lists: int
    newest: int

    @property
    def fresh(self) -> bool:
        return self.lag < LATELY


@pytest.fixture
def world(world: World) -> World:
    for name in ("untouched", "changed", "deleted", "renewed"):
        world.put(name, a="1")
    return world


async def watched_once(world: World) -> None:
    """The first list is complete, nobody watches any more, and that was long ago."""
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await world.state(CONFIG_MAPS, "live")
    await world.execute(_LONG_AGO, _NOTE)
    world.sandbox.requests.clear()


async def said(world: World) -> list[Said]:
    async with world.pool.connection() as connection:
        return [Said(**row) for row in await connection.fetch(_SAID)]


async def clock(world: World) -> datetime:
    """The database's."""
    async with world.pool.connection() as connection:
        now: datetime = await connection.fetchval("SELECT clock_timestamp()")
        return now


async def live(world: World) -> list[Said]:
    """All that was said until the watch was fresh and live."""
    return await eventually(
        partial(said, world), lambda said: any(each.fresh and each.state == "live" for each in said)
    )


def elsewhere(world: World) -> None:
    """Something happens to other types, so that the API server's version is not that of the last config map."""
    world.sandbox.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "other-"}})


@pytest.mark.parametrize("prefix", ["", "opaque-"])
async def test_nothing_is_fresh_before_the_backlog_is_applied(world: World, prefix: str) -> None:
    world.sandbox.faults.opaque_versions(prefix)
    await watched_once(world)
    for number in range(1200):  # three batches
        world.put("changed", a=str(number))
    last = world.sandbox.cluster.resource_version
    elsewhere(world)
    async with world.following(CONFIG_MAPS):
        seen = await live(world)
        await world.equal()
    assert [each.state for each in seen if each.fresh] == ["live"]
    assert all(each.newest == last for each in seen if each.fresh or each.state == "live")
    assert all(each.lag >= AWAY for each in seen if not each.fresh)
    assert world.lists(CONFIG_MAPS) == 0


async def test_the_lag_is_that_of_the_moment_that_was_caught_up_with(world: World) -> None:
    await watched_once(world)
    world.put("changed", a="2")
    gate = world.sandbox.faults.hold(verb="watch", resource=CONFIG_MAPS)
    async with world.following(CONFIG_MAPS):
        await world.sees(gate.reached.is_set)
        asked = await clock(world)
        later = await eventually(partial(clock, world), lambda now: now > asked + timedelta(seconds=1))
        gate.release()
        seen = await live(world)
    [heard, *_] = [each.heard for each in seen if each.fresh]
    assert heard < later, "what happened since the API server was asked may not all have been told"


async def test_a_quiet_watch_is_soon_known_to_be_complete(world: World) -> None:
    await watched_once(world)
    elsewhere(world)
    async with world.following(CONFIG_MAPS):
        seen = await live(world)
        await world.watching(2)
    assert {each.state for each in seen if not each.fresh} == {"syncing"}
    first, second = world.sandbox.requests.matching(verb="watch", resource="configmaps")
    assert int(first.query["timeoutSeconds"]) == FAST.catching_up
    assert int(second.query["timeoutSeconds"]) >= FAST.watch[0]
    assert world.lists(CONFIG_MAPS) == 0


@pytest.mark.parametrize("listing", ["streamed", "pages"])
async def test_without_bookmarks_a_list_tells(world: World, listing: str) -> None:
    if listing == "pages":
        world.sandbox.faults.no_streaming_lists()
    await watched_once(world)
    world.sandbox.faults.no_bookmarks()
    elsewhere(world)
    async with world.following(CONFIG_MAPS, timings=dataclasses.replace(FAST, catching_up=1)):
        await eventually(partial(world.watches, CONFIG_MAPS), lambda rows: rows[0].lists == 2)
        seen = await live(world)
    assert all(each.lag >= AWAY for each in seen if not each.fresh)
    assert all(each.lists == 2 for each in seen if each.fresh)
    watches = world.sandbox.requests.matching(verb="watch", resource="configmaps", status=200)
    assert [watch.query["timeoutSeconds"] for watch in watches].count("1") == FRUITLESS_WATCHES + 1


async def test_a_clean_end_leaves_a_watch_as_live_as_it_was(world: World) -> None:
    async with world.following(CONFIG_MAPS, timings=dataclasses.replace(FAST, instant=0.0)):
        await world.equal()
        await world.execute(_NOTE)
        for round_ in range(1, 5):
            await world.watching(round_)
            if round_ % 2:
                world.put("changed", a=str(round_))
                world.sandbox.bookmark()
                await world.equal()
            elsewhere(world)
            world.sandbox.faults.cut("end", resource=CONFIG_MAPS)
        await world.watching(5)
        assert {each.state for each in await said(world)} == {"live"}


async def test_who_lost_a_right_in_the_backlog_is_not_let_in_again(world: World, database: Address) -> None:
    """Once refused since the rules may be out of date, alice waits for those that are not."""
    cluster = world.sandbox.cluster
    cluster.apply(cluster_role("reader", rule("list", CONFIG_MAPS)))
    cluster.apply(role_binding("default", "alice", ref("ClusterRole", "reader"), user("alice")))
    await watched_once(world)
    cluster.delete(ROLE_BINDINGS, "alice", "default")
    elsewhere(world)
    async with serving(database) as service:

        async def ask() -> int:
            return (await service.page(group="core", resource=CONFIG_MAPS, namespace="default")).code

        codes = [await ask()]
        world.sandbox.faults.stall(resource=ROLE_BINDINGS, times=1)  # the watch is open, and has told nothing yet
        async with world.following(CONFIG_MAPS, timings=dataclasses.replace(FAST, catching_up=1, silence=1.0)):
            await world.sandbox.requests.seen(1, verb="watch", resource="rolebindings", status=200)
            while codes[-1] == 503:
                codes.append(await ask())
    assert set(codes[:-1]) == {503}
    assert codes[-1] == 403
