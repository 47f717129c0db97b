"""Two clusters and one database: each has a name of its own, or its watcher says that it needs one."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from aiohttp import ClientSession, web

from presenter.sandbox import Cluster, Sandbox, fill
from tests.e2e.system import PANELS, System
from tests.eventually import eventually


@pytest.fixture
async def other(sandbox: Sandbox) -> AsyncIterator[Sandbox]:
    """Another cluster."""
    cluster = Cluster()
    fill(cluster, 40)
    async with Sandbox(cluster=cluster) as running:
        yield running


@pytest.mark.parametrize("command", ["watch", "run"])
async def test_a_name_that_another_cluster_has_is_refused(
    system: System, other: Sandbox, home: Path, command: str
) -> None:
    system = system.having(CLUSTER_NAME="10.96.0.1")
    first = await (await system.start()).ready()
    other.write_kubeconfig(home / "other")
    process = await system.launch(command, **system.variables | {"KUBECONFIG": str(home / "other")})
    assert await process.ended() == 2
    [said] = [line for line in process.err if line.startswith("presenter: ")]
    assert process.err[-1] == said
    assert "set CLUSTER_NAME" in said
    assert other.cluster.uid in said
    assert system.sandbox.cluster.uid in said
    await system.in_sync(first, PANELS)
    second = await system.start("watch", KUBECONFIG=str(home / "other"), CLUSTER_NAME="other")
    await second.ready()


@asynccontextmanager
async def gateway(**clusters: Sandbox) -> AsyncIterator[str]:
    """An address behind which there are several clusters, each below a path with its name, as Rancher has them."""
    async with ClientSession(auto_decompress=False) as session:

        async def forward(request: web.Request) -> web.StreamResponse:
            url = clusters[request.match_info["cluster"]].url + "/" + request.match_info["path"]
            async with session.get(
                f"{url}?{request.query_string}", headers={"Accept": request.headers["Accept"]}
            ) as got:
                response = web.StreamResponse(status=got.status, headers={"Content-Type": got.headers["Content-Type"]})
                await response.prepare(request)
                async for chunk in got.content.iter_any():
                    await response.write(chunk)
                return response

        application = web.Application()
        application.router.add_get("/k8s/clusters/{cluster}/{path:.*}", forward)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


async def test_clusters_behind_one_address_have_names_of_their_own(system: System, other: Sandbox, home: Path) -> None:
    async with gateway(north=system.sandbox, south=other) as url:
        for name in ("north", "south"):
            document = yaml.safe_load(system.sandbox.kubeconfig())
            document["clusters"][0]["cluster"] = {"server": f"{url}/k8s/clusters/{name}"}
            (home / name).write_text(yaml.safe_dump(document))
            await system.start("watch", KUBECONFIG=str(home / name), WATCH=PANELS)
        service = await (await system.start("serve")).ready()

        async def cached() -> dict[str, set[str]]:
            found: dict[str, set[str]] = {}
            for item in await service.items(
                group="widgets.templates.krateo.io", resource="panels", namespace="*", limit=500
            ):
                found.setdefault(item["cluster_name"], set()).add(item["uid"])
            return found

        port = re.sub(r".*:", "", url)
        wanted = {
            f"127.0.0.1:{port}_k8s_clusters_{name}": {
                each["metadata"]["uid"] for each in sandbox.cluster.objects(PANELS)
            }
            for name, sandbox in (("north", system.sandbox), ("south", other))
        }
        await eventually(cached, lambda found: found == wanted)
        name, uids = wanted.popitem()
        reply = await service.get(f"/resources/{name}:{min(uids)}")
        assert (reply.status, reply.json["items"][0]["cluster_name"]) == (200, name)
        [item] = await service.items(
            group="widgets.templates.krateo.io", resource="panels", namespace="*", cluster=name, limit=1
        )
        assert item["global_uid"].startswith(f"{name}:")
