"""Past states go when they are too old or too many, and with them the positions from which they are needed."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial

import pytest
from prometheus_client import CollectorRegistry

from presenter.cache.feed import read_batch
from presenter.cache.metrics import PAST_SECONDS, PAST_STATES
from presenter.cache.pool import Pool
from presenter.cache.retention import Retention, retain
from presenter.cache.writer import Writer
from presenter.errors import Expired
from presenter.resource import Event, Watch
from tests.cache.objects import PANELS, make_object
from tests.eventually import eventually

DAY = timedelta(days=1)


@pytest.fixture
async def positions(pool: Pool, writer: Writer) -> list[int]:
    """Those at which a cluster was while ten of its objects went, one an hour, and then three at once."""
    await writer.open_cluster("uid", ["*.*"])
    [watch] = await writer.declare(PANELS)
    await writer.apply(watch, [Event("upsert", make_object(number)) for number in range(13)], "100")
    found = [await position(pool)]
    for numbers in (*([number] for number in range(10)), (10, 11, 12)):
        await delete(writer, watch, *numbers)
        found.append(await position(pool))
    async with pool.connection() as connection:
        await connection.execute(
            "UPDATE past_states SET ended_at = now() - interval '1 hour'"
            " * (SELECT max(revision) + 1 - past_states.revision FROM past_states p)"
        )
    return found


async def delete(writer: Writer, watch: Watch, *numbers: int) -> None:
    gone = [Event("delete", make_object(number, resource_version=1000 + number)) for number in numbers]
    await writer.apply(watch, gone, str(1000 + max(numbers)))


async def position(pool: Pool) -> int:
    return (await read_batch(pool, "test", None)).revision


async def kept(pool: Pool) -> int:
    async with pool.connection() as connection:
        return int(await connection.fetchval("SELECT count(*) FROM past_states"))


async def first_known(pool: Pool, positions: list[int]) -> int:
    """The index of the first position from which one can go on; from all after it one can, too."""
    known = []
    for each in positions:
        try:
            await read_batch(pool, "test", each)
        except Expired:
            known.append(False)
        else:
            known.append(True)
    assert known == sorted(known)
    return known.index(True)


@pytest.mark.parametrize(
    ("age", "count", "most", "removed", "left", "first"),
    [
        (DAY, 100, 100, 0, 13, 0),
        (timedelta(hours=7.5), 100, 100, 4, 9, 4),
        (timedelta(hours=7.5), 100, 3, 3, 10, 3),
        (DAY, 9, 100, 4, 9, 4),
        (DAY, 9, 2, 2, 11, 2),
        (DAY, 2, 100, 13, 0, 11),
        (DAY, 2, 11, 13, 0, 11),
        (timedelta(seconds=1), 100, 100, 13, 0, 11),
    ],
)
async def test_the_old_and_the_oldest_of_too_many_go(
    pool: Pool, writer: Writer, positions: list[int], age: timedelta, count: int, most: int, removed: int, left: int,
    first: int,
) -> None:  # fmt: skip
    """In whole revisions: of the last, with three, none is left where one is too many."""
    assert await writer.remove_past(age, count, most) == removed
    assert await kept(pool) == left
    assert await first_known(pool, positions) == first


async def test_only_those_of_the_own_cluster_go(pool: Pool, writer: Writer, positions: list[int]) -> None:
    another = Writer(pool, "another")
    await another.open_cluster("another", ["*.*"])
    assert await another.remove_past(timedelta(), 0, 100) == 0
    assert await kept(pool) == 13


async def test_stretches_that_were_skipped_do_not_pile_up(pool: Pool, writer: Writer, positions: list[int]) -> None:
    stretches = "SELECT count(*) FROM clusters, unnest(lost) WHERE name = 'test'"
    async with pool.connection() as connection:
        await connection.execute(
            "UPDATE clusters SET revision = revision + 20 * 1005, lost = (SELECT range_agg(int8range(r, r + 10))"
            " FROM generate_series(revision + 10, revision + 20 * 1004, 20) AS r)"
        )
        before = await connection.fetchval(stretches)
        await writer.remove_past(DAY, 100, 100)
        assert (before, await connection.fetchval(stretches)) == (1004, 1000)
    for each in positions:
        with pytest.raises(Expired):
            await read_batch(pool, "test", each)
    await read_batch(pool, "test", await position(pool))


async def test_who_leads_removes_them_again_and_again_and_tells_how_many_there_are(
    pool: Pool, writer: Writer, positions: list[int]
) -> None:
    registry = CollectorRegistry()
    for metric in (PAST_STATES, PAST_SECONDS):
        registry.register(metric)

    async def told(name: str) -> float | None:
        return registry.get_sample_value(f"presenter_past_{name}", {"cluster": "test"})

    task = asyncio.create_task(retain(writer, "test", Retention(timedelta(hours=7.5), 100), every=0.01))
    try:
        await eventually(partial(told, "states"), lambda states: states == 9)
        seconds = await told("seconds")
        assert seconds is not None
        assert 7 * 3600 <= seconds < 7.1 * 3600
        async with pool.connection() as connection:
            await connection.execute("UPDATE past_states SET ended_at = ended_at - interval '3 hours'")
        await eventually(partial(told, "states"), lambda states: states == 6)
        assert await kept(pool) == 6
    finally:
        task.cancel()
        await asyncio.wait((task,))
    assert await told("states") is None, "who does not lead does not tell"
