"""Watches: what they tell, from when, and how they end."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from presenter.sandbox import Cluster, Sandbox
from tests.sandbox.harness import DEADLINE, PANELS, PANELS_PATH, WIDGETS, Client, crd, panel


async def test_events_after_a_version(client: Client, sandbox: Sandbox) -> None:
    cluster = sandbox.cluster
    cluster.create(panel("before"))
    version = cluster.resource_version
    cluster.create(panel("one"))
    watch = await client.watch(PANELS_PATH, resourceVersion=version)
    cluster.merge_patch(PANELS, "one", "default", {"spec": {"title": "x"}})
    cluster.delete(PANELS, "one", "default")
    added, modified, deleted = [await watch.next() for _ in range(3)]
    assert [event["type"] for event in (added, modified, deleted)] == ["ADDED", "MODIFIED", "DELETED"]
    assert modified["object"]["spec"] == deleted["object"]["spec"] == {"title": "x"}
    assert deleted["object"]["metadata"]["resourceVersion"] == str(cluster.resource_version)
    assert deleted["object"]["kind"] == "Panel"


@pytest.mark.parametrize("version", ["", "0"])
async def test_without_a_version_the_present_comes_first(client: Client, sandbox: Sandbox, version: str) -> None:
    sandbox.cluster.create(panel("a"))
    sandbox.cluster.create(panel("b"))
    watch = await client.watch(PANELS_PATH, resourceVersion=version)
    sandbox.cluster.create(panel("c"))
    assert await watch.take(3) == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c")]


@pytest.mark.parametrize("version", ["", "0"])
async def test_the_present_ends_with_a_marked_bookmark(client: Client, sandbox: Sandbox, version: str) -> None:
    sandbox.cluster.create(panel("a"))
    watch = await client.watch(PANELS_PATH, resourceVersion=version, allowWatchBookmarks="true")
    assert await watch.take(1) == [("ADDED", "a")]
    assert (await watch.next())["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


@pytest.mark.parametrize(("value", "watched"), [("1", True), ("yes", True), ("", True), ("0", False), ("False", False)])
async def test_what_asks_for_a_watch(client: Client, sandbox: Sandbox, value: str, watched: bool) -> None:
    sandbox.cluster.create(panel("a"))
    answered = await client.send("GET", PANELS_PATH, watch=value, timeoutSeconds=1)
    assert (b"ADDED" in answered.body) == watched


async def test_options_of_a_watch_that_do_not_go_together(client: Client, sandbox: Sandbox) -> None:
    for status, query in (
        (422, {"resourceVersionMatch": "NotOlderThan"}),
        (422, {"continue": "x"}),
        (422, {"sendInitialEvents": "true", "resourceVersionMatch": "Exact"}),
        (400, {"limit": "x"}),
        (500, {"resourceVersion": "x"}),
    ):
        assert (await client.send("GET", PANELS_PATH, watch="1", **query)).status == status, query
    future = sandbox.cluster.resource_version + 1
    watch = await client.watch(
        PANELS_PATH, resourceVersion=future, sendInitialEvents="true", resourceVersionMatch="NotOlderThan"
    )
    assert (await watch.next())["object"]["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


async def test_all_watchers_get_the_same_bytes(client: Client, sandbox: Sandbox) -> None:
    version = sandbox.cluster.resource_version
    watches = [await client.watch(PANELS_PATH, resourceVersion=version) for _ in range(3)]
    sandbox.cluster.create(panel("a", text="ü" * 10))
    events = [await watch.next() for watch in watches]
    assert events[0] == events[1] == events[2]


async def test_only_the_namespace_asked_for(client: Client, sandbox: Sandbox) -> None:
    sandbox.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
    watch = await client.watch(f"/apis/{WIDGETS}/v1beta1/namespaces/team/panels")
    sandbox.cluster.create(panel("elsewhere"))
    sandbox.cluster.create(panel("here", "team"))
    assert await watch.take(1) == [("ADDED", "here")]


async def test_an_object_enters_and_leaves_a_selection(client: Client, sandbox: Sandbox) -> None:
    cluster = sandbox.cluster
    version = cluster.resource_version
    watch = await client.watch(PANELS_PATH, resourceVersion=version, labelSelector="on=true")
    cluster.create(panel("x", labels={"on": "false"}))
    for patch in ({"on": "true"}, {"more": "1"}, {"on": "false"}, {"more": "2"}):
        cluster.merge_patch(PANELS, "x", "default", {"metadata": {"labels": patch}})
    cluster.create(panel("last", labels={"on": "true"}))
    assert await watch.take(2) == [("ADDED", "x"), ("MODIFIED", "x")]
    left = await watch.next()
    assert left["type"] == "DELETED"
    assert left["object"]["metadata"]["labels"] == {"on": "true", "more": "1"}, "as it was when it still matched"
    assert left["object"]["metadata"]["resourceVersion"] == str(cluster.resource_version - 2)
    assert await watch.take(1) == [("ADDED", "last")]


async def test_no_bookmark_overtakes_an_event(client: Client, sandbox: Sandbox) -> None:
    sandbox.bookmark_interval = 0  # all the time
    version = sandbox.cluster.resource_version
    watch = await client.watch(PANELS_PATH, resourceVersion=version, allowWatchBookmarks="true")
    told = version
    for number in range(200):
        sandbox.cluster.create(panel(f"panel-{number}"))
        while (event := await watch.next())["type"] == "BOOKMARK":
            told = int(event["object"]["metadata"]["resourceVersion"])
        assert told < int(event["object"]["metadata"]["resourceVersion"]), "who heard that needs no more of it"


async def test_bookmarks(client: Client, sandbox: Sandbox) -> None:
    version = sandbox.cluster.resource_version
    watch = await client.watch(PANELS_PATH, resourceVersion=version, allowWatchBookmarks="true")
    silent = await client.watch(PANELS_PATH, resourceVersion=version)
    sandbox.cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm"}})
    sandbox.bookmark()
    bookmark = await watch.next()
    assert bookmark["type"] == "BOOKMARK"
    metadata = {"resourceVersion": str(version + 1)}
    assert bookmark["object"] == {"apiVersion": f"{WIDGETS}/v1beta1", "kind": "Panel", "metadata": metadata}
    sandbox.cluster.create(panel("a"))
    assert await silent.take(1) == [("ADDED", "a")], "no bookmark came before it"


async def test_bookmarks_come_by_themselves_and_at_the_end(client: Client, sandbox: Sandbox) -> None:
    sandbox.bookmark_interval = 0.05
    query: dict[str, str | int] = {"resourceVersion": sandbox.cluster.resource_version, "allowWatchBookmarks": "true"}
    watch = await client.watch(PANELS_PATH, **query)
    assert await watch.take(2) == [("BOOKMARK", ""), ("BOOKMARK", "")]
    sandbox.bookmark_interval = 60
    watch = await client.watch(PANELS_PATH, **query, timeoutSeconds=1)
    assert await watch.take(1) == [("BOOKMARK", "")]
    assert await watch.rest() == b"", "a clean end"


async def test_a_bookmark_comes_shortly_before_the_end(client: Client, sandbox: Sandbox) -> None:
    sandbox.bookmark_lead = 59.9
    watch = await client.watch(PANELS_PATH, allowWatchBookmarks="true", timeoutSeconds=60)
    assert await watch.take(1) == [("BOOKMARK", "")]
    sandbox.cluster.create(panel("a"))
    assert await watch.take(1) == [("ADDED", "a")], "it goes on, without another bookmark"


async def test_a_streaming_list_ends_with_a_marked_bookmark(client: Client, sandbox: Sandbox) -> None:
    sandbox.cluster.create(panel("a"))
    query = {
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
    }
    watch = await client.watch(PANELS_PATH, **query)
    assert await watch.take(1) == [("ADDED", "a")]
    bookmark = await watch.next()
    assert bookmark["object"]["metadata"] == {
        "resourceVersion": str(sandbox.cluster.resource_version),
        "annotations": {"k8s.io/initial-events-end": "true"},
    }
    without = {**query, "sendInitialEvents": "false"}
    watch = await client.watch(PANELS_PATH, **without)
    sandbox.cluster.create(panel("b"))
    assert await watch.take(1) == [("ADDED", "b")], "not a"
    refused = await client.send("GET", PANELS_PATH, watch="true", sendInitialEvents="true")
    assert (refused.status, refused.json["reason"]) == (422, "Invalid")


async def test_a_forgotten_version_is_an_error_event(client: Client, sandbox: Sandbox) -> None:
    version = sandbox.cluster.resource_version
    sandbox.cluster.create(panel("a"))
    sandbox.cluster.compact()
    watch = await client.watch(PANELS_PATH, resourceVersion=version)
    error = await watch.next()
    assert (error["type"], error["object"]["code"], error["object"]["reason"]) == ("ERROR", 410, "Expired")
    assert error["object"]["message"].startswith("too old resource version: ")
    assert await watch.rest() == b""
    resumed = await client.watch(PANELS_PATH, resourceVersion=sandbox.cluster.resource_version)
    sandbox.cluster.create(panel("b"))
    assert await resumed.take(1) == [("ADDED", "b")]


async def test_only_so_many_events_are_kept() -> None:
    async with Sandbox(cluster=Cluster(history=3)) as sandbox, aiohttp.ClientSession() as session:
        client = Client(session, sandbox)
        sandbox.cluster.create(crd("panels", "Panel"))
        version = sandbox.cluster.resource_version
        for number in range(4):
            sandbox.cluster.create(panel(f"p{number}"))
        lost = await client.watch(PANELS_PATH, resourceVersion=version)
        assert (await lost.next())["object"]["code"] == 410
        kept = await client.watch(PANELS_PATH, resourceVersion=version + 1)
        assert await kept.take(3) == [("ADDED", "p1"), ("ADDED", "p2"), ("ADDED", "p3")]
        client.close()


async def test_a_watch_from_the_future_is_silent_until_then(client: Client, sandbox: Sandbox) -> None:
    version = sandbox.cluster.resource_version
    watch = await client.watch(PANELS_PATH, resourceVersion=version + 2, allowWatchBookmarks="true")
    sandbox.cluster.create(panel("a"))
    sandbox.bookmark()
    sandbox.cluster.create(panel("b"))
    sandbox.cluster.create(panel("c"))
    assert await watch.take(1) == [("ADDED", "c")]


async def test_watch_of_one_object(client: Client, sandbox: Sandbox) -> None:
    watch = await client.watch(PANELS_PATH, fieldSelector="metadata.name=b")
    sandbox.cluster.create(panel("a"))
    sandbox.cluster.create(panel("b"))
    assert await watch.take(1) == [("ADDED", "b")]
    one = await client.get(f"{PANELS_PATH}/b", watch="true")
    assert one["kind"] == "Panel", "an object's own path is not watched"


async def test_deleting_a_type_deletes_its_objects_and_ends_its_watches(client: Client, sandbox: Sandbox) -> None:
    sandbox.cluster.create(panel("a"))
    sandbox.cluster.create(panel("b"))
    watch = await client.watch(PANELS_PATH, resourceVersion=sandbox.cluster.resource_version)
    sandbox.cluster.delete("customresourcedefinitions.apiextensions.k8s.io", PANELS)
    assert await watch.take(2) == [("DELETED", "a"), ("DELETED", "b")]
    assert await watch.rest() == b""


async def test_changing_a_type_ends_its_watches(client: Client, sandbox: Sandbox) -> None:
    watch = await client.watch(PANELS_PATH)
    sandbox.cluster.apply(crd("panels", "Panel", versions=("v1beta1", "v1")))
    assert await watch.rest() == b""
    kept = await client.watch(PANELS_PATH)
    labelled = crd("panels", "Panel", versions=("v1beta1", "v1"))
    labelled["metadata"]["labels"] = {"a": "b"}
    sandbox.cluster.apply(labelled)
    sandbox.cluster.create(panel("a"))
    assert await kept.take(1) == [("ADDED", "a")], "the type is what it was"
    assert (await client.get(f"/apis/{WIDGETS}/v1/panels"))["apiVersion"] == f"{WIDGETS}/v1"


async def test_watchers_are_forgotten_when_their_clients_leave(client: Client, sandbox: Sandbox) -> None:
    store = sandbox.cluster.store(sandbox.cluster.registry.named(PANELS))
    watch = await client.watch(PANELS_PATH)
    assert len(store.watchers) == 1
    watch.response.close()
    async with asyncio.timeout(DEADLINE):
        while store.watchers:
            await client.send("GET", "/livez")  # gives the server its turn
