"""Lists: order, pages, resourceVersions."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from presenter.sandbox import Sandbox
from presenter.sandbox.listing import Continue
from tests.sandbox.harness import PANELS_PATH, WIDGETS, Client, panel

ALL_PANELS = f"/apis/{WIDGETS}/v1beta1/panels"


def names(listed: Any) -> list[str]:
    return [f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in listed["items"]]


@pytest.fixture
def seven(sandbox: Sandbox) -> Sandbox:
    for namespace in ("team", "team-a"):
        sandbox.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    for namespace, name in (("team", "b"), ("team-a", "a"), ("team", "a"), ("default", "z")):
        sandbox.cluster.create(panel(name, namespace, labels={"first": str(name == "a").lower()}))
    for name in ("m", "n", "o"):
        sandbox.cluster.create(panel(name, labels={"first": "false"}))
    return sandbox


async def test_a_list_is_ordered_as_etcd_orders_keys(client: Client, seven: Sandbox) -> None:
    listed = await client.get(ALL_PANELS)
    in_default = [f"default/{name}" for name in "mnoz"]
    assert names(listed) == [*in_default, "team-a/a", "team/a", "team/b"], "'-' sorts before '/'"
    assert listed["kind"] == "PanelList"
    assert listed["metadata"] == {"resourceVersion": str(seven.cluster.resource_version)}
    in_team = await client.get(f"/apis/{WIDGETS}/v1beta1/namespaces/team/panels")
    assert names(in_team) == ["team/a", "team/b"]


async def test_items_of_built_in_types_lack_kind_and_custom_ones_bear_it(client: Client, seven: Sandbox) -> None:
    namespaces = await client.get("/api/v1/namespaces")
    assert all("kind" not in item and "apiVersion" not in item for item in namespaces["items"])
    panels = await client.get(ALL_PANELS)
    assert {(item["apiVersion"], item["kind"]) for item in panels["items"]} == {(f"{WIDGETS}/v1beta1", "Panel")}


@pytest.mark.parametrize("limit", range(1, 9))
async def test_pages_show_the_moment_of_the_first(client: Client, seven: Sandbox, limit: int) -> None:
    expected = await client.get(ALL_PANELS)
    page = await client.get(ALL_PANELS, limit=limit)
    items, remaining = page["items"], [page["metadata"].get("remainingItemCount")]
    seven.cluster.delete(f"panels.{WIDGETS}", "z", "default")
    seven.cluster.merge_patch(f"panels.{WIDGETS}", "b", "team", {"spec": {"changed": True}})
    seven.cluster.create(panel("nn"))
    while token := page["metadata"].get("continue"):
        page = await client.get(ALL_PANELS, limit=limit, **{"continue": token})
        items += page["items"]
        remaining.append(page["metadata"].get("remainingItemCount"))
    assert items == expected["items"]
    assert page["metadata"]["resourceVersion"] == expected["metadata"]["resourceVersion"]
    counts = [max(0, 7 - limit * number) or None for number in range(1, len(remaining) + 1)]
    assert remaining == counts


async def test_no_remaining_count_with_a_selector(client: Client, seven: Sandbox) -> None:
    page = await client.get(ALL_PANELS, limit=1, labelSelector="first=true")
    assert names(page) == ["team-a/a"]
    assert "remainingItemCount" not in page["metadata"]
    token = page["metadata"]["continue"]
    page = await client.get(ALL_PANELS, limit=1, labelSelector="first=true", **{"continue": token})
    assert names(page) == ["team/a"]
    assert "continue" not in page["metadata"], "no other object matches"


async def test_an_expired_list_goes_on_inconsistently(client: Client, seven: Sandbox) -> None:
    page = await client.get(ALL_PANELS, limit=2)
    seven.cluster.compact()
    seven.cluster.create(panel("nn"))
    query = {"limit": "2", "continue": page["metadata"]["continue"]}
    expired = await client.send("GET", ALL_PANELS, **query)
    status = expired.json
    assert (expired.status, status["reason"], status["code"]) == (410, "Expired", 410)
    assert "continue parameter is too old" in status["message"]
    rest = await client.get(ALL_PANELS, **{"continue": status["metadata"]["continue"]})
    assert names(rest) == ["default/nn", "default/o", "default/z", "team-a/a", "team/a", "team/b"]
    assert rest["metadata"]["resourceVersion"] == str(seven.cluster.resource_version)


async def test_wrong_continue_token(client: Client) -> None:
    for token in ("???", "abc", Continue.after("x", 1).encode()[:-3]):
        refused = await client.send("GET", PANELS_PATH, **{"continue": token})
        assert (refused.status, refused.json["reason"]) == (400, "BadRequest")
        assert "continue key is not valid" in refused.json["message"]


async def test_a_version_of_the_future_is_too_large(client: Client, sandbox: Sandbox) -> None:
    current = sandbox.cluster.resource_version
    refused = await client.send("GET", PANELS_PATH, resourceVersion=current + 1)
    status = refused.json
    assert (refused.status, status["reason"]) == (504, "Timeout")
    assert status["details"]["causes"][0]["message"] == "Too large resource version"
    assert f"Too large resource version: {current + 1}, current: {current}" in status["message"]
    for version in ("0", "1", str(current)):
        query = {"resourceVersion": version, "resourceVersionMatch": "NotOlderThan"}
        assert (await client.send("GET", PANELS_PATH, **query)).status == 200
    assert (await client.send("GET", PANELS_PATH, resourceVersion="x")).status == 400
    assert (await client.send("GET", PANELS_PATH, limit="many")).status == 400


@pytest.mark.parametrize("limit", [0, 1, 2, 7])
async def test_lists_of_the_past(client: Client, sandbox: Sandbox, limit: int) -> None:
    type_name = f"panels.{WIDGETS}"
    changes: list[Callable[[], object]] = [
        lambda: sandbox.cluster.create(panel("a")),
        lambda: sandbox.cluster.create(panel("b")),
        lambda: sandbox.cluster.merge_patch(type_name, "a", "default", {"spec": {"changed": True}}),
        lambda: sandbox.cluster.delete(type_name, "b", "default"),
        lambda: sandbox.cluster.create(panel("b")),
        lambda: sandbox.cluster.delete(type_name, "a", "default"),
    ]
    history = []
    for change in changes:
        change()
        history.append(await client.get(PANELS_PATH))
    for then in history:
        query: dict[str, str | int] = {"limit": limit, "resourceVersionMatch": "Exact"}
        version = then["metadata"]["resourceVersion"]
        page = await client.get(PANELS_PATH, resourceVersion=version, **query)
        items = page["items"]
        while token := page["metadata"].get("continue"):
            page = await client.get(PANELS_PATH, limit=limit, **{"continue": token})
            items += page["items"]
        assert items == then["items"]
        assert page["metadata"]["resourceVersion"] == version


async def test_the_past_is_forgotten(client: Client, seven: Sandbox) -> None:
    then = seven.cluster.resource_version
    seven.cluster.create(panel("new"))
    query: dict[str, str | int] = {"resourceVersion": then, "resourceVersionMatch": "Exact"}
    assert len((await client.get(ALL_PANELS, **query))["items"]) == 7
    seven.cluster.compact()
    expired = await client.send("GET", ALL_PANELS, **query)
    assert (expired.status, expired.json["reason"]) == (410, "Expired")
    query["resourceVersion"] = seven.cluster.resource_version
    assert len((await client.get(ALL_PANELS, **query))["items"]) == 8


async def test_options_of_a_list_that_do_not_go_together(client: Client, seven: Sandbox) -> None:
    token = (await client.get(ALL_PANELS, limit=1))["metadata"]["continue"]
    for status, query in (
        (422, {"resourceVersionMatch": "Exact"}),
        (422, {"resourceVersionMatch": "Exact", "resourceVersion": "1", "continue": token}),
        (400, {"resourceVersion": "1", "continue": token}),
    ):
        assert (await client.send("GET", ALL_PANELS, **query)).status == status


async def test_metadata_only_in_pages(client: Client, seven: Sandbox) -> None:
    accept = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"}
    whole = await client.get(ALL_PANELS)
    page = await client.get(ALL_PANELS, accept, limit=4)
    rest = await client.get(ALL_PANELS, accept, limit=4, **{"continue": page["metadata"]["continue"]})
    assert (page["kind"], rest["kind"]) == ("PartialObjectMetadataList",) * 2
    assert page["metadata"]["resourceVersion"] == whole["metadata"]["resourceVersion"]
    items = page["items"] + rest["items"]
    assert [item["metadata"] for item in items] == [item["metadata"] for item in whole["items"]]
    assert {key for item in items for key in item} == {"apiVersion", "kind", "metadata"}


async def test_a_list_that_is_kept_no_longer_is_made_again(client: Client, sandbox: Sandbox) -> None:
    sandbox.cluster.apply(panel("p0"))
    tokens = []
    for number in range(103):
        sandbox.cluster.apply(panel("p1", number=number))
        tokens.append((await client.get(PANELS_PATH, limit=1))["metadata"]["continue"])
    assert len(sandbox.cluster.snapshots) == 100
    pages = [await client.get(PANELS_PATH, **{"continue": token}) for token in tokens]
    assert [page["items"][0]["spec"]["number"] for page in pages] == list(range(103))


async def test_a_token_is_a_position_and_bound_to_nothing(client: Client, seven: Sandbox) -> None:
    token = (await client.get(PANELS_PATH, limit=1))["metadata"]["continue"]
    assert json.loads(base64.urlsafe_b64decode(token + "==")) == {
        "v": "meta.k8s.io/v1",
        "rv": seven.cluster.resource_version,
        "start": "/m\0",
        "page": 2,
    }
    for namespace, expected in (("team", []), ("default", ["default/n", "default/o", "default/z"])):
        rest = await client.get(PANELS_PATH.replace("default", namespace), **{"continue": token})
        assert names(rest) == expected
    selected = await client.get(PANELS_PATH, labelSelector="first", **{"continue": token})
    assert names(selected) == ["default/n", "default/o", "default/z"]
    assert (await client.get("/api/v1/namespaces/default/configmaps", **{"continue": token}))["items"] == []
    cluster_scoped = (await client.get("/api/v1/namespaces", limit=2))["metadata"]["continue"]
    rest = await client.get("/api/v1/namespaces", **{"continue": cluster_scoped})
    assert [item["metadata"]["name"] for item in rest["items"]] == ["kube-public", "kube-system", "team", "team-a"]


async def test_limits(client: Client, seven: Sandbox) -> None:
    for query, count in (({"limit": "0"}, 7), ({"limit": "-1"}, 7), ({"limit": "2", "resourceVersion": "0"}, 7)):
        listed = await client.get(ALL_PANELS, **query)
        assert (len(listed["items"]), "continue" in listed["metadata"]) == (count, False), query
    past = seven.cluster.resource_version
    seven.cluster.create(panel("zz"))
    listed = await client.get(ALL_PANELS, limit=2, resourceVersion=past)
    assert (listed["metadata"]["resourceVersion"], listed["metadata"]["remainingItemCount"]) == (str(past), 5)
