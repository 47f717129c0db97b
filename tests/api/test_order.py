"""In which order objects come, and how pages follow each other."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from tests.api.world import EDGE, PANELS, TEST, WIDGETS, World, in_order

pytestmark = pytest.mark.asyncio(loop_scope="session")

DEFAULT_ORDERS = {
    "created_at": "desc",
    "updated_at": "desc",
    "name": "asc",
    "resource": "asc",
    "global_uid": "asc",
    "composition_id": "asc",
}
KNOWN_BEFOREHAND = [sort_by for sort_by in DEFAULT_ORDERS if sort_by != "updated_at"]
WIDE: dict[str, Any] = {"group": WIDGETS, "namespace": "*"}
NARROW: dict[str, Any] = {"group": WIDGETS, "namespace": "team-a", "resource": "panels", "cluster": TEST}
FILTERED: dict[str, Any] = {**WIDE, "labels": {"tier": "gold"}}


@pytest.mark.parametrize("given", [WIDE, NARROW, FILTERED], ids=["many ranges", "one range", "filtered"])
@pytest.mark.parametrize("sort_order", ["asc", "desc"])
@pytest.mark.parametrize("sort_by", KNOWN_BEFOREHAND)
@pytest.mark.parametrize("limit", [3, 5000])
async def test_the_order_is_that_of_python(
    world: World, given: dict[str, Any], sort_by: str, sort_order: str, limit: int
) -> None:
    items = await world.service.walk(**given, sort_by=sort_by, sort_order=sort_order, limit=limit)
    expected = in_order(world.matching(**given), sort_by, sort_order)
    assert [item["global_uid"] for item in items] == [stored.global_uid for stored in expected]


@pytest.mark.parametrize("sort_order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [3, 5000])
async def test_the_order_by_time_of_change_is_that_of_the_times(world: World, sort_order: str, limit: int) -> None:
    items = await world.service.walk(**WIDE, sort_by="updated_at", sort_order=sort_order, limit=limit)
    type_ids = {(each.cluster, each.object.uid, each.type.resource): each.watch.type_id for each in world.stored}

    def position(item: dict[str, Any]) -> tuple[datetime, str, int]:
        key = (item["cluster_name"], item["uid"], item["resource"])
        return datetime.fromisoformat(item["updated_at"]), item["uid"], type_ids[key]

    assert items == sorted(items, key=position, reverse=sort_order == "desc")
    assert {item["global_uid"] for item in items} == world.expected(**WIDE)


@pytest.mark.parametrize(("sort_by", "default"), DEFAULT_ORDERS.items())
async def test_every_sort_has_its_own_default_direction(world: World, sort_by: str, default: str) -> None:
    implied = await world.service.page(**WIDE, sort_by=sort_by)
    said = await world.service.page(**WIDE, sort_by=sort_by, sort_order=default)
    other = await world.service.page(**WIDE, sort_by=sort_by, sort_order={"asc": "desc", "desc": "asc"}[default])
    assert implied.items == said.items
    assert implied.items != other.items


async def test_newest_first_is_the_default(world: World) -> None:
    times = [item["created_at"] for item in (await world.service.page(**WIDE)).items]
    assert times == sorted(times, reverse=True)
    assert len(set(times)) > 1


@pytest.mark.parametrize("sort_order", ["asc", "desc"])
async def test_objects_without_a_composition_come_last_both_ways(world: World, sort_order: str) -> None:
    items = await world.service.walk(**WIDE, sort_by="composition_id", sort_order=sort_order, limit=2)
    absent = ["composition_id" not in item for item in items]
    assert absent == sorted(absent)
    assert set(absent) == {True, False}


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 8])
async def test_the_last_page_has_no_cursor_even_when_it_is_full(world: World, limit: int) -> None:
    total = len(world.matching(**NARROW))
    assert total == 8  # a multiple of some of these limits, and not of others
    sizes = []
    page = await world.service.page(**NARROW, limit=limit)
    while True:
        sizes.append(len(page.items))
        if page.cursor is None:
            break
        page = await world.service.page(**NARROW, limit=limit, cursor=page.cursor)
    full, rest = divmod(total, limit)
    assert sizes == [limit] * full + [rest] * (rest > 0)


async def test_the_page_size_may_change_between_pages(world: World) -> None:
    first = await world.service.page(**WIDE, limit=4)
    assert first.cursor is not None
    rest = await world.service.page(**WIDE, limit=5000, cursor=first.cursor)
    assert first.items + rest.items == (await world.service.page(**WIDE)).items
    assert rest.cursor is None


async def test_the_documents_may_be_left_out_of_later_pages(world: World) -> None:
    first = await world.service.page(**WIDE, limit=4, raw=True)
    assert first.cursor is not None
    rest = await world.service.page(**WIDE, cursor=first.cursor)
    assert all("raw" not in item for item in rest.items)
    assert len(first.items + rest.items) == len(world.matching(**WIDE))


async def test_the_same_uid_in_two_clusters_is_two_objects(world: World) -> None:
    items = await world.service.walk(group=WIDGETS, resource="panels", namespace="*", limit=1, sort_by="name")
    twice = {stored.object.uid for stored in world.stored if stored.cluster == EDGE and stored.type == PANELS}
    assert twice
    for uid in twice:
        assert {item["cluster_name"] for item in items if item["uid"] == uid} == {TEST, EDGE}
