"""What a page costs, in rows and buffers looked at: every shape that the benchmark times, on its skewed population."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial

import pytest

from benchmarks.costs import Cost, measure
from benchmarks.database import fill
from benchmarks.population import Population
from benchmarks.shapes import SCOPES, SIZES, Shape, filters
from presenter.cache.pages import PLANNING
from presenter.cache.plan import MANY, WALK_BASE, WALK_PER_ROW
from presenter.cache.pool import Address, Pool
from tests.servers import Postgres

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
    """Of each stretch a page when nothing is filtered; else a walk, and what is collected where that finds too little.

    That is nothing of the order of the population: OBJECTS tells.
    """
    limit, _ = SIZES[cost.size]
    page, walk = limit + 1, WALK_BASE + WALK_PER_ROW * limit
    if cost.filter == "none" and len(SCOPES[cost.scope] or (None,)) <= MANY:
        return 2 * (page + len(SCOPES[cost.scope] or (None,)))
    if cost.filter == "none":
        return 10 * page
    return 2 * walk + page


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
