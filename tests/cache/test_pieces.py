"""Pieces: they say what the rows say, whoever wrote these last, and are made for those that have none."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec
import pytest

from presenter.cache import items
from presenter.cache.filling import fill
from presenter.cache.memory import Memory, Share
from presenter.cache.pages import read_items, read_page
from presenter.cache.pool import Address, Pool
from presenter.cache.query import Query, Row, Sort
from presenter.cache.scope import ScanRange
from presenter.cache.writer import Writer
from presenter.resource import Event, Object, Watch
from tests.cache.objects import PANELS, make_object

MIB = 2**20

# What a version without pieces writes, which leaves them alone.
_BY_AN_EARLIER_VERSION = """
UPDATE resources SET raw = $2::jsonb, resource_version = resource_version + 1, updated_at = clock_timestamp()
WHERE uid = $1
"""
_FORGET = "UPDATE resources SET piece = NULL, piece_of = NULL"
_WITHOUT = "SELECT count(*) FROM resources WHERE piece_of IS DISTINCT FROM updated_at"


@pytest.fixture
async def pool(database: Address) -> AsyncIterator[Pool]:
    async with Pool.opened(database, size=3, command_timeout=30) as pool:
        yield pool


@pytest.fixture
async def writer(pool: Pool) -> Writer:
    writer = Writer(pool, "test")
    await writer.open_cluster("uid", ["*.*"])
    return writer


@pytest.fixture
async def watch(writer: Writer) -> Watch:
    [watch] = await writer.declare(PANELS)
    return watch


async def listed(writer: Writer, watch: Watch, *objects: Object) -> None:
    await writer.begin_list(watch)
    await writer.list_page(watch, objects)
    await writer.finish_list(watch, "1000")


async def served(pool: Pool, watch: Watch) -> list[Row | dict[str, Any]]:
    """What there is: rows, or what their pieces say."""
    query = Query((ScanRange("test", watch.type_id),), Sort.NAME, False, 5000, raw=True, items=True)
    page = await read_items(pool, query, Share(Memory(64 * MIB, 32 * MIB)), inflate=True)
    return [row if isinstance(row, Row) else json.loads(items.inflated([row])) for row in page.rows]


async def by_rows(pool: Pool, watch: Watch) -> list[dict[str, Any]]:
    """The same, made of the rows."""
    query = Query((ScanRange("test", watch.type_id),), Sort.NAME, False, 5000, raw=True)
    rows = (await read_page(pool, query)).rows
    return [json.loads(msgspec.json.encode(items.item(row, "test", PANELS, row.updated_at, row.raw))) for row in rows]


async def execute(pool: Pool, statement: str, *arguments: object) -> None:
    async with pool.connection() as connection:
        await connection.execute(statement, *arguments)


async def without(pool: Pool) -> int:
    async with pool.connection() as connection:
        count: int = await connection.fetchval(_WITHOUT)
    return count


async def test_a_piece_says_what_its_row_says(writer: Writer, watch: Watch, pool: Pool) -> None:
    composition = "3f0c1d8e-7a53-4d6f-9b2e-5c1a7e9d4b60"
    await listed(writer, watch, make_object(1), make_object(2, labels={"a": "ü"}, composition_id=composition))
    await writer.apply(watch, [Event("upsert", make_object(1, resource_version=1001))], "1001")
    said = await served(pool, watch)
    assert said == await by_rows(pool, watch)
    assert [type(each) for each in said] == [dict, dict]


async def test_what_an_earlier_version_writes_is_served_and_not_the_piece_it_left_behind(
    writer: Writer, watch: Watch, pool: Pool
) -> None:
    await listed(writer, watch, make_object(1), make_object(2))
    await execute(pool, _BY_AN_EARLIER_VERSION, make_object(1).uid, b'{"newer": true}')
    older, untouched = await served(pool, watch)
    assert isinstance(older, Row)
    assert older.raw is not None
    assert json.loads(older.raw) == {"newer": True}
    assert isinstance(untouched, dict)
    assert await fill(writer, share=1) == 1
    filled = await served(pool, watch)
    assert filled == await by_rows(pool, watch)
    assert isinstance(filled[0], dict)
    assert filled[0]["raw"] == {"newer": True}


async def test_all_rows_are_given_pieces_in_the_background_and_change_in_nothing_else(
    writer: Writer, watch: Watch, pool: Pool
) -> None:
    await listed(writer, watch, *(make_object(number) for number in range(250)))
    deep = b'{"a":' * 2000 + b"1" + b"}" * 2000  # more than a decoder of JSON goes down
    await execute(pool, _BY_AN_EARLIER_VERSION, make_object(7).uid, deep)
    await execute(pool, _FORGET)
    before = await everything(pool)
    assert await without(pool) == 250
    assert await fill(writer, share=1) == 250
    assert await without(pool) == 0
    assert await everything(pool) == before
    assert await fill(writer, share=1) == 0


async def everything(pool: Pool) -> list[asyncpg.Record]:
    async with pool.connection() as connection:
        rows: list[asyncpg.Record] = await connection.fetch(
            "SELECT uid, raw, updated_at, revision, resource_version, epoch FROM resources ORDER BY uid"
        )
    return rows


async def test_rows_change_while_they_are_given_pieces(writer: Writer, watch: Watch, pool: Pool) -> None:
    await listed(writer, watch, *(make_object(number) for number in range(300)))
    await execute(pool, _FORGET)
    filling = asyncio.create_task(fill(writer, share=0.5))
    version = 1000
    while not filling.done():
        version += 1
        await writer.apply(watch, [Event("upsert", make_object(version % 300, resource_version=version))], f"{version}")
        await execute(pool, _BY_AN_EARLIER_VERSION, make_object((version + 150) % 300).uid, b'{"n": %d}' % version)
    await filling
    await fill(writer, share=1)
    said = await served(pool, watch)
    assert said == await by_rows(pool, watch)
    assert len(said) == 300


async def test_who_has_lost_the_lease_makes_no_pieces(writer: Writer, watch: Watch, pool: Pool) -> None:
    await listed(writer, watch, make_object(1))
    await execute(pool, _FORGET)
    await execute(pool, "INSERT INTO leases VALUES ('test', 2, 'another', now())")
    assert await fill(Writer(pool, "test", 1), share=1) == 0
    assert await without(pool) == 1


async def test_a_page_holds_as_much_compressed_as_not(writer: Writer, watch: Watch, pool: Pool) -> None:
    """It ends where its text is too much, however little of memory the pieces take."""
    await listed(writer, watch, *(make_object(n, raw={"text": "x" * 100_000}) for n in range(20)))
    query = Query((ScanRange("test", watch.type_id),), Sort.NAME, False, 5000, raw=True, items=True)
    counts = []
    for inflate in (True, False):
        share = Share(memory := Memory(64 * MIB, MIB))
        page = await read_items(pool, query, share, inflate=inflate)
        counts.append(len(page.rows))
        assert page.next is not None
        assert (share.held > 900_000) is inflate
        assert memory.taken == share.held
    assert 8 <= counts[0] == counts[1] <= 10


async def test_rows_are_dated_by_the_databases_clock(writer: Writer, watch: Watch, pool: Pool) -> None:
    async with pool.connection() as connection:
        for number in range(20):
            before = await connection.fetchval("SELECT clock_timestamp()")
            await writer.apply(watch, [Event("upsert", make_object(number))], f"{number + 1}")
            after = await connection.fetchval("SELECT clock_timestamp()")
            at = await connection.fetchval("SELECT max(updated_at) FROM resources")
            assert before - timedelta(seconds=0.5) < at < after + timedelta(seconds=0.5)
        assert await connection.fetchval("SELECT count(DISTINCT updated_at) FROM resources") == 20
