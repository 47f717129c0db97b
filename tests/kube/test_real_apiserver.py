"""A real API server soon tells that nothing was missed, also of types of which it sends no bookmarks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from presenter.cache.pool import Pool
from presenter.cache.snapshot import Snapshots
from presenter.cache.watch_patterns import WatchPatterns
from presenter.cache.writer import Writer
from presenter.config import ClusterSettings
from presenter.kube.client import KubeClient
from presenter.kube.supervisor import Supervisor
from tests.eventually import eventually
from tests.realcluster import ControlPlane, control_plane

pytestmark = pytest.mark.timeout(300)

TYPES = ("configmaps", "events", "secrets", "serviceaccounts")
PATIENCE = 60.0
"""Seconds; three for what has bookmarks and twelve for the others on an idle machine."""

_STANDS = """
SELECT t.resource, w.state = 'live' AND w.last_event_at > clock_timestamp() - interval '10 minutes' AS fresh, w.lists
FROM watches w JOIN resource_types t ON t.id = w.type_id
"""
_LONG_AGO = "UPDATE watches SET last_event_at = clock_timestamp() - interval '1 hour'"


@dataclass(frozen=True)
class Following:
    """A cluster that is followed now and then."""

    client: KubeClient
    pool: Pool

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        supervisor = Supervisor(
            self.client, Writer(self.pool, "real"), Snapshots(self.pool, "real"), WatchPatterns(TYPES)
        )
        task = asyncio.create_task(supervisor.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def stands(self) -> list[Any]:
        async with self.pool.connection() as connection:
            return list(await connection.fetch(_STANDS))

    async def is_fresh(self) -> dict[str, int]:
        """Wait until every watch is live and fresh; returns how many lists each took."""
        watches = await eventually(
            self.stands, lambda found: len(found) > len(TYPES) and all(row["fresh"] for row in found), PATIENCE
        )
        return {row["resource"]: row["lists"] for row in watches}

    async def create_config_map(self, name: str) -> None:
        await self.client.post("/api/v1/namespaces/default/configmaps", {"metadata": {"name": name}})


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("plane")) as plane:
        yield plane


@pytest.fixture
async def following(plane: ControlPlane, pool: Pool, tmp_path: Path) -> AsyncIterator[Following]:
    kubeconfig = plane.write_kubeconfig(tmp_path / "kubeconfig")
    client = await KubeClient.connect(ClusterSettings(kubeconfig=str(kubeconfig)))
    yield Following(client, pool)
    await client.close()


async def test_quiet_types_are_soon_known_to_be_complete(following: Following) -> None:
    await following.create_config_map("before")
    async with following.going_on():
        first = await following.is_fresh()
    assert set(first.values()) == {1}
    async with following.pool.connection() as connection:
        await connection.execute(_LONG_AGO)
    await following.create_config_map("meanwhile")
    async with following.going_on():
        then = await following.is_fresh()
        async with following.pool.connection() as connection:
            assert await connection.fetchval("SELECT count(*) FROM resources WHERE name = 'meanwhile'") == 1
    assert then == first | {"events": 2}, "events have no bookmarks: they are listed again, and nothing else is"
