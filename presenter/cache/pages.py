"""Reads of objects, of a page or a single one: the plan's statements are sent, and records become rows."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from presenter.cache.budget import Reading
from presenter.cache.plan import Record, aware, plan, position
from presenter.cache.query import Items, Page, Piece, Position, Query, Row
from presenter.cache.revisions import Revision, Revisions, together
from presenter.cache.sql import COLUMNS, payload, statement

if TYPE_CHECKING:
    from presenter.cache.memory import Share
    from presenter.cache.pool import Pool

PLANNING = {
    "enable_sort": "off",
    "enable_incremental_sort": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
}
"""Settings for connections that pages are read on. Where an index has the order of a range, PostgreSQL shall walk it,
though it may think that the range is short and can as well be sorted; and it need not think twice about it. Compiling
a statement or starting workers would take longer than a page."""

_OBJECTS = """
SELECT {columns}, r.revision, {payload} FROM resources r
WHERE cluster = $1 AND type_id = ANY ($2::integer[]) AND uid = $3
"""

# A loose index scan (PostgreSQL wiki, "Loose indexscan"): each step seeks the first namespace after the last one.
_NAMESPACES = """
WITH RECURSIVE found AS (
    SELECT wanted.type_id, first.namespace FROM unnest($1::integer[]) AS wanted (type_id) CROSS JOIN LATERAL (
        SELECT namespace FROM resources
        WHERE type_id = wanted.type_id ORDER BY namespace LIMIT 1
    ) AS first
    UNION ALL
    SELECT found.type_id, next.namespace FROM found CROSS JOIN LATERAL (
        SELECT namespace FROM resources
        WHERE type_id = found.type_id AND namespace > found.namespace ORDER BY namespace LIMIT 1
    ) AS next
)
SELECT type_id, namespace FROM found
"""


async def read_page(pool: Pool, query: Query, share: Share | None = None) -> Page:
    """Read one page: as many objects as are asked for, or as fit into a share of the memory.

    Raises DatabaseUnavailable, SchemaOutdated, and TooManyRequests when other answers leave it no room.
    """
    found, more, revisions, _ = await _read(pool, query, share)
    rows = [row_of(record) for record in found]
    return Page(rows[::-1] if query.backward else rows, more, _start(query, found), revisions)


async def read_items(pool: Pool, query: Query, share: Share, *, inflate: bool) -> Items:
    """The same for an answer: its pieces weigh what they do when they are inflated, or as they are."""
    found, more, revisions, is_cut = await _read(pool, query, share, inflate=inflate)
    read = _item if query.items else row_of
    rows = [read(record) for record in found]
    return Items(rows[::-1] if query.backward else rows, more, _start(query, found), revisions, is_cut)


def _start(query: Query, found: Sequence[Record]) -> Position | None:
    return position(query.sort, found[0]) if found else None


class _Found(NamedTuple):
    """The records of a page, where it ends if more follows, the revisions, and whether it was cut."""

    records: Sequence[Record] = ()
    next: Position | None = None
    revisions: Revisions = ()
    is_cut: bool = False


async def _read(pool: Pool, query: Query, share: Share | None, *, inflate: bool = True) -> _Found:
    if not query.ranges:
        return _Found()
    wanted = query.limit
    found: Sequence[Record] = ()
    records: Sequence[Record] = ()
    reading = Reading(share, query.limit, query.raw + query.status, inflate=inflate)
    while not reading.done:
        async with reading, pool.connection() as connection:
            with reading.weighed(connection):
                query = query if reading.limit == query.limit else replace(query, limit=reading.limit)
                steps = plan(query)
                step = next(steps)
                try:
                    while True:
                        text, parameters = statement(step.scan)
                        arguments = [step.values[name] for name in parameters]
                        records = await connection.fetch(text, *arguments)
                        step = steps.send(records)
                except StopIteration as end:
                    found = end.value
                reading.rows = min(len(found), query.limit)
    more = position(query.sort, found[query.limit - 1]) if len(found) > query.limit else None
    # What the last statement found is the whole page: what those before it found only led there.
    return _Found(found[: query.limit], more, _revisions(records), query.limit < wanted)


def _revisions(records: Iterable[Record]) -> Revisions:
    """Those that a statement gives before its rows."""
    first = itertools.takewhile(lambda record: record["revision"] is not None, records)
    return together([Revision(*[record[name] for name in Revision._fields]) for record in first])


async def read_objects(
    pool: Pool, cluster: str, types: Sequence[int], uid: str, *, raw: bool, status: bool, share: Share | None = None
) -> list[tuple[Row, int]]:
    """Read the object with a uid, once for each of these types of its cluster that has it, in their order.

    With the revision of its last change.

    Raises DatabaseUnavailable, SchemaOutdated, and TooManyRequests when other answers leave no room in the memory.
    """
    sql = _OBJECTS.format(columns=COLUMNS, payload=payload(raw=raw, status=status))
    records: Sequence[Record] = ()
    reading = Reading(share, 1, raw + status)
    while not reading.done:
        async with reading, pool.connection() as connection:
            with reading.weighed(connection):
                records = await connection.fetch(sql, cluster, list(types), uid)
                reading.rows = len(records)
    found = [(row_of(record), record["revision"]) for record in records]
    return sorted(found, key=lambda each: types.index(each[0].type_id))


async def namespaces_of(pool: Pool, type_ids: Collection[int]) -> dict[int, list[str]]:
    """The namespaces that hold objects of a type, sorted, by type id; a type without objects is left out.

    Raises DatabaseUnavailable and SchemaOutdated.
    """
    namespaces: dict[int, list[str]] = {}
    async with pool.connection() as connection:
        for row in await connection.fetch(_NAMESPACES, sorted(set(type_ids))):
            namespaces.setdefault(row["type_id"], []).append(row["namespace"])
    return {type_id: sorted(names) for type_id, names in namespaces.items()}


def _item(record: Record) -> Row | Piece:
    piece: bytes | None = record["piece"]
    return row_of(record) if piece is None else Piece(piece)


def row_of(record: Record) -> Row:
    """The row of a record that has all its columns."""
    composition_id = record["composition_id"]
    return Row(
        type_id=record["type_id"],
        uid=record["uid"],
        namespace=record["namespace"],
        name=record["name"],
        version=record["version"],
        created_at=aware(record["created_at"]),
        updated_at=record["updated_at"],
        composition_id=None if composition_id is None else str(composition_id),
        raw=record["raw"],
        status=record["status"],
    )
