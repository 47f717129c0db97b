"""Pages of whole objects, however they are answered, beside an earlier commit that serves the same objects.

Both run at once, each on a PostgreSQL of its own, and are asked in turns. What counts is the processor time of service
and PostgreSQL for each request, which a busy machine changes least.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.database import Filled, started
from benchmarks.throughput import Serving, serving
from presenter.cache.pool import Pool

BASE = "a3d0417"
"""Which compresses nothing."""
TURNS, SECONDS = 5, 2.0
_CHECKOUT = Path(__file__).parents[1]
_MAIN = "from presenter.cli import main\n"
"""Where the base's command is, in the place where this version's is."""
_FILL = """
import asyncio, sys
from benchmarks.database import fill
from presenter.cache import migration
from presenter.cache.pages import PLANNING
from presenter.cache.pool import Address, Pool

async def main():
    address = Address(sys.argv[1], sys.argv[2] or None)
    await migration.migrate(address)
    async with Pool.opened(address, size=4, command_timeout=3600, **PLANNING) as pool:
        await fill(pool, int(sys.argv[3]))

asyncio.run(main())
"""
_SIZE = "SELECT pg_total_relation_size('resources')"


@dataclass
class Side:
    """One that is asked: what each request took, turn by turn, in microseconds of processor time and of time."""

    service: Serving
    backends: psutil.Process
    encoding: str
    polls: bool = False
    service_us: list[float] = field(default_factory=list)
    postgres_us: list[float] = field(default_factory=list)
    microseconds: list[float] = field(default_factory=list)
    body_bytes: int = 0

    async def ask(self, limit: int, seconds: float) -> None:
        """For so long, on one connection: for the page or, if it `polls`, whether it has changed."""
        page: dict[str, Any] = {"limit": limit, "raw": "true"}
        tag = await self.service.tag(self.encoding, **page) if self.polls else ""
        before = self.service.cpu_seconds(), _used(self.backends)
        answered = await self.service.load(1, seconds, encoding=self.encoding, tag=tag, **page)
        requests = len(answered.answers)
        self.service_us.append(1e6 * (self.service.cpu_seconds() - before[0]) / requests)
        self.postgres_us.append(1e6 * (_used(self.backends) - before[1]) / requests)
        self.microseconds.append(1e3 * answered.milliseconds(0.5))
        self.body_bytes = answered.body_bytes

    @property
    def cpu_us(self) -> float:
        """Of both."""
        return statistics.median(map(sum, zip(self.service_us, self.postgres_us, strict=True)))


@dataclass(frozen=True)
class Compared:
    """Pages of one size, by sides: of the base, and of this commit."""

    limit: int
    sides: dict[str, Side]

    def vs_base(self, name: str) -> float:
        """The processor time of a side, relative to the base's."""
        return round(self.sides[name].cpu_us / self.sides["base"].cpu_us, 2)

    def figures(self) -> dict[str, Any]:
        """For a machine."""
        names = ("service_us", "postgres_us", "microseconds", "body_bytes")
        return {"limit": self.limit, **{key: {n: getattr(side, n) for n in names} for key, side in self.sides.items()}}

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"{self.limit:6} {name:9} {statistics.median(side.service_us):10,.0f} "
            f"{statistics.median(side.postgres_us):11,.0f} {self.vs_base(name):8.2f} "
            f"{statistics.median(side.microseconds) / 1000:9.2f} {side.body_bytes:12,}"
            for name, side in self.sides.items()
        ]


HEADER = "  size           service µs  postgres µs    ratio    p50 ms   body bytes"


async def measure(filled: Filled, directory: Path, bars: dict[str, Any]) -> list[dict[str, Any]]:
    """Pages of 5, 50 and 5,000, and the size of the table with its indexes.

    Of this commit pages are read, `identity` and `gzip`; answered from memory, `hot`; and asked for by who has them,
    `poll`.
    """
    found = []
    async with (
        _base(filled.population.objects, directory) as (base_pool, base),
        serving(filled.address, 1) as reading,
        serving(filled.address, 1, PAGE_CACHE_BYTES="32Mi") as keeping,
    ):
        here, there = await _postmaster(filled.pool), await _postmaster(base_pool)
        for limit in (5, 50, 5000):
            sides = {
                "base": Side(base, there, ""),
                "identity": Side(reading, here, ""),
                "gzip": Side(reading, here, "gzip"),
            }
            if limit < 5000:  # which is not kept
                sides |= {"hot": Side(keeping, here, "gzip"), "poll": Side(keeping, here, "gzip", polls=True)}
            for side in sides.values():
                await side.service.load(1, SECONDS / 2, encoding=side.encoding, limit=limit, raw="true")
            for _ in range(TURNS):
                for side in sides.values():
                    await side.ask(limit, SECONDS)
            compared = Compared(limit, sides)
            found.append(compared.figures())
            print(*compared.lines(), sep="\n")
            bars |= {f"cpu{limit}_{name}_vs_base": compared.vs_base(name) for name in sides if name != "base"}
            bars[f"bytes{limit}_gzip_vs_base"] = round(sides["gzip"].body_bytes / sides["base"].body_bytes, 2)
            times = [statistics.median(sides[name].microseconds) for name in ("gzip", "base")]
            bars[f"time{limit}_gzip_vs_base"] = round(times[0] / times[1], 2)
        bars["size_vs_base"] = round(await _size(filled.pool) / await _size(base_pool), 2)
    return found


async def _size(pool: Pool) -> int:
    async with pool.connection() as connection:
        size: int = await connection.fetchval(_SIZE)
    return size


async def _postmaster(pool: Pool) -> psutil.Process:
    async with pool.connection() as connection:
        parent = psutil.Process(await connection.fetchval("SELECT pg_backend_pid()")).parent()
    assert parent is not None
    return parent


def _used(postmaster: psutil.Process) -> float:
    times = [child.cpu_times() for child in postmaster.children()]
    return sum(time.user + time.system for time in times)


@asynccontextmanager
async def _base(objects: int, directory: Path) -> AsyncIterator[tuple[Pool, Serving]]:
    """The base, serving what it has stored itself; its code is that of git."""
    async with AsyncExitStack() as stack:
        code = await stack.enter_async_context(checked_out())
        postgres = await started(directory / f"{BASE}-{objects}")
        stack.push_async_callback(postgres.stop)
        address = postgres.address()
        variables = {"PYTHONPATH": f"{code}:{await _libraries(code, directory / f'{BASE}-libraries')}"}
        await _run(sys.executable, "-c", _FILL, address.dsn, address.user or "", f"{objects}", cwd=code, **variables)
        pool = await stack.enter_async_context(Pool.opened(address, size=1))
        service = await stack.enter_async_context(serving(address, 1, **variables))
        yield pool, service


@asynccontextmanager
async def checked_out() -> AsyncIterator[Path]:
    """The base's code, with its command where that of this version is."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as home:
        code = Path(home) / "base"
        await _run("git", "-C", f"{_CHECKOUT}", "worktree", "add", "--detach", f"{code}", BASE)
        try:
            (commands := code / "presenter" / "commands").mkdir()
            (commands / "main.py").write_text(_MAIN)
            yield code
        finally:
            await _run("git", "-C", f"{_CHECKOUT}", "worktree", "remove", "--force", f"{code}")


async def _libraries(code: Path, directory: Path) -> Path:
    """Those that the base was locked with, installed unless they are there: this version may have others, or none."""
    if not await asyncio.to_thread(directory.exists):
        await _run(
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", f"{directory}"),
            *("--requirement", f"{code / 'locks' / 'runtime.txt'}"),
        )
    return directory


async def _run(*command: str, cwd: Path | None = None, **variables: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, env=os.environ | variables, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command[:3])} … failed:\n{out.decode()}")
