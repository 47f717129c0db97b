"""What a page costs, in rows and buffers looked at: every shape that the benchmark times, on its skewed population."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial

import msgspec
import pytest

from benchmarks.costs import Cost, measure
from benchmarks.database import fill
from benchmarks.population import CLUSTER, Population
from benchmarks.shapes import ORDERS, SCOPES, SIZES, Shape, filters
from presenter.cache import plan
from presenter.cache.numbers import count, position_behind
from presenter.cache.pages import PLANNING
from presenter.cache.plan import (
    COUNTED_ROWS,
    MANY,
    SAMPLE,
    SAMPLE_OF_KEYS,
    SAMPLE_OF_MATCHES,
    WALK_BASE,
    WALK_PER_ROW,
)
from presenter.cache.pool import Address, Pool
from presenter.cache.query import Query, Sort
from presenter.cache.scope import ScanRange
from tests.cache.explain import ExplainingPool
from tests.servers import Postgres

NO_COMPOSITION = "00000000-0000-4000-8000-000000000000"
OBJECTS = 40_000  # of which 8,000 are of the type that is asked for: several times what a page may cost


async def _fill(address: Address) -> Population:
    pool = await Pool.open(address, size=4, command_timeout=120)
    try:
        return await fill(pool, OBJECTS, documents=False)
    finally:
        await pool.close()


@pytest.fixture(scope="module")
def populated(postgres: Postgres) -> Iterator[tuple[Address, Population]]:
    address = postgres.create("populated", template="template")
    yield address, postgres.run(_fill, address)
    postgres.drop("populated")


@pytest.fixture
def population(populated: tuple[Address, Population]) -> Population:
    return populated[1]


@pytest.fixture
async def pool(populated: tuple[Address, Population]) -> AsyncIterator[Pool]:
    pool = await Pool.open(populated[0], size=2, command_timeout=60, **PLANNING)
    yield pool
    await pool.close()


def rows_it_may_look_at(cost: Cost) -> int:
    """Of each stretch a page when nothing is filtered; else a walk, two samples, a probe, and what is collected.

    That is nothing of the order of the population: OBJECTS tells.
    """
    limit, _ = SIZES[cost.size]
    page, walk = limit + 1, WALK_BASE + WALK_PER_ROW * limit
    if cost.filter == "none" and len(SCOPES[cost.scope] or (None,)) <= MANY:
        return 2 * (page + len(SCOPES[cost.scope] or (None,)))
    if cost.filter == "none":
        return 10 * page
    return 3 * walk + 2 * SAMPLE + page


def is_small_and_filtered(filter: str, shape: Shape) -> bool:
    return shape.filter == filter and shape.types == "one type" and shape.size != "500"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("filter", filters("", ""))
async def test_a_page_costs_what_it_returns(pool: Pool, population: Population, filter: str) -> None:
    costs = await measure(pool, population, partial(is_small_and_filtered, filter), runs=0)
    assert costs
    for cost in costs:
        allowed = rows_it_may_look_at(cost)
        assert cost.sequential == 0, cost
        assert cost.visited <= allowed, cost
        assert cost.sorted <= allowed, cost
        assert cost.buffers <= 2 * allowed, cost


@pytest.mark.timeout(300)
@pytest.mark.parametrize("scope", SCOPES)
async def test_a_page_of_all_types_costs_no_more_rows(pool: Pool, population: Population, scope: str) -> None:
    """However many stretches there are, of which each is looked for in its index."""
    costs = await measure(pool, population, lambda shape: shape.scope == scope and shape.types == "all types", runs=0)
    assert costs
    stretches = len(population.type_ids) * len(SCOPES[scope] or (None,))
    walk = WALK_BASE + WALK_PER_ROW * 50
    for cost in costs:
        assert cost.sequential == 0, cost
        assert cost.visited <= 2 * walk, cost
        assert cost.sorted <= walk // 2, cost
        assert cost.buffers <= 2 * walk + 4 * stretches, cost


BY_EXPRESSION = (Sort.GLOBAL_UID, Sort.COMPOSITION_ASCENDING, Sort.COMPOSITION_DESCENDING)
"""An index of an expression is not read alone, as PostgreSQL does not see that it has all that is asked for."""


def of_scope(population: Population, types: str, scope: str, sort: Sort = Sort.CREATED_AT) -> Query:
    ids = population.type_ids if types == "all types" else population.type_ids[:1]
    return Query(tuple(ScanRange(CLUSTER, type_id, SCOPES[scope]) for type_id in ids), sort, False, 50)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("types", ["one type", "all types"])
@pytest.mark.parametrize("scope", SCOPES)
async def test_what_is_passed_over_is_passed_over_in_an_index(
    pool: Pool, population: Population, scope: str, types: str
) -> None:
    for sort, descending in ORDERS:
        query = replace(of_scope(population, types, scope, sort), descending=descending)
        rows = (await count(pool, query)).items // 2
        explaining = ExplainingPool(pool)
        assert await position_behind(explaining, query, rows) is not None
        assert sum(one.sequential_scans for one in explaining.plans) == 0, query.sort
        if sort not in BY_EXPRESSION:
            near = 2 * SAMPLE_OF_KEYS + rows // 2 if query.index_ranges > MANY else 4 * query.index_ranges
            assert sum(one.visited_rows for one in explaining.plans) <= rows + near, query.sort
            passed_over = [one for one in explaining.plans if re.search("page (offset|count)", one.sql)]
            assert {node["Node Type"] for one in passed_over for node in one.scans()} == {"Index Only Scan"}, query.sort


@pytest.mark.timeout(300)
@pytest.mark.parametrize("types", ["one type", "all types"])
@pytest.mark.parametrize("scope", SCOPES)
async def test_matches_are_counted_in_an_index_and_up_to_a_bound(
    pool: Pool, population: Population, monkeypatch: pytest.MonkeyPatch, scope: str, types: str
) -> None:
    """Where there are more an estimate is good: within a factor of 2."""
    monkeypatch.setattr(plan, "COUNTED_ROWS", COUNTED_ROWS // 64)
    monkeypatch.setattr(plan, "COUNTED", COUNTED_ROWS // 16)
    name = await _one_name(pool, population)
    for wanted in filters(name, NO_COMPOSITION).values():
        query = replace(of_scope(population, types, scope), filters=wanted)
        explaining = ExplainingPool(pool)
        total = await count(explaining, query)
        looked_at = COUNTED_ROWS // 16 + (2 * SAMPLE_OF_MATCHES if total.estimated else 0)
        assert sum(one.sequential_scans for one in explaining.plans) == 0, wanted
        assert sum(one.visited_rows for one in explaining.plans) <= looked_at, wanted
        there = await _counted_plainly(pool, query)
        if total.estimated:
            assert there / 2 <= total.items <= 2 * there, (wanted, there, total)
        else:
            assert total.items == there, wanted


async def _one_name(pool: Pool, population: Population) -> str:
    async with pool.connection() as connection:
        name: str = await connection.fetchval(
            "SELECT name FROM resources WHERE type_id = $1 LIMIT 1", population.type_ids[0]
        )
        return name


async def _counted_plainly(pool: Pool, query: Query) -> int:
    wanted = query.filters
    async with pool.connection() as connection:
        there: int = await connection.fetchval(
            """
            SELECT count(*) FROM resources WHERE type_id = ANY ($1) AND ($2::text[] IS NULL OR namespace = ANY ($2))
                AND ($3::jsonb IS NULL OR labels @> $3) AND ($4::text IS NULL OR name = $4)
                AND ($5::text IS NULL OR strpos(lower(name), lower($5)) > 0)
                AND ($6::timestamptz IS NULL OR updated_at >= $6) AND ($7::uuid IS NULL OR composition_id = $7)
            """,
            [scanned.type_id for scanned in query.ranges],
            query.ranges[0].namespaces,
            None if wanted.labels is None else msgspec.json.encode(dict(wanted.labels)),
            wanted.name,
            wanted.name_contains,
            wanted.since,
            wanted.composition_id,
        )
    return there
