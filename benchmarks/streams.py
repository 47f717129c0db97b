"""Streams of changes: how long after its commit a change is told, what a stream takes, and what pages lose by them.

The streams are spread over namespaces, so that each change is told to some of them; in turns there are none, and pages
are asked for beside the same changes.

    python -m benchmarks.streams --streams 1000 --rate 200
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import re
import resource
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from urllib.parse import urlencode

import psutil

from benchmarks.database import Filled, filled
from benchmarks.load import Answered
from benchmarks.population import CLUSTER, GROUP, TYPES
from benchmarks.system import write_json
from benchmarks.throughput import Serving, serving
from presenter import logs
from presenter.cache.writer import Writer
from presenter.resource import Event
from tests.objects import make_object

OBJECTS = 20_000
STREAMS, RATE = 1_000, 200
NAMESPACES = 50
A_TRANSACTION = 0.1
"""Seconds between two transactions of changes."""
SAMPLED = 50
"""So many streams look at what they are told: one of each namespace. The others only read it."""
_TOLD = re.compile(rb'"name":"(change-\d+)"')
_SETTLED = 3.0
KIB = 1024


@dataclass(frozen=True)
class Figures:
    """Milliseconds from commit to event; KiB that a stream takes in the service; how much longer pages take beside it.

    `cpu` is the share of a core that the service used for the streams alone, and for as many changes without any.
    """

    streams: int
    rate: float
    told: int
    p50_ms: float
    p95_ms: float
    slowest_ms: float
    kib_a_stream: float
    cpu: float
    page_p50_ms: float
    page_p50_ms_alone: float

    @property
    def slower(self) -> float:
        """How much longer a page takes: 1 is as long."""
        return round(self.page_p50_ms / self.page_p50_ms_alone, 2)


async def measure(population: Filled, streams: int, rate: int, seconds: float, turns: int = 2) -> Figures:
    """All of it, with one process that serves."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * streams)), hard))
    variables = {"MAX_STREAMS": str(streams), "MAX_CONNECTIONS": str(streams + 256)}
    alone: list[Answered] = []
    beside: list[Answered] = []
    waits: list[float] = []
    taken = used = 0.0
    changes = Changes(population)
    await changes.begin()
    async with serving(population.address, 1, **variables) as service:
        await service.load(2, 2, limit=50, raw="true")
        for _ in range(turns):
            writing = asyncio.create_task(changes.write(rate, seconds))
            alone.append(await service.load(1, seconds, limit=50, raw="true"))
            await writing
            before = _resident(service)
            followers = Followers(service, streams)
            await followers.begin()
            await asyncio.sleep(_SETTLED)
            taken = max(taken, (_resident(service) - before) / streams)
            changes.committed.clear()
            cpu = service.cpu_seconds()
            await changes.write(rate, seconds)
            used = (service.cpu_seconds() - cpu) / seconds
            writing = asyncio.create_task(changes.write(rate, seconds))
            beside.append(await service.load(1, seconds, limit=50, raw="true"))
            await writing
            await asyncio.sleep(1)
            arrived = await followers.end()
            waits += [at - changes.committed[name] for name, at in arrived.items() if name in changes.committed]
    waits.sort()
    return Figures(
        streams=streams,
        rate=rate,
        told=len(waits),
        p50_ms=_milliseconds(waits, 0.5),
        p95_ms=_milliseconds(waits, 0.95),
        slowest_ms=_milliseconds(waits, 1),
        kib_a_stream=round(taken / KIB, 1),
        cpu=round(used, 2),
        page_p50_ms=round(median(each.milliseconds(0.5) for each in beside), 2),
        page_p50_ms_alone=round(median(each.milliseconds(0.5) for each in alone), 2),
    )


def _milliseconds(ordered: list[float], share: float) -> float:
    return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)


def _resident(service: Serving) -> int:
    first = psutil.Process(service.process.pid)
    return sum(process.memory_info().rss for process in (first, *first.children(recursive=True)))


class Changes:
    """What is written: new objects, one after the other over all namespaces; `committed` says when each was."""

    def __init__(self, population: Filled) -> None:
        self._writer = Writer(population.pool, CLUSTER)
        self._number = 0
        self.committed: dict[str, float] = {}

    async def begin(self) -> None:
        """Be the one who writes."""
        await self._writer.open_cluster(CLUSTER, ["*.*"])
        [self._watch] = await self._writer.declare(TYPES[0])

    async def write(self, rate: int, seconds: float) -> None:
        """So many a second, in transactions, for so long."""
        started = time.monotonic()
        done = 0
        while (elapsed := time.monotonic() - started) < seconds:
            due = int(rate * elapsed) - done
            if due:
                await self._transaction(due)
                done += due
            await asyncio.sleep(A_TRANSACTION)

    async def _transaction(self, count: int) -> None:
        numbers = range(self._number, self._number + count)
        self._number += count
        kind = TYPES[0].kind
        objects = [
            make_object(f"change-{n}", f"stream-{n % NAMESPACES}", kind=kind, group=GROUP, resource_version=2**40 + n)
            for n in numbers
        ]
        await self._writer.apply(self._watch, [Event("upsert", each) for each in objects], str(2**40 + self._number))
        now = time.monotonic()
        self.committed |= {each.name: now for each in objects}


class Followers:
    """Streams, in a process of their own."""

    def __init__(self, service: Serving, streams: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._orders, theirs = context.Pipe()
        self._process = context.Process(target=_follow, args=(theirs, service.port, service.token, streams))

    async def begin(self) -> None:
        """Open them all."""
        self._process.start()
        await asyncio.to_thread(self._orders.recv)

    async def end(self) -> Mapping[str, float]:
        """Hang up. Returns when each change had been told to all who look."""
        self._orders.send(None)
        arrived: Mapping[str, float] = await asyncio.to_thread(self._orders.recv)
        await asyncio.to_thread(self._process.join)
        return arrived


def _follow(orders: Connection, port: int, token: str, streams: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * streams)), hard))
    asyncio.run(_follow_together(orders, port, token, streams))


async def _follow_together(orders: Connection, port: int, token: str, streams: int) -> None:
    arrived: dict[str, float] = {}
    opened = [_Follower(arrived if number < SAMPLED else None) for number in range(streams)]
    loop = asyncio.get_running_loop()
    for number, follower in enumerate(opened):
        query = urlencode({"group": GROUP, "resource": TYPES[0].resource, "namespace": f"stream-{number % NAMESPACES}"})
        await loop.create_connection(lambda follower=follower: follower, "127.0.0.1", port)  # type: ignore[misc]
        head = f"GET /changes?{query} HTTP/1.1\r\nHost: benchmark\r\nAuthorization: Bearer {token}\r\n\r\n"
        follower.transport.write(head.encode())
        await follower.begun.wait()
    orders.send(None)
    await asyncio.to_thread(orders.recv)
    lost = sum(follower.is_lost for follower in opened)
    assert not lost, f"{lost} streams have ended"
    for follower in opened:
        follower.transport.abort()
    orders.send(arrived)


class _Follower(asyncio.Protocol):
    """One stream; it notes when it was told of what, or does not look."""

    def __init__(self, arrived: dict[str, float] | None) -> None:
        self.begun = asyncio.Event()
        self.is_lost = False
        self._arrived = arrived

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """asyncio's."""
        if self._arrived is not None:
            now = time.monotonic()
            for name in _TOLD.findall(data):
                self._arrived[name.decode()] = now
        if not self.begun.is_set():
            assert data.startswith(b"HTTP/1.1 200"), data
            self.begun.set()

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio's."""
        self.is_lost = True


def table(figures: Figures) -> str:
    """The figures for people."""
    return (
        f"{figures.streams:,} streams, {figures.rate:g} changes a second, each told to "
        f"{figures.streams // NAMESPACES}: p50 {figures.p50_ms} ms, p95 {figures.p95_ms} ms, at most "
        f"{figures.slowest_ms} ms from commit to event ({figures.told:,} looked at)\n"
        f"  {figures.kib_a_stream} KiB a stream; {figures.cpu:.0%} of a core; a page of 50 takes "
        f"{figures.page_p50_ms} ms beside them and {figures.page_p50_ms_alone} ms without ({figures.slower} times)"
    )


async def _main(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as directory:
        async with filled(OBJECTS, arguments.data_dir or Path(directory)) as population:
            figures = await measure(population, arguments.streams, arguments.rate, arguments.seconds)
    print(table(figures))
    write_json(arguments.json, asdict(figures))


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=STREAMS)
    parser.add_argument("--rate", type=int, default=RATE, help="changes a second")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="where the filled database is kept for next time")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    logs.configure(debug=False, quiet=True)
    asyncio.run(_main(arguments))


if __name__ == "__main__":
    main()
