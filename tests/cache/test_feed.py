"""The feed: who follows it from any position on has, in the end, what a query gives; whatever has happened."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from presenter.cache import items
from presenter.cache.feed import Batch, Change, State, news, read_batch
from presenter.cache.forgetting import forget_cluster
from presenter.cache.lease import Lease
from presenter.cache.pool import Pool
from presenter.cache.query import Row
from presenter.cache.writer import Writer
from presenter.errors import DatabaseUnavailable, Expired, Unavailable
from presenter.resource import Event, Object, Watch
from tests.cache.objects import BUTTONS, PANELS, make_object

NAMESPACES = ("a", "b")
COMPOSITION = "00000000-0000-0000-0000-000000000001"
_clusters = (f"cluster-{number}" for number in itertools.count(1))

Json = Any
Filter = Callable[[State], bool]
FILTERS: dict[str, tuple[Filter, str]] = {
    "all": (lambda state: True, "true"),
    "app=a": (lambda state: state.labels.get("app") == "a", 'labels @> \'{"app": "a"}\''),
    "!app": (lambda state: "app" not in state.labels, "NOT labels ? 'app'"),
    "composition": (lambda state: state.composition_id == COMPOSITION, f"composition_id = '{COMPOSITION}'"),
}

# Everything that a failover may take back. What is not logged is lost by it.
_SAVED = ("clusters", "resource_types", "watches", "resources", "past_states")
_SAVE = [f"CREATE TABLE saved_{table} AS TABLE {table}" for table in _SAVED]
_RESTORE = [
    "TRUNCATE clusters, resource_types, watches, resources, past_states, listed",
    *(f"INSERT INTO {table} OVERRIDING SYSTEM VALUE TABLE saved_{table}" for table in _SAVED),
]
_DROP = [f"DROP TABLE IF EXISTS saved_{table}" for table in _SAVED]


async def run(pool: Pool, *statements: str) -> None:
    async with pool.connection() as connection, connection.transaction():
        for statement in statements:
            await connection.execute(statement)


async def table(pool: Pool, cluster: str, where: str = "true") -> tuple[int, dict[str, Json]]:
    """The cluster's revision, and of the objects that match what a list gives, by their uids; in one snapshot."""
    async with pool.connection() as connection, connection.transaction(isolation="repeatable_read"):
        revision = await connection.fetchval("SELECT revision FROM clusters WHERE name = $1", cluster)
        rows = await connection.fetch(f"SELECT uid, raw FROM resources WHERE cluster = $1 AND {where}", cluster)
    return revision, {row["uid"]: msgspec.json.decode(row["raw"]) for row in rows}


def document(change: Change) -> Json:
    """The object that its item shows."""
    if isinstance(change.item, Row):
        return msgspec.json.decode(change.item.raw or b"null")
    return msgspec.json.decode(items.inflated([change.item]))["raw"]


@dataclass
class Follower:
    """Who has read what matches, and is told what becomes of it."""

    pool: Pool
    cluster: str
    filter: str
    position: int = 0
    known: int = 0
    objects: dict[str, Json] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)

    async def read_all(self) -> None:
        self.position, self.objects = await table(self.pool, self.cluster, FILTERS[self.filter][1])
        self.known = self.position
        self.seen = {}

    async def follow(self, rows: int = 500, size: int = 2**20) -> bool:
        """Read one batch. Returns whether there is more."""
        try:
            batch = await read_batch(self.pool, self.cluster, self.position, seen=self.known, rows=rows, size=size)
        except Expired:
            await self.read_all()
            return False
        check(batch, self.position, rows)
        for change in batch.changes:
            match news(change, FILTERS[self.filter][0]):
                case "DELETED":
                    self.objects.pop(change.uid, None)
                case "ADDED" | "MODIFIED":
                    assert change.revision >= self.seen.get(change.uid, 0), "a version went back"
                    self.seen[change.uid] = change.revision
                    self.objects[change.uid] = document(change)
        self.position, self.known = batch.revision, batch.seen
        return batch.more

    async def catch_up(self, rows: int) -> None:
        while await self.follow(rows):
            pass

    def copy(self) -> Follower:
        return replace(self, objects=dict(self.objects), seen={})


def check(batch: Batch, after: int, rows: int) -> None:
    """What holds for every batch."""
    assert batch.after == after
    assert batch.revision > after or not batch.more
    revisions = [change.revision for change in batch.changes]
    assert revisions == sorted(revisions)
    assert all(after < revision <= batch.revision for revision in revisions)
    assert len({(change.type_id, change.uid) for change in batch.changes}) == len(batch.changes)
    assert len(batch.changes) <= rows or len(set(revisions)) == 1


class History:
    """A cluster to which something happens, written as the reflectors would. What it is told may be refused."""

    def __init__(self, pool: Pool, cluster: str, data: st.DataObject) -> None:
        self.pool = pool
        self.cluster = cluster
        self.data = data
        self.writer = Writer(pool, cluster)
        self.watches: list[Watch] = []
        self.version = 0

    async def begin(self) -> None:
        await self.writer.open_cluster("uid", ["*.*"])
        for type in (PANELS, BUTTONS):
            self.watches += await self.writer.declare(type)

    def object(self, watch: Watch) -> Object:
        """One of a few, in its next state, or in one that is known."""
        number = self.data.draw(st.integers(0, 4))
        self.version += self.data.draw(st.integers(0, 1))
        namespace = watch.namespace or NAMESPACES[number % 2]
        return make_object(
            number,
            uid=f"{watch.type.resource}-{namespace}-{number}",
            namespace=namespace,
            resource_version=self.version,
            labels=self.data.draw(st.sampled_from([{}, {"app": "a"}, {"app": "b", "more": "x"}])),
            composition_id=self.data.draw(st.sampled_from([None, COMPOSITION])),
            raw={"version": self.version},
        )

    def objects(self, watch: Watch, most: int) -> list[Object]:
        found = [self.object(watch) for _ in range(self.data.draw(st.integers(0, most)))]
        return list({object.uid: object for object in found}.values())

    def events(self, watch: Watch) -> list[Event]:
        return [
            Event(self.data.draw(st.sampled_from(["upsert", "upsert", "delete"])), self.object(watch))
            for _ in range(self.data.draw(st.integers(0, 4)))
        ]

    async def step(self) -> None:
        """Something happens."""
        happens: list[Callable[[Watch], Awaitable[None]]] = [
            self.apply, self.apply, self.apply, self.list_pages, self.list_stream, self.break_off, self.redeclare,
            self.forget, self.new_epoch, self.restart, self.remove_past, self.save, self.fail_over,
        ]  # fmt: skip
        watch = self.data.draw(st.sampled_from(self.watches))
        happening = self.data.draw(st.sampled_from(happens))
        note(f"{happening.__name__} {watch}")
        try:
            await happening(watch)
        except DatabaseUnavailable:
            for each in self.watches:
                await self.writer.checkpoint(each)

    async def apply(self, watch: Watch) -> None:
        await self.writer.apply(watch, self.events(watch), str(self.version))

    async def list_pages(self, watch: Watch) -> None:
        await self.writer.begin_list(watch)
        await self.writer.list_page(watch, self.objects(watch, 4))
        await self.writer.finish_list(watch, str(self.version))

    async def list_stream(self, watch: Watch) -> None:
        await self.writer.begin_list(watch)
        await self.writer.list_events(watch, [Event("upsert", object) for object in self.objects(watch, 4)])
        await self.writer.list_events(watch, self.events(watch))
        await self.writer.finish_list(watch, str(self.version))

    async def break_off(self, watch: Watch) -> None:
        await self.writer.begin_list(watch)
        await self.writer.list_page(watch, self.objects(watch, 4))

    async def redeclare(self, watch: Watch) -> None:
        """In other namespaces, or in another version."""
        namespaces = self.data.draw(st.sampled_from([[""], ["a"], ["a", "b"], ["b", "c"]]))
        version = self.data.draw(st.sampled_from(["v1beta1", "v1"]))
        kept = [each for each in self.watches if each.type.name != watch.type.name]
        self.watches = [*kept, *await self.writer.declare(replace(watch.type, version=version), namespaces)]

    async def forget(self, watch: Watch) -> None:
        await self.writer.forget(watch.type)
        kept = [each for each in self.watches if each.type.name != watch.type.name]
        self.watches = [*kept, *await self.writer.declare(watch.type)]

    async def new_epoch(self, watch: Watch) -> None:
        await self.writer.new_epoch(watch)

    async def restart(self, _: Watch) -> None:
        self.writer = Writer(self.pool, self.cluster)

    async def remove_past(self, _: Watch) -> None:
        kept, most = self.data.draw(st.integers(0, 4)), self.data.draw(st.integers(1, 4))
        await self.writer.remove_past(timedelta(days=1), kept, most)

    async def save(self, _: Watch) -> None:
        """A replica has come so far; what it is given afterwards will be lost."""
        await run(self.pool, *_DROP, *_SAVE)
        self.saved = list(self.watches)

    async def fail_over(self, _: Watch) -> None:
        if hasattr(self, "saved"):
            await run(self.pool, *_RESTORE)
            self.watches = list(self.saved)
            await self.data.draw(st.sampled_from([self.restart, self.new_epoch]))(self.watches[0])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_who_follows_has_what_a_query_gives(pool: Pool, data: st.DataObject) -> None:
    await run(pool, *_DROP)
    history = History(pool, next(_clusters), data)
    await history.begin()
    followers = [Follower(pool, history.cluster, filter) for filter in FILTERS]
    for follower in followers:
        await follower.read_all()
    stopped: list[Follower] = []
    for _ in range(data.draw(st.integers(1, 12))):
        await history.step()
        if data.draw(st.booleans()):
            follower = data.draw(st.sampled_from(followers))
            stopped.append(follower.copy())
            await follower.follow(data.draw(st.integers(1, 3)), data.draw(st.sampled_from([1, 2**20])))
    for follower in [*followers, *stopped]:
        await follower.catch_up(data.draw(st.integers(1, 4)))
        expected = await table(pool, history.cluster, FILTERS[follower.filter][1])
        assert (follower.position, follower.objects) == expected, follower.filter


# -- positions ---------------------------------------------------------------------------------------------------------

# How a version before past states takes the lease, deletes and writes: it knows of `watches.revision` alone.
_OLDER_TAKES = """
UPDATE leases SET epoch = epoch + 1, holder = 'older', expires_at = clock_timestamp() + interval '8 s'
"""
_OLDER_DELETES = """
WITH gone AS (DELETE FROM resources WHERE uid = $1 RETURNING type_id)
UPDATE watches SET revision = revision + 2^20 FROM gone WHERE watches.type_id = gone.type_id
"""
_OLDER_FORGETS = ("DELETE FROM resources", "DELETE FROM resource_types")
_RELEASE = "UPDATE leases SET expires_at = clock_timestamp()"


@asynccontextmanager
async def leading(pool: Pool) -> AsyncIterator[Writer]:
    """The writer of a process that leads."""
    led = asyncio.get_running_loop().create_future()

    async def work(epoch: int) -> None:
        led.set_result(Writer(pool, "test", epoch))
        await asyncio.Event().wait()

    lead = asyncio.create_task(Lease(pool, "test", "newer").lead(work))
    try:
        yield await led
    finally:
        lead.cancel()
        await asyncio.wait((lead,))


async def listed(writer: Writer, objects: Sequence[Object]) -> Watch:
    [watch] = await writer.declare(PANELS)
    await writer.begin_list(watch)
    await writer.list_page(watch, objects)
    await writer.finish_list(watch, "1000")
    return watch


async def test_the_next_leader_goes_on_with_the_feed(pool: Pool) -> None:
    follower = Follower(pool, "test", "all")
    for number in range(3):
        async with leading(pool) as writer:
            await writer.open_cluster("uid", ["*.*"])
            if not number:
                await follower.read_all()
            await listed(writer, [make_object(number)])
        before = follower.position
        batch = await read_batch(pool, "test", before)
        assert {change.uid for change in batch.changes} >= {make_object(number).uid}
        await follower.follow()
        assert (follower.position, follower.objects) == await table(pool, "test")


@pytest.mark.parametrize("forgets", [False, True])
async def test_after_an_older_version_the_feed_begins_anew(pool: Pool, *, forgets: bool) -> None:
    async with leading(pool) as writer:
        await writer.open_cluster("uid", ["*.*"])
        await listed(writer, [make_object(number) for number in range(3)])
    position, _ = await table(pool, "test")
    assert (await read_batch(pool, "test", position)).changes == []

    await run(pool, _OLDER_TAKES)
    with pytest.raises(Unavailable, match="are not kept"):
        await read_batch(pool, "test", position)
    if forgets:
        await run(pool, *_OLDER_FORGETS)
    else:
        async with pool.connection() as connection:
            await connection.execute(_OLDER_DELETES, make_object(1).uid)
    await run(pool, _RELEASE)

    async with leading(pool) as writer:
        with pytest.raises(Unavailable, match="are not kept"):
            await read_batch(pool, "test", position)
        await writer.open_cluster("uid", ["*.*"])
        with pytest.raises(Expired):
            await read_batch(pool, "test", position)
        follower = Follower(pool, "test", "all")
        await follower.read_all()
        await listed(writer, [make_object(2), make_object(3)])
        assert not await follower.follow()
        assert (follower.position, follower.objects) == await table(pool, "test")


async def test_a_position_that_nobody_was_at_is_refused(pool: Pool, writer: Writer) -> None:
    await writer.open_cluster("uid", ["*.*"])
    began, _ = await table(pool, "test")
    await listed(writer, [make_object(1)])
    position, _ = await table(pool, "test")
    another = Writer(pool, "test")
    await listed(another, [make_object(2)])
    after, _ = await table(pool, "test")
    for known in (began, position, after):
        await read_batch(pool, "test", known)
    for unknown in (0, began - 1, position + 1, after + 1, 2**62):
        with pytest.raises(Expired, match=f"since revision {unknown} is not known: read everything anew"):
            await read_batch(pool, "test", unknown)
    with pytest.raises(Expired, match="there is no cluster nowhere"):
        await read_batch(pool, "nowhere", None)


_REFUSE = (
    """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$""",
    "CREATE TRIGGER refuse BEFORE UPDATE ON watches FOR EACH ROW EXECUTE FUNCTION refuse()",
)
_ALLOW = "DROP TRIGGER refuse ON watches"
_LOST = "SELECT lost::text FROM clusters"


async def test_after_a_write_of_which_nobody_knows_the_numbers_leap(pool: Pool, writer: Writer) -> None:
    await writer.open_cluster("uid", ["*.*"])
    watch = await listed(writer, [make_object(1)])
    follower = Follower(pool, "test", "all")
    await follower.read_all()
    await run(pool, *_REFUSE)
    with pytest.raises(DatabaseUnavailable):
        await writer.apply(watch, [Event("upsert", make_object(2))], "2000")
    await run(pool, _ALLOW)
    await writer.checkpoint(watch)
    await writer.apply(watch, [Event("upsert", make_object(3))], "2000")
    with pytest.raises(Expired):
        await read_batch(pool, "test", follower.position + 1)
    assert not await follower.follow()
    assert (follower.position, follower.objects) == await table(pool, "test")


async def test_what_postgresql_refuses_does_not_make_the_numbers_leap(pool: Pool, writer: Writer) -> None:
    await writer.open_cluster("uid", ["*.*"])
    watch = await listed(writer, [make_object(1)])
    follower = Follower(pool, "test", "all")
    await follower.read_all()
    async with pool.connection() as connection:
        before = await connection.fetchval(_LOST)
        for version in (2, 3):
            refused = make_object(7, resource_version=1000 + version, raw={"metadata": {}, "data": int("9" * 4000)})
            huge = msgspec.structs.replace(refused, raw=refused.raw.replace(b"9" * 4000, b"1e200000"))
            await writer.apply(watch, [Event("upsert", huge), Event("upsert", make_object(version))], str(version))
        await listed(writer, [make_object(1), msgspec.structs.replace(huge, resource_version=1009)])
        assert await connection.fetchval(_LOST) == before
    assert not await follower.follow()
    assert (follower.position, follower.objects) == await table(pool, "test")


async def test_no_position_outlives_its_cluster(pool: Pool) -> None:
    positions: list[int] = []
    for _ in range(3):  # it comes back
        for _ in range(3):  # and others lead
            async with leading(pool) as writer:
                await writer.open_cluster("uid", ["*.*"])
                await listed(writer, [make_object(1)])
                for position in positions:
                    with pytest.raises(Expired):
                        await read_batch(pool, "test", position)
        positions.append((await table(pool, "test"))[0])
        await forget_cluster(pool, "test")
        with pytest.raises(Expired, match="there is no cluster test"):
            await read_batch(pool, "test", positions[0])
        async with pool.connection() as connection:
            assert await connection.fetchval("SELECT count(*) FROM past_states") == 0


# -- what is gone ------------------------------------------------------------------------------------------------------


async def test_what_is_gone_is_shown_as_it_was_last(pool: Pool, writer: Writer) -> None:
    await writer.open_cluster("uid", ["*.*"])
    objects = [make_object(number, resource_version=number, labels={"n": str(number)}) for number in range(4)]
    watch = await listed(writer, objects)
    start, shown = await table(pool, "test")
    await run(pool, f"UPDATE resources SET piece = NULL, piece_of = NULL WHERE uid = '{objects[2].uid}'")
    await writer.apply(watch, [Event("delete", make_object(0, resource_version=1001))], "1001")
    await listed(writer, objects[2:])
    await writer.forget(PANELS)

    batch = await read_batch(pool, "test", start)
    assert [change.uid for change in batch.changes][:2] == [objects[0].uid, objects[1].uid]
    for change in batch.changes:
        number = int(change.name.rpartition("-")[2])
        assert replace(change.type, versions=("v1beta1",)) == PANELS
        assert (change.namespace, change.name) == (objects[number].namespace, objects[number].name)
        assert (change.before, change.after) == (State({"n": str(number)}, None), None)
        assert document(change) == shown[change.uid]
        assert isinstance(change.item, Row) == (number == 2)
    async with pool.connection() as connection:
        versions = await connection.fetch("SELECT deletion_version FROM past_states ORDER BY revision, uid")
    assert [row[0] for row in versions] == [1001, None, None, None], "a list does not tell when"


async def test_very_many_that_go_at_once_are_read_in_parts(pool: Pool, writer: Writer) -> None:
    await writer.open_cluster("uid", ["*.*"])
    small = [make_object(number) for number in range(1200)]
    large = [make_object(number, raw={"noise": secrets.token_hex(10**6)}) for number in range(1200, 1210)]
    watch = await listed(writer, [*small, *large])
    start, _ = await table(pool, "test")
    await writer.begin_list(watch)
    await writer.finish_list(watch, "1001")
    gone, parts, more = 0, 0, True
    while more:
        batch = await read_batch(pool, "test", start, rows=1)
        assert 0 < len(batch.changes) <= 512
        weight = sum(len(change.item) for change in batch.changes if not isinstance(change.item, Row))
        assert weight <= 2**22 + 2**21
        start, more = batch.revision, batch.more
        gone += len(batch.changes)
        parts += 1
    assert (gone, start) == (1210, (await table(pool, "test"))[0])
    assert parts >= 5, "three for their number, and more for their size"


async def test_of_some_types_only_these_are_read(pool: Pool, writer: Writer) -> None:
    await writer.open_cluster("uid", ["*.*"])
    [buttons] = await writer.declare(BUTTONS)
    start, _ = await table(pool, "test")
    panels = await listed(writer, [make_object(1), make_object(2)])
    await writer.apply(panels, [Event("delete", make_object(1, resource_version=9))], "9")
    await writer.apply(buttons, [Event("upsert", make_object(3))], "10")
    batch = await read_batch(pool, "test", start, types=[buttons.type_id])
    assert [change.uid for change in batch.changes] == [make_object(3).uid]
    batch = await read_batch(pool, "test", start, types=[panels.type_id])
    assert {change.uid for change in batch.changes} == {make_object(1).uid, make_object(2).uid}
