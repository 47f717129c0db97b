"""The catalog: what it reads of rows that a newer version wrote, and one reading for all who wait."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from presenter.api.freshness import LAG, STATE, freshness
from presenter.cache import catalog_reader
from presenter.cache.catalog import Catalog, read_catalog, warn_once
from presenter.cache.catalog_reader import CatalogReader
from presenter.cache.metrics import OF_POOLS
from presenter.cache.pool import Address, Pool
from presenter.cache.scope import ScanRange
from presenter.cache.writer import Writer
from presenter.errors import DatabaseBusy, DatabaseUnavailable, SchemaOutdated
from presenter.resource import ALL_NAMESPACES, ResourceType
from tests.eventually import eventually

PANELS = ResourceType("widgets.example.com", "v1", "panels", "Panel", True, ("v1",))
BUTTONS = ResourceType("widgets.example.com", "v1", "buttons", "Button", True, ("v1",))

_WAITING = "SELECT count(*) FROM pg_locks WHERE relation = 'watches'::regclass AND NOT granted"


def readings(name: str) -> float:
    """How often a connection of a pool was taken."""
    registry = CollectorRegistry()
    for metric in OF_POOLS:
        registry.register(metric)
    return registry.get_sample_value("presenter_database_wait_seconds_count", {"pool": name}) or 0.0


@pytest.fixture
async def filled(writer: Writer) -> Writer:
    await writer.open_cluster("uid", ["*.*"])
    await writer.declare(PANELS)
    await writer.declare(BUTTONS, ["team-a", "team-b"])
    return writer


@asynccontextmanager
async def locked(pool: Pool) -> AsyncIterator[None]:
    """While inside, no reading of the catalog ends."""
    async with pool.connection() as connection, connection.transaction():
        await connection.execute("LOCK TABLE watches")
        yield


async def waiting(pool: Pool, count: int) -> None:
    """Wait until so many statements do for the lock."""

    async def look() -> int:
        async with pool.connection() as connection:
            found: int = await connection.fetchval(_WAITING)
            return found

    await eventually(look, count.__eq__)


@pytest.fixture
async def own(database: Address, request: pytest.FixtureRequest) -> AsyncIterator[Pool]:
    """Connections of the reader alone, under a name of their own."""
    async with Pool.opened(database, size=2, name=request.node.name, command_timeout=30) as pool:
        yield pool


# -- one reading for all -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("filled")
async def test_one_reading_serves_all_who_wait_for_it(own: Pool, pool: Pool, request: pytest.FixtureRequest) -> None:
    reader = CatalogReader(own)
    async with locked(pool):
        first = [asyncio.create_task(reader.current()) for _ in range(32)]
        await waiting(pool, 1)
        later = [asyncio.create_task(reader.current()) for _ in range(32)]
        await asyncio.sleep(0.6)  # longer than the age at which it is read again: it is dated by its end
    catalogs = await asyncio.gather(*first, *later)
    assert all(catalog is catalogs[0] for catalog in catalogs)
    assert await reader.current() is catalogs[0]
    assert readings(request.node.name) == 1


@pytest.mark.usefixtures("filled")
async def test_one_that_fails_does_so_for_all_who_wait(database: Address, pool: Pool) -> None:
    name = "failing"
    async with Pool.opened(database, size=2, name=name, command_timeout=30, statement_timeout="200ms") as own:
        reader = CatalogReader(own)
        async with locked(pool):
            outcomes = await asyncio.gather(*(reader.current() for _ in range(32)), return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {DatabaseBusy}
            assert readings(name) == 1
            with pytest.raises(DatabaseBusy):
                reader.known()
        assert (await reader.current()).types
        assert reader.known() is await reader.current()


@pytest.mark.usefixtures("filled")
async def test_one_who_leaves_takes_it_from_nobody(own: Pool, pool: Pool, request: pytest.FixtureRequest) -> None:
    reader = CatalogReader(own)
    async with locked(pool):
        leaving, staying = (asyncio.create_task(reader.current()) for _ in range(2))
        await waiting(pool, 1)
        leaving.cancel()
        await asyncio.wait([leaving])
        assert leaving.cancelled()
    assert (await staying).types
    assert readings(request.node.name) == 1


async def test_what_is_announced_during_a_reading_is_read_by_who_comes_later(
    own: Pool, pool: Pool, filled: Writer
) -> None:
    reader = CatalogReader(own, max_age=600)
    following = asyncio.create_task(reader.follow())

    async def types() -> int:
        return len((await reader.current()).types)

    try:
        await eventually(types, (2).__eq__)
        await filled.forget(BUTTONS)
        await eventually(types, (1).__eq__)  # although it is not old
        await filled.declare(BUTTONS)
        await eventually(types, (2).__eq__)
        async with pool.connection() as other, other.transaction():
            await other.execute("LOCK TABLE watches")  # the reading that the announcement sets off cannot end
            async with pool.connection() as connection:
                await connection.execute("NOTIFY presenter_catalog")
            waiter = asyncio.create_task(reader.current())
            await waiting(pool, 1)
            await other.execute("DELETE FROM resource_types WHERE resource = 'buttons'")
            await other.execute("NOTIFY presenter_catalog")
        await waiter
        await eventually(types, (1).__eq__)
    finally:
        following.cancel()
        await asyncio.wait([following])


@pytest.mark.usefixtures("filled")
async def test_it_is_known_without_being_asked_for(own: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog_reader, "POLL_INTERVAL", 0.05)
    reader = CatalogReader(own, max_age=0.01)
    with pytest.raises(DatabaseUnavailable, match="not been asked yet"):
        reader.known()
    following = asyncio.create_task(reader.follow())

    async def known() -> Catalog | None:
        try:
            return reader.known()
        except DatabaseUnavailable:
            return None

    seen = await eventually(known, lambda catalog: catalog is not None)
    await eventually(known, lambda catalog: catalog is not None and catalog is not seen)
    following.cancel()
    await asyncio.wait([following])
    monkeypatch.setattr(catalog_reader, "EXPIRES_AFTER", 0.0)
    with pytest.raises(DatabaseUnavailable, match=r"has not answered for \d+ s"):
        reader.known()


# -- what a newer version wrote ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("filled")
async def test_a_state_of_a_newer_version_is_unknown_and_told_once(pool: Pool) -> None:
    warn_once.cache_clear()
    async with pool.connection() as connection:
        await connection.execute("UPDATE watches SET state = 'dreaming' WHERE namespace = 'team-b'")
    with capture_logs() as logs:
        catalog, _ = await read_catalog(pool), await read_catalog(pool)
    assert [line["state"] for line in logs] == ["dreaming"]
    states = {watch.namespace: watch.state for _, watch in catalog.watches}
    assert states == {ALL_NAMESPACES: "pending", "team-a": "pending", "team-b": "unknown"}


@pytest.mark.usefixtures("filled")
async def test_a_pattern_of_a_newer_version_selects_nothing_and_is_told_once(pool: Pool) -> None:
    warn_once.cache_clear()
    async with pool.connection() as connection:
        await connection.execute("UPDATE clusters SET watch = $1", ["~(a|b).apps", "pods", "!~c"])
    with capture_logs() as logs:
        [cluster], _ = (await read_catalog(pool)).clusters, await read_catalog(pool)
    assert [line["pattern"] for line in logs] == ["~(a|b).apps", "!~c"]
    assert cluster.patterns.texts == ("~(a|b).apps", "pods", "!~c")
    assert cluster.patterns.selects("", "pods")
    assert not cluster.patterns.selects("apps", "a")


@pytest.mark.usefixtures("filled")
async def test_a_schema_that_is_behind_is_told(pool: Pool) -> None:
    async with pool.connection() as connection:
        await connection.execute("UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(SchemaOutdated, match="run `presenter migrate`"):
        await read_catalog(pool)
    async with pool.connection() as connection:
        await connection.execute("DELETE FROM alembic_version")
    with pytest.raises(SchemaOutdated, match="is at nothing"):
        await read_catalog(pool)


# -- how fresh it is ---------------------------------------------------------------------------------------------------


async def many(pool: Pool, types: int, namespaces: int, seed: int) -> Catalog:
    """A catalog of so many types in so many namespaces, in any states."""
    writer = Writer(pool, "test")
    await writer.open_cluster("uid", ["*.*"])
    for number in range(types):
        await writer.declare(
            ResourceType("example.com", "v1", f"type{number}s", f"Type{number}", True, ("v1",)),
            [f"team-{number}" for number in range(namespaces)] if number else [ALL_NAMESPACES],
        )
    async with pool.connection() as connection:
        await connection.execute("SELECT setseed($1)", seed / 1000)
        await connection.execute(
            "UPDATE watches SET state = ('{live,syncing,pending,forbidden,error}'::text[])[1 + floor(random() * 5)], "
            "last_event_at = CASE WHEN random() < 0.9 THEN clock_timestamp() - random() * interval '5 minutes' END"
        )
    return await read_catalog(pool)


@pytest.mark.parametrize("seed", range(3))
async def test_the_headers_tell_the_worst_of_what_is_asked_for(pool: Pool, seed: int) -> None:
    catalog = await many(pool, 4, 6, seed)
    choose = random.Random(seed)
    for _ in range(300):
        ranges = [
            ScanRange(
                cached.cluster,
                cached.id,
                choose.choice([None, tuple(choose.sample([f"team-{n}" for n in range(8)], choose.randint(1, 5)))]),
            )
            for cached in choose.sample(catalog.types, choose.randint(0, 4))
        ]
        watches = [
            watch
            for scanned in ranges
            for watch in catalog.by_id[scanned.type_id].watches
            if scanned.namespaces is None or watch.namespace in ("", *scanned.namespaces)
        ]
        expected: dict[str, str] = {}
        if watches:
            expected[STATE] = max(watches, key=lambda watch: watch.severity).state
            lags = [watch.lag_seconds for watch in watches]
            if None not in lags:
                expected[LAG] = str(-int(-max(lag for lag in lags if lag is not None) // 1))
        assert freshness(catalog, ranges) == expected


async def test_the_headers_cost_the_same_however_many_watches_there_are(pool: Pool) -> None:
    catalog = await many(pool, 60, 200, 1)
    wide = tuple(f"team-{number}" for number in range(200))
    for namespaces in (None, wide):
        ranges = [ScanRange(cached.cluster, cached.id, namespaces) for cached in catalog.types]
        freshness(catalog, ranges)
        started = time.process_time()
        for _ in range(20):
            freshness(catalog, ranges)
        assert time.process_time() - started < 0.5, "by the watch it takes some three seconds"
