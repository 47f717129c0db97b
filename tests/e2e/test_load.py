"""Much at once: the cache comes to equal the cluster, and the watching process stays as small as it was."""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import psutil
import pytest

from presenter.cache.pool import Pool
from presenter.cache.watch_patterns import ALWAYS
from presenter.sandbox import Cluster
from presenter.sandbox.cluster import Write
from tests.e2e.system import PANELS, Json, Service, System
from tests.eventually import eventually
from tests.kube.world import crd, custom

CONFIG_MAPS = "configmaps"
CROWDED = "crowded"
GROWTH = 64
"""MiB by which a process may grow under load: far less than what it is told there."""
PATIENCE = 60.0

_SUMS = "SELECT count(*) AS objects, coalesce(sum(resource_version), 0)::bigint AS versions FROM resources"


@dataclass(frozen=True)
class World:
    """A cluster, a process that watches these types of it, and the rows that it writes."""

    system: System
    service: Service
    pool: Pool
    types: frozenset[str]

    @property
    def cluster(self) -> Cluster:
        return self.system.sandbox.cluster

    async def in_sync(self) -> None:
        """Wait until the cache equals the cluster, with no other row."""
        # Sums first: to compare everything again and again would slow down what is waited for.
        await eventually(self._sums, lambda sums: sums == self._served_sums(), PATIENCE)
        async with self.pool.connection() as connection:
            rows = await connection.fetch("SELECT uid, raw FROM resources")
        served = {uid: manifest for name in self.types for uid, manifest in self.system.served(name).items()}
        assert {row["uid"]: json.loads(row["raw"]) for row in rows} == served
        assert len(rows) == len(served)

    async def _sums(self) -> tuple[int, int]:
        async with self.pool.connection() as connection:
            row = await connection.fetchrow(_SUMS)
        assert row is not None
        return row["objects"], row["versions"]

    def _served_sums(self) -> tuple[int, int]:
        stores = [self.cluster.store(self.cluster.registry.named(name)) for name in self.types]
        versions = [entry.version for store in stores for entry in store.entries.values()]
        return len(versions), sum(versions)

    def put(self, name: str, **data: str) -> Json:
        """Create or change a config map in the crowded namespace."""
        metadata = {"name": name, "namespace": CROWDED}
        return self.cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})

    def drop(self, name: str) -> None:
        """Delete a config map there."""
        self.cluster.delete(CONFIG_MAPS, name, CROWDED)


Watching = Callable[..., AbstractAsyncContextManager[World]]


@pytest.fixture
def watching(system: System, pool: Pool, record_property: Callable[[str, object], None]) -> Watching:
    """Starts a process that watches types. While inside it may grow by `GROWTH`; in the end it stops as it should."""

    @asynccontextmanager
    async def watching(*types: str, command: str = "watch") -> AsyncIterator[World]:
        system.sandbox.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": CROWDED}})
        service = await (await system.start(command, WATCH=",".join(types))).ready(PATIENCE)
        world = World(system, service, pool, ALWAYS | set(types))
        await world.in_sync()
        sizes = [psutil.Process(service.process.pid).memory_info().rss]
        weighing = asyncio.create_task(_weigh(service.process.pid, sizes))
        try:
            yield world
            await world.in_sync()
            assert not weighing.done(), weighing
        finally:
            weighing.cancel()
            await asyncio.wait([weighing])
        grown = (max(sizes) - sizes[0]) / 2**20
        record_property("grown_mib", round(grown))
        assert grown < GROWTH, f"the process has grown by {grown:.0f} MiB"
        assert await service.process.stop() == 0

    return watching


async def _weigh(pid: int, sizes: list[int]) -> None:
    """Note the resident memory of a process until cancelled."""
    process = psutil.Process(pid)
    while True:
        sizes.append(process.memory_info().rss)
        await asyncio.sleep(0.02)


async def test_a_burst_of_50_000_changes(watching: Watching) -> None:
    source = random.Random(1)
    names: set[str] = set()
    async with watching(CONFIG_MAPS) as world:
        for number in range(50_000):
            name = f"object-{source.randrange(4_000)}"
            if name in names and source.random() < 0.2:
                world.drop(name)
                names.remove(name)
            else:
                world.put(name, number=str(number))
                names.add(name)
            if number % 50 == 0:
                await asyncio.sleep(0)  # the sandbox sends what has happened


async def test_a_namespace_of_10_000_objects_is_deleted_at_once(watching: Watching) -> None:
    async with watching(CONFIG_MAPS, "pods") as world:
        for number in range(5_000):
            world.put(f"object-{number}")
            world.cluster.create(_pod(f"pod-{number}"))
        await world.in_sync()
        world.cluster.delete("namespaces", CROWDED)


def _pod(name: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": CROWDED},
        "spec": {"containers": [{"name": "main", "image": "app"}]},
    }


async def test_a_very_large_object_among_small_ones(watching: Watching) -> None:
    source = random.Random(1)
    async with watching(CONFIG_MAPS) as world:
        for change in range(100):
            world.put("large", text=source.randbytes(750_000).hex())
            for number in range(50):
                world.put(f"small-{number}", change=str(change))
            await asyncio.sleep(0)
        await world.in_sync()
        world.put("large", text="now small")
        world.put("grown", text="é" * 750_000)
        await world.in_sync()
        world.drop("large")


async def test_10_000_changes_in_200_types(system: System, watching: Watching) -> None:
    kinds = [f"Kind{number}" for number in range(200)]
    for kind in kinds:
        system.sandbox.cluster.create(crd(f"{kind.lower()}s", kind))
    async with watching(*(f"{kind.lower()}s.example.com" for kind in kinds)) as world:
        for number in range(50):
            for kind in kinds:
                world.cluster.apply(custom(kind, f"object-{number % 20}", number=number))
            await asyncio.sleep(0)


@pytest.mark.parametrize("objects", [1, 20])
async def test_a_flapping_status_never_goes_back(watching: Watching, objects: int) -> None:
    names = [f"flapping-{number}" for number in range(objects)]
    async with watching(PANELS, command="run") as world:
        for name in names:
            world.system.put(name)
        await world.in_sync()
        seen: dict[str, set[int]] = defaultdict(set)
        flapping = asyncio.create_task(_flap(world.cluster, names, times=1_500))

        async def look() -> dict[str, int]:
            beats = await _beats(world.service)
            for name, beat in beats.items():
                assert beat >= max(seen[name], default=0), f"{name} went back"
                seen[name].add(beat)
            if flapping.done():
                await flapping
            return beats

        await eventually(look, lambda beats: beats == dict.fromkeys(names, 1_499), PATIENCE)
    assert all(len(beats) > 1 for beats in seen.values()), "it was not seen to flap"


async def _flap(cluster: Cluster, names: Iterable[str], times: int) -> None:
    """Change the status of all objects 500 times a second."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    for beat in range(times):
        status = partial(_with_status, beat=beat, ready=beat % 2 == 0)
        for name in names:
            cluster.change(PANELS, name, "demo-system", status, Write("status"))
        await asyncio.sleep(max(0, start + beat / 500 - loop.time()))


def _with_status(panel: Json, **status: object) -> Json:
    return {**panel, "status": status}


async def _beats(service: Service) -> dict[str, int]:
    """The status of every flapping object as it is served, once it has one."""
    panels = await service.items(
        group="widgets.templates.krateo.io",
        resource="panels",
        namespace="demo-system",
        name_contains="flapping",
        status_raw="true",
    )
    return {panel["name"]: panel["status_raw"]["beat"] for panel in panels if panel.get("status_raw")}
