"""One object, by its global_uid."""

from __future__ import annotations

import pytest

from tests.api.world import EDGE, TEST, THEMES, WIDGETS, World

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("cluster", [TEST, EDGE])
async def test_a_detail_is_the_only_item_of_a_page(world: World, cluster: str) -> None:
    stored = world.find(group=WIDGETS, resource="panels", cluster=cluster, namespace="demo-system", name="Fire-Panel")
    given = {"group": WIDGETS, "resource": "panels", "cluster": cluster, "namespace": "demo-system"}
    [listed] = (await world.service.page(**given, name="Fire-Panel", raw=True, status_raw=True)).items
    answer = await world.service.detail(stored.global_uid)
    assert answer.json == {"count": 1, "items": [listed]}
    assert listed["raw"] == stored.manifest
    assert listed["status_raw"] == stored.manifest["status"]


async def test_every_listed_global_uid_has_its_detail(world: World) -> None:
    for group in (WIDGETS, "core"):
        for item in await world.service.walk(group=group, namespace="*"):
            [detail] = (await world.service.detail(item["global_uid"])).items
            assert item == {key: value for key, value in detail.items() if key not in ("raw", "status_raw")}


@pytest.mark.parametrize(
    ("query_string", "absent"),
    [
        ("", set()),
        ("raw=&status_raw=", set()),
        ("raw=true&status_raw=TRUE", set()),
        ("raw=false", {"raw"}),
        ("status_raw=false", {"status_raw"}),
        ("raw=false&status_raw=False", {"raw", "status_raw"}),
    ],
)
async def test_the_documents_are_there_unless_switched_off(world: World, query_string: str, absent: set[str]) -> None:
    stored = world.find(group=WIDGETS, resource="panels", cluster=TEST, namespace="demo-system", name="Fire-Panel")
    [item] = (await world.service.detail(stored.global_uid, query_string)).items
    assert {"raw", "status_raw"} - item.keys() == absent


async def test_an_object_without_status_has_none(world: World) -> None:
    [stored] = world.matching(group=WIDGETS, resource="themes", cluster=TEST, name="Fire-Panel")[:1]
    assert "status" not in stored.manifest
    [item] = (await world.service.detail(stored.global_uid)).items
    assert "status_raw" not in item
    assert (item["namespace"], item["kind"]) == ("", THEMES.kind)


@pytest.mark.parametrize(
    "global_uid",
    [
        "test:3f0c1d8e-7a53-4d6f-9b2e-5c1a7e9d4b60",
        "elsewhere:3f0c1d8e-7a53-4d6f-9b2e-5c1a7e9d4b60",
        "3f0c1d8e-7a53-4d6f-9b2e-5c1a7e9d4b60",
        "test:",
        ":",
        "test",
        "edge.example:themes-0",
        "test:\x00",
        "te\x00st:themes-0",
        "test:themes-0 ",
        "TEST:themes-0",
        "test:' OR ''='",
        "zoë:zoë",
        "test:" + "x" * 4000,
    ],
)
async def test_an_object_that_is_not_there(world: World, global_uid: str) -> None:
    answer = await world.service.detail(global_uid)
    message = answer.failure(404)
    assert answer.json["reason"] == "NotFound"
    assert message.startswith(f"there is no object {global_uid!r} that you may see: global_uid is <cluster>:<uid>")


async def test_an_object_of_another_cluster_is_not_there(world: World) -> None:
    only_here = next(stored for stored in world.stored if stored.type == THEMES)
    assert (await world.service.detail(only_here.global_uid)).items
    (await world.service.detail(f"{EDGE}:{only_here.object.uid}")).failure(404)
