"""Two clusters in one database: each one's rows by its own rules."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from presenter.cache.pool import Address, Pool
from tests.access_control.world import NODES, PANELS, RULES, WIDGETS, Source, caller, thing, until
from tests.api.service import Service, serving
from tests.rbac.objects import cluster_role, cluster_role_binding, ref, role_binding, rule, user

EVERYWHERE: dict[str, Any] = {"group": WIDGETS, "resource": "panels", "namespace": "*"}
READER = cluster_role("reader", rule("get list", "panels", WIDGETS))
EVERY_PANEL = cluster_role_binding("readers", ref("ClusterRole", "reader"), user("alice"))


@pytest.fixture
async def sources(pool: Pool) -> list[Source]:
    """Two clusters with the same objects, down to their uids."""
    sources = [await Source.open(pool, name) for name in ("east", "west")]
    for source in sources:
        await source.put(*(thing(PANELS, place, name) for place in ("prod", "dev") for name in "abc"))
        await source.put(thing(NODES, "", "a"), READER)
    return sources


@pytest.fixture
async def service(database: Address, sources: list[Source]) -> Any:
    async with serving(database) as service:
        yield service


async def seen(service: Service, **asked: Any) -> set[tuple[str, str]]:
    """The clusters and namespaces of what is seen, page by page; every panel of them is."""
    items = await service.walk(**EVERYWHERE, **asked, limit=2)
    places = {(item["cluster_name"], item["namespace"]) for item in items}
    assert len(items) == 3 * len(places)
    return places


async def test_each_cluster_by_its_own_rules(sources: list[Source], service: Service) -> None:
    east, west = sources
    await east.put(EVERY_PANEL)
    await west.put(role_binding("dev", "readers", ref("ClusterRole", "reader"), user("alice")))
    await east.settle(service)
    await west.settle(service)
    for sort_by in ("created_at", "name", "resource", "global_uid"):
        assert await seen(service, sort_by=sort_by) == {("east", "prod"), ("east", "dev"), ("west", "dev")}
    assert await seen(service, cluster="west") == {("west", "dev")}
    prod = {**EVERYWHERE, "namespace": "prod"}
    assert {item["cluster_name"] for item in (await service.page(**prod)).items} == {"east"}
    (await service.page(**prod, cluster="west")).failure(403)
    (await caller(service, "bob").page(**EVERYWHERE)).failure(403)


async def test_a_detail_is_of_its_cluster(sources: list[Source], service: Service) -> None:
    east, west = sources
    await east.put(EVERY_PANEL)
    await east.settle(service)
    panel = thing(PANELS, "prod", "a")
    assert (await service.detail(east.uid(panel))).items[0]["cluster_name"] == "east"
    hidden, absent = await service.detail(west.uid(panel)), await service.detail("west:none")
    hidden.failure(404)
    assert absent.body == hidden.body.replace(west.uid(panel).encode(), b"west:none")


async def test_a_role_of_one_cluster_is_none_of_the_other(sources: list[Source], service: Service) -> None:
    east, west = sources
    await east.put(cluster_role("only-in-east", rule("list", "panels", WIDGETS)))
    await west.put(cluster_role_binding("dangling", ref("ClusterRole", "only-in-east"), user("alice")))
    await east.settle(service)
    await west.settle(service)
    (await service.page(**EVERYWHERE)).failure(403)


async def test_a_change_in_one_is_none_in_the_other(sources: list[Source], service: Service) -> None:
    for source in sources:
        await source.put(EVERY_PANEL)
        await source.settle(service)
    await sources[0].delete(EVERY_PANEL)
    await sources[0].settle(service)
    assert await seen(service) == {("west", "prod"), ("west", "dev")}


@pytest.mark.parametrize("type", RULES, ids=lambda type: type.resource)
async def test_a_cluster_whose_rules_are_not_known_is_not_guessed(
    sources: list[Source], service: Service, type: Any
) -> None:
    east, west = sources
    for source in sources:
        await source.put(EVERY_PANEL)
        await source.settle(service)
    await west.writer.forget(type)
    await until(partial(service.page, **EVERYWHERE, cluster="west"), lambda reply: reply.code == 503)
    half = await service.page(**EVERYWHERE)
    assert {item["cluster_name"] for item in half.items} == {"east"}
    [warning] = half.json["warnings"]
    assert warning.startswith("cluster west is left out: "), "half the rows are not passed off as all there are"
    assert f'299 - "{warning}"' == half.headers["Warning"]
    assert await seen(service, cluster="east") == {("east", "prod"), ("east", "dev")}
    (await service.detail(west.uid(thing(PANELS, "prod", "a")))).failure(503)
    assert (await service.detail(east.uid(thing(PANELS, "prod", "a")))).names == ["a"]
