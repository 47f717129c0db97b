"""What an informer's store tells of are the rows, whoever writes them, in whatever order, and whenever it reads."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from presenter.cache.informer import Changes, InformerStore
from presenter.cache.pool import Address, Pool
from presenter.cache.writer import Writer
from presenter.resource import Event, Watch
from tests.access_control.world import CLUSTER_ROLES, PODS, ROLES, sql
from tests.objects import make_object

_ROWS = "SELECT type_id, uid, namespace, name, raw::text FROM resources WHERE type_id = ANY ($1::integer[])"
# The versions before 0002 write the same, but count nothing; and the clock may be set back or forward at any time.
_WORLD = """
CREATE TABLE world AS SELECT true AS counts, interval '0' AS clock;
CREATE FUNCTION in_this_world() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE world world%ROWTYPE;
BEGIN
    SELECT * INTO world FROM world;
    IF TG_TABLE_NAME = 'resources' THEN
        NEW.updated_at = NEW.updated_at + world.clock;
    END IF;
    IF world.counts THEN
        RETURN NEW;
    END IF;
    NEW.revision = CASE TG_OP WHEN 'INSERT' THEN 0 ELSE OLD.revision END;
    IF TG_TABLE_NAME = 'watches' THEN
        NEW.numbered = CASE TG_OP WHEN 'INSERT' THEN 0 ELSE OLD.numbered END;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER in_this_world BEFORE INSERT OR UPDATE ON resources FOR EACH ROW EXECUTE FUNCTION in_this_world();
CREATE TRIGGER in_this_world BEFORE INSERT OR UPDATE ON watches FOR EACH ROW EXECUTE FUNCTION in_this_world();
"""
# A standby server, and what it makes of the rows that it had not received when it became the primary one.
_REPLICATE = """
DROP TABLE IF EXISTS replicated_resources, replicated_watches;
CREATE TABLE replicated_resources AS SELECT * FROM resources;
CREATE TABLE replicated_watches AS SELECT * FROM watches;
"""
_FAIL_OVER = """
SET LOCAL session_replication_role = replica;
DELETE FROM resources;
INSERT INTO resources SELECT * FROM replicated_resources;
DELETE FROM watches;
INSERT INTO watches SELECT * FROM replicated_watches;
"""
_COUNTS = "UPDATE world SET counts = $1"
_CLOCK = "UPDATE world SET clock = make_interval(mins => $1)"

Held = dict[tuple[int, str], tuple[str, str, Any]]


def take(held: Held, changes: Changes) -> None:
    """Follow the changes as the store's owner does."""
    for gone in changes.removed:
        del held[gone.type_id, gone.uid]
    for there, raw in changes.put:
        held[there.type_id, there.uid] = (there.namespace, there.name, json.loads(raw))


async def rows(database: Address, type_ids: list[int]) -> Held:
    found = await sql(database, _ROWS, type_ids)
    return {(row["type_id"], row["uid"]): (row["namespace"], row["name"], json.loads(row["raw"])) for row in found}


changes = st.tuples(
    st.sampled_from(["upsert", "upsert", "delete"]),
    st.integers(0, 2),  # the type
    st.integers(0, 4),  # the object
    st.integers(0, 1),  # its life: which uid it has
)
steps: st.SearchStrategy[tuple[str, Any]] = st.one_of(
    st.tuples(st.just("apply"), st.lists(changes, min_size=1, max_size=4)),
    st.tuples(st.just("list"), st.lists(changes, max_size=4)),
    st.tuples(st.just("look"), st.just(None)),
    st.tuples(st.just("bookmark"), st.just(None)),
    st.tuples(st.just("takeover"), st.booleans()),  # by a version that counts, or not
    st.tuples(st.just("takeover in a list"), st.booleans()),
    st.tuples(st.just("clock"), st.integers(-3, 3)),
    st.tuples(st.just("replicate"), st.just(None)),
    st.tuples(st.just("fail over"), st.booleans()),  # to another writer, too, or not
)


class Herd:
    """A writer of types of which the store has two."""

    def __init__(self, pool: Pool, watches: list[Watch]) -> None:
        self.pool = pool
        self.writer = Writer(pool, "test")
        self.watches = watches
        self.version = 0
        self.replicated = False

    async def act(self, step: str, plan: Any) -> None:
        match step:
            case "apply":
                await self._apply(plan)
            case "list":
                await self._list(plan)
            case "bookmark":
                await self.writer.apply(self.watches[0], [], str(self.version))
            case "takeover":
                await self._take_over(counts=plan)
            case "takeover in a list":
                await self.writer.begin_list(self.watches[0])
                await self.writer.list_page(self.watches[0], [self._object(0, 0, 0), self._object(0, 1, 1)])
                await self._take_over(counts=plan)
                await self._list([("upsert", 0, 0, 0), ("upsert", 0, 1, 0)])
            case "clock":
                await self._execute(_CLOCK, plan)
            case "replicate":
                await self._execute(_REPLICATE)
                self.replicated = True
            case "fail over" if self.replicated:
                await self._execute(_FAIL_OVER)
                if plan:
                    self.writer = Writer(self.pool, "test")
                for watch in self.watches:
                    await self.writer.checkpoint(watch)

    async def _take_over(self, *, counts: bool) -> None:
        await self._execute(_COUNTS, counts)
        self.writer = Writer(self.pool, "test")
        self.replicated = False  # it is the last revision that tells of a failover

    async def _execute(self, statement: str, *arguments: object) -> None:
        async with self.pool.connection() as connection, connection.transaction():
            await connection.execute(statement, *arguments)

    async def _apply(self, plan: list[Any]) -> None:
        for number, watch in enumerate(self.watches):
            events = [Event(change, self._object(*thing)) for change, *thing in plan if thing[0] == number]
            if events:
                await self.writer.apply(watch, events, str(self.version))

    async def _list(self, plan: list[Any]) -> None:
        """A list of the first type that names only these."""
        watch = self.watches[0]
        await self.writer.begin_list(watch)
        for _, _, number, life in plan:
            await self.writer.list_page(watch, [self._object(0, number, life)])
        await self.writer.finish_list(watch, str(self.version))

    def _object(self, type: int, number: int, life: int) -> Any:
        self.version += 1
        watch = self.watches[type]
        return make_object(
            f"object-{number}",
            "default" if watch.type.namespaced else "",
            uid=f"{type}-{number}-{life}",
            resource_version=self.version,
            raw={"version": self.version},
        )


@pytest.fixture
async def herd(pool: Pool, writer: Writer) -> Herd:
    await writer.open_cluster("uid", ["*.*"])
    async with pool.connection() as connection:
        await connection.execute(_WORLD)
    return Herd(pool, [(await writer.declare(type))[0] for type in (ROLES, CLUSTER_ROLES, PODS)])


def failover(lost: list[Any], *, then: list[Any], to_another: bool) -> list[tuple[str, Any]]:
    """A change that is seen, and then lost."""
    there = [("apply", [("upsert", 0, 0, 0)]), ("replicate", None)]
    after = [("apply", then)] if then else []
    return [*there, ("apply", lost), ("look", None), ("fail over", to_another), *after]


@example(plan=failover([("upsert", 0, 0, 0)], then=[], to_another=False))
@example(plan=failover([("upsert", 0, 1, 0)], then=[("upsert", 0, 2, 0)], to_another=False))
@example(plan=failover([("upsert", 0, 1, 0)], then=[("upsert", 0, 2, 0)], to_another=True))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=st.lists(steps, min_size=3, max_size=12))
async def test_what_is_held_are_the_rows(database: Address, herd: Herd, plan: list[tuple[str, Any]]) -> None:
    type_ids = [watch.type_id for watch in herd.watches[:2]]
    store, held = InformerStore(herd.pool, type_ids), Held()
    for step in [*plan, ("look", None)]:
        await herd.act(*step)
        if step[0] == "look":
            take(held, await store.read_changes())
            assert held == await rows(database, type_ids)
    again = await store.read_changes()
    assert (again.removed, again.put) == ([], []), "what did not change is not read as a change"
