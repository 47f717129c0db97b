"""The clock of the database is set two minutes ahead and back, again and again, and nobody notices."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from presenter.cache.pool import Address
from tests.e2e.system import Service, System, variables_of
from tests.eventually import eventually
from tests.faketime import Clock, postgres_with_clock

AHEAD = (120, 0, -120, 0)
"""Seconds that the clock is ahead, one after the other."""
WATCHED = 4.0
"""Seconds after each jump: longer than it takes anybody to look at the lease, or at the catalog, again."""
FAILOVER = 11.0
"""Seconds in which a leader that was killed is followed: the lease's eight, and a look; the rest is this machine's."""

WIDGETS: dict[str, str | int] = {"group": "widgets.templates.krateo.io", "namespace": "*"}


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Address, Clock]]:
    with postgres_with_clock() as (postgres, clock):
        yield postgres.create("jumping", template="template"), clock


async def lease(service: Service) -> Any:
    """Who leads, as /readyz has it."""
    [cluster] = (await service.get("/readyz")).json["clusters"]
    return cluster["lease"]


async def see(service: Service, since: float, led: Any) -> None:
    """Look at all that the clock might change: there is nothing to be seen."""
    answers = await asyncio.gather(
        *(service.get("/resources", **WIDGETS, resource=resource) for resource in ("buttons", "panels"))
    )
    for answer in answers:
        assert answer.status == 200, answer.json
        assert answer.headers["X-Cache-State"] == "live"
        assert int(answer.headers["X-Cache-Lag-Seconds"]) <= time.monotonic() - since + 2
    assert await lease(service) == led


async def see_afresh(system: System, since: float) -> None:
    """Look from a process that has not seen the clock jump."""
    process = await system.launch("status", "--json", **system.variables)
    assert await process.ended() == 0, process.log()
    told = json.loads(process.out[-1])
    assert [cluster["lease"]["held"] for cluster in told["clusters"]] == [True]
    for watch in told["types"]:
        assert watch["state"] == "live"
        assert watch["lag_seconds"] <= time.monotonic() - since + 2


async def change(system: System, service: Service, number: int) -> datetime:
    """Make a change and wait for it; returns how it is dated."""
    system.put("counter", number=number)
    query = {**WIDGETS, "resource": "panels", "name": "counter", "raw": "true"}
    [item] = await eventually(
        partial(service.items, **query), lambda items: [item["raw"]["spec"]["number"] for item in items] == [number]
    )
    return datetime.fromisoformat(item["updated_at"])


async def test_a_clock_that_jumps_changes_nothing_that_anybody_sees(
    system: System, server: tuple[Address, Clock]
) -> None:
    address, clock = server
    system = system.having(**variables_of(address))
    since, began = time.monotonic(), time.time()
    first = await (await system.start("watch")).ready()
    second, serving = await asyncio.gather(system.start("watch"), system.start("serve", RBAC_MAX_STALENESS="90s"))
    await serving.ready()
    led = await eventually(partial(lease, serving), lambda lease: lease is not None and lease["held"])
    assert led["holder"].endswith(f"/{first.process.pid}")
    dates = [await change(system, serving, 0)]
    for number, ahead in enumerate(AHEAD, 1):
        clock.set(ahead)
        jumped = time.monotonic()
        while time.monotonic() < jumped + WATCHED:
            await see(serving, since, led)
            await asyncio.sleep(0.05)  # that is often enough
        await see_afresh(system, since)
        dates.append(await change(system, serving, number))

    clock.set(-120)
    await first.process.kill()
    killed = time.monotonic()
    await eventually(partial(lease, serving), lambda lease: lease["holder"].endswith(f"/{second.process.pid}"))
    assert time.monotonic() - killed < FAILOVER
    dates.append(await change(system, serving, len(AHEAD) + 1))
    assert dates == sorted(dates), "newer changes come after older ones"
    assert began - 1 <= dates[0].timestamp()
    assert dates[-1].timestamp() <= time.time() + 1
