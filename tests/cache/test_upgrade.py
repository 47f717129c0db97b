"""A database that the schema before made and filled is brought to this one, under those who still work with that."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command

from presenter.cache import migration, schema
from presenter.cache.informer import InformerStore
from presenter.cache.pool import Address, Pool
from presenter.cache.writer import Writer
from presenter.resource import Event, ResourceType, Watch
from tests.eventually import eventually
from tests.objects import make_object

OBJECTS = 3000
ROLES = ResourceType("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", False, ("v1",))

# What versions on 0001 write and read, as they did.
_FILL = """
INSERT INTO clusters VALUES ('test', 'uid', '{*.*}', false, now(), now());
INSERT INTO resource_types (cluster, api_group, resource, version, versions, kind, namespaced)
VALUES ('test', 'rbac.authorization.k8s.io', 'clusterroles', 'v1', '{v1}', 'ClusterRole', false);
INSERT INTO watches (type_id, namespace, state, checkpoint, synced_at, last_event_at, objects, events, lists)
SELECT id, '', 'live', '1000', now(), now(), 3000, 17, 2 FROM resource_types;
INSERT INTO resources
SELECT 'test', id, 'uid-' || n, '', 'object-' || n, 'v1', 0, n, now(), now(), NULL, '{"a": "b"}', '{"n": 0}'
FROM resource_types, generate_series(0, 2999) n;
"""
_APPLY = """
WITH written AS (
    INSERT INTO resources AS stored (cluster, type_id, epoch, updated_at,
        uid, namespace, name, version, resource_version, created_at, composition_id, labels, raw)
    SELECT 'test', id, epoch, clock_timestamp(), $1, '', $1, 'v1', $2::numeric, now(), NULL, '{}', $3::jsonb
    FROM resource_types
    ON CONFLICT (cluster, type_id, uid) DO UPDATE
    SET epoch = excluded.epoch, updated_at = excluded.updated_at, name = excluded.name,
        resource_version = excluded.resource_version, labels = excluded.labels, raw = excluded.raw
    WHERE stored.resource_version < excluded.resource_version RETURNING true
)
UPDATE watches SET checkpoint = $2::numeric::text, events = events + 1, last_event_at = clock_timestamp()
WHERE EXISTS (SELECT FROM written) RETURNING type_id
"""
_PAGE = "SELECT uid, namespace, name, updated_at, raw FROM resources WHERE type_id = $1 ORDER BY name, uid LIMIT 100"

_KEPT = """
SELECT cluster, type_id, uid, namespace, name, version, epoch, resource_version, created_at, updated_at, composition_id,
    labels, raw
FROM resources WHERE uid LIKE 'uid-%' ORDER BY uid
"""
_PLACE = "SELECT pg_relation_filenode('resources')"


async def upgrade(address: Address, revision: str) -> None:
    """Bring a database to a revision before head."""

    def run(connection: sa.Connection) -> None:
        config = migration.configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    await migration.exclusively(address, run)


@pytest.fixture
async def filled(empty_database: Address) -> Address:
    """A database at 0001, with objects."""
    await upgrade(empty_database, "0001")
    async with connected(empty_database) as connection:
        await connection.execute(_FILL)
    return empty_database


@asynccontextmanager
async def connected(address: Address) -> AsyncIterator[Any]:
    connection = await address.connect()
    try:
        yield connection
    finally:
        await connection.close()


class Before:
    """A version on 0001 that goes on writing, with prepared statements, as it did before the migration."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.version = OBJECTS

    async def write(self, name: str) -> None:
        self.version += 1
        raw = json.dumps({"n": self.version})
        assert await self.connection.fetchval(_APPLY, name, self.version, raw)

    async def page(self) -> None:
        assert len(await self.connection.fetch(_PAGE, 1)) == 100


PACE = 0.005
"""Seconds between two writes, and two pages: two hundred a second are what a large cluster has."""


@asynccontextmanager
async def going_on(*works: Callable[[], Awaitable[None]]) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """While inside, these are done again and again; what is yielded waits until each was done once more."""
    done = [0] * len(works)

    async def again(index: int) -> None:
        while True:
            await works[index]()
            done[index] += 1
            await asyncio.sleep(PACE)

    async def once_more() -> None:
        wanted = [count + 2 for count in done]
        while any(count < least for count, least in zip(done, wanted, strict=True)):
            assert not any(task.done() for task in tasks), tasks
            await asyncio.sleep(0.001)

    tasks = [asyncio.create_task(again(index)) for index in range(len(works))]
    try:
        yield once_more
        assert not any(task.done() for task in tasks), tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_0002_keeps_what_0001_filled_while_the_version_before_goes_on(filled: Address) -> None:
    async with connected(filled) as writing, connected(filled) as reading, connected(filled) as looking:
        before, kept, place = Before(writing), await looking.fetch(_KEPT), await looking.fetchval(_PLACE)
        async with going_on(lambda: before.write("new"), Before(reading).page) as once_more:
            await once_more()
            assert await migration.migrate(filled) == ("0001", schema.HEAD)
            await once_more()
        assert await looking.fetch(_KEPT) == kept
        assert len(kept) == OBJECTS
        assert await looking.fetchval(_PLACE) == place, "no row was written anew"
        assert await looking.fetchval("SELECT count(*) FROM resources WHERE revision <> 0") == 0


_INDEXES = """
SELECT tablename, indisvalid FROM pg_indexes JOIN pg_index ON indexrelid = indexname::regclass
WHERE indexdef LIKE '%(type_id, revision)' ORDER BY 1
"""
_DIVIDE = (
    "ALTER TABLE resources RENAME TO undivided",
    "CREATE TABLE resources (LIKE undivided INCLUDING ALL) PARTITION BY LIST (cluster)",
    "CREATE TABLE \"resources-test\" PARTITION OF resources FOR VALUES IN ('test')",
    "CREATE TABLE resources_rest PARTITION OF resources DEFAULT",
    "INSERT INTO resources SELECT * FROM undivided",
    "DROP TABLE undivided",
)


async def test_0005_waits_for_those_who_read_and_write_and_holds_up_nobody(filled: Address) -> None:
    await upgrade(filled, "0004")
    async with connected(filled) as writing, connected(filled) as reading, connected(filled) as looking:
        before = Before(writing)
        async with going_on(lambda: before.write("new"), Before(reading).page) as once_more:
            snapshot = looking.transaction(isolation="repeatable_read")
            await snapshot.start()
            await looking.fetchval("SELECT 1")
            migrating = asyncio.create_task(migration.migrate(filled))
            await eventually(partial(writing_index, filled), bool)
            await once_more()
            assert not migrating.done()
            await snapshot.commit()
            assert await migrating == ("0004", schema.HEAD)
        assert [tuple(row) for row in await looking.fetch(_INDEXES)] == [("resources", True)]


async def writing_index(address: Address) -> int:
    async with connected(address) as connection:
        return int(await connection.fetchval("SELECT count(*) FROM pg_stat_progress_create_index"))


async def test_0005_makes_anew_what_was_broken_off(filled: Address) -> None:
    async with connected(filled) as looking:
        snapshot = looking.transaction(isolation="repeatable_read")
        await snapshot.start()
        await looking.fetchval("SELECT 1")
        migrating = asyncio.create_task(migration.migrate(filled))
        await eventually(partial(writing_index, filled), bool)
        migrating.cancel()
        await asyncio.wait((migrating,))
        await snapshot.commit()

        async def nobody_migrates() -> bool:
            return not await writing_index(filled)

        await eventually(nobody_migrates, bool)
        assert [tuple(row) for row in await looking.fetch(_INDEXES)] == [("resources", False)]
        assert await migration.migrate(filled) == ("0004", schema.HEAD)
        assert [tuple(row) for row in await looking.fetch(_INDEXES)] == [("resources", True)]


async def test_0005_also_takes_a_table_that_is_divided_by_cluster(filled: Address) -> None:
    async with connected(filled) as connection:
        for statement in _DIVIDE:
            await connection.execute(statement)
        await migration.migrate(filled)
        found = [tuple(row) for row in await connection.fetch(_INDEXES)]
        assert found == [("resources", True), ("resources-test", True), ("resources_rest", True)]


async def test_whatever_version_writes_who_holds_the_rows_sees_it(filled: Address) -> None:
    await migration.migrate(filled)
    async with connected(filled) as connection, Pool.opened(filled, size=2, command_timeout=30) as pool:
        before, store = Before(connection), InformerStore(pool, [1])
        assert len((await store.read_changes()).put) == OBJECTS
        for _ in range(3):
            await before.write("uid-7")
            assert b'{"n": %d}' % before.version in [raw for held, raw in (await store.read_changes()).put]
            await before.write("uid-8")  # which is not looked for before the next version has written, too
            seen = before.version
            writer = Writer(pool, "test")
            watch = Watch(1, ROLES)
            before.version += 1
            new = make_object("new", "", uid="new", resource_version=before.version, raw={"n": before.version})
            await writer.checkpoint(watch)
            await writer.apply(watch, [Event("upsert", new)], str(before.version))
            found = [raw for held, raw in (await store.read_changes()).put if held.uid in ("new", "uid-8")]
            assert sorted(found) == sorted([b'{"n": %d}' % seen, b'{"n": %d}' % before.version])
