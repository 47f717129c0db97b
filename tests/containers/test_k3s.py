"""A real Kubernetes, where the sandbox stands in elsewhere. Run by `scripts/test --containers`; needs Docker."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from presenter.cache.pool import Pool
from presenter.cache.snapshot import Snapshots
from presenter.cache.watch_patterns import WatchPatterns
from presenter.cache.writer import Writer
from presenter.config import ClusterSettings
from presenter.kube.client import KubeClient
from presenter.kube.supervisor import Supervisor
from tests.eventually import eventually

pytestmark = [
    pytest.mark.skipif(os.environ.get("TEST_CONTAINERS") != "1", reason="needs Docker: scripts/test --containers"),
    pytest.mark.timeout(600),
]

WATCHED = WatchPatterns(
    ["configmaps", "namespaces", "deployments.apps", "customresourcedefinitions.apiextensions.k8s.io"]
)
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[KubeClient]:
    """A client of a k3s in Docker."""
    from testcontainers.community.k3s import K3SContainer

    with K3SContainer("rancher/k3s:v1.33.4-k3s1") as k3s:
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(k3s.config_yaml())
        client = await KubeClient.connect(ClusterSettings(kubeconfig=str(kubeconfig)))
        yield client
        await client.close()


async def served(client: KubeClient, path: str) -> dict[str, str]:
    """resourceVersion by uid, as the API server lists them now."""
    answer = await client.get(path, accept="application/json")
    items: list[Any] = msgspec.json.decode(answer.body or b"")["items"]
    return {item["metadata"]["uid"]: item["metadata"]["resourceVersion"] for item in items}


async def cached(pool: Pool, resource: str) -> dict[str, str]:
    """The same, as the cache has them."""
    async with pool.connection() as connection:
        rows = await connection.fetch(
            "SELECT uid, r.resource_version::text FROM resources r JOIN resource_types t ON t.id = r.type_id "
            "WHERE t.resource = $1",
            resource,
        )
    return {row["uid"]: row["resource_version"] for row in rows}


async def test_the_cache_equals_a_real_cluster(client: KubeClient, writer: Writer, pool: Pool) -> None:
    supervising = asyncio.create_task(Supervisor(client, writer, Snapshots(pool, "test"), WATCHED).run())
    paths = {
        "configmaps": "/api/v1/configmaps",
        "namespaces": "/api/v1/namespaces",
        "deployments": "/apis/apps/v1/deployments",
        "clusterroles": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        "customresourcedefinitions": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    }
    try:
        await client.post(
            CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ours"}, "data": {"a": "1"}}
        )
        for resource, path in paths.items():

            async def both(resource: str = resource, path: str = path) -> bool:
                now = await served(client, path)
                return bool(now) and await cached(pool, resource) == now

            await eventually(both, bool, seconds=120)
    finally:
        supervising.cancel()
        await asyncio.wait([supervising])
