"""A database far away: what is read beside pages holds none of them up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from presenter.cache.pool import Address, Pool
from presenter.cache.writer import Writer
from presenter.config import PAGE_CONNECTIONS
from tests.api.service import serving
from tests.api.world import PANELS, WIDGETS, first_list
from tests.link import distant
from tests.objects import make_object
from tests.rules import Rules

ROUND_TRIP = 0.15
CALLERS = 24
SECONDS = 3.0


async def rate(ask: Callable[[], Awaitable[object]]) -> float:
    """How often a second it can be done, by so many who do it again and again."""
    started, times = time.monotonic(), 0

    async def again() -> None:
        nonlocal times
        while time.monotonic() < started + SECONDS:
            await ask()
            times += 1

    await asyncio.gather(*(again() for _ in range(CALLERS)))
    return times / (time.monotonic() - started)


async def test_pages_come_as_fast_as_the_link_lets_them(database: Address, writer: Writer) -> None:
    await writer.open_cluster("uid", ["*.*.krateo.io"])
    await Rules(writer).open_to_everybody()
    [panels] = await writer.declare(PANELS)
    await first_list(writer, panels, make_object("one"))
    await writer.discovered()
    async with distant(database, ROUND_TRIP) as address:
        async with Pool.opened(address, size=PAGE_CONNECTIONS) as pool:

            async def statement() -> None:
                async with pool.connection() as connection:
                    await connection.fetchval("SELECT 1")

            fastest = await rate(statement)
        async with serving(address) as service:

            async def page() -> None:
                assert (await service.page(group=WIDGETS)).names == ["one"]

            for _ in range(2):  # connections are made, and statements prepared
                await asyncio.gather(*(page() for _ in range(CALLERS)))
            pages = await rate(page)
    assert pages > 0.5 * fastest, "one reading of the catalog after the other it is a few a second"
