"""Requests to the API server, and what becomes of its answers."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import certifi
import msgspec
import pytest
from kubernetes_asyncio.config import incluster_config

from presenter import raw_json
from presenter.config import ClusterSettings
from presenter.errors import (
    ClusterError,
    ClusterForbidden,
    ClusterNotFound,
    ClusterUnavailable,
    ConfigError,
    ResourceExpired,
)
from presenter.kube import login
from presenter.kube.client import KubeClient, WatchEvent
from presenter.kube.cluster_errors import InStreamError, stream_error
from presenter.kube.objects import ends_initial_events, resource_version_of
from presenter.resource import ResourceType
from presenter.sandbox import Sandbox, User
from tests.eventually import eventually

PODS = ResourceType("", "v1", "pods", "Pod", True, ("v1",))
MAPS = ResourceType("", "v1", "configmaps", "ConfigMap", True, ("v1",))


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        "data": data,
    }


def kubeconfig(directory: Path, server: str) -> ClusterSettings:
    path = directory / "config"
    path.write_text(
        json.dumps(
            {
                "clusters": [{"name": "c", "cluster": {"server": server, "insecure-skip-tls-verify": True}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "users": [{"name": "u", "user": {}}],
                "current-context": "c",
            }
        )
    )
    return ClusterSettings(kubeconfig=str(path))


# -- which cluster ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "host"),
    [
        ("https://api.example.com", "api.example.com"),
        ("https://api.example.com:443/k8s/c1", "api.example.com"),
        ("https://127.0.0.1:6443", "127.0.0.1:6443"),
        ("http://localhost:80", "localhost"),
        ("http://localhost:8001/", "localhost:8001"),
        ("https://[fd00::1]:443", "[fd00::1]"),
        ("https://[fd00::1]:6443", "[fd00::1]:6443"),
    ],
)
async def test_host(tmp_path: Path, server: str, host: str) -> None:
    client = await KubeClient.connect(kubeconfig(tmp_path, server))
    assert client.host == host
    await client.close()


@pytest.mark.parametrize(
    ("server", "name"),
    [
        ("https://API.example.com:443/", "api.example.com"),
        ("https://127.0.0.1:6443", "127.0.0.1:6443"),
        ("https://rancher.example.com/k8s/clusters/c-m-abc", "rancher.example.com_k8s_clusters_c-m-abc"),
        ("https://rancher.example.com:8443//k8s/clusters/local/", "rancher.example.com:8443_k8s_clusters_local"),
        ("https://proxy.example.com/Prod", "proxy.example.com_Prod"),
    ],
)
async def test_the_name_by_default(tmp_path: Path, server: str, name: str) -> None:
    client = await KubeClient.connect(kubeconfig(tmp_path, server))
    assert client.name == name
    assert ClusterSettings(name=name).name == name, "somebody may also set it"
    await client.close()


@pytest.mark.parametrize(
    "text",
    [None, "", "[]", "}{", "{}", '{"current-context": "x"}', "clusters: [{name: c, cluster: {}}]"],
)
async def test_an_unusable_kubeconfig_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match="KUBECONFIG"):
        await KubeClient.connect(ClusterSettings(kubeconfig=str(path)))


async def test_a_cluster_without_a_server(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(
        "{clusters: [{name: c, cluster: {}}], contexts: [{name: c, context: {cluster: c}}], current-context: c}"
    )
    with pytest.raises(ConfigError, match="KUBECONFIG"):
        await KubeClient.connect(ClusterSettings(kubeconfig=str(path)))


async def test_no_cluster_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("KUBERNETES_SERVICE_HOST", "KUBECONFIG"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ConfigError, match="set KUBECONFIG"):
        await KubeClient.connect(ClusterSettings())


async def test_in_a_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / "token"
    token.write_text("t")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", certifi.where())
    monkeypatch.setattr(incluster_config, "TOKEN_REFRESH_PERIOD", timedelta(0))
    client = await KubeClient.connect(ClusterSettings())
    assert client.host == "127.0.0.1"
    token.write_text("")  # being rotated
    with pytest.raises(ClusterUnavailable, match="empty"):
        await client.cluster_uid()
    await client.close()


async def test_one_of_several_kubeconfigs(settings: ClusterSettings, tmp_path: Path, sandbox: Sandbox) -> None:
    several = ClusterSettings(kubeconfig=f"{tmp_path}/missing:{settings.kubeconfig}")
    client = await KubeClient.connect(several)
    assert await client.cluster_uid() == sandbox.cluster.uid
    await client.close()


async def test_a_token_is_sent(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.tokens["good"] = User("alice", ())
    for token in ("good", "bad"):
        sandbox.write_kubeconfig(tmp_path / token, token=token)
    client = await KubeClient.connect(ClusterSettings(kubeconfig=str(tmp_path / "good")))
    await client.list_page(PODS, limit=1)
    assert [request.user for request in sandbox.requests] == ["alice"]
    await client.close()
    client = await KubeClient.connect(ClusterSettings(kubeconfig=str(tmp_path / "bad")))
    with pytest.raises(ClusterForbidden) as caught:
        await client.list_page(PODS, limit=1)
    assert caught.value.code == 401
    await client.close()


async def test_a_renewed_token_is_used(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "TOKEN_REFRESH_SECONDS", 0)
    sandbox.tokens |= {"first": User("alice", ()), "second": User("bob", ())}
    token, config = tmp_path / "token", tmp_path / "config"
    config.write_text(sandbox.kubeconfig().replace("user: {}", f"user: {{tokenFile: {token}}}"))
    token.write_text("first")
    client = await KubeClient.connect(ClusterSettings(kubeconfig=str(config)))
    await client.list_page(PODS, limit=1)
    token.write_text("second")
    await client.list_page(PODS, limit=1)
    token.unlink()
    await client.list_page(PODS, limit=1)
    assert [request.user for request in sandbox.requests] == ["alice", "bob", "bob"]
    await client.close()


# -- answers ---------------------------------------------------------------------------------------


async def test_pages(sandbox: Sandbox, client: KubeClient) -> None:
    for name in "abc":
        sandbox.cluster.create(config_map(name))
    first = await client.list_page(MAPS, limit=2)
    sandbox.cluster.create(config_map("d"))
    second = await client.list_page(MAPS, limit=2, continue_token=first.continue_token)
    names = [json.loads(bytes(item))["metadata"]["name"] for item in first.items + second.items]
    assert names == ["a", "b", "c"]
    assert first.resource_version == second.resource_version
    assert first.continue_token
    assert not second.continue_token
    assert first.size > sum(len(bytes(item)) for item in first.items)


async def test_one_namespace(sandbox: Sandbox, client: KubeClient) -> None:
    sandbox.cluster.create(config_map("a"))
    assert len((await client.list_page(MAPS, "default", limit=10)).items) == 1
    assert (await client.list_page(MAPS, "kube-system", limit=10)).items == []


async def test_a_list_as_it_was(sandbox: Sandbox, client: KubeClient) -> None:
    for name in "abc":
        sandbox.cluster.create(config_map(name))
    then = str(sandbox.cluster.resource_version)
    sandbox.cluster.delete("configmaps", "b", "default")
    sandbox.cluster.create(config_map("d"))
    first = await client.list_page(MAPS, limit=2, exact=then)
    second = await client.list_page(MAPS, limit=2, exact=then, continue_token=first.continue_token)
    names = [json.loads(bytes(item))["metadata"]["name"] for item in first.items + second.items]
    assert names == ["a", "b", "c"]
    assert (first.resource_version, second.resource_version) == (then, then)
    sandbox.cluster.compact()
    with pytest.raises(ResourceExpired):
        await client.list_page(MAPS, limit=2, exact=then)


async def test_metadata_only(sandbox: Sandbox, client: KubeClient) -> None:
    made = sandbox.cluster.create(config_map("a", text="b"))
    page = await client.list_page(MAPS, limit=1, metadata_only=True)
    [item] = [json.loads(bytes(item)) for item in page.items]
    assert (item["metadata"], item.get("data")) == (made["metadata"], None)
    assert page.resource_version == str(sandbox.cluster.resource_version)


@pytest.mark.parametrize(
    ("status", "kind", "delay"),
    [
        (400, ClusterError, None),
        (401, ClusterForbidden, None),
        (403, ClusterForbidden, None),
        (404, ClusterNotFound, None),
        (410, ResourceExpired, None),
        (429, ClusterUnavailable, 7),
        (500, ClusterUnavailable, None),
        (503, ClusterUnavailable, 3),
    ],
)
async def test_refusals(
    sandbox: Sandbox, client: KubeClient, status: int, kind: type[ClusterError], delay: int | None
) -> None:
    sandbox.faults.refuse(status, retry_after=delay)
    with pytest.raises(ClusterError, match=rf"GET /api/v1/pods was answered with {status} ") as caught:
        await client.list_page(PODS, limit=1)
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.delay) == (status, delay)
    with pytest.raises(kind):
        async with client.watch(PODS, "", "1", timeout_seconds=5):
            pytest.fail("the watch was refused")


async def test_a_proxy_that_answers_in_html(sandbox: Sandbox, client: KubeClient) -> None:
    sandbox.faults.refuse(502, body="<html>" * 1000)
    with pytest.raises(ClusterUnavailable, match=r"502 Bad Gateway$"):
        await client.list_page(PODS, limit=1)


async def test_a_version_that_the_server_cannot_read(sandbox: Sandbox, client: KubeClient) -> None:
    """kube-apiserver says 500 of it, as of what may pass."""
    with pytest.raises(ResourceExpired, match="Invalid value"):
        async with client.watch(PODS, "", "opaque-1", timeout_seconds=5):
            pytest.fail("the watch was refused")


async def test_a_proxy_that_answers_in_json_of_its_own(sandbox: Sandbox, client: KubeClient) -> None:
    sandbox.faults.refuse(502, body='{"status":502,"message":"no upstream","details":null}')
    with pytest.raises(ClusterUnavailable, match=r"502 Bad Gateway: no upstream$"):
        await client.list_page(PODS, limit=1)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "{}",
        "<html>",
        '{"kind":"PodList","metadata":{"resourceVersion":"1"}}',
        '{"kind":"PodList","items":[]}',
        '{"kind":"PodList","metadata":{},"items":[]}',
        '{"kind":"Pod","metadata":{"resourceVersion":"1"},"items":[]}',
    ],
)
async def test_a_200_that_is_no_list(sandbox: Sandbox, client: KubeClient, body: str) -> None:
    sandbox.faults.refuse(200, body=body, content_type="application/json")
    with pytest.raises(ClusterUnavailable, match="list"):
        await client.list_page(PODS, limit=1)


async def test_a_list_may_say_null_for_nothing(sandbox: Sandbox, client: KubeClient) -> None:
    body = '{"kind":"PodList","metadata":{"resourceVersion":"1"},"items":null}'
    sandbox.faults.refuse(200, body=body, content_type="application/json")
    assert (await client.list_page(PODS, limit=1)).items == []


async def test_unreachable_and_silent(sandbox: Sandbox, client: KubeClient) -> None:
    sandbox.faults.stall(verb="list")
    with pytest.raises(ClusterUnavailable, match=re.escape(client.host)):
        await client.list_page(PODS, limit=1)
    await sandbox.stop()
    with pytest.raises(ClusterUnavailable, match="cannot be reached"):
        await client.cluster_uid()
    await sandbox.start()
    assert await client.cluster_uid() == sandbox.cluster.uid


# -- watches ---------------------------------------------------------------------------------------


async def follow(client: KubeClient, sandbox: Sandbox, events: int) -> list[WatchEvent]:
    found = []
    async with client.watch(MAPS, "", str(sandbox.cluster.resource_version), timeout_seconds=60) as stream:
        sandbox.cluster.create(config_map("a", text="ä€😀" * 3))
        sandbox.cluster.delete("configmaps", "a", "default")
        sandbox.bookmark()
        async for event in stream:
            found.append(event)
            if len(found) == events:
                break
    return found


@pytest.mark.parametrize("size", [None, 1, 3])
async def test_events_whole_however_they_are_cut(sandbox: Sandbox, client: KubeClient, size: int | None) -> None:
    if size is not None:
        sandbox.faults.fragment(size)
    events = await follow(client, sandbox, 3)
    assert [event.type for event in events] == ["ADDED", "DELETED", "BOOKMARK"]
    assert json.loads(bytes(events[0].object))["data"] == {"text": "ä€😀" * 3}


async def test_a_line_of_twelve_megabytes(sandbox: Sandbox, client: KubeClient) -> None:
    async with client.watch(MAPS, "", str(sandbox.cluster.resource_version), timeout_seconds=60) as stream:
        sandbox.cluster.create(config_map("a", text="x" * 12_000_000))
        event = await anext(stream)
    assert len(json.loads(bytes(event.object))["data"]["text"]) == 12_000_000


async def test_options_of_a_watch(sandbox: Sandbox, client: KubeClient) -> None:
    version = str(sandbox.cluster.resource_version)
    async with client.watch(MAPS, "default", version, timeout_seconds=33):
        [request] = await sandbox.requests.seen(verb="watch")
    assert request.namespace == "default"
    assert request.query == {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": version,
        "timeoutSeconds": "33",
    }


async def test_a_streaming_list(sandbox: Sandbox, client: KubeClient) -> None:
    made = [sandbox.cluster.create(config_map(name)) for name in "ab"]
    async with client.watch(MAPS, "", "1", timeout_seconds=60, initial_events=True) as stream:
        events = [await anext(stream) for _ in range(3)]
        sandbox.bookmark()
        events.append(await anext(stream))
    assert [event.type for event in events] == ["ADDED", "ADDED", "BOOKMARK", "BOOKMARK"]
    assert [json.loads(bytes(event.object)) for event in events[:2]] == made
    assert [ends_initial_events(event) for event in events] == [False, False, True, False]
    assert resource_version_of(events[2].object) == str(sandbox.cluster.resource_version)


async def test_a_server_that_refuses_streaming_lists(sandbox: Sandbox, client: KubeClient) -> None:
    sandbox.faults.no_streaming_lists("refuse")
    with pytest.raises(ClusterError) as caught:
        async with client.watch(MAPS, "", "", timeout_seconds=60, initial_events=True):
            pytest.fail("the watch was refused")
    assert (type(caught.value), caught.value.code) == (ClusterError, 422)


def test_only_one_bookmark_ends_the_initial_events() -> None:
    ending = b'{"metadata":{"resourceVersion":"5","annotations":{"k8s.io/initial-events-end":"true"}}}'
    assert ends_initial_events(WatchEvent("BOOKMARK", msgspec.Raw(ending)))
    assert not ends_initial_events(WatchEvent("ADDED", msgspec.Raw(ending)))
    for other in (ending.replace(b"true", b"false"), ending.replace(b"initial", b"x"), b'{"metadata":{}}', b"{}"):
        assert not ends_initial_events(WatchEvent("BOOKMARK", msgspec.Raw(other)))


# -- deep nesting ----------------------------------------------------------------------------------


def deep(depth: int, opening: str, closing: str) -> bytes:
    metadata = '"metadata":{"name":"deep","namespace":"default","uid":"1","resourceVersion":"9"}'
    return f'{{{metadata},"data":{opening * depth}"]}}\\""{closing * depth}}}'.encode()


@pytest.mark.parametrize(("opening", "closing"), [('{"a" : ', "}"), ("[1, ", "]"), ('[{"\\"":\t', "}]")])
@pytest.mark.parametrize("depth", [100, 5_000, 100_000])
async def test_nesting_of_any_depth(
    sandbox: Sandbox, client: KubeClient, depth: int, opening: str, closing: str
) -> None:
    members = deep(depth, opening, closing)
    sandbox.cluster.create(config_map("a", text="b"))
    version = str(sandbox.cluster.resource_version)
    sandbox.cluster.plant("configmaps", "deep", "default", members)
    sandbox.cluster.create(config_map("z", text="]}"))
    page = await client.list_page(MAPS, limit=10)
    assert [bytes(item) for item in page.items][1] == members
    assert [json.loads(bytes(item))["data"] for item in page.items[::2]] == [{"text": "b"}, {"text": "]}"}]
    assert page.resource_version == str(sandbox.cluster.resource_version)
    async with client.watch(MAPS, "", version, timeout_seconds=60) as stream:
        first, second = await anext(stream), await anext(stream)
    assert (first.type, second.type) == ("ADDED", "ADDED")
    assert bytes(first.object).endswith(members[1:])
    assert json.loads(bytes(second.object))["metadata"]["name"] == "z"


def test_nothing_but_objects_has_members() -> None:
    long = b"[" * 5_000
    for malformed in (long, b"{" + long, b'{"a":' + long, b'{"a":' + long + b"]" * 4_999 + b"}", long + b"]" * 5_000):
        with pytest.raises(msgspec.DecodeError):
            raw_json.members(malformed)
    for malformed in (long, b'{"a":' + long + b"]" * 5_000 + b"}", b"[" + b'{"a":' * 5_000 + b"]"):
        with pytest.raises(msgspec.DecodeError):
            raw_json.elements(malformed)


async def test_leaving_a_watch_closes_its_connection(sandbox: Sandbox, client: KubeClient) -> None:
    async with client.watch(MAPS, "", str(sandbox.cluster.resource_version), timeout_seconds=60):
        await sandbox.requests.seen(verb="watch", status=200)
    await eventually(lambda: asyncio.sleep(0, sandbox.faults.cut("end")), lambda running: running == 0)


@pytest.mark.parametrize(("how", "error"), [("mid-line", "middle|broke"), ("abort", "broke"), ("error", "500")])
async def test_a_watch_that_breaks(sandbox: Sandbox, client: KubeClient, how: str, error: str) -> None:
    async with client.watch(MAPS, "", str(sandbox.cluster.resource_version), timeout_seconds=60) as stream:
        sandbox.cluster.create(config_map("a"))
        assert (await anext(stream)).type == "ADDED"
        sandbox.faults.cut(how)
        with pytest.raises(ClusterUnavailable, match=error) as caught:
            await anext(stream)
    assert isinstance(caught.value, InStreamError) == (how == "error")


async def test_a_watch_that_ends(sandbox: Sandbox, client: KubeClient) -> None:
    async with client.watch(MAPS, "", str(sandbox.cluster.resource_version), timeout_seconds=60) as stream:
        await sandbox.requests.seen(verb="watch", status=200)
        sandbox.faults.cut("end")
        assert [event async for event in stream] == []


async def test_expired_within_the_stream(sandbox: Sandbox, client: KubeClient) -> None:
    sandbox.faults.expire()
    async with client.watch(MAPS, "", "1", timeout_seconds=60) as stream:
        with pytest.raises(ResourceExpired):
            await anext(stream)


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        ({"code": 410, "reason": "Expired", "message": "too old"}, ResourceExpired, 410),
        ({"code": 410}, ResourceExpired, 410),
        ({"reason": "Expired"}, ResourceExpired, 410),
        ({"reason": "Gone"}, ResourceExpired, 410),
        ({"code": 500}, InStreamError, 500),
        ({"code": 429, "details": {"retryAfterSeconds": 4}}, InStreamError, 429),
        ({}, InStreamError, 0),
    ],
)
def test_error_events(status: dict[str, Any], kind: type[ClusterError], code: int) -> None:
    error = stream_error("the watch", json.dumps(status).encode())
    assert type(error) is kind
    assert error.code == code
    assert error.delay == status.get("details", {}).get("retryAfterSeconds")
    assert str(error).startswith("the watch was ended by the API server")
