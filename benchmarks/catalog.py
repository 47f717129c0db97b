"""What reading the catalog costs those who ask for pages: over a long way to PostgreSQL, and under a flood of scrapes.

Run it with `python -m benchmarks.catalog [--json FILE]`. It exits with 1 when pages come at less than 0.7 times the
rate they come at without: over the link, that of as many statements a second as its connections can carry; under the
flood of 100 connections that ask for /metrics without a token, that without the flood.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.database import Filled, filled
from benchmarks.load import Load, call
from benchmarks.system import write_json
from benchmarks.throughput import serving
from presenter.cache.pool import Address, Pool
from presenter.config import PAGE_CONNECTIONS
from tests.link import distant

OBJECTS = 20_000
ROUND_TRIP = 0.15
CALLERS = (16, 64)
FLOOD = 100
SECONDS = 8.0
BAR = 0.7


@dataclass(frozen=True)
class Rate:
    """Pages of 50 a second at so many connections, and what they would be without what hinders them."""

    hindrance: str
    callers: int
    pages: float
    without: float
    p95_ms: float

    @property
    def ratio(self) -> float:
        """The one to the other."""
        return round(self.pages / self.without, 2)

    def __str__(self) -> str:
        return (
            f"{self.hindrance}, {self.callers} callers: {self.pages:,.1f} pages/s (95 % within {self.p95_ms:,} ms), "
            f"without {self.without:,.1f}: {self.ratio}"
        )


async def over_the_link(population: Filled) -> list[Rate]:
    """All that the service reads comes over the link."""
    found = []
    async with _far_away(population.address) as address:
        without = await _statements(address)
        async with serving(address, 1) as service:
            await service.load(16, 3, limit=50)
            for callers in CALLERS:
                answered = await service.load(callers, SECONDS, limit=50)
                found.append(Rate("150 ms away", callers, answered.per_second, without, answered.milliseconds(0.95)))
    return found


async def _statements(address: Address) -> float:
    """Statements a second on as many connections as pages are read on."""
    until = time.perf_counter() + SECONDS
    count = 0

    async def ask(pool: Pool) -> None:
        nonlocal count
        while time.perf_counter() < until:
            async with pool.connection() as connection:
                await connection.fetchval("SELECT 1")
            count += 1

    async with Pool.opened(address, size=PAGE_CONNECTIONS) as pool:
        await asyncio.gather(*(ask(pool) for _ in range(CALLERS[0])))
    return count / SECONDS


async def under_a_flood(population: Filled) -> list[Rate]:
    """Pages with and without the flood, in turn."""
    found = []
    async with serving(population.address, 1) as service:
        await service.load(8, 1, limit=50, raw="true")
        for callers in CALLERS:
            without = await service.load(callers, SECONDS, limit=50, raw="true")
            flood = asyncio.create_task(call(Load(service.port, "/metrics", "", FLOOD, SECONDS + 4)))
            await asyncio.sleep(2)  # until its process has started
            answered = await service.load(callers, SECONDS, limit=50, raw="true")
            scrapes = await flood
            found.append(
                Rate(
                    f"{FLOOD} connections on /metrics ({scrapes.per_second:,.0f}/s)",
                    callers,
                    answered.per_second,
                    without.per_second,
                    answered.milliseconds(0.95),
                )
            )
    return found


@asynccontextmanager
async def _far_away(address: Address) -> AsyncIterator[Address]:
    """The database at the other end of a link, which is a process of its own."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_link, args=(theirs, address), daemon=True)
    process.start()
    try:
        yield await asyncio.to_thread(ours.recv)
    finally:
        process.terminate()
        process.join()


def _link(pipe: Connection, address: Address) -> None:
    async def run() -> None:
        async with distant(address, ROUND_TRIP) as far:
            pipe.send(far)
            await asyncio.get_running_loop().create_future()

    asyncio.run(run())


async def measure(objects: int) -> list[Rate]:
    """Everything."""
    with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as directory:
        async with filled(objects, Path(directory)) as population:
            return [*await over_the_link(population), *await under_a_flood(population)]


def main() -> int:
    """Measure, print, and write the figures as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--objects", type=int, default=OBJECTS, help=f"default: {OBJECTS}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    arguments = parser.parse_args()
    found = asyncio.run(measure(arguments.objects))
    print(*found, sep="\n")
    write_json(arguments.json, [asdict(rate) | {"ratio": rate.ratio} for rate in found])
    return int(any(rate.ratio < BAR for rate in found))


if __name__ == "__main__":
    sys.exit(main())
