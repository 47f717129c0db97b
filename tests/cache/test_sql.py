"""The text of a statement, as it is kept in a file for every kind, and what is sent with it."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from typing import get_args

import pytest

from presenter.cache.pages import read_page
from presenter.cache.plan import Scan, ScanKind, plan
from presenter.cache.pool import Address, Pool
from presenter.cache.query import Filters, Query, Sort
from presenter.cache.scope import ScanRange
from presenter.cache.sql import statement
from tests.cache.scans import ALL_OF_ONE, GOLDEN, LABELS, nothing_found, scans, written

NAMESPACES = tuple(f"namespace-{number:03}" for number in range(400))
SCANS = dict(scans())


@pytest.mark.parametrize("name", SCANS)
def test_it_is_as_in_its_file(name: str) -> None:
    assert written(SCANS[name]) == (GOLDEN / f"{name}.sql").read_text(), "write it: python -m tests.cache.scans"


def test_every_kind_has_a_file_and_every_file_a_kind() -> None:
    assert {scan.kind for scan in SCANS.values()} == set(get_args(ScanKind))
    assert {path.stem for path in GOLDEN.iterdir()} == set(SCANS)


@pytest.mark.parametrize("scan", SCANS.values(), ids=SCANS)
def test_it_is_named_behind_its_first_word(scan: Scan) -> None:
    """From PostgreSQL 18 on, pg_stat_statements leaves out what stands before that."""
    assert statement(scan)[0].lstrip().startswith(f"SELECT /* page {scan.kind} */")


@pytest.mark.parametrize("scan", SCANS.values(), ids=SCANS)
def test_the_cluster_comes_first_where_rows_are_walked_and_where_they_are_fetched(scan: Scan) -> None:
    """Where an index of the filter's is looked up it must not: the planner would look the whole cluster up, too.

    Nor where an index alone is read, which does not have it.
    """
    text = re.sub(r"\s+", " ", statement(scan)[0])
    compared = re.findall(r"FROM resources(?: r)? WHERE (\w+)", text)
    assert compared
    collected = scan.kind in ("collect", "probe", "count", "offset")
    assert [column == "cluster" for column in compared] == [not collected] * len(compared)
    assert (
        ("AS found" not in text)
        or scan.kind not in ("collect", "probe")
        or re.search(r"cluster = \S+ AND type_id = in_type AND .*AS found", text)
    )
    fetches = not scan.keys and not scan.kind.startswith(("sample", "walk of one", "count"))
    assert ("JOIN resources r ON r.cluster = " in text) is fetches


def sent(query: Query) -> int:
    """Characters of the arguments of everything that is asked for a page when little is found."""
    steps, size = plan(query), 0
    step = next(steps)
    while True:
        size += sum(len(str(step.values[name])) for name in statement(step.scan)[1])
        try:
            step = steps.send(nothing_found(step))
        except StopIteration:
            return size


@pytest.mark.parametrize("sort", Sort)
def test_namespaces_that_may_be_seen_of_many_types_are_sent_once(sort: Sort) -> None:
    ranges = tuple(ScanRange("test", type_id, NAMESPACES) for type_id in range(30))
    query = Query(ranges, sort, False, 50, Filters(labels=(("app", "a"),)))
    assert sent(query) < 1.5 * sent(replace(query, ranges=ranges[:1]))


def test_one_text_serves_whoever_asks() -> None:
    """It is prepared once: no text depends on how many namespaces there are, or which types share them."""
    texts = set()
    for first, step in itertools.product((0, 1, 7), (1, 2, 3)):
        ranges = tuple(ScanRange("test", type_id, NAMESPACES[first + type_id % 3 :: step]) for type_id in range(30))
        texts.add(statement(next(plan(Query(ranges, Sort.CREATED_AT, True, 50))).scan)[0])
    assert len(texts) == 1


async def test_it_stays_prepared_under_its_name(database: Address) -> None:
    pool = await Pool.open(database, size=1, command_timeout=30)
    try:
        for number in range(5):
            await read_page(pool, replace(ALL_OF_ONE, ranges=(ScanRange("test", number),)))
            await read_page(pool, replace(ALL_OF_ONE, ranges=(ScanRange("test", number),), filters=LABELS))
        async with pool.connection() as connection:
            prepared = await connection.fetch("SELECT statement FROM pg_prepared_statements")
    finally:
        await pool.close()
    names = sorted(found[0] for row in prepared if (found := re.search(r"/\* page [\w ]+ \*/", row["statement"])))
    assert names == ["/* page walk nested */", "/* page walk of one */"]
