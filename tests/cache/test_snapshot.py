"""Comparing the cache with the cluster: what differs is counted, on rows that are held still."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from presenter.cache.pool import Address, Pool
from presenter.cache.snapshot import Snapshots
from presenter.cache.writer import Writer
from presenter.errors import DatabaseUnavailable
from presenter.resource import Event, Object, State, Watch
from tests.cache.objects import BUTTONS, PANELS, make_object
from tests.eventually import eventually


@pytest.fixture
async def watch(writer: Writer) -> Watch:
    await writer.open_cluster("cluster-uid", ["*.*"])
    [watch] = await writer.declare(PANELS)
    return watch


@pytest.fixture
def snapshots(pool: Pool) -> Snapshots:
    return Snapshots(pool, "test")


async def load(writer: Writer, watch: Watch, objects: list[Object], resource_version: str = "100") -> None:
    await writer.begin_list(watch)
    await writer.list_page(watch, objects)
    await writer.finish_list(watch, resource_version)


async def differences(snapshots: Snapshots, watch: Watch, *pages: dict[str, str]) -> int:
    async with snapshots.take(watch) as rows:
        assert rows is not None
        for page in pages:
            await rows.compare(page)
        return await rows.differences()


_versions = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 3))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_versions, _versions, st.sets(st.sampled_from("abcdef")))
async def test_every_difference_counts_once(
    writer: Writer,
    snapshots: Snapshots,
    watch: Watch,
    cached: dict[str, int],
    cluster: dict[str, int],
    first_page: set[str],
) -> None:
    await writer.new_epoch(watch)
    await load(writer, watch, [make_object(1, uid=uid, resource_version=version) for uid, version in cached.items()])
    pages: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for uid, version in cluster.items():
        pages[uid in first_page][uid] = str(version)
    wanted = sum(cached.get(uid) != cluster.get(uid) for uid in cached.keys() | cluster.keys())
    assert await differences(snapshots, watch, *pages) == wanted


async def test_versions_that_are_no_numbers_are_compared_as_they_are(
    writer: Writer, snapshots: Snapshots, watch: Watch
) -> None:
    raw = {"metadata": {"resourceVersion": "opaque-7"}}
    await load(writer, watch, [msgspec.structs.replace(make_object(1, uid="a", raw=raw), resource_version=None)])
    assert await differences(snapshots, watch, {"a": "opaque-7"}) == 0
    assert await differences(snapshots, watch, {"a": "opaque-8"}) == 1


async def test_only_the_rows_of_the_watch_count(writer: Writer, snapshots: Snapshots) -> None:
    await writer.open_cluster("cluster-uid", ["*.*"])
    first, second = await writer.declare(PANELS, ["ns-1", "ns-2"])
    [buttons] = await writer.declare(BUTTONS)
    await load(writer, first, [make_object(1, uid="a", namespace="ns-1", resource_version=1)])
    await load(writer, second, [make_object(2, uid="b", namespace="ns-2", resource_version=1)])
    await load(writer, buttons, [make_object(3, uid="c", resource_version=1)])
    for watch, uid in ((first, "a"), (second, "b"), (buttons, "c")):
        assert await differences(snapshots, watch, {uid: "1"}) == 0
        assert await differences(snapshots, watch) == 1, "a row that the cluster has no object of"


async def test_the_rows_are_those_of_the_checkpoint_whatever_is_written_meanwhile(
    writer: Writer, snapshots: Snapshots, watch: Watch
) -> None:
    await load(writer, watch, [make_object(n, uid=uid, resource_version=n) for n, uid in enumerate("abc", 1)])
    async with snapshots.take(watch) as rows:
        assert rows is not None
        assert rows.checkpoint == "100"
        await writer.apply(
            watch,
            [
                Event("upsert", make_object(1, uid="a", resource_version=101)),
                Event("delete", make_object(2, uid="b", resource_version=102)),
                Event("upsert", make_object(4, uid="d", resource_version=103)),
            ],
            "103",
        )
        await rows.compare({"a": "1", "b": "2", "c": "3"})
        assert await rows.differences() == 0
    async with snapshots.take(watch) as rows:
        assert rows is not None
        assert rows.checkpoint == "103"
        await rows.compare({"a": "101", "c": "3", "d": "103"})
        assert await rows.differences() == 0


async def test_there_is_nothing_to_compare_before_the_first_list(snapshots: Snapshots, watch: Watch) -> None:
    async with snapshots.take(watch) as rows:
        assert rows is None


async def test_there_is_nothing_to_compare_in_the_middle_of_a_list(
    writer: Writer, snapshots: Snapshots, watch: Watch
) -> None:
    await load(writer, watch, [make_object(1)])
    await writer.begin_list(watch)
    await writer.list_page(watch, [make_object(1, resource_version=200)])
    await writer.set_state(watch, "live")  # as a list that was broken off leaves it
    async with snapshots.take(watch) as rows:
        assert rows is None
    await load(writer, watch, [make_object(1, resource_version=200)])
    async with snapshots.take(watch) as rows:
        assert rows is not None


@pytest.mark.parametrize("state", ["error", "forbidden", "syncing", "pending"])
async def test_there_is_nothing_to_compare_while_the_watch_is_not_live(
    writer: Writer, snapshots: Snapshots, watch: Watch, state: State
) -> None:
    await load(writer, watch, [make_object(1)])
    await writer.set_state(watch, state)
    async with snapshots.take(watch) as rows:
        assert rows is None


async def test_an_api_server_may_take_longer_than_an_idle_transaction(
    writer: Writer, watch: Watch, database: Address
) -> None:
    await load(writer, watch, [make_object(1, uid="a", resource_version=1)])
    impatient = await Pool.open(database, size=2, command_timeout=30, idle_in_transaction_session_timeout="100ms")
    try:
        async with Snapshots(impatient, "test").take(watch) as rows:
            assert rows is not None
            with pytest.raises(DatabaseUnavailable):
                await _idle_too_long(impatient)
            await rows.compare({"a": "1"})
            assert await rows.differences() == 0
    finally:
        await impatient.close()


async def _idle_too_long(pool: Pool) -> None:
    """Hold a transaction, begun later than that of the comparison, until PostgreSQL ends it."""
    async with pool.connection() as connection, connection.transaction():
        await connection.execute("SELECT 1")

        async def closed() -> bool:
            return connection.is_closed()

        await eventually(closed, bool)
        await connection.execute("SELECT 1")
