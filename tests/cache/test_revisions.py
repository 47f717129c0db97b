"""Revisions: they come with every page, equal ones are of equal rows, and asked for later they are those of then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from presenter.cache.pages import read_page
from presenter.cache.pool import Pool
from presenter.cache.query import Filters, Query, Row, Sort
from presenter.cache.revisions import RevisionReader, Revisions, state
from presenter.cache.scope import ScanRange
from presenter.cache.writer import Writer
from presenter.resource import Event, Watch
from tests.cache.objects import BUTTONS, PANELS, make_object

if TYPE_CHECKING:
    from presenter.cache.pool import Connection

PART_OF_NAME, NAME = Filters(name_contains="ject"), Filters(name="object-00001")


@pytest.fixture
async def watches(writer: Writer) -> list[Watch]:
    """Panels and buttons, of which there are none yet."""
    await writer.open_cluster("cluster-uid", ["*.*"])
    declared = [(await writer.declare(type))[0] for type in (PANELS, BUTTONS)]
    for watch in declared:
        await writer.begin_list(watch)
        await writer.finish_list(watch, "1")
    return declared


def all_of(*watches: Watch, **more: Any) -> Query:
    return Query(tuple(ScanRange("test", watch.type_id) for watch in watches), Sort.NAME, False, 5, **more)


async def revisions_of(pool: Pool, *watches: Watch, filters: Filters = Filters()) -> Revisions:  # noqa: B008  # frozen
    """Those of a page, which has to be what is told to who asks for them alone."""
    page = await read_page(pool, all_of(*watches, filters=filters))
    assert page.revisions == await RevisionReader(pool).current(all_of(*watches).ranges)
    return page.revisions


async def put(writer: Writer, watch: Watch, number: int, version: int = 1) -> None:
    object = make_object(number, resource_version=version, raw={"spec": version})
    await writer.apply(watch, [Event("upsert", object)], str(version))


@pytest.mark.parametrize("filters", [Filters(), PART_OF_NAME, NAME])
async def test_they_come_with_every_page_also_with_one_that_is_empty(
    pool: Pool, writer: Writer, watches: list[Watch], filters: Filters
) -> None:
    [empty] = await revisions_of(pool, *watches, filters=filters)
    assert (empty.cluster, empty.unnumbered) == ("test", 0)
    await put(writer, watches[0], 1)
    [changed] = await revisions_of(pool, *watches, filters=filters)
    assert changed.revision > empty.revision
    assert changed.unnumbered == 0


async def test_they_change_with_the_rows_of_their_types_alone(pool: Pool, writer: Writer, watches: list[Watch]) -> None:
    panels, buttons = watches
    await put(writer, panels, 1)
    before = [await revisions_of(pool, panels), await revisions_of(pool, buttons), await revisions_of(pool, *watches)]
    await writer.apply(panels, [], "100")  # as a bookmark does
    await writer.set_state(panels, "stalled")
    await writer.count_repairs(panels, 1)
    after = [await revisions_of(pool, panels), await revisions_of(pool, buttons), await revisions_of(pool, *watches)]
    assert after == before, "positions, too: nothing was changed"

    await put(writer, buttons, 2, 101)
    assert state(await revisions_of(pool, panels)) == state(before[0])
    assert state(await revisions_of(pool, buttons)) != state(before[1])
    assert state(await revisions_of(pool, *watches)) != state(before[2])


async def test_the_changes_of_a_version_that_does_not_number_them_show_too(
    pool: Pool, writer: Writer, watches: list[Watch]
) -> None:
    before = await revisions_of(pool, *watches)
    async with pool.connection() as connection:
        await connection.execute("UPDATE watches SET events = events + 1 WHERE type_id = $1", watches[0].type_id)
    assert await revisions_of(pool, *watches) != before


async def test_a_database_that_is_filled_anew_has_others(pool: Pool, writer: Writer, watches: list[Watch]) -> None:
    """Though its types are given the same ids."""
    before = await revisions_of(pool, *watches)
    async with pool.connection() as connection:
        await connection.execute("TRUNCATE clusters, resource_types, watches, resources RESTART IDENTITY CASCADE")
    writer = Writer(pool, "test")
    await writer.open_cluster("cluster-uid", ["*.*"])
    for type in (PANELS, BUTTONS):
        [watch] = await writer.declare(type)
        await writer.begin_list(watch)
        await writer.finish_list(watch, "1")
    assert state(await revisions_of(pool, *watches)) != state(before)


async def test_the_position_is_that_of_the_whole_cluster(pool: Pool, writer: Writer, watches: list[Watch]) -> None:
    panels, buttons = watches
    await put(writer, panels, 1)
    [before] = await revisions_of(pool, buttons)
    [of_panels] = await revisions_of(pool, panels)
    assert before.revision < before.position == of_panels.position == of_panels.revision
    await put(writer, panels, 1, 2)
    [after] = await revisions_of(pool, buttons)
    assert state((after,)) == state((before,))
    assert after.position > before.position


async def test_several_clusters_have_one_each(pool: Pool, writer: Writer, watches: list[Watch]) -> None:
    edge = Writer(pool, "edge")
    await edge.open_cluster("edge-uid", ["*.*"])
    [watch] = await edge.declare(PANELS)
    ranges = (ScanRange("test", watches[0].type_id), ScanRange("edge", watch.type_id))
    page = await read_page(pool, replace(all_of(*watches), ranges=ranges))
    assert [each.cluster for each in page.revisions] == ["edge", "test"]
    await put(edge, watch, 1)
    then = await read_page(pool, replace(all_of(*watches), ranges=ranges))
    assert [now == was for now, was in zip(state(then.revisions), state(page.revisions), strict=True)] == [False, True]


@pytest.mark.parametrize("filters", [Filters(), PART_OF_NAME])
async def test_equal_ones_are_of_equal_rows_while_these_change(
    pool: Pool, writer: Writer, watches: list[Watch], filters: Filters
) -> None:
    """However many statements a page takes, and wherever between them something changes."""
    written = asyncio.Event()
    seen: dict[object, list[Row]] = {}

    async def write() -> None:
        for version in range(2, 150):
            watch = watches[version % 2]
            if version % 7:
                await put(writer, watch, version % 10, version)
            else:
                gone = make_object((version + 3) % 10, resource_version=version)
                await writer.apply(watch, [Event("delete", gone)], str(version))
        written.set()

    async def read() -> None:
        while not written.is_set():
            page = await read_page(pool, all_of(*watches, filters=filters))
            assert seen.setdefault(tuple(state(page.revisions)), page.rows) == page.rows

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        for _ in range(3):
            tasks.create_task(read())
    assert len(seen) > 10


# -- asking ------------------------------------------------------------------------------------------------------------


@dataclass
class CountingPool(Pool):
    """Notes what is asked on its connections."""

    pool: Pool
    asked: list[list[int]] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        async with self.pool.connection() as connection:
            yield _Counting(connection, self)  # type: ignore[misc]  # it is all that a RevisionReader needs


@dataclass(frozen=True)
class _Counting:
    connection: Connection
    pool: CountingPool

    async def fetch(self, sql: str, types: list[int]) -> Any:
        self.pool.asked.append(types)
        self.pool.begun.set()
        return await self.connection.fetch(sql, types)


async def test_all_who_come_before_it_is_asked_are_answered_at_once(
    pool: Pool, writer: Writer, watches: list[Watch]
) -> None:
    panels, buttons = all_of(*watches).ranges
    counting = CountingPool(pool)
    reader = RevisionReader(counting)
    async with pool.connection() as connection, connection.transaction():
        await connection.execute("LOCK TABLE watches IN ACCESS EXCLUSIVE MODE")
        first = asyncio.create_task(reader.current([panels]))
        await counting.begun.wait()
        later = [asyncio.create_task(reader.current([panels])) for _ in range(10)]
        others = [
            asyncio.create_task(reader.current([buttons])),
            asyncio.create_task(reader.current([panels, buttons])),
        ]
        left = asyncio.create_task(reader.current([panels]))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.wait([left])
        assert not first.done()
    answers = [await task for task in later]
    assert answers == [await first] * 10
    assert [await task for task in others] == [
        await revisions_of(pool, watches[1]),
        await revisions_of(pool, *watches),
    ]
    assert [sorted(types) for types in counting.asked] == [[panels.type_id], sorted([panels.type_id, buttons.type_id])]
    assert left.cancelled()


async def test_whoever_asks_after_a_change_is_told_of_it(pool: Pool, writer: Writer, watches: list[Watch]) -> None:
    """Also while others ask all the time, whose askings have begun before."""
    reader = RevisionReader(pool)
    done = asyncio.Event()

    async def ask() -> None:
        while not done.is_set():
            await reader.current(all_of(watches[0]).ranges)

    async def change() -> None:
        for version in range(2, 60):
            await put(writer, watches[0], 1, version)
            told = await reader.current(all_of(watches[0]).ranges)
            assert told == (await read_page(pool, all_of(watches[0]))).revisions
        done.set()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(ask())
        tasks.create_task(change())


async def test_types_that_are_not_there_have_none(pool: Pool) -> None:
    reader = RevisionReader(pool)
    assert await reader.current([]) == await reader.current([ScanRange("test", 12345)]) == ()


async def test_they_change_where_a_type_is_forgotten(pool: Pool, writer: Writer, watches: list[Watch]) -> None:
    """Also where another one has changed later: who does not know yet that it is gone has pages of both."""
    panels, buttons = watches
    await put(writer, panels, 1)
    await put(writer, buttons, 1)
    before = await revisions_of(pool, *watches)
    await writer.forget(PANELS)
    assert state(await revisions_of(pool, *watches)) != state(before)
