"""Which objects a list answers, and what it says about each."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tests.api.world import (
    COMPOSITIONS,
    EDGE,
    LABELS,
    NAMES,
    PAGE,
    TEST,
    TIER,
    WIDGETS,
    World,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

ALWAYS = {
    "name",
    "uid",
    "global_uid",
    "namespace",
    "group",
    "version",
    "kind",
    "resource",
    "cluster_name",
    "created_at",
    "updated_at",
}
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")


async def test_an_item_says_what_the_object_is(world: World) -> None:
    stored = world.find(group=WIDGETS, resource="panels", cluster=TEST, namespace="team-a", name="aa")
    answer = await world.service.page(group=WIDGETS, resource="panels", cluster=TEST, namespace="team-a", name="aa")
    [item] = answer.items
    updated_at = item.pop("updated_at")
    assert item == {
        "name": "aa",
        "uid": stored.object.uid,
        "global_uid": f"{TEST}:{stored.object.uid}",
        "namespace": "team-a",
        "group": WIDGETS,
        "version": "v1beta1",
        "kind": "Panel",
        "resource": "panels",
        "cluster_name": TEST,
        "created_at": stored.object.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    } | ({"composition_id": stored.object.composition_id} if stored.object.composition_id else {})
    assert RFC_3339.fullmatch(updated_at)


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("status_raw", [False, True])
async def test_an_item_has_these_keys_and_no_others(world: World, raw: bool, status_raw: bool) -> None:
    answer = await world.service.page(group=WIDGETS, namespace="*", raw=raw, status_raw=status_raw)
    by_uid = {stored.global_uid: stored for stored in world.matching(group=WIDGETS, namespace="*")}
    assert by_uid.keys() == {item["global_uid"] for item in answer.items}
    for item in answer.items:
        stored = by_uid[item["global_uid"]]
        optional = {
            "composition_id": stored.object.composition_id is not None,
            "raw": raw,
            "status_raw": status_raw and "status" in stored.manifest,
        }
        assert item.keys() == ALWAYS | {key for key, present in optional.items() if present}
        assert RFC_3339.fullmatch(item["created_at"])
        assert RFC_3339.fullmatch(item["updated_at"])


async def test_a_page_has_these_keys_and_no_others(world: World) -> None:
    whole = await world.service.page(group=WIDGETS, namespace="*")
    first = await world.service.page(group=WIDGETS, namespace="*", limit=1)
    nothing = await world.service.page(group=WIDGETS, namespace="absent", resource="panels")
    assert whole.json.keys() == {"count", "items"}
    assert first.json.keys() == {"count", "items", "cursor"}
    assert (nothing.code, nothing.json) == (200, {"count": 0, "items": []})


async def test_raw_and_status_are_what_was_stored(world: World) -> None:
    answer = await world.service.page(group=WIDGETS, namespace="*", raw=True, status_raw=True)
    manifests = {stored.global_uid: stored.manifest for stored in world.stored}
    assert any("status_raw" in item for item in answer.items)
    for item in answer.items:
        manifest = manifests[item["global_uid"]]
        assert item["raw"] == manifest
        assert item.get("status_raw") == manifest.get("status")


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"group": WIDGETS}, id="only the group: every type of it, in the namespace default"),
        pytest.param({"group": "core"}, id="core"),
        pytest.param({"group": ""}, id="the empty group is core"),
        pytest.param({"group": WIDGETS, "namespace": ""}, id="an empty namespace is default"),
        pytest.param({"group": WIDGETS, "namespace": "*"}, id="all namespaces"),
        pytest.param({"group": WIDGETS, "namespace": "team-a"}, id="one namespace"),
        pytest.param({"group": WIDGETS, "resource": "themes"}, id="cluster-scoped, without a namespace"),
        pytest.param({"group": WIDGETS, "resource": "themes", "namespace": "absent"}, id="cluster-scoped, in any"),
        pytest.param({"group": "core", "resource": "nodes", "namespace": "*"}, id="cluster-scoped, in all"),
        pytest.param({"group": WIDGETS, "resource": "panels", "namespace": "*"}, id="one type, every cluster"),
        pytest.param({"group": WIDGETS, "resource": "panels", "version": "v1beta1"}, id="a version"),
        pytest.param({"group": WIDGETS, "cluster": EDGE, "namespace": "*"}, id="one cluster"),
        pytest.param({"group": WIDGETS, "composition_id": COMPOSITIONS[1], "namespace": "*"}, id="a composition"),
        *(pytest.param({"group": WIDGETS, "name": name, "namespace": "*"}, id=f"name {name}") for name in NAMES),
        *(
            pytest.param({"group": WIDGETS, "name_contains": part, "namespace": "*"}, id=f"name_contains {part}")
            for part in ("PANEL", "fire", "%", "_", "\\", "a", "ë")
        ),
        *(
            pytest.param({"group": WIDGETS, "labels": labels, "namespace": "*"}, id=f"labels {labels}")
            for labels in (*LABELS[1:], {TIER: "gold"}, {})
        ),
        pytest.param({"group": WIDGETS, "labels": {PAGE: "compositions"}}, id="labels in one namespace"),
        pytest.param(
            {
                "group": WIDGETS,
                "resource": "panels",
                "cluster": TEST,
                "namespace": "*",
                "composition_id": COMPOSITIONS[1],
                "name_contains": "PANEL",
                "labels": {TIER: "gold"},
            },
            id="all at once",
        ),
    ],
)
async def test_a_list_has_exactly_what_matches(world: World, given: dict[str, Any]) -> None:
    expected = world.expected(**given)
    assert expected
    answer = await world.service.page(**given)
    assert {item["global_uid"] for item in answer.items} == expected


@pytest.mark.parametrize(
    "given",
    [
        {"labels": {"absent": "label"}},
        {"labels": {PAGE: "comp"}},
        {"labels": {PAGE: "blueprints", TIER: "silver"}},
        {"name": "fire-panel"},
        {"name": "F%"},
        {"name_contains": "f%p"},
        {"name_contains": "1000"},
        {"composition_id": "00000000-0000-0000-0000-000000000000"},
        {"composition_id": "ffffffff-ffff-ffff-ffff-ffffffffffff"},
        {"namespace": "DEFAULT"},
        {"since": "2200-01-01T00:00:00Z"},
    ],
    ids=str,
)
async def test_what_nothing_matches_is_an_empty_page(world: World, given: dict[str, Any]) -> None:
    answer = await world.service.page(**({"group": WIDGETS, "namespace": "*", "resource": "panels"} | given))
    assert (answer.code, answer.json) == (200, {"count": 0, "items": []})


async def test_a_composition_id_may_be_in_upper_case(world: World) -> None:
    assert COMPOSITIONS[1] is not None
    answer = await world.service.page(group=WIDGETS, namespace="*", composition_id=COMPOSITIONS[1].upper())
    expected = world.expected(group=WIDGETS, namespace="*", composition_id=COMPOSITIONS[1])
    assert {item["global_uid"] for item in answer.items} == expected


async def test_since_is_inclusive_and_exact_to_the_microsecond(world: World) -> None:
    everything = (await world.service.page(group=WIDGETS, namespace="*", sort_by="updated_at")).items
    middle = everything[len(everything) // 2]["updated_at"]
    just_after = datetime.fromisoformat(middle) + timedelta(microseconds=1)
    for since in (middle, just_after.isoformat()):
        answer = await world.service.page(group=WIDGETS, namespace="*", since=since)
        expected = {item["uid"] for item in everything if _time(item) >= datetime.fromisoformat(since)}
        assert {item["uid"] for item in answer.items} == expected
    assert just_after > datetime.fromisoformat(middle)


@pytest.mark.parametrize("offset", [timedelta(hours=5, minutes=30), -timedelta(hours=8), timedelta(0)], ids=str)
@pytest.mark.parametrize("spelled", [str, str.lower], ids=["upper", "lower"])
async def test_since_may_be_in_any_zone(world: World, offset: timedelta, spelled: Any) -> None:
    everything = (await world.service.page(group=WIDGETS, namespace="*", sort_by="updated_at")).items
    middle = _time(everything[len(everything) // 2])
    # The `+` of an offset is sent unescaped, and so arrives as a space.
    text = spelled(middle.astimezone(timezone(offset)).isoformat().removesuffix("+00:00") + ("" if offset else "Z"))
    answer = await world.service.query(f"group={WIDGETS}&namespace=*&since={text}")
    assert {item["uid"] for item in answer.items} == {item["uid"] for item in everything if _time(item) >= middle}


def _time(item: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(item["updated_at"])
