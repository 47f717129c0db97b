"""Page after page: by cursor, by number, to the end and no further."""

from __future__ import annotations

from typing import Any

import pytest

from presenter.restaction.paging import PagingError, goes_by_number, joined, length, pages, slice_of
from presenter.restaction.resolver import Problem, Resolved
from tests.restaction.world import Json, World, action, call

BY_CURSOR = '${ "/page/" + (.slice.cursor | if . == "" then "first" else . end) + "?limit=\\(.slice.perPage)" }'
FORWARDED = "{items: .tried.items, slice: {cursor: .tried.cursor, perPage: .slice.perPage}}"
BY_NUMBER = (
    "(.slice.offset // 0) as $offset | {items: .tried.items[$offset:$offset + .slice.perPage], more: .slice.page}"
)


async def _walked(world: World, *calls: Json, filter: str | None, per_page: int, **where: Any) -> list[Resolved]:
    walk = pages(action(*calls, filter=filter), {"own": 1}, await world.services(), per_page, **where)
    return [resolved async for resolved in walk]


def _book(world: World, *chapters: tuple[str, list[int], str | None]) -> None:
    for cursor, items, following in chapters:
        world.foreign.answer(f"/page/{cursor}", {"items": items} | ({"cursor": following} if following else {}))


def test_a_slice_says_which_page() -> None:
    assert slice_of(None) == {}
    assert slice_of(5) == {"slice": {"perPage": 5, "cursor": ""}}
    assert slice_of(5, page=3) == {"slice": {"page": 3, "perPage": 5, "offset": 10}}
    assert slice_of(5, cursor="c") == {"slice": {"perPage": 5, "cursor": "c"}}


async def test_the_cursor_of_each_page_leads_to_the_next(world: World) -> None:
    _book(world, ("first", [1, 2], "b"), ("b", [3, 4], "c"), ("c", [5], None))
    walked = await _walked(world, call("tried", BY_CURSOR), filter=FORWARDED, per_page=2)
    assert world.foreign.paths == ["/page/first?limit=2", "/page/b?limit=2", "/page/c?limit=2"]
    assert [resolved.result["items"] for resolved in walked] == [[1, 2], [3, 4], [5]]
    assert all(resolved.context["own"] == 1 for resolved in walked)
    assert joined([resolved.result for resolved in walked]) == {
        "items": [1, 2, 3, 4, 5],
        "slice": {"cursor": None, "perPage": 2},
    }


async def test_a_walk_can_begin_at_a_cursor(world: World) -> None:
    _book(world, ("b", [3, 4], "c"), ("c", [5], None))
    walked = await _walked(world, call("tried", BY_CURSOR), filter=FORWARDED, per_page=2, cursor="b")
    assert [resolved.result["items"] for resolved in walked] == [[3, 4], [5]]


async def test_without_a_filter_the_cursor_is_that_of_the_answer(world: World) -> None:
    _book(world, ("first", [1], "b"), ("b", [2], None))
    walked = await _walked(world, call("tried", BY_CURSOR), filter=None, per_page=1)
    assert [resolved.result["tried"]["items"] for resolved in walked] == [[1], [2]]
    assert joined([resolved.result for resolved in walked])["tried"] == {"items": [1, 2]}


@pytest.mark.parametrize("last", [None, "", 7, "absent"])
async def test_a_page_without_a_cursor_is_the_last(world: World, last: Any) -> None:
    world.foreign.answer("/page/first", {"items": [1]} | ({} if last == "absent" else {"cursor": last}))
    assert len(await _walked(world, call("tried", BY_CURSOR), filter=FORWARDED, per_page=1)) == 1
    assert not world.seen[1:]


async def test_a_result_without_a_slice_is_told_of(world: World) -> None:
    _book(world, ("first", [1], "b"))
    assert len(await _walked(world, call("tried", BY_CURSOR), filter=".tried.items", per_page=1)) == 1
    assert [seen for seen in world.seen if isinstance(seen, Problem)] == [
        Problem("", "the result has no slice: it cannot be known whether there are more", False)
    ]


async def test_a_cursor_that_comes_again_ends_with_an_error(world: World) -> None:
    _book(world, ("first", [1], "b"), ("b", [2], "c"), ("c", [3], "b"))
    with pytest.raises(PagingError, match=r"used before.*: b$"):
        await _walked(world, call("tried", BY_CURSOR), filter=FORWARDED, per_page=1)
    assert len(world.foreign.paths) == 3


async def test_pages_have_numbers_where_the_restaction_counts(world: World) -> None:
    world.foreign.answer("/all", {"items": [1, 2, 3, 4, 5]})
    walked = await _walked(world, call("tried", "/all"), filter=BY_NUMBER, per_page=2)
    assert [resolved.result for resolved in walked] == [
        {"items": [1, 2], "more": 1},
        {"items": [3, 4], "more": 2},
        {"items": [5], "more": 3},
    ]
    again = await _walked(world, call("tried", "/all"), filter=BY_NUMBER, per_page=2, page=2)
    assert [resolved.result["items"] for resolved in again] == [[3, 4], [5]]


async def test_the_last_page_may_be_empty(world: World) -> None:
    world.foreign.answer("/all", {"items": [1, 2]})
    walked = await _walked(world, call("tried", "/all"), filter=BY_NUMBER, per_page=2)
    assert [resolved.result["items"] for resolved in walked] == [[1, 2], []]


async def test_what_is_longer_than_a_page_is_not_what_is_paged(world: World) -> None:
    world.foreign.answer("/all", {"items": [1, 2, 3]})
    walked = await _walked(world, call("tried", "/all"), filter=f"{BY_NUMBER} + {{all: .tried.items}}", per_page=2)
    assert [resolved.result["items"] for resolved in walked] == [[1, 2], [3]]
    assert len(await _walked(world, call("tried", "/all"), filter=".tried.items", per_page=2, page=1)) == 1


async def test_pages_that_repeat_end_with_an_error(world: World) -> None:
    world.foreign.answer("/all", {"items": [1, 2]})
    with pytest.raises(PagingError, match="page 2 is the same as page 1"):
        await _walked(world, call("tried", "/all"), filter="{items: .tried.items}", per_page=2, page=1)
    assert len(world.foreign.paths) == 2


async def test_a_page_that_fails_is_the_last(world: World) -> None:
    _book(world, ("first", [1], "gone"))
    walked = await _walked(world, call("tried", BY_CURSOR), filter=None, per_page=1)
    assert [resolved.failed for resolved in walked] == [False, True]
    failing = call("two", "/none")
    assert len(await _walked(world, call("tried", BY_CURSOR), failing, filter=None, per_page=1)) == 1
    world.foreign.answer("/all", {"items": []})
    assert len(await _walked(world, call("tried", "/all"), failing, filter=BY_NUMBER, per_page=0)) == 1


@pytest.mark.parametrize(
    ("expression", "counts"),
    [
        (".slice.offset", True),
        (".slice?.page // 1", True),
        (".slice | .offset", False),
        (".slice.perPage", False),
        (".slice.cursor", False),
        (".slice.pages", False),
    ],
)
def test_what_counts_pages_is_recognised_wherever_it_is(expression: str, counts: bool) -> None:
    assert goes_by_number(action(call("tried", "/a"), filter=expression)) is counts
    for field in "path", "payload", "filter":
        assert goes_by_number(action(call("tried", "/a") | {field: f"${{ {expression} }}"})) is counts
    assert goes_by_number(action(call("tried", "/a", headers=["a", expression]))) is counts


def test_pages_are_joined_where_they_are_arrays() -> None:
    assert joined([[1], [2], []]) == [1, 2]
    assert joined([{"a": [1], "b": {"c": [2], "d": 3, "e": 4}}, {"a": [], "b": {"c": [5], "d": 6}, "f": [7]}]) == {
        "a": [1],
        "b": {"c": [2, 5], "d": 6},
        "f": [7],
    }
    assert joined(["x", "y"]) == "y"
    assert [length(result) for result in ([1, 2], {"a": [1], "b": {"c": [1, 2]}}, {}, "xyz", None)] == [2, 2, 0, 0, 0]
