"""Pages: whatever is asked for, all pages together are what a plain evaluation of the same question gives."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from presenter.cache import plan
from presenter.cache.pages import read_objects, read_page
from presenter.cache.pool import Pool
from presenter.cache.query import Filters, Page, Query, Row, Sort
from presenter.cache.scope import ScanRange
from presenter.cache.writer import Writer
from presenter.resource import Event, Object, Watch
from tests.cache.objects import BUTTONS, PANELS, START, THEMES, make_object

NAMESPACES = ("default", "krateo-system", "team-a", "team-b")
COMPOSITIONS = tuple(str(uuid.UUID(int=number)) for number in (1, 2**100, 2**128 - 2))
LABELS: tuple[dict[str, str], ...] = ({}, {"app": "a"}, {"app": "b"}, {"app": "a", "page": "one"}, {"page": "two"})
LAST, FIRST = str(uuid.UUID(int=2**128 - 1)), str(uuid.UUID(int=0))

objects = st.builds(
    make_object,
    st.integers(0, 10_000),
    namespace=st.sampled_from(NAMESPACES),
    name=st.sampled_from(("a", "A", "ab", "b-1", "b_1", "b%1", "z", "Abc-1", "abcde")),
    created_at=st.sampled_from([START + timedelta(seconds=second) for second in range(3)]),
    composition_id=st.none() | st.sampled_from(COMPOSITIONS),
    labels=st.sampled_from(LABELS),
)
filters = st.builds(
    Filters,
    name=st.none() | st.sampled_from(("a", "b-1", "nobody")),
    name_contains=st.none() | st.sampled_from(("A", "b", "_", "%", "ABC", "bCd", "bcde", "nobody")),
    labels=st.none() | st.sampled_from([tuple(labels.items()) for labels in (*LABELS, {"app": "nobody"})]),
    composition_id=st.none() | st.sampled_from(COMPOSITIONS),
)


def sort_key(sort: Sort, row: Row, cluster: str) -> tuple[Any, ...]:
    """The order, written down once more."""
    keys: dict[Sort, tuple[Any, ...]] = {
        Sort.CREATED_AT: (row.created_at, row.uid),
        Sort.UPDATED_AT: (row.updated_at, row.uid),
        Sort.NAME: (row.name, row.uid),
        Sort.NAMESPACE_AND_NAME: (row.namespace, row.name, row.uid),
        Sort.GLOBAL_UID: (f"{cluster}:{row.uid}",),
        Sort.COMPOSITION_ASCENDING: (row.composition_id or LAST, row.uid),
        Sort.COMPOSITION_DESCENDING: (row.composition_id or FIRST, row.uid),
    }
    return (*keys[sort], row.type_id)


def matches(filters: Filters, row: Row, labels: dict[str, str]) -> bool:
    return (
        (filters.name is None or row.name == filters.name)
        and (filters.name_contains is None or filters.name_contains.lower() in row.name.lower())
        and (filters.labels is None or set(filters.labels) <= set(labels.items()))
        and (filters.since is None or row.updated_at >= filters.since)
        and (filters.composition_id is None or row.composition_id == filters.composition_id)
    )


def plain_answer(stored: Sequence[Row], labels: dict[str, dict[str, str]], query: Query) -> list[Row]:
    """What the pages of a query are together; labels by type id and uid."""
    found = [
        row
        for row in stored
        if any(
            scanned.type_id == row.type_id and row.namespace in (scanned.namespaces or (row.namespace,))
            for scanned in query.ranges
        )
        and matches(query.filters, row, labels[f"{row.type_id} {row.uid}"])
    ]
    clusters = {scanned.type_id: scanned.cluster for scanned in query.ranges}
    return sorted(found, key=lambda row: sort_key(query.sort, row, clusters[row.type_id]), reverse=query.descending)


async def fill(writer: Writer, watch: Watch, content: Sequence[Object]) -> None:
    await writer.begin_list(watch)
    await writer.list_page(watch, content)
    await writer.finish_list(watch, "1000000")


async def pages(pool: Pool, query: Query) -> list[Page]:
    """Follow the pages to the end. None may be short while more remain."""
    pages = []
    while True:
        page = await read_page(pool, query)
        if page.rows:
            pages.append(page)
        if page.next is None:
            return pages
        assert len(page.rows) == query.limit
        query = replace(query, after=page.next)


async def all_pages(pool: Pool, query: Query) -> list[Row]:
    return rows_of(await pages(pool, query))


def rows_of(pages: Sequence[Page]) -> list[Row]:
    return [row for page in pages for row in page.rows]


async def assert_it_is_the_same_back_from(pool: Pool, query: Query, there: Sequence[Page], number: int) -> None:
    """The pages before one, walked back from where it begins."""
    back = await pages(pool, replace(query, backward=True, after=there[number].start))
    assert [page.rows for page in back] == [page.rows for page in there[:number]][::-1], query


async def assert_it_is_the_same_from_the_end(pool: Pool, query: Query, there: Sequence[Page]) -> None:
    """All pages, walked back from the end, and once more from where that has led."""
    back = await pages(pool, replace(query, backward=True))
    assert rows_of(back[::-1]) == rows_of(there), query
    again = await pages(pool, replace(query, after=back[-1].start))
    assert rows_of([back[-1], *again]) == rows_of(there), query


@pytest.fixture
async def watches(writer: Writer) -> list[Watch]:
    """Two namespaced types and a cluster-scoped one."""
    await writer.open_cluster("cluster-uid", ["*.*"])
    return [watch for type in (PANELS, BUTTONS, THEMES) for watch in await writer.declare(type)]


@pytest.mark.timeout(300)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_all_pages_together_are_the_plain_answer(
    writer: Writer, pool: Pool, watches: list[Watch], monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    monkeypatch.setattr(plan, "WALK_BASE", data.draw(st.sampled_from((0, 1, 1000)), "stretch of a walk"))
    monkeypatch.setattr(plan, "WALK_PER_ROW", 1)
    monkeypatch.setattr(plan, "PER_MATCH", data.draw(st.sampled_from((0, 1, 1000)), "cost of a match"))
    many = data.draw(st.sampled_from((1, 2, 64)), "many namespaces")
    monkeypatch.setattr(plan, "MANY", many)
    labels: dict[str, dict[str, str]] = {}
    for watch in watches:
        content = data.draw(st.lists(objects, max_size=12, unique_by=lambda object: object.uid))
        if not watch.type.namespaced:
            content = [msgspec.structs.replace(object, namespace="") for object in content]
        labels |= {f"{watch.type_id} {object.uid}": msgspec.json.decode(object.labels) for object in content}
        await fill(writer, watch, [])  # or else a uid that an earlier example used would keep what it had there
        await fill(writer, watch, content)
    stored = await all_pages(
        pool, Query(tuple(ScanRange("test", watch.type_id) for watch in watches), Sort.NAME, False, 5000)
    )
    assert {f"{row.type_id} {row.uid}" for row in stored} == set(labels)

    seen = data.draw(
        st.dictionaries(st.sampled_from(watches), st.none() | st.sets(st.sampled_from(NAMESPACES), min_size=1))
    )
    ranges = tuple(
        ScanRange("test", watch.type_id, tuple(sorted(namespaces)) if namespaces and watch.type.namespaced else None)
        for watch, namespaces in seen.items()
    )
    question = data.draw(filters)
    since = data.draw(st.none() | st.sampled_from([row.updated_at for row in stored] or [START]))
    question = replace(question, since=since)
    sort, descending = data.draw(st.sampled_from(Sort)), data.draw(st.booleans())
    query = Query(ranges, sort, descending, data.draw(st.integers(1, 7)), question)
    found = await pages(pool, query)

    assert rows_of(found) == plain_answer(stored, labels, query)
    if found:
        await assert_it_is_the_same_back_from(pool, query, found, data.draw(st.integers(0, len(found) - 1)))


@pytest.mark.parametrize("many", [1, 2, 4, 64])
@pytest.mark.parametrize("sort", Sort)
async def test_the_same_objects_in_several_types_and_namespaces(
    writer: Writer, pool: Pool, watches: list[Watch], monkeypatch: pytest.MonkeyPatch, sort: Sort, many: int
) -> None:
    """Each uid is there in three types, so that only the type tells the rows apart, and some ranges are empty.

    The third is of another cluster, or not.
    """
    monkeypatch.setattr(plan, "WALK_BASE", 8)
    monkeypatch.setattr(plan, "WALK_PER_ROW", 1)
    monkeypatch.setattr(plan, "MANY", many)
    content = [
        make_object(number, namespace=NAMESPACES[number % 3], name=f"abc-{number % 4}", labels=LABELS[number % 3 + 1])
        for number in range(30)
    ]
    edge = Writer(pool, "edge") if many in (1, 64) else writer
    if edge is not writer:
        await edge.open_cluster("edge-uid", ["*.*"])
    [cards] = await edge.declare(replace(PANELS, resource="cards", kind="Card"))
    for owner, watch in ((writer, watches[0]), (writer, watches[1]), (edge, cards)):
        await fill(owner, watch, content)
    types = [watch.type_id for watch in (*watches[:2], cards)]
    ranges = [ScanRange("test", type_id) for type_id in types[:2]]
    ranges.append(ScanRange("test" if edge is writer else "edge", types[2]))
    stored = await all_pages(pool, Query(tuple(ranges), Sort.NAME, False, 5000))
    labels = {f"{type_id} {object.uid}": msgspec.json.decode(object.labels) for type_id in types for object in content}
    first, *others = (scanned._replace(namespaces=NAMESPACES[1:]) for scanned in ranges)
    questions = [Filters(), Filters(labels=(("app", "a"),)), Filters(name_contains="bc-3"), Filters(since=START)]
    for odd in (first, first._replace(namespaces=NAMESPACES[2:]), ranges[0]):
        for question, descending in itertools.product(questions, (False, True)):
            query = Query((odd, *others), sort, descending, 7, question)
            found = await pages(pool, query)
            assert rows_of(found) == plain_answer(stored, labels, query), query
            if descending is (question.labels is None):
                await assert_it_is_the_same_from_the_end(pool, query, found)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("sort", Sort)
async def test_what_nobody_touches_is_met_exactly_once_while_everything_else_changes(
    writer: Writer, pool: Pool, watches: list[Watch], sort: Sort, data: st.DataObject
) -> None:
    watch = watches[0]
    content = data.draw(st.lists(objects, min_size=3, max_size=20, unique_by=lambda object: object.uid))
    await fill(writer, watch, [])  # what an earlier example left would keep its updated_at
    await fill(writer, watch, content)
    touched: set[str] = set()
    version = 2_000_000
    query = Query((ScanRange("test", watch.type_id),), sort, data.draw(st.booleans()), data.draw(st.integers(1, 7)))
    met: list[str] = []
    while True:
        page = await read_page(pool, query)
        met += [row.uid for row in page.rows]
        if page.next is None:
            break
        query = replace(query, after=page.next)
        changes = st.lists(st.sampled_from(content) | objects, max_size=3 if version < 2_000_020 else 0)
        for object in data.draw(changes):
            version += 1
            change: Literal["upsert", "delete"] = data.draw(st.sampled_from(("upsert", "delete")))
            await writer.apply(
                watch, [Event(change, msgspec.structs.replace(object, resource_version=version))], str(version)
            )
            touched.add(object.uid)
    for object in content:
        if object.uid not in touched:
            assert met.count(object.uid) == 1


async def test_no_ranges_no_rows(pool: Pool) -> None:
    assert await read_page(pool, Query((), Sort.NAME, False, 5)) == Page([], None)


async def test_documents_come_when_asked_for(writer: Writer, pool: Pool, watches: list[Watch]) -> None:
    watch = watches[0]
    await fill(writer, watch, [make_object(1, raw={"status": {"ready": True}}), make_object(2, raw={"spec": 1})])
    query = Query((ScanRange("test", watch.type_id),), Sort.NAME, False, 5)
    for raw in (True, False):
        for status in (True, False):
            rows = (await read_page(pool, replace(query, raw=raw, status=status))).rows
            assert [row.raw is not None for row in rows] == [raw, raw]
            assert [row.status is not None for row in rows] == [status, False]
            found = await read_objects(pool, "test", [watch.type_id], rows[0].uid, raw=raw, status=status)
            assert [row for row, _ in found] == rows[:1]
    assert await read_objects(pool, "other", [watch.type_id], make_object(1).uid, raw=True, status=True) == []
    assert await read_objects(pool, "test", [], make_object(1).uid, raw=True, status=True) == []
