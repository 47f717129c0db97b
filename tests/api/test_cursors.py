"""A cursor leads to the next page of the very request it came with, or to a 400: never to another page."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from presenter.cache.cursor import CursorCodec, digest
from presenter.cache.query import Filters, Sort
from tests.api.test_order import DEFAULT_ORDERS
from tests.api.world import COMPOSITIONS, EDGE, TEST, WIDGETS, World

pytestmark = pytest.mark.asyncio(loop_scope="session")

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
WIDE: dict[str, Any] = {"group": WIDGETS, "namespace": "*", "limit": 2}
ALTERED = "is not one this service gave out, or it was altered"


async def cursor_of(world: World, **given: Any) -> str:
    cursor = (await world.service.page(**given)).cursor
    assert cursor is not None
    return cursor


@pytest.mark.parametrize("sort_order", ["asc", "desc"])
@pytest.mark.parametrize("sort_by", DEFAULT_ORDERS)
async def test_a_cursor_needs_no_escaping(world: World, sort_by: str, sort_order: str) -> None:
    given = WIDE | {"sort_by": sort_by, "sort_order": sort_order, "limit": 1}
    page = await world.service.page(**given)
    while page.cursor is not None:
        assert re.fullmatch(r"[A-Za-z0-9_-]+", page.cursor)
        page = await world.service.page(**given, cursor=page.cursor)


async def test_every_altered_character_is_noticed(world: World) -> None:
    cursor = await cursor_of(world, **WIDE)
    for index, character in enumerate(cursor):
        other = ALPHABET[(ALPHABET.index(character) + 1 + index) % len(ALPHABET)]
        if other == character:
            other = "A" if character != "A" else "B"
        altered = cursor[:index] + other + cursor[index + 1 :]
        message = await world.service.bad(**WIDE, cursor=altered)
        assert message.startswith("cursor ")
        assert ALTERED in message


async def test_every_altered_bit_is_noticed(world: World) -> None:
    cursor = await cursor_of(world, **WIDE)
    token = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    for bit in range(len(token) * 8):
        altered = bytearray(token)
        altered[bit // 8] ^= 1 << bit % 8
        assert ALTERED in await world.service.bad(**WIDE, cursor=base64.urlsafe_b64encode(altered).decode().rstrip("="))


async def test_every_spare_bit_of_the_last_character_is_noticed(world: World) -> None:
    given = WIDE | {"sort_by": "name", "limit": 1}
    by_padding: dict[int, str] = {}
    page = await world.service.page(**given)
    while page.cursor is not None:
        by_padding[-len(page.cursor) % 4] = page.cursor
        page = await world.service.page(**given, cursor=page.cursor)
    assert by_padding.keys() == {0, 1, 2}
    for cursor in by_padding.values():
        for last in ALPHABET.replace(cursor[-1], ""):
            assert ALTERED in await world.service.bad(**given, cursor=cursor[:-1] + last)


async def test_a_truncated_or_extended_cursor_is_refused(world: World) -> None:
    cursor = await cursor_of(world, **WIDE)
    for length in range(1, len(cursor)):
        assert ALTERED in await world.service.bad(**WIDE, cursor=cursor[:length])
        assert ALTERED in await world.service.bad(**WIDE, cursor=cursor[length:])
    for added in ("A", "AA", "AAAA", "=", "==", " ", cursor):
        assert ALTERED in await world.service.bad(**WIDE, cursor=cursor + added)


@pytest.mark.parametrize("garbage", ["x", "!!!", "AAAA", "====", "Null", "0", "undefined", "%00", "ümlaut", "a" * 4096])
async def test_garbage_is_refused(world: World, garbage: str) -> None:
    for answer in (
        await world.service.page(**WIDE, cursor=garbage),
        await world.service.post({**WIDE, "cursor": garbage}),
    ):
        message = answer.failure(400)
        assert ALTERED in message
        assert repr(garbage[:20]) in message
        assert "pass the cursor of the previous page as it came, or leave it out for the first page" in message


async def test_a_cursor_of_another_key_is_refused(world: World) -> None:
    others = CursorCodec(b"another key")
    forged = others.encode(
        Sort.CREATED_AT, True, digest(Filters(), group=WIDGETS), (datetime(2026, 1, 1, tzinfo=UTC), "uid", 1)
    )
    assert ALTERED in await world.service.bad(**WIDE, cursor=forged)


@pytest.mark.parametrize(
    "changed",
    [
        {"sort_by": "updated_at"},
        {"sort_by": "name"},
        {"sort_by": "resource"},
        {"sort_by": "global_uid"},
        {"sort_by": "composition_id"},
        {"sort_order": "asc"},
    ],
    ids=str,
)
async def test_a_cursor_of_another_order_is_refused(world: World, changed: dict[str, Any]) -> None:
    cursor = await cursor_of(world, **WIDE)
    message = await world.service.bad(**WIDE | changed, cursor=cursor)
    assert message == "cursor was made for another sort_by or sort_order: repeat those of the page it came with"


@pytest.mark.parametrize("sort_by", DEFAULT_ORDERS)
async def test_a_cursor_is_bound_to_the_direction_of_every_sort(world: World, sort_by: str) -> None:
    cursor = await cursor_of(world, **WIDE, sort_by=sort_by, sort_order="asc")
    message = await world.service.bad(**WIDE, sort_by=sort_by, sort_order="desc", cursor=cursor)
    assert "another sort_by or sort_order" in message


@pytest.mark.parametrize(
    "changed",
    [
        {"group": "core"},
        {"version": "v1beta1"},
        {"resource": "panels"},
        {"namespace": "default"},
        {"namespace": ""},
        {"cluster": TEST},
        {"cluster": EDGE},
        {"composition_id": COMPOSITIONS[1]},
        {"name": "a"},
        {"name_contains": "a"},
        {"labels": {"tier": "gold"}},
        {"since": "2020-01-01T00:00:00Z"},
    ],
    ids=str,
)
async def test_a_cursor_of_other_filters_is_refused(world: World, changed: dict[str, Any]) -> None:
    without, with_it = WIDE, WIDE | changed
    cursor = await cursor_of(world, **without)
    assert "cursor was made for other filters" in await world.service.bad(**with_it, cursor=cursor)
    if (page := await world.service.page(**with_it | {"limit": 1})).cursor is not None:
        assert "cursor was made for other filters" in await world.service.bad(**without, cursor=page.cursor)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"name": "a"}, {"name_contains": "a"}),
        ({"labels": {"tier": "gold"}}, {"labels": {"tier": "silver"}}),
        ({"since": "2020-01-01T00:00:00Z"}, {"since": "2020-01-01T00:00:00.000001Z"}),
    ],
    ids=str,
)
async def test_filters_that_are_nearly_the_same_are_others(
    world: World, one: dict[str, Any], other: dict[str, Any]
) -> None:
    cursor = await cursor_of(world, **WIDE | {"limit": 1}, **one)
    assert "cursor was made for other filters" in await world.service.bad(**WIDE, **other, cursor=cursor)


async def test_the_same_request_in_other_words_is_the_same(world: World) -> None:
    gold = '{"tier":"gold","krateo.io/portal-page":"compositions"}'
    silk = '{ "krateo.io/portal-page" : "compositions", "tier" : "gold" }'
    said = {"sort_by": "created_at", "sort_order": "desc", "since": "2020-01-01T00:00:00Z"}
    cursor = await cursor_of(world, **WIDE, labels=gold, since="2020-01-01T01:00:00+01:00")
    by_query = await world.service.page(**WIDE, **said, labels=silk, cursor=cursor)
    by_body = await world.service.post({**WIDE, **said, "labels": {"tier": "gold"}, "cursor": cursor})
    assert by_query.items
    assert "cursor was made for other filters" in by_body.failure(400)
