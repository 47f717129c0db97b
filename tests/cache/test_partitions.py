"""The table of objects divided by cluster: pages are the same, and other clusters' parts are not looked at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from presenter.cache.pages import PLANNING, read_page
from presenter.cache.pool import Address, Pool
from presenter.cache.query import Filters, Query, Row, Sort
from presenter.cache.scope import ScanRange
from presenter.cache.writer import Writer
from tests.cache.explain import ExplainingPool
from tests.cache.objects import BUTTONS, PANELS, make_object

CLUSTERS = ("test", "edge", "other")
NAMESPACES = ("a", "b", "c")
FILTERS = (Filters(), Filters(labels=(("app", "0"),)), Filters(name="object-00007"), Filters(name_contains="0001"))

DIVIDE = (
    "ALTER TABLE resources RENAME TO undivided",
    "CREATE TABLE resources (LIKE undivided INCLUDING ALL) PARTITION BY LIST (cluster)",
    *(f"CREATE TABLE resources_{name} PARTITION OF resources FOR VALUES IN ('{name}')" for name in CLUSTERS),
    "INSERT INTO resources SELECT * FROM undivided",
    "DROP TABLE undivided",
    "ANALYZE resources",
)


@pytest.fixture
async def pool(database: Address) -> AsyncIterator[Pool]:
    """As pages are read by the service."""
    pool = await Pool.open(database, size=2, command_timeout=30, **PLANNING)
    yield pool
    await pool.close()


async def filled(pool: Pool) -> tuple[ScanRange, ...]:
    """The same objects in two types of every cluster, so that they lie at the same places of their parts."""
    ranges = []
    for name in CLUSTERS:
        writer = Writer(pool, name)
        await writer.open_cluster(f"{name}-uid", ["*.*"])
        for type in (PANELS, BUTTONS):
            [watch] = await writer.declare(type)
            await writer.begin_list(watch)
            content = [
                make_object(number, namespace=NAMESPACES[number % 3], labels={"app": f"{number % 4}"})
                for number in range(40)
            ]
            await writer.list_page(watch, content)
            await writer.finish_list(watch, "1000")
            ranges.append(ScanRange(name, watch.type_id))
    return tuple(ranges)


async def answers(pool: Pool, queries: list[Query]) -> list[list[Row]]:
    return [(await read_page(pool, query)).rows for query in queries]


async def test_pages_are_the_same_and_only_their_cluster_is_looked_at(pool: Pool) -> None:
    ranges = await filled(pool)
    within = tuple(scanned._replace(namespaces=NAMESPACES[:2]) for scanned in ranges)
    scopes = (ranges[:1], ranges[:2], within[:2], (ranges[0], within[1]), ranges[1:4], within)
    queries = [
        Query(scope, sort, descending, 9, wanted, raw=True)
        for scope in scopes
        for sort, descending in ((Sort.CREATED_AT, True), (Sort.NAMESPACE_AND_NAME, False), (Sort.GLOBAL_UID, False))
        for wanted in FILTERS
    ]
    queries += [replace(query, after=(await read_page(pool, query)).next) for query in queries]
    before = await answers(pool, queries)
    assert any(len(rows) == 9 for rows in before)
    async with pool.connection() as connection:
        for statement in DIVIDE:
            await connection.execute(statement)

    assert await answers(pool, queries) == before

    for query in queries:
        explaining = ExplainingPool(pool)
        await read_page(explaining, query)
        clusters = {f"resources_{scanned.cluster}" for scanned in query.ranges}
        for plan in explaining.plans:
            nodes = [node for node in plan.scans() if node["Actual Loops"]]
            if "/* page walk" in plan.sql or "/* page sample" in plan.sql:
                assert {node["Relation Name"] for node in nodes} <= clusters, query
            else:  # an index of the filter's is asked in each part, and has nothing of the type
                assert all(node["Relation Name"] in clusters or not node["Actual Rows"] for node in nodes), query
