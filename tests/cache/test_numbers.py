"""How many objects there are, and where so many of them end: as a plain evaluation of the same question has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from presenter.cache import plan
from presenter.cache.numbers import count, position_behind
from presenter.cache.pages import read_page
from presenter.cache.plan import Total
from presenter.cache.pool import Pool
from presenter.cache.query import Filters, Query, Row, Sort
from presenter.cache.scope import ScanRange
from presenter.cache.writer import Writer
from presenter.resource import Watch
from tests.cache.objects import BUTTONS, PANELS, START, THEMES, make_object
from tests.cache.test_pages import NAMESPACES, all_pages, fill, filters, objects, plain_answer


@pytest.fixture
async def watches(writer: Writer) -> list[Watch]:
    """Two namespaced types and a cluster-scoped one."""
    await writer.open_cluster("cluster-uid", ["*.*"])
    return [watch for type in (PANELS, BUTTONS, THEMES) for watch in await writer.declare(type)]


async def assert_it_is_numbered(pool: Pool, query: Query, there: Sequence[Row], rows: int) -> None:
    """How many there are, and where so many of them end."""
    assert await count(pool, query) == Total(len(there)), query
    behind = await position_behind(pool, query, rows)
    assert (behind is None) is (rows > len(there)), (query, rows)
    if behind is not None:
        assert (await read_page(pool, replace(query, after=behind))).rows == there[rows:][: query.limit], (query, rows)


@pytest.mark.timeout(300)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_numbers_are_those_of_the_plain_answer(
    writer: Writer, pool: Pool, watches: list[Watch], monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    monkeypatch.setattr(plan, "WALK_BASE", data.draw(st.sampled_from((0, 1, 1000)), "stretch of a walk"))
    monkeypatch.setattr(plan, "WALK_PER_ROW", 1)
    monkeypatch.setattr(plan, "PER_MATCH", data.draw(st.sampled_from((0, 1, 1000)), "cost of a match"))
    monkeypatch.setattr(plan, "MANY", data.draw(st.sampled_from((1, 2, 64)), "many namespaces"))
    labels: dict[str, dict[str, str]] = {}
    for watch in watches:
        content = data.draw(st.lists(objects, max_size=12, unique_by=lambda object: object.uid))
        if not watch.type.namespaced:
            content = [msgspec.structs.replace(object, namespace="") for object in content]
        labels |= {f"{watch.type_id} {object.uid}": msgspec.json.decode(object.labels) for object in content}
        await fill(writer, watch, [])  # or else a uid that an earlier example used would keep what it had there
        await fill(writer, watch, content)
    ranges = tuple(ScanRange("test", watch.type_id) for watch in watches)
    stored = await all_pages(pool, Query(ranges, Sort.NAME, False, 5000))
    seen = data.draw(st.lists(st.sampled_from(ranges), unique=True, min_size=1))
    some = st.none() | st.sets(st.sampled_from(NAMESPACES), min_size=1)
    scope = tuple(
        scanned._replace(namespaces=tuple(sorted(names)) if (names := data.draw(some)) else None)
        if scanned != ranges[2]
        else scanned
        for scanned in seen
    )
    for _ in range(3):
        since = data.draw(st.none() | st.sampled_from([row.updated_at for row in stored] or [START]))
        wanted = replace(data.draw(filters), since=since)
        sort, descending = data.draw(st.sampled_from(Sort)), data.draw(st.booleans())
        query = Query(scope, sort, descending, data.draw(st.integers(1, 7)), wanted)
        there = plain_answer(stored, labels, query)
        await assert_it_is_numbered(pool, query, there, 1 + data.draw(st.integers(0, 59)) % (len(there) + 2))


@pytest.mark.parametrize("many", [1, 64])
@pytest.mark.parametrize("sort", Sort)
async def test_rows_that_differ_by_their_type_only_are_numbered_in_order(
    writer: Writer, pool: Pool, watches: list[Watch], monkeypatch: pytest.MonkeyPatch, sort: Sort, many: int
) -> None:
    """Each uid is there in three types of two clusters, and some ranges are empty."""
    monkeypatch.setattr(plan, "WALK_BASE", 8)
    monkeypatch.setattr(plan, "WALK_PER_ROW", 1)
    monkeypatch.setattr(plan, "MANY", many)
    content = [
        make_object(number, namespace=NAMESPACES[number % 2], name=f"abc-{number % 4}", labels={"app": "a"})
        for number in range(9)
    ]
    edge = Writer(pool, "edge")
    await edge.open_cluster("edge-uid", ["*.*"])
    [cards] = await edge.declare(PANELS)
    for owner, watch in ((writer, watches[0]), (writer, watches[1]), (edge, cards)):
        await fill(owner, watch, content)
    whole = tuple(
        ScanRange(cluster, watch.type_id)
        for cluster, watch in zip(("test", "test", "edge"), (*watches[:2], cards), strict=True)
    )
    stored = await all_pages(pool, Query(whole, Sort.NAME, False, 5000))
    labels = {f"{row.type_id} {row.uid}": {"app": "a"} for row in stored}
    within = tuple(scanned._replace(namespaces=NAMESPACES[1:]) for scanned in whole)
    for ranges in (whole, within, (whole[0], *within[1:])):
        for wanted in (Filters(), Filters(labels=(("app", "a"),))):
            query = Query(ranges, sort, sort is Sort.CREATED_AT, 5, wanted)
            there = plain_answer(stored, labels, query)
            for rows in range(1, len(there) + 1):
                await assert_it_is_numbered(pool, query, there, rows)
