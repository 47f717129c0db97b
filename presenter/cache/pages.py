"""Every read of objects: a query → one page.

A page is walked along an index in its order, from a position on, and costs what it returns. Several stretches (types,
namespaces) are merged as they are walked. Filters are tried on the way, for a bounded number of rows; where their
matches are too thin on the ground, all matches are collected through the filter's own index and sorted; of very many
only those that lie before the end of the page, which a few of them tell, unless a sample says that this costs more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from presenter.cache.budget import within
from presenter.cache.conditions import terms
from presenter.cache.query import Filters, KeyValue, Page, Position, Query, Row, Sort
from presenter.cache.statements import COLUMNS, MANY, Statement, StatementMaker, payload

if TYPE_CHECKING:
    import asyncpg

    from presenter.cache.pool import Connection, Pool
    from presenter.memory import Share

WALK_BASE, WALK_PER_ROW = 1000, 20
"""Rows that a walk looks at before it gives up: as many as are cheap to read, more for larger pages."""

FIRST_STEPS = 8
"""The share of these that is tried first, and tells whether it is worth while to go on."""

SAMPLE = 512
"""Objects that are looked at to learn how many match, or bear a term."""

PER_MATCH = 20
"""To collect a match costs as much as to look up so many entries of an index."""

PLANNING = {
    "enable_sort": "off",
    "enable_incremental_sort": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
}
"""Settings for connections that pages are read on. Where an index has the order of a stretch, PostgreSQL shall walk it,
though it may think that the stretch is short and can as well be sorted; and it need not think twice about it. Compiling
a statement or starting workers would take longer than a page."""

_OBJECTS = """
SELECT {columns}, {payload} FROM resources r WHERE cluster = $1 AND type_id = ANY ($2::integer[]) AND uid = $3
"""


async def read_page(pool: Pool, query: Query, share: Share | None = None) -> Page:
    """Read one page: as many objects as are asked for, or as fit into a share of the memory.

    Raises DatabaseUnavailable and its kin, and TooManyRequests when other answers leave it no room.
    """
    if not query.legs:
        return Page([], None)
    if share is None:
        async with pool.connection() as connection:
            return await _page(connection, query)

    async def read(connection: Connection, limit: int) -> tuple[int, Page]:
        page = await _page(connection, query if limit == query.limit else replace(query, limit=limit))
        return len(page.rows), page

    return await within(share, pool, query.limit, query.raw + query.status, read)


async def _page(connection: Connection, query: Query) -> Page:
    found = await _found(connection, query)
    rows = [_row(record) for record in found[: query.limit]]
    return Page(rows, _position(query.sort, found[query.limit - 1]) if len(found) > query.limit else None)


async def _found(connection: Connection, query: Query) -> list[asyncpg.Record]:
    """The rows of the page and, where there are more, one of those."""
    filters = query.filters
    steps = WALK_BASE + WALK_PER_ROW * query.limit
    in_order = query.sort is Sort.UPDATED_AT  # which makes `since` a place to stop, not a filter
    if filters == Filters(since=filters.since if in_order else None):
        if query.stretches > MANY and query.stretches * query.limit > steps:
            answer = await _ask(connection, query, StatementMaker(query).walked(steps))
            if answer.complete:
                return answer.found
        return (await _ask(connection, query, StatementMaker(query).ordered())).found
    if filters.name is None and filters.composition_id is None:
        answer = await _walked(connection, query, steps)
        if answer.complete:
            return answer.found
        return await _matched(connection, query, steps)
    return (await _ask(connection, query, StatementMaker(query).matched())).found


async def _walked(connection: Connection, query: Query, steps: int) -> _Answer:
    """Walk some rows first, and go on if that promises to fill the page."""
    answer = await _ask(connection, query, StatementMaker(query).walked(steps // FIRST_STEPS))
    if answer.complete or len(answer.found) * FIRST_STEPS <= query.limit:
        return answer
    return await _ask(connection, query, StatementMaker(query).walked(steps))


async def _matched(connection: Connection, query: Query, steps: int) -> list[asyncpg.Record]:
    """Collect some matches; if these are not all, those as far as the page can reach, or all that there are."""
    telling = await _telling(connection, query)
    answer = await _ask(connection, query, StatementMaker(query, telling).few_matched(steps))
    if answer.complete:
        return answer.found
    end = _position(query.sort, answer.found[0]) if answer.found else None
    if (end or query.after) and not await _is_far(connection, query, end):
        found = (await _ask(connection, query, StatementMaker(query, telling).matched_up_to(end))).found
        if end is None or len(found) > query.limit:
            return found
    return (await _ask(connection, query, StatementMaker(query, telling).matched())).found


async def _telling(connection: Connection, query: Query) -> Sequence[Filters]:
    """The terms that are worth looking up: what most objects have costs much, and tells little."""
    candidates = terms(query.filters)
    if len(candidates) < 2:
        return candidates
    shares = await _sampled(connection, StatementMaker(query).shares(candidates, SAMPLE))
    return [term for term, share in zip(candidates, shares, strict=True) if share <= max(0.5, min(shares))]


async def _is_far(connection: Connection, query: Query, end: Position | None) -> bool:
    """Whether so much lies between the position and an end that to collect every match costs less than to pass it."""
    if query.sort is Sort.GLOBAL_UID:
        return False  # that is the order of the sample; and nothing lies together in it
    matching, between = await _sampled(connection, StatementMaker(query).shares_up_to(end, SAMPLE))
    return PER_MATCH * max(matching, 1 / SAMPLE) < between


async def _sampled(connection: Connection, statement: Statement) -> list[float]:
    sql, arguments = statement
    [record] = await connection.fetch(sql, *arguments)
    return list(record)


class _Answer(NamedTuple):
    found: list[asyncpg.Record]
    complete: bool


async def _ask(connection: Connection, query: Query, statement: Statement) -> _Answer:
    """What a statement finds. It is complete when it fills the page, or when nothing was left out."""
    sql, arguments = statement
    records = await connection.fetch(sql, *arguments)
    found = [record for record in records if record["found"]]
    return _Answer(found, len(found) > query.limit or not any(record["last"] for record in records))


async def read_objects(
    pool: Pool, cluster: str, types: Sequence[int], uid: str, *, raw: bool, status: bool, share: Share | None = None
) -> list[Row]:
    """Read what has a uid among some types of its cluster: one for each type that serves the object, in their order.

    Raises DatabaseUnavailable and its kin, and TooManyRequests when other answers leave no room in the memory.
    """
    sql = _OBJECTS.format(columns=COLUMNS, payload=payload(raw=raw, status=status))

    async def read(connection: Connection, _limit: int = 1) -> tuple[int, list[Row]]:
        records = await connection.fetch(sql, cluster, list(types), uid)
        return len(records), sorted(map(_row, records), key=lambda row: types.index(row.type_id))

    if share is None:
        async with pool.connection() as connection:
            return (await read(connection))[1]
    return await within(share, pool, 1, raw + status, read)


def _row(record: asyncpg.Record) -> Row:
    composition_id = record["composition_id"]
    return Row(
        type_id=record["type_id"],
        uid=record["uid"],
        namespace=record["namespace"],
        name=record["name"],
        version=record["version"],
        created_at=_aware(record["created_at"]),
        updated_at=record["updated_at"],
        composition_id=None if composition_id is None else str(composition_id),
        raw=record["raw"],
        status=record["status"],
    )


def _position(sort: Sort, record: asyncpg.Record) -> Position:
    return tuple(_plain(record[f"k{number}"]) for number in range(len(sort.keys)))


def _plain(value: KeyValue | UUID) -> KeyValue:
    if isinstance(value, UUID):
        return str(value)
    return _aware(value) if isinstance(value, datetime) else value


def _aware(moment: datetime) -> datetime:
    """With a zone: asyncpg gives none to the first and the last moment of Python, which it takes for infinite."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
