"""What each shape of page costs in PostgreSQL: milliseconds, and what was looked at for it."""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks.population import Population
from benchmarks.shapes import DEEP, Shape, filters, shapes
from presenter.cache.pages import read_page
from presenter.cache.pool import Pool
from presenter.cache.query import Position, Query
from tests.cache.explain import ExplainingPool

if TYPE_CHECKING:
    from presenter.cache.pool import Connection

RUNS, _FEWEST_RUNS, _ENOUGH_SECONDS = 20, 3, 0.03

NEIGHBOURS, _TURNS = 20, 7
"""Pages that are read one after the other, and how often, to compare deep ones with the first: a single page of either
may have larger documents by chance."""

_ONE = """
SELECT name, composition_id FROM resources WHERE type_id = $1 AND composition_id IS NOT NULL ORDER BY uid LIMIT 1
"""

_MATCHED = """
CREATE TEMP TABLE matched ON COMMIT DROP AS
SELECT type_id, cluster, uid, namespace, name, created_at, updated_at, composition_id FROM resources
WHERE type_id = ANY ($1) AND ($2::text[] IS NULL OR namespace = ANY ($2)) AND ($3::jsonb IS NULL OR labels @> $3)
    AND ($4::text IS NULL OR name = $4) AND ($5::text IS NULL OR strpos(lower(name), lower($5)) > 0)
    AND ($6::timestamptz IS NULL OR updated_at >= $6) AND ($7::uuid IS NULL OR composition_id = $7)
"""


@dataclass(frozen=True)
class Cost:
    """One shape at one depth. `visited` are rows and index entries, `sorted` the rows that the largest sort took in.

    `vs_first` is what NEIGHBOURS pages from there on take, relative to as many first ones; page DEEP only.
    """

    order: str
    filter: str
    scope: str
    types: str
    size: str
    page: int
    rows: int
    p50_ms: float
    p95_ms: float
    statements: int
    buffers: int
    visited: int
    sorted: int
    sequential: int
    vs_first: float | None = None


async def measure(
    pool: Pool, population: Population, selected: Callable[[Shape], bool], runs: int = RUNS
) -> list[Cost]:
    """The selected shapes, at the first page and deep in it."""
    costs: list[Cost] = []
    async with pool.connection() as connection:
        one = await connection.fetchrow(_ONE, population.type_ids[0])
    assert one is not None
    wanted = filters(one["name"], str(one["composition_id"]))
    asked = filter(selected, shapes(population.type_ids, wanted))
    for _, alike in itertools.groupby(sorted(asked, key=_same_rows), _same_rows):
        for shape, depths in await _with_depths(pool, list(alike)):
            costs += [await _cost(pool, shape, page, query, runs) for page, query in depths.items()]
            if runs and DEEP in depths:
                costs[-1] = replace(costs[-1], vs_first=await _compared(pool, depths[DEEP], shape.query))
    return costs


def _same_rows(shape: Shape) -> tuple[str, str, str]:
    return shape.filter, shape.scope, shape.types


async def _with_depths(pool: Pool, alike: Sequence[Shape]) -> list[tuple[Shape, dict[int, Query]]]:
    """Each shape with its first page and, where there are several, with page DEEP or the last full one before it."""
    first = alike[0].query
    namespaces = first.ranges[0].namespaces  # which are the same of every type
    wanted = first.filters
    found = []
    async with pool.connection() as connection, connection.transaction():
        await connection.execute(
            _MATCHED,
            [scanned.type_id for scanned in first.ranges],
            None if namespaces is None else list(namespaces),
            None if wanted.labels is None else json.dumps(dict(wanted.labels)).encode(),
            wanted.name,
            wanted.name_contains,
            wanted.since,
            wanted.composition_id,
        )
        count = await connection.fetchval("SELECT count(*) FROM matched")
        for shape in alike:
            query = shape.query
            depths = {1: query}
            page = min(DEEP, count // query.limit)
            if page > 1:
                depths[page] = replace(query, after=await _position(connection, query, (page - 1) * query.limit))
            found.append((shape, depths))
    return found


async def _position(connection: Connection, query: Query, rows: int) -> Position:
    """Where so many rows end."""
    keys = query.sort.keys
    order = ", ".join(f"{key.sql} {'DESC' if query.descending else 'ASC'}" for key in keys)
    columns = ", ".join(key.sql if key.type != "uuid" else f"({key.sql})::text" for key in keys)
    record = await connection.fetchrow(f"SELECT {columns} FROM matched ORDER BY {order} OFFSET $1 LIMIT 1", rows - 1)
    assert record is not None
    return tuple(record)


async def _compared(pool: Pool, deep: Query, first: Query) -> float:
    """What deep pages take relative to first ones, by the medians; in turns, as the machine has other things to do."""
    sides = [await _following(pool, query) for query in (deep, first)]
    seconds: list[list[float]] = [[], []]
    for _, side in itertools.product(range(_TURNS), (0, 1)):
        start = time.perf_counter()
        for query in sides[side]:
            await read_page(pool, query)
        seconds[side].append(time.perf_counter() - start)
    return round(statistics.median(seconds[0]) / statistics.median(seconds[1]), 2)


async def _following(pool: Pool, query: Query) -> list[Query]:
    """A page and those behind it."""
    queries = [query]
    while len(queries) < NEIGHBOURS and (position := (await read_page(pool, queries[-1])).next):
        queries.append(replace(query, after=position))
    return queries


async def _cost(pool: Pool, shape: Shape, page: int, query: Query, runs: int) -> Cost:
    explaining = ExplainingPool(pool)
    found = await read_page(explaining, query)
    seconds: list[float] = []
    while len(seconds) < min(runs, _FEWEST_RUNS) or (len(seconds) < runs and sum(seconds) < _ENOUGH_SECONDS):
        start = time.perf_counter()
        await read_page(pool, query)
        seconds.append(time.perf_counter() - start)
    plans = explaining.plans
    return Cost(
        order=shape.order,
        filter=shape.filter,
        scope=shape.scope,
        types=shape.types,
        size=shape.size,
        page=page,
        rows=len(found.rows),
        p50_ms=_milliseconds(seconds, 0.5),
        p95_ms=_milliseconds(seconds, 0.95),
        statements=len(plans),
        buffers=sum(plan.buffers for plan in plans),
        visited=sum(plan.visited_rows for plan in plans),
        sorted=max(plan.sorted_rows for plan in plans),
        sequential=sum(plan.sequential_scans for plan in plans),
    )


def _milliseconds(seconds: Sequence[float], share: float) -> float:
    """That which so many are at most; 0 when nothing was timed."""
    return round(1000 * sorted(seconds)[int(share * len(seconds))], 2) if seconds else 0.0
