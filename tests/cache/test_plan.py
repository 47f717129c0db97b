"""The plan of a page: which statement comes next, as values, without a database."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenter.cache.plan import MANY, PER_MATCH, Record, Step, Total, offset, plan, terms_of, total
from presenter.cache.query import Filters, Query, Sort
from presenter.cache.scope import ScanRange
from tests.cache.scans import ALL_OF_ONE, FEW_OF_MANY_TYPES, FEW_TYPES, LABELS, MIXED, TODAY

LABEL = Filters(labels=(("app", "a"),))
FILTERED = replace(ALL_OF_ONE, filters=LABEL)
MOST_STEPS = 7

Told = list[Record]


def rows(query: Query, count: int, *, gave_up: bool = True) -> Told:
    """A walk's or a probe's answer: so many rows that match, and whether it gave up."""
    row = {f"k{number}": f"{number}" for number in range(len(query.sort.keys))}
    return [*[{**row, "found": True, "last": False}] * count, *([{"found": False, "last": True}] if gave_up else [])]


def shares(*shares: float) -> Told:
    return [{"shares": list(shares)}]


def steps(query: Query, answers: Iterable[Told]) -> tuple[list[Step], Sequence[Record] | None]:
    """The steps that these answers lead to, and what is returned when the plan ends with them."""
    running = plan(query)
    taken = [next(running)]
    for answer in answers:
        try:
            taken.append(running.send(answer))
        except StopIteration as end:
            return taken, end.value
    return taken, None


def numbers(steps: Generator[Step, Any, Any], *answers: Told) -> tuple[list[Step], Any]:
    """The steps of a count or to an offset that these answers lead to, and their result."""
    taken, waiting = [next(steps)], [*answers]
    try:
        while waiting:
            taken.append(steps.send(waiting.pop(0)))
    except StopIteration as end:
        assert not waiting
        return taken, end.value
    return taken, None


def kinds(query: Query, *answers: Told) -> list[str]:
    return [step.scan.kind for step in steps(query, answers)[0]]


def test_without_a_filter_one_walk_finds_all_there_is() -> None:
    [step], page = steps(ALL_OF_ONE, [rows(ALL_OF_ONE, 51, gave_up=False)])
    assert page is not None
    assert len(page) == 51
    assert (step.scan.kind, step.scan.rows_of_each) == ("walk of one", 0)
    assert step.values == {
        "limit": 51,
        "cluster": "test",
        "types": [1],
        "clusters_0": ("test",),
        "types_0": (1,),
        "namespaces_0": (None,),
    }


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        (ALL_OF_ONE, "walk nested"),
        (FEW_TYPES, "walk merge"),
        (MIXED, "walk merge"),
        (FEW_OF_MANY_TYPES, "walk by type"),
        (replace(MIXED, ranges=MIXED.ranges[1:], sort=Sort.NAMESPACE_AND_NAME), "walk by namespace"),
        (replace(FEW_OF_MANY_TYPES, sort=Sort.NAMESPACE_AND_NAME), "walk by namespace"),
        (replace(MIXED, sort=Sort.NAMESPACE_AND_NAME), "walk merge"),
        (replace(ALL_OF_ONE, ranges=tuple(ScanRange("test", n) for n in range(MANY + 1))), "walk nested"),
    ],
)
def test_ranges_are_brought_together_by_how_many_of_which_there_are(query: Query, kind: str) -> None:
    assert kinds(replace(query, filters=LABEL))[0] == kind


def test_a_short_walk_goes_on_where_matches_are_frequent_and_gives_up_where_not() -> None:
    assert kinds(FILTERED, rows(FILTERED, 51)) == ["walk nested"]
    assert kinds(FILTERED, rows(FILTERED, 3, gave_up=False)) == ["walk nested"]
    assert kinds(FILTERED, rows(FILTERED, 7)) == ["walk nested", "walk nested"]
    assert kinds(FILTERED, rows(FILTERED, 6)) == ["walk nested", "probe"]
    first, second = steps(FILTERED, [rows(FILTERED, 7)])[0]
    assert second.scan.rows_of_each == 8 * first.scan.rows_of_each


def test_what_most_objects_bear_is_not_looked_up() -> None:
    query = replace(ALL_OF_ONE, filters=replace(LABELS, name_contains="abc"))
    *_, sample, probe = steps(query, [rows(query, 0), shares(0.9, 0.01, 0.6)])[0]
    assert (sample.scan.kind, sample.scan.labels, sample.scan.trigrams) == ("sample of terms", 2, 1)
    assert (probe.scan.kind, probe.scan.by, probe.values["term_labels"]) == ("probe", "terms", b'{"tier":"b"}')
    assert probe.values["trigrams"] == ()
    rare = steps(query, [rows(query, 0), shares(0.9, 0.9, 0.8)])[0][-1]
    assert rare.values["trigrams"] == ("abc",), "the rarest, at least"


@pytest.mark.parametrize(
    ("matching", "between", "bounded"), [(0.1, 0.9, True), (0.1 / PER_MATCH, 0.9, False), (0.0, 0.01, True)]
)
def test_of_many_matches_those_before_the_end_are_read_unless_that_is_far(
    matching: float, between: float, bounded: bool
) -> None:
    answers = [rows(FILTERED, 0), rows(FILTERED, 1), shares(matching, between)]
    *_, sample, collect = steps(FILTERED, answers)[0]
    assert sample.scan.kind == "sample of distance"
    assert (collect.scan.kind, collect.scan.bounded, collect.scan.ends) == ("collect", bounded, bounded)
    if bounded:
        assert collect.values["end_0"] == "0"
        assert kinds(FILTERED, *answers, rows(FILTERED, 51, gave_up=False))[-1] == "collect"
        again = steps(FILTERED, [*answers, rows(FILTERED, 50, gave_up=False)])[0][-1]
        assert not again.scan.bounded, "fewer than a page lay before the end"


def test_in_the_order_of_the_sample_no_distance_is_asked_for() -> None:
    query = replace(FILTERED, sort=Sort.GLOBAL_UID)
    assert kinds(query, rows(query, 0), rows(query, 1)) == ["walk nested", "probe", "collect"]


@pytest.mark.parametrize(
    ("filters", "by"),
    [
        (Filters(name="a", labels=LABEL.labels), "name"),
        (Filters(composition_id="c", since=TODAY), "composition_id"),
    ],
)
def test_a_filter_with_an_index_is_collected_at_once(filters: Filters, by: str) -> None:
    [step] = steps(replace(ALL_OF_ONE, filters=filters), [])[0]
    assert (step.scan.kind, step.scan.by) == ("collect", by)


def test_since_is_a_place_to_stop_in_its_own_order_and_a_filter_in_others() -> None:
    since = replace(ALL_OF_ONE, filters=Filters(since=TODAY))
    own = replace(since, sort=Sort.UPDATED_AT)
    assert steps(own, [rows(own, 1, gave_up=False)])[1] is not None
    assert kinds(since, rows(since, 0)) == ["walk nested", "probe"]
    assert steps(since, [rows(since, 0)])[0][-1].scan.by == "since"


@pytest.mark.parametrize("descending", [False, True])
def test_a_walk_backward_is_a_walk_the_other_way(descending: bool) -> None:
    query = replace(MIXED, ranges=MIXED.ranges[1:], sort=Sort.NAMESPACE_AND_NAME, descending=descending)
    [there], [back] = (steps(replace(query, backward=backward), [])[0] for backward in (False, True))
    assert there.scan == back.scan._replace(reverse=descending)
    assert there.values["names"] == back.values["names"][::-1]


@given(st.lists(st.one_of(st.integers(0, 60), st.floats(0, 1)), min_size=2 * MOST_STEPS, max_size=2 * MOST_STEPS))
def test_whatever_is_found_it_ends_soon(told: list[Any]) -> None:
    query = replace(ALL_OF_ONE, filters=replace(LABELS, name_contains="abc"))
    answers: list[Told] = []
    while (taken := steps(query, answers))[1] is None:
        assert len(answers) < MOST_STEPS
        scan, number = taken[0][-1].scan, told[len(answers)]
        sampled = scan.kind.startswith("sample")
        answers.append(shares(*[number % 1] * (3 if scan.labels else 2)) if sampled else rows(query, int(number)))


def test_the_same_question_is_the_same_value() -> None:
    [one], [other] = steps(FEW_TYPES, [])[0], steps(replace(FEW_TYPES), [])[0]
    assert one == other
    assert hash(one.scan) == hash(other.scan)
    assert one.scan == steps(replace(FEW_TYPES, ranges=FEW_TYPES.ranges[::-1]), [])[0][0].scan


@pytest.mark.parametrize(
    ("part", "trigrams"),
    [("ab", ()), ("abc", ("abc",)), ("abcd", ("abc", "bcd")), ("abcdef", ("abc", "def")), ("aaaa", ("aaa",))],
)
def test_all_letters_of_a_part_of_a_name_are_in_its_trigrams(part: str, trigrams: Sequence[str]) -> None:
    assert terms_of(Filters(name_contains=part)).trigrams == trigrams


HERE: dict[str, Any] = {"k0": "0", "k1": "1", "k2": "2"}


def test_an_offset_is_passed_over_in_indexes_where_every_row_matches() -> None:
    [step], where = numbers(offset(MIXED, 1000), [HERE])
    assert (step.scan.kind, step.values["offset"]) == ("offset", 1000)
    assert where == ("0", "1", "2")
    assert numbers(offset(MIXED, 1000), [])[1] is None, "there are not so many"


@pytest.mark.parametrize(("before", "backward", "limit"), [(950, False, 50), (1050, True, 50)])
def test_of_very_many_ranges_what_lies_before_some_object_is_counted(before: int, backward: bool, limit: int) -> None:
    near: Told = [HERE]
    reached: Told = [{**HERE, "k0": "9", "found": True, "last": False, "count": 50}]
    query = replace(FEW_OF_MANY_TYPES, descending=False)
    (sample, count, walk), where = numbers(offset(query, 1000), near, [{"count": before}], reached)
    assert [sample.scan.kind, count.scan.kind] == ["sample of keys", "count"]
    assert (count.scan.bounded, count.scan.ends, count.scan.rows, count.values["end_0"]) == (True, True, 0, "0")
    assert (walk.scan.keys, walk.scan.reverse, walk.values["limit"]) == (True, backward, limit)
    assert walk.values["after_0"] == "0"
    assert where == ("9", "1", "2")
    assert numbers(offset(query, 1000), near, [{"count": 1000}])[1] == ("0", "1", "2"), "it was just there"


def test_with_a_filter_an_offset_is_reached_as_a_page_of_so_many_rows_is() -> None:
    reached: Told = [{**HERE, "found": True, "last": False, "count": 1000}]
    [step], where = numbers(offset(FILTERED, 1000), reached)
    assert (step.scan.kind, step.scan.keys, step.scan.documents, step.values["limit"]) == (
        "walk nested",
        True,
        (False, False),
        1000,
    )
    assert where == ("0", "1", "2")
    fewer: Told = [{**HERE, "found": True, "last": False, "count": 999}]
    assert numbers(offset(FILTERED, 1000), fewer)[1] is None


@pytest.mark.parametrize(
    ("query", "by", "within"),
    [
        (ALL_OF_ONE, "type", [False]),
        (MIXED, "type", [False, True]),
        (FEW_OF_MANY_TYPES, "type", [True]),
        (FILTERED, "terms", [False]),
        (replace(ALL_OF_ONE, filters=Filters(since=TODAY)), "since", [False]),
        (replace(FEW_OF_MANY_TYPES, filters=Filters(since=TODAY)), "since", [True]),
        (replace(FEW_OF_MANY_TYPES, filters=Filters(name="a")), "name", [False]),
    ],
)
def test_matches_are_counted_in_the_index_that_finds_them(query: Query, by: str, within: list[bool]) -> None:
    [step], found = numbers(total(query), [{"count": 5, "more": False}])
    assert (step.scan.kind, step.scan.by) == ("count", by)
    assert [ranges.within for ranges in step.scan.ranges] == within
    assert step.scan.rows >= 2**14
    assert found == Total(5)


def test_where_there_are_too_many_to_count_a_sample_tells_how_many() -> None:
    more: Told = [{"count": 700, "more": True}]
    (_, sample), found = numbers(total(FILTERED), more, [{"estimate": 1234.5}])
    assert sample.scan.kind == "sample of matches"
    assert found == Total(1234, estimated=True)
    assert numbers(total(FILTERED), more, [{"estimate": 3.0}])[1] == Total(700, estimated=True), "these were counted"
