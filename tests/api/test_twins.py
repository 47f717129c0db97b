"""One object that a cluster serves as two types, under one uid: events of both groups, OpenShift's projects."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pytest

from presenter.cache.pool import Pool
from presenter.cache.writer import Writer
from presenter.resource import ResourceType
from tests.access_control.world import caller
from tests.api.service import Json, Service
from tests.api.test_order import DEFAULT_ORDERS
from tests.api.world import first_list
from tests.objects import make_object
from tests.rules import Rules

CORE = ResourceType("", "v1", "events", "Event", True, ("v1",))
NEWER = ResourceType("events.k8s.io", "v1", "events", "Event", True, ("v1",))
COPIES = ResourceType("", "v1", "copies", "Copy", True, ("v1",))
NAMES = ("a", "b", "c")


async def filled(pool: Pool, types: Sequence[ResourceType], unfinished: Sequence[ResourceType] = ()) -> Rules:
    """A cluster of these types, in which the same uids are of all of them."""
    writer = Writer(pool, "test")
    await writer.open_cluster("uid", ["*.*"])
    for type in types:
        [watch] = await writer.declare(type)
        objects = [
            make_object(
                name,
                uid=f"uid-of-{name}",
                group=type.group,
                version="v1",
                kind=type.kind,
                labels={"type": type.resource},
                status={"of": type.name},
            )
            for name in NAMES
        ]
        if type in unfinished:
            await writer.begin_list(watch)
            await writer.list_page(watch, objects)
        else:
            await first_list(writer, watch, *objects)
    await writer.discovered()
    return await Rules(writer).sync()


def shown(item: Json) -> Json:
    return {key: value for key, value in item.items() if key not in ("raw", "status_raw")}


@pytest.mark.parametrize("types", [(CORE, NEWER), (NEWER, CORE)], ids=["core first", "core last"])
async def test_the_detail_is_what_the_list_gave(service: Service, pool: Pool, types: Sequence[ResourceType]) -> None:
    await (await filled(pool, types)).open_to_everybody()
    for group in ("core", "events.k8s.io"):
        for listed in (await service.page(group=group, raw=True)).items:
            [item] = (await service.detail(listed["global_uid"], f"group={group}&resource=events")).items
            assert (shown(item), item["raw"]) == (shown(listed), listed["raw"])
            [by_group] = (await service.detail(listed["global_uid"], f"group={listed['group']}")).items
            assert by_group == item, "as the item has it: '' is the core group"
            [either] = (await service.detail(listed["global_uid"])).items
            assert either["group"] == "", "the first of the groups, in whatever order they came"
    (await service.detail("test:uid-of-a", "group=apps")).failure(404)
    (await service.detail("test:uid-of-a", "resource=pods")).failure(404)


@pytest.mark.parametrize("visible", [CORE, NEWER], ids=lambda type: type.group or "core")
async def test_a_row_that_may_be_seen_is_found_beside_one_that_may_not(
    service: Service, pool: Pool, visible: ResourceType
) -> None:
    rules = await filled(pool, (CORE, NEWER))
    await rules.role("one", {"verbs": ["get", "list"], "apiGroups": [visible.group], "resources": ["events"]})
    await rules.bind("one", "one", ("User", "alice"))
    [item, *_] = (await service.page(group=visible.group or "core")).items
    [detail] = (await service.detail(item["global_uid"])).items
    assert shown(detail) == item
    (hidden,) = {"", "events.k8s.io"} - {visible.group}
    for query_string in (f"group={hidden}", f"group={hidden}&resource=events"):
        (await service.detail(item["global_uid"], query_string)).failure(404)
    (await caller(service, "bob").detail(item["global_uid"])).failure(404)


@pytest.mark.parametrize("unfinished", [CORE, NEWER], ids=lambda type: type.group or "core")
async def test_a_type_that_is_not_complete_stands_in_nobody_s_way(
    service: Service, pool: Pool, unfinished: ResourceType
) -> None:
    await (await filled(pool, (CORE, NEWER), [unfinished])).open_to_everybody()
    [item] = (await service.detail("test:uid-of-a")).items
    assert item["group"] != unfinished.group
    (await service.detail("test:uid-of-a", f"group={unfinished.group}")).failure(503)


async def test_a_walk_meets_both(service: Service, pool: Pool) -> None:
    """In every order they are next to each other, and no cursor says which of them was last but by the type."""
    await (await filled(pool, (CORE, COPIES))).open_to_everybody()
    expected = sorted(product(("copies", "events"), NAMES))
    for sort_by, order, limit in product(DEFAULT_ORDERS, ("asc", "desc"), range(1, 7)):
        for narrower in ({}, {"name_contains": ""}, {"since": "2020-01-01T00:00:00Z"}, {"namespace": "*"}):
            asked = {"group": "core", "sort_by": sort_by, "sort_order": order, "limit": limit, **narrower}
            items = await service.walk(**asked)
            assert sorted((item["resource"], item["name"]) for item in items) == expected, asked
