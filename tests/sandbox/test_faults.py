"""Every fault does what its name says, as often as told, and to nothing else."""

from __future__ import annotations

import asyncio
import base64
import ssl

import aiohttp
import pytest
import yaml

from presenter.sandbox import Sandbox
from tests.sandbox.authority import Authority
from tests.sandbox.harness import PANELS, PANELS_PATH, Client, Stream, panel

CONFIG_MAPS = "/api/v1/configmaps"


async def test_refusals_run_out(client: Client, sandbox: Sandbox) -> None:
    sandbox.faults.refuse(429, verb="list", resource=PANELS, times=2, retry_after=7)
    for _ in range(2):
        refused = await client.send("GET", PANELS_PATH)
        assert (refused.status, refused.json["reason"]) == (429, "TooManyRequests")
        assert refused.headers["Retry-After"] == "7"
        assert (await client.send("GET", CONFIG_MAPS)).status == 200, "another type"
        assert (await client.send("GET", f"{PANELS_PATH}/x")).status == 404, "another verb"
    assert (await client.send("GET", PANELS_PATH)).status == 200


async def test_refusal_with_a_body_that_is_no_status(client: Client, sandbox: Sandbox) -> None:
    fault = sandbox.faults.refuse(503, body="<html>no upstream</html>")
    refused = await client.send("GET", "/apis")
    assert (refused.status, refused.body) == (503, b"<html>no upstream</html>")
    assert refused.headers["Content-Type"] == "text/html"
    sandbox.faults.remove(fault)
    assert (await client.send("GET", "/apis")).status == 200


async def test_a_later_page_expires(client: Client, sandbox: Sandbox) -> None:
    for name in "abc":
        sandbox.cluster.create(panel(name))
    sandbox.faults.expire_page(page=3, resource=PANELS)
    page = await client.get(PANELS_PATH, limit=1)
    page = await client.get(PANELS_PATH, limit=1, **{"continue": page["metadata"]["continue"]})
    query = {"limit": "1", "continue": page["metadata"]["continue"]}
    expired = await client.send("GET", PANELS_PATH, **query)
    assert (expired.status, expired.json["reason"]) == (410, "Expired")
    fresh = expired.json["metadata"]["continue"]
    rest = await client.get(PANELS_PATH, **{"continue": fresh})
    assert [item["metadata"]["name"] for item in rest["items"]] == ["c"]


@pytest.mark.parametrize("in_stream", [True, False])
async def test_expired_watch(client: Client, sandbox: Sandbox, in_stream: bool) -> None:
    sandbox.faults.expire(resource=PANELS, in_stream=in_stream)
    if in_stream:
        watch = await client.watch(PANELS_PATH)
        event = await watch.next()
        assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
        assert await watch.rest() == b""
    else:
        assert (await client.send("GET", PANELS_PATH, watch="true")).status == 410
    sandbox.cluster.create(panel("a"))
    assert await (await client.watch(PANELS_PATH)).take(1) == [("ADDED", "a")]


async def test_running_watches_are_cut(client: Client, sandbox: Sandbox) -> None:
    async def watches() -> tuple[Stream, Stream]:
        return await client.watch(PANELS_PATH), await client.watch(CONFIG_MAPS)

    first, other = await watches()
    assert sandbox.faults.cut("end", resource=PANELS) == 1
    assert await first.rest() == b""
    second, _ = await watches()
    sandbox.faults.cut("mid-line", resource=PANELS)
    half = await second.rest()
    assert half
    assert b"\n" not in half
    third, _ = await watches()
    sandbox.faults.cut("abort", resource=PANELS)
    with pytest.raises(aiohttp.ClientError):
        await third.rest()
    fourth, _ = await watches()
    sandbox.faults.cut("error", resource=PANELS)
    assert (await fourth.next())["object"]["code"] == 500
    sandbox.cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm"}})
    assert await other.take(1) == [("ADDED", "cm")], "the other type's watch runs on"
    assert sandbox.faults.cut() == 4


async def test_watches_that_end_at_once(client: Client, sandbox: Sandbox) -> None:
    sandbox.cluster.create(panel("a"))
    sandbox.faults.break_off("end", resource=PANELS, times=2)
    for _ in range(2):
        assert await (await client.watch(PANELS_PATH)).rest() == b""
    assert await (await client.watch(PANELS_PATH)).take(1) == [("ADDED", "a")]


async def test_error_in_the_stream(client: Client, sandbox: Sandbox) -> None:
    sandbox.faults.stream_error(500, resource=PANELS)
    watch = await client.watch(PANELS_PATH)
    event = await watch.next()
    assert (event["type"], event["object"]["code"]) == ("ERROR", 500)
    assert await watch.rest() == b""


async def test_held_lists_wait_for_the_gate(client: Client, sandbox: Sandbox) -> None:
    gate = sandbox.faults.hold(verb="list", resource=PANELS)
    waiting = asyncio.create_task(client.send("GET", PANELS_PATH))
    async with asyncio.timeout(10):
        await gate.reached.wait()
    (record,) = await sandbox.requests.seen(verb="list", resource="panels")
    assert record.status is None
    assert (await client.send("GET", CONFIG_MAPS)).status == 200
    assert not waiting.done()
    gate.release()
    assert (await waiting).status == 200
    assert (await client.send("GET", PANELS_PATH)).status == 200


async def test_held_page(client: Client, sandbox: Sandbox) -> None:
    sandbox.cluster.create(panel("a"))
    sandbox.cluster.create(panel("b"))
    gate = sandbox.faults.hold(resource=PANELS, page=2)
    page = await client.get(PANELS_PATH, limit=1)
    query = {"limit": "1", "continue": page["metadata"]["continue"]}
    waiting = asyncio.create_task(client.send("GET", PANELS_PATH, **query))
    async with asyncio.timeout(10):
        await gate.reached.wait()
    sandbox.faults.clear()
    assert (await waiting).status == 200, "clear() opens the gate"


async def test_stalled_watch_and_list(client: Client, sandbox: Sandbox) -> None:
    sandbox.faults.stall(resource=PANELS, times=1)
    sandbox.faults.stall(verb="list", resource=PANELS, times=1)
    stalled = await client.watch(PANELS_PATH)
    sandbox.cluster.create(panel("a"))
    assert await (await client.watch(PANELS_PATH)).take(1) == [("ADDED", "a")]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(stalled.response.content.readany(), 0.2)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.send("GET", PANELS_PATH), 0.2)
    assert (await client.send("GET", PANELS_PATH)).status == 200


async def test_dropped_events_are_lost(client: Client, sandbox: Sandbox) -> None:
    version = sandbox.cluster.resource_version
    watch = await client.watch(PANELS_PATH, resourceVersion=version, allowWatchBookmarks="true")
    witness = await client.watch(CONFIG_MAPS)
    fault = sandbox.faults.drop_events(resource=PANELS)
    sandbox.cluster.create(panel("lost"))
    sandbox.bookmark()
    sandbox.cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm"}})
    await witness.take(1)  # by now the other watch has had its turn, too
    sandbox.faults.remove(fault)
    sandbox.cluster.create(panel("told"))
    assert await watch.take(1) == [("ADDED", "told")]


async def test_repeated_events_are_stale(client: Client, sandbox: Sandbox) -> None:
    sandbox.cluster.create(panel("a"))
    sandbox.cluster.delete(PANELS, "a", "default")
    watch = await client.watch(PANELS_PATH)
    sandbox.cluster.create(panel("a"))
    sandbox.faults.repeat(2, resource=PANELS)
    assert await watch.take(3) == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "a")]


async def test_no_bookmarks(client: Client, sandbox: Sandbox) -> None:
    sandbox.faults.no_bookmarks(resource=PANELS)
    version = sandbox.cluster.resource_version
    watch = await client.watch(PANELS_PATH, resourceVersion=version, allowWatchBookmarks="true")
    sandbox.bookmark()
    sandbox.cluster.create(panel("a"))
    assert await watch.take(1) == [("ADDED", "a")]


async def test_fragments_split_characters(client: Client, sandbox: Sandbox) -> None:
    sandbox.faults.fragment(1, resource=PANELS)
    watch = await client.watch(PANELS_PATH)
    sandbox.cluster.create(panel("a", text="äöü"))
    chunk = await watch.response.content.readany()
    assert len(chunk) < 20
    async with asyncio.timeout(10):
        rest = await watch.response.content.readuntil(b"\n")
    assert "äöü" in (chunk + rest).decode()


async def test_large_lines(client: Client, sandbox: Sandbox) -> None:
    text = "x" * 5 * 2**20
    watch = await client.watch(PANELS_PATH)
    sandbox.cluster.create(panel("big", text=text))
    data = b""
    async with asyncio.timeout(10):
        while not data.endswith(b"\n"):
            data += await watch.response.content.readany()
    assert text.encode() in data


@pytest.mark.parametrize("prefix", ["opaque-", "18446744073709551616"])
async def test_resource_versions_that_do_not_fit_an_integer(client: Client, sandbox: Sandbox, prefix: str) -> None:
    sandbox.cluster.create(panel("before"))
    sandbox.faults.opaque_versions(prefix)
    listed = await client.get(PANELS_PATH)
    version = listed["metadata"]["resourceVersion"]
    assert version.startswith(prefix)
    assert listed["items"][0]["metadata"]["resourceVersion"].startswith(prefix)
    watch = await client.watch(PANELS_PATH, resourceVersion=version)
    sandbox.cluster.create(panel("after"))
    event = await watch.next()
    assert event["object"]["metadata"]["name"] == "after"
    assert event["object"]["metadata"]["resourceVersion"].startswith(prefix)
    first = await client.get(PANELS_PATH, limit=1)
    assert await client.get(PANELS_PATH, limit=1, **{"continue": first["metadata"]["continue"]})


async def test_restart_cuts_connections_and_keeps_the_state(client: Client, sandbox: Sandbox) -> None:
    sandbox.cluster.create(panel("a"))
    url, version = sandbox.url, sandbox.cluster.resource_version
    watch = await client.watch(PANELS_PATH)
    await watch.take(1)
    sandbox.faults.hold(verb="get")
    held = asyncio.create_task(client.send("GET", f"{PANELS_PATH}/a"))
    await sandbox.requests.seen(verb="get", resource="panels")
    await sandbox.restart()
    with pytest.raises(aiohttp.ClientError):
        await watch.rest()
    with pytest.raises(aiohttp.ClientError):
        await held
    sandbox.faults.clear()
    assert sandbox.url == url
    await sandbox.stop()
    await sandbox.stop()
    await sandbox.start()
    assert (await client.get(f"{PANELS_PATH}/a"))["metadata"]["resourceVersion"] == str(version)


async def test_going_back_to_a_backup(client: Client, sandbox: Sandbox) -> None:
    cluster = sandbox.cluster
    kept = cluster.create(panel("kept"))
    backup = cluster.backup()
    cluster.create(panel("lost"))
    cluster.delete(PANELS, "kept", "default")
    watch = await client.watch(PANELS_PATH, resourceVersion=cluster.resource_version)
    cluster.restore(backup)
    with pytest.raises(aiohttp.ClientError):
        await watch.rest()
    assert cluster.resource_version == backup.version
    assert (await client.get(PANELS_PATH))["items"] == [kept]


async def test_what_follows_a_backup_may_pass_what_was_lost(client: Client, sandbox: Sandbox) -> None:
    cluster = sandbox.cluster
    backup = cluster.backup()
    for name in "abc":
        cluster.create(panel(name))
    lost = cluster.resource_version
    cluster.restore(backup)
    watch = await client.watch(PANELS_PATH, resourceVersion=lost)
    while cluster.resource_version <= lost:
        last = cluster.create(panel(f"new-{cluster.resource_version}"))
    assert (await watch.next())["object"] == last, "what came before is dropped silently"
    assert len((await client.get(PANELS_PATH))["items"]) == lost - backup.version + 1


async def test_another_cluster_behind_the_same_port(client: Client, sandbox: Sandbox) -> None:
    sandbox.cluster.create(panel("a"))
    async with Sandbox() as other:
        await sandbox.stop()
        url = sandbox.url
        port = int(url.rpartition(":")[2])
        async with Sandbox(port=port, cluster=other.cluster) as swapped:
            assert swapped.url == url
            namespace = await client.get("/api/v1/namespaces/kube-system")
        assert namespace["metadata"]["uid"] == other.cluster.uid != sandbox.cluster.uid


async def test_a_server_that_lags_behind(client: Client, sandbox: Sandbox) -> None:
    sandbox.cluster.create(panel("a"))
    past = await client.get(PANELS_PATH)
    sandbox.cluster.create(panel("b"))
    sandbox.faults.lagging(int(past["metadata"]["resourceVersion"]), resource=PANELS, times=2)
    present = (await client.get(CONFIG_MAPS))["metadata"]["resourceVersion"]
    assert await client.get(PANELS_PATH, limit=1) == past
    assert await client.get(PANELS_PATH) == past
    caught_up = await client.get(PANELS_PATH)
    assert caught_up["metadata"]["resourceVersion"] == present
    assert [item["metadata"]["name"] for item in caught_up["items"]] == ["a", "b"]


async def test_pages_of_a_server_that_lags_behind(client: Client, sandbox: Sandbox) -> None:
    for name in "ab":
        sandbox.cluster.create(panel(name))
    then = sandbox.cluster.resource_version
    sandbox.cluster.create(panel("c"))
    fault = sandbox.faults.lagging(then)
    first = await client.get(PANELS_PATH, limit=1)
    second = await client.get(PANELS_PATH, limit=1, **{"continue": first["metadata"]["continue"]})
    assert [item["metadata"]["name"] for item in first["items"] + second["items"]] == ["a", "b"]
    assert "continue" not in second["metadata"]
    assert second["metadata"]["resourceVersion"] == str(then)
    sandbox.faults.remove(fault)
    assert len((await client.get(PANELS_PATH))["items"]) == 3


STREAMING_LIST = {
    "sendInitialEvents": "true",
    "resourceVersionMatch": "NotOlderThan",
    "allowWatchBookmarks": "true",
}


async def test_streaming_lists_are_refused(client: Client, sandbox: Sandbox) -> None:
    sandbox.faults.no_streaming_lists("refuse", resource=PANELS, times=1)
    await client.watch(PANELS_PATH)
    refused = await client.send("GET", PANELS_PATH, watch="true", **STREAMING_LIST)
    assert (refused.status, refused.json["reason"]) == (422, "Invalid")
    assert "sendInitialEvents is forbidden" in refused.json["message"]
    event = await (await client.watch(PANELS_PATH, **STREAMING_LIST)).next()
    assert event["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_streaming_lists_are_not_known(client: Client, sandbox: Sandbox) -> None:
    sandbox.cluster.create(panel("a"))
    sandbox.faults.no_streaming_lists("ignore")
    watch = await client.watch(PANELS_PATH, **STREAMING_LIST)
    sandbox.cluster.create(panel("b"))
    sandbox.bookmark()
    assert await watch.take(2) == [("ADDED", "a"), ("ADDED", "b")]
    bookmark = await watch.next()
    assert bookmark["type"] == "BOOKMARK"
    assert "annotations" not in bookmark["object"]["metadata"]


async def test_objects_as_wrong_as_planted(client: Client, sandbox: Sandbox) -> None:
    cluster = sandbox.cluster
    start = cluster.resource_version
    cluster.plant(PANELS, "odd", "default", b'{"metadata":{"name":"odd"}}')
    cluster.plant(PANELS, "odd", "default", b'{"metadata":{"name":"odd","resourceVersion":7},"spec":null}')
    deep = b'{"metadata":{"name":"deep"},"spec":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    cluster.plant(PANELS, "deep", "default", deep)
    listed = await client.send("GET", PANELS_PATH)
    assert deep[1:] in listed.body
    assert b'"metadata":{"name":"odd","resourceVersion":7},"spec":null}' in listed.body
    accept = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
    partial = await client.get(PANELS_PATH, accept)
    assert [item["metadata"]["name"] for item in partial["items"]] == ["deep", "odd"]
    cluster.plant(PANELS, "deep", "default", b'{"metadata":{"name":"deep"}}', "DELETED")
    watch = await client.watch(PANELS_PATH, resourceVersion=start)
    assert await watch.take(2) == [("ADDED", "odd"), ("MODIFIED", "odd")]
    assert deep[1:] in await watch.response.content.readuntil(b"\n")
    assert await watch.take(1) == [("DELETED", "deep")]
    assert [item["metadata"]["name"] for item in (await client.get(PANELS_PATH))["items"]] == ["odd"]


async def test_https_with_another_authority(sandbox: Sandbox) -> None:
    first, second = Authority("first"), Authority("second")

    async def version(kubeconfig: str) -> int:
        authority = yaml.safe_load(kubeconfig)["clusters"][0]["cluster"]["certificate-authority-data"]
        trust = ssl.create_default_context(cadata=base64.b64decode(authority).decode())
        async with aiohttp.ClientSession() as session, session.get(sandbox.url + "/version", ssl=trust) as response:
            return response.status

    port = sandbox.url.rpartition(":")[2]
    sandbox.tls = first.tls()
    await sandbox.restart()
    assert sandbox.url == f"https://127.0.0.1:{port}"
    kubeconfig = sandbox.kubeconfig()
    assert await version(kubeconfig) == 200
    sandbox.tls = second.tls()
    await sandbox.restart()
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await version(kubeconfig)
    assert await version(sandbox.kubeconfig()) == 200


async def test_the_log_of_requests(client: Client, sandbox: Sandbox) -> None:
    await client.get(PANELS_PATH, limit=5)
    await client.watch(PANELS_PATH)
    await client.send("GET", f"{PANELS_PATH}/none")
    kinds = [(record.verb, record.name, record.status) for record in sandbox.requests]
    assert kinds == [("list", "", 200), ("watch", "", 200), ("get", "none", 404)]
    (listed,) = sandbox.requests.matching(verb="list")
    assert (listed.group, listed.version, listed.resource, listed.namespace) == (
        "widgets.templates.krateo.io",
        "v1beta1",
        "panels",
        "default",
    )
    assert (listed.query, listed.user) == ({"limit": "5"}, "system:admin")
    assert sandbox.requests.count(resource="panels") == 3
    sandbox.requests.clear()
    assert len(sandbox.requests) == 0
