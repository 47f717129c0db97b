"""Certificates and credentials that are replaced while the client is in use."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml
from kubernetes_asyncio.config import incluster_config

from presenter.config import ClusterSettings
from presenter.errors import ClusterForbidden, ClusterUnavailable, ConfigError
from presenter.kube import login
from presenter.kube.client import KubeClient
from presenter.resource import ResourceType
from presenter.sandbox import Sandbox, User
from tests.eventually import eventually
from tests.sandbox.authority import Authority

MAPS = ResourceType("", "v1", "configmaps", "ConfigMap", True, ("v1",))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Log in again as often as there is reason to."""
    monkeypatch.setattr(login, "RENEWAL_SECONDS", 0)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(tls=Authority("first").tls()) as sandbox:
        yield sandbox


@pytest.fixture
def config(sandbox: Sandbox, tmp_path: Path) -> Path:
    path = tmp_path / "config"
    sandbox.write_kubeconfig(path)
    return path


@pytest.fixture
async def client(sandbox: Sandbox, config: Path) -> AsyncIterator[KubeClient]:
    client = await KubeClient.connect(ClusterSettings(kubeconfig=str(config)))
    yield client
    await client.close()


def config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


async def replace_authority(sandbox: Sandbox) -> None:
    sandbox.tls = Authority("second").tls()
    await sandbox.restart()


async def fails(client: KubeClient, *, because: str) -> None:
    with pytest.raises(ClusterUnavailable, match=because):
        await client.cluster_uid()


# -- the server's certificate ------------------------------------------------------------------------------


async def test_an_authority_replaced_in_the_kubeconfig(sandbox: Sandbox, client: KubeClient, config: Path) -> None:
    assert await client.cluster_uid() == sandbox.cluster.uid
    await replace_authority(sandbox)
    await fails(client, because="certificate verify failed")
    await fails(client, because="certificate verify failed")
    sandbox.write_kubeconfig(config)
    await fails(client, because="certificate verify failed")
    assert await client.cluster_uid() == sandbox.cluster.uid


async def test_an_authority_replaced_in_its_file(sandbox: Sandbox, config: Path, tmp_path: Path) -> None:
    document = yaml.safe_load(config.read_text())
    cluster = document["clusters"][0]["cluster"]
    del cluster["certificate-authority-data"]
    cluster["certificate-authority"] = str(tmp_path / "ca.crt")
    config.write_text(yaml.safe_dump(document))
    assert sandbox.tls
    (tmp_path / "ca.crt").write_text(sandbox.tls.authority)
    client = await KubeClient.connect(ClusterSettings(kubeconfig=str(config)))
    assert await client.cluster_uid() == sandbox.cluster.uid
    await replace_authority(sandbox)
    (tmp_path / "ca.crt").write_text("half of it")
    await fails(client, because="certificate verify failed")
    (tmp_path / "ca.crt").write_text(sandbox.tls.authority)
    await fails(client, because="certificate verify failed")
    assert await client.cluster_uid() == sandbox.cluster.uid
    await client.close()


async def test_an_authority_replaced_in_the_pod(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("t")
    sandbox.tokens["t"] = User("presenter", ())
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", sandbox.url.rpartition(":")[2])
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(authority))
    assert sandbox.tls
    authority.write_text(sandbox.tls.authority)
    client = await KubeClient.connect(ClusterSettings())
    assert await client.cluster_uid() == sandbox.cluster.uid
    await replace_authority(sandbox)
    authority.write_text(sandbox.tls.authority)
    await fails(client, because="certificate verify failed")
    assert await client.cluster_uid() == sandbox.cluster.uid
    await client.close()


async def test_an_authority_that_cannot_be_read(config: Path, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("no certificate")
    cluster = {"server": "https://127.0.0.1", "certificate-authority": str(tmp_path / "ca.crt")}
    document = yaml.safe_load(config.read_text())
    document["clusters"][0]["cluster"] = cluster
    config.write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigError, match="certificate authority"):
        await KubeClient.connect(ClusterSettings(kubeconfig=str(config)))


# -- this side's credentials -------------------------------------------------------------------------------


async def test_a_token_replaced_in_the_kubeconfig(sandbox: Sandbox, config: Path) -> None:
    sandbox.tokens = {"old": User("alice", ())}
    sandbox.write_kubeconfig(config, "old")
    client = await KubeClient.connect(ClusterSettings(kubeconfig=str(config)))
    await client.cluster_uid()
    sandbox.tokens = {"new": User("bob", ())}
    sandbox.write_kubeconfig(config, "new")
    with pytest.raises(ClusterForbidden) as caught:
        await client.cluster_uid()
    assert caught.value.code == 401
    await client.cluster_uid()
    assert [(request.user, request.status) for request in sandbox.requests] == [
        ("alice", 200),
        ("", 401),
        ("bob", 200),
    ]
    await client.close()


async def test_a_certificate_replaced_in_the_kubeconfig(sandbox: Sandbox, config: Path, tmp_path: Path) -> None:
    servers, clients, pem = Authority("servers"), Authority("clients"), tmp_path / "client.pem"
    sandbox.tls = servers.tls(clients)
    await sandbox.restart()
    document = yaml.safe_load(sandbox.kubeconfig())
    document["users"][0]["user"] = {"client-certificate": str(pem), "client-key": str(pem)}
    config.write_text(yaml.safe_dump(document))
    pem.write_text(Authority("others").issue("presenter"))
    client = await KubeClient.connect(ClusterSettings(kubeconfig=str(config)))
    await fails(client, because="cannot be reached")
    pem.write_text(clients.issue("presenter"))
    await fails(client, because="cannot be reached")
    assert await client.cluster_uid() == sandbox.cluster.uid
    await client.close()


async def test_no_more_is_said_than_that_credentials_were_read_again(sandbox: Sandbox, config: Path) -> None:
    """Whether they are good the next request tells."""
    sandbox.tokens = {"good": User("alice", ())}
    sandbox.write_kubeconfig(config, "bad")
    client = await KubeClient.connect(ClusterSettings(kubeconfig=str(config)))
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            with pytest.raises(ClusterForbidden):
                await client.cluster_uid()
    await client.close()
    assert {entry["event"] for entry in logs} == {"the credentials for the cluster were read again"}


# -- meanwhile ---------------------------------------------------------------------------------------------


async def test_watches_outlive_a_new_login(sandbox: Sandbox, client: KubeClient) -> None:
    version = str(sandbox.cluster.resource_version)
    async with client.watch(MAPS, "", version, timeout_seconds=60) as events:
        sandbox.faults.refuse(401, verb="get", times=1)
        with pytest.raises(ClusterForbidden):
            await client.cluster_uid()
        await client.cluster_uid()
        sandbox.cluster.create(config_map("a"))
        event = await anext(events)
    assert json.loads(bytes(event.object))["metadata"]["name"] == "a"


async def test_many_requests_log_in_once(
    sandbox: Sandbox, client: KubeClient, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login, "RENEWAL_SECONDS", 3600)
    await replace_authority(sandbox)
    sandbox.write_kubeconfig(config)
    first = await asyncio.gather(*(client.cluster_uid() for _ in range(20)), return_exceptions=True)
    assert all(isinstance(failure, ClusterUnavailable) for failure in first)
    assert await client.cluster_uid() == sandbox.cluster.uid
    await replace_authority(sandbox)
    sandbox.write_kubeconfig(config)
    await fails(client, because="certificate verify failed")
    await fails(client, because="certificate verify failed")


async def test_another_server_is_not_turned_to(sandbox: Sandbox, client: KubeClient, config: Path) -> None:
    async with Sandbox() as other:
        other.write_kubeconfig(config)
        sandbox.faults.refuse(401, verb="get", times=1)
        with pytest.raises(ClusterForbidden):
            await client.cluster_uid()
        assert await client.cluster_uid() == sandbox.cluster.uid
        assert len(other.requests) == 0


async def test_little_of_an_answer_is_held_before_it_is_taken(sandbox: Sandbox, client: KubeClient) -> None:
    for number in range(10):
        sandbox.cluster.create(config_map(f"large-{number}") | {"data": {"text": "x" * 1_000_000}})
    async with client._request("GET", "/api/v1/configmaps") as response:
        connection = response.connection
        assert connection is not None
        assert connection.protocol is not None
        protocol = connection.protocol
        await eventually(lambda: asyncio.sleep(0, protocol._reading_paused), bool)
        assert response.content.total_bytes < 2**20
        assert len(await response.read()) > 10_000_000
