"""Killed, stopped, cut off: whatever happens to a process, in the end the cache equals the cluster."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from presenter.sandbox import Sandbox
from tests.e2e.system import PANELS, SAMPLE_TYPES, Json, System
from tests.eventually import eventually

CONFIG_MAPS = "configmaps"
PAGES_OF_LIST = 3
OBJECTS = PAGES_OF_LIST * 500 - 300


def _config_map(number: int, **data: str) -> Json:
    name = f"settings-{number:05}"
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        "data": {"number": str(number), **data},
    }


@pytest.fixture
def sandbox_of_many(sandbox: Sandbox) -> Sandbox:
    """So many config maps that a list of them takes several pages, in a cluster that does not stream lists."""
    sandbox.faults.no_streaming_lists()
    for number in range(OBJECTS):
        sandbox.cluster.create(_config_map(number))
    return sandbox


def _change_some(sandbox: Sandbox) -> None:
    """Create, change and delete objects on every page of a list."""
    for number in range(0, OBJECTS, 50):
        sandbox.cluster.delete(CONFIG_MAPS, f"settings-{number:05}", "default")
        sandbox.cluster.apply(_config_map(number + 1, changed="yes"))
    sandbox.cluster.create(_config_map(OBJECTS))


async def test_killed_in_the_middle_of_a_first_list(system: System, sandbox_of_many: Sandbox) -> None:
    system = system.having(WATCH=CONFIG_MAPS)
    gate = sandbox_of_many.faults.hold(resource=CONFIG_MAPS, page=PAGES_OF_LIST)
    first = await system.start()
    async with asyncio.timeout(30):
        await gate.reached.wait()
    half = await first.get("/resources", group="core", resource="configmaps", namespace="*")
    assert half.status == 503, "half a list is not passed off as all there is"
    await first.process.kill()

    gate.release()
    _change_some(sandbox_of_many)
    second = await (await system.start()).ready()
    assert await second.cached(CONFIG_MAPS) == system.served(CONFIG_MAPS)


async def test_stopped_in_the_middle_of_a_first_list(system: System, sandbox_of_many: Sandbox) -> None:
    system = system.having(WATCH=CONFIG_MAPS)
    gate = sandbox_of_many.faults.hold(resource=CONFIG_MAPS, page=2)
    first = await system.start()
    async with asyncio.timeout(30):
        await gate.reached.wait()
    assert await first.process.stop() == 0
    gate.release()
    await system.in_sync(await (await system.start()).ready(), CONFIG_MAPS)


async def test_a_clean_restart_lists_nothing_again(system: System) -> None:
    first = await (await system.start()).ready()
    for name in ("stays", "changes", "goes"):
        system.put(name, title=name)
    await system.in_sync(first)
    assert await first.process.stop() == 0

    system.sandbox.requests.clear()
    system.put("changes", title="changed")
    system.put("comes", title="new")
    system.drop("goes")
    second = await (await system.start()).ready()
    await system.in_sync(second)
    assert system.lists() == []
    assert system.sandbox.requests.count(verb="watch") >= len(SAMPLE_TYPES)


async def test_history_that_is_gone_after_a_restart_is_made_up_for_by_a_list(system: System) -> None:
    first = await (await system.start()).ready()
    system.put("goes", title="goes")
    await system.in_sync(first)
    assert await first.process.stop() == 0

    system.drop("goes")
    system.put("comes", title="new")
    system.sandbox.cluster.compact()
    second = await (await system.start()).ready()
    await system.in_sync(second)


async def test_killed_while_events_stream(system: System) -> None:
    first = await (await system.start()).ready()
    stirring = asyncio.create_task(_stir(system))
    for _ in range(3):
        await _progress(system)
        await first.process.kill()
        await _progress(system)
        first = await system.start()
    stirring.cancel()
    await asyncio.wait([stirring])
    await system.in_sync(first)


async def _stir(system: System) -> None:
    """Create, change and delete panels until cancelled."""
    for number in itertools.count():
        system.put(f"stirred-{number % 100}", number=number)
        if number % 3 == 0 and number:
            system.drop(f"stirred-{(number - 1) % 100}")
        await asyncio.sleep(0.001)


async def _progress(system: System) -> None:
    """Wait until a hundred more things have happened in the cluster."""
    reached = system.sandbox.cluster.resource_version + 100

    async def version() -> int:
        return system.sandbox.cluster.resource_version

    await eventually(version, lambda seen: seen >= reached)


async def test_two_processes_on_one_database_do_no_harm(system: System) -> None:
    both = await asyncio.gather(system.start(), system.start())
    stirring = asyncio.create_task(_stir(system))
    for service in both:
        await service.ready()
    await _progress(system)
    stirring.cancel()
    await asyncio.wait([stirring])
    for service in both:
        await system.in_sync(service)
    await both[0].process.kill()
    system.put("after", title="one is enough")
    await system.in_sync(both[1])


async def test_the_cluster_goes_down_and_comes_back(system: System) -> None:
    service = await (await system.start()).ready()
    before = await service.cached(PANELS)
    await system.sandbox.stop()
    assert await service.cached(PANELS) == before
    assert (await service.get("/readyz")).status == 200
    system.put("meanwhile", title="new")
    await system.sandbox.start()
    await system.in_sync(service)
