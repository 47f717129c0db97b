"""Two processes that answer from memory: what one has shown is never older at the other."""

from __future__ import annotations

import asyncio
import random
import re

import pytest

from presenter.cache.writer import Writer
from presenter.resource import Event, Object, Watch
from tests.api.world import PANELS, WIDGETS, first_list
from tests.e2e.system import Json, Service, System
from tests.objects import make_object
from tests.rules import Rules

QUERY: dict[str, str | int] = {"group": WIDGETS, "resource": "panels", "raw": "true", "limit": 5}
CHANGES, ANSWERS = 100, 12


@pytest.fixture
async def watch(writer: Writer) -> Watch:
    await writer.open_cluster("uid", ["*.*.krateo.io"])
    await Rules(writer).open_to_everybody()
    [watch] = await writer.declare(PANELS)
    await first_list(writer, watch, panel(1))
    await writer.discovered()
    return watch


def panel(version: int) -> Object:
    return make_object("changing", resource_version=version, raw={"spec": version})


async def kept(service: Service) -> float:
    """How many pages it has answered from memory."""
    async with service.session.get(f"{service.url}/metrics") as response:
        told = re.search(r"^presenter_page_cache_hits_total (\S+)$", await response.text(), re.MULTILINE)
    assert told is not None
    return float(told[1])


class Caller:
    """Asks now the one and now the other, with the tag of what came last or without one."""

    def __init__(self, services: list[Service], seed: int) -> None:
        self.unchanged = 0
        self._services = services
        self._rng = random.Random(seed)
        self._tag = ""
        self._page: Json = {}

    async def version(self) -> int:
        """That which is shown."""
        tag = self._rng.choice(("", self._tag))
        reply = await self._rng.choice(self._services).poll("/resources", tag, QUERY)
        if reply.status == 304:
            self.unchanged += 1
        else:
            assert reply.status == 200, reply.json
            self._tag, self._page = reply.headers["ETag"], reply.json
        [item] = self._page["items"]
        version: int = item["raw"]["spec"]
        return version


async def test_what_one_process_has_shown_the_other_never_misses(system: System, writer: Writer, watch: Watch) -> None:
    services = [await (await system.start("serve")).ready() for _ in range(2)]
    callers = [Caller(services, seed) for seed in range(4)]
    stored = shown = 1
    answered = asyncio.Semaphore(0)

    async def change() -> None:
        nonlocal stored
        for version in range(2, CHANGES):
            await writer.apply(watch, [Event("upsert", panel(version))], str(version))
            stored = version
            for _ in range(ANSWERS):
                await answered.acquire()

    async def read(caller: Caller) -> None:
        nonlocal shown
        while not changing.done():
            least = max(stored, shown)
            version = await caller.version()
            assert version >= least, "it was committed, or had been shown by one of them, before this was asked for"
            shown = max(shown, version)
            answered.release()

    changing = asyncio.create_task(change())
    async with asyncio.TaskGroup() as tasks:
        for caller in callers:
            tasks.create_task(read(caller))
    await changing
    assert [await kept(service) > CHANGES // 2 for service in services] == [True, True]
    assert sum(caller.unchanged for caller in callers) > CHANGES
