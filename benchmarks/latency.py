"""How long it takes from a change until it is served, while so many are made a second and readers ask for pages.

A change counts from the moment when it was due, whether or not it was made in time, to the end of the first answer that
has it. (`quiet` measures single changes.)
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import multiprocessing
import os
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import cache, partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.system import PATIENCE, Running, running, write_json
from presenter.sandbox import Cluster, Sandbox, fill
from presenter.sandbox.cluster import Write
from presenter.sandbox.objects import Entry
from tests.e2e.system import token

GROUP, VERSION, RESOURCE = "widgets.templates.krateo.io", "v1beta1", "panels"
CHANGED_TYPES = (f"{RESOURCE}.{GROUP}", f"buttons.{GROUP}", f"datagrids.{GROUP}", "pods", "deployments.apps")
SAMPLES_A_SECOND = 20
MARKERS = 20
"""Objects by which the sampled changes are followed: each has the number of its last sample in its status."""
LOOK_SECONDS = 0.01


@dataclass(frozen=True)
class Sustained:
    """Milliseconds from due to visible, of `samples` of the changes. Memory is that of the service, resident, in MiB.

    Percents are of one core. `load_before` is the machine's load average (1 minute) before the changes began: what
    others do on it shows in all figures. `most_late` says by how many milliseconds the cluster fell behind the rate:
    that is part of the other figures, too.
    """

    objects: int
    rate: float
    seconds: float
    changes: int
    most_late: float
    samples: int
    p50: float
    p95: float
    p99: float
    slowest: float
    readers: int
    pages_a_second: float
    raw_pages_a_second: float
    milliseconds_of_page: float
    milliseconds_of_raw_page: float
    service_cpu_percent: float
    postgres_cpu_percent: float
    load_before: float
    memory_at_start: float
    memory_peak: float
    memory_at_end: float

    def __str__(self) -> str:
        return (
            f"{self.changes:,} changes in {self.seconds} s among {self.objects:,} objects, {self.rate:,}/s, "
            f"at most {self.most_late} ms late\n"
            f"visible after {self.p50} ms (median), {self.p95} ms (95 %), {self.p99} ms (99 %), "
            f"{self.slowest} ms (slowest of {self.samples:,} samples)\n"
            f"{self.readers} readers: {self.pages_a_second}/s pages of 50 in {self.milliseconds_of_page} ms (median), "
            f"{self.raw_pages_a_second}/s with the objects whole in {self.milliseconds_of_raw_page} ms\n"
            f"the service: {self.memory_at_start} MiB at the start, {self.memory_peak} at the peak, "
            f"{self.memory_at_end} at the end; {self.service_cpu_percent} % of a core, PostgreSQL "
            f"{self.postgres_cpu_percent} %; the machine had a load of {self.load_before} on {os.cpu_count()} before"
        )


@dataclass(frozen=True)
class Schedule:
    """When which change is due, by the clock that all processes share."""

    start: float
    rate: int
    changes: int

    @property
    def every(self) -> int:
        """One in so many changes is a sample."""
        return max(1, self.rate // SAMPLES_A_SECOND)

    @property
    def samples(self) -> int:
        """How many there are."""
        return len(range(0, self.changes, self.every))

    def due(self, change: int) -> float:
        """When the change is."""
        return self.start + change / self.rate


async def sustain(objects: int, rate: int, seconds: int, readers: int, pages_a_second: float) -> Sustained:
    """Make so many changes a second for so many seconds, beside readers of whom every other wants whole objects.

    Together they ask for so many pages a second; 0: for as many as they get, which leaves nothing of the machine.
    """
    every = readers / pages_a_second if pages_a_second else 0.0
    orders, cluster_end = multiprocessing.get_context("spawn").Pipe()
    async with running(objects, partial(_changing_cluster, orders, cluster_end)) as system:
        await system.until_ready()
        pages: dict[bool, list[float]] = {False: [], True: []}
        sizes, used, load = [system.resident()], system.cpu_seconds(), os.getloadavg()[0]
        schedule = Schedule(time.monotonic() + 0.5, rate, rate * seconds)
        orders.send(schedule)
        async with asyncio.timeout(seconds + PATIENCE), asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(_read(system, pages, every, raw=number % 2 == 1)) for number in range(readers)]
            beside.append(tasks.create_task(_weigh(system, sizes)))
            waits = await _visible(system, schedule)
            ended, most_late = await asyncio.to_thread(orders.recv)
            for task in beside:
                task.cancel()
        elapsed = time.monotonic() - schedule.start
        service, postgres = (100 * (now - then) / elapsed for now, then in zip(system.cpu_seconds(), used, strict=True))
        return Sustained(
            objects=objects,
            rate=round(schedule.changes / (ended - schedule.start), 1),
            seconds=round(ended - schedule.start, 1),
            changes=schedule.changes,
            most_late=round(1000 * most_late, 1),
            samples=len(waits),
            p50=_milliseconds(waits, 50),
            p95=_milliseconds(waits, 95),
            p99=_milliseconds(waits, 99),
            slowest=_milliseconds(waits, 100),
            readers=readers,
            pages_a_second=round(len(pages[False]) / elapsed, 1),
            raw_pages_a_second=round(len(pages[True]) / elapsed, 1),
            milliseconds_of_page=_milliseconds(pages[False], 50),
            milliseconds_of_raw_page=_milliseconds(pages[True], 50),
            service_cpu_percent=round(service),
            postgres_cpu_percent=round(postgres),
            load_before=round(load, 1),
            memory_at_start=sizes[0],
            memory_peak=max(sizes),
            memory_at_end=system.resident(),
        )


async def _visible(system: Running, schedule: Schedule) -> list[float]:
    """Seconds from due to visible, for each sample, in the order in which they are seen."""
    waits: list[float] = []
    next_samples = list(range(MARKERS))
    while len(waits) < schedule.samples:
        markers = await _page(system, labels='{"benchmark":"marker"}', status_raw="true")
        now = time.monotonic()
        for marker in markers:
            sample = marker["status_raw"]["sample"]
            for seen in range(next_samples[sample % MARKERS], sample + 1, MARKERS):  # the newest shows the others, too
                waits.append(now - schedule.due(seen * schedule.every))
                next_samples[sample % MARKERS] = seen + MARKERS
        await asyncio.sleep(LOOK_SECONDS)
    return waits


async def _read(system: Running, pages: dict[bool, list[float]], every: float, *, raw: bool) -> None:
    """Walk through all panels, newest first, again and again, a page `every` so many seconds; note how long it took."""
    query = {"group": GROUP, "resource": RESOURCE, "namespace": "*", "limit": "50", "raw": str(raw).lower()}
    cursor: str | None = None
    due = time.monotonic()
    while True:
        due = max(due + every, time.monotonic())
        await asyncio.sleep(due - time.monotonic())
        asked = time.monotonic()
        parameters = query if cursor is None else {**query, "cursor": cursor}
        async with system.session.get(f"{system.service}/resources", params=parameters, headers=_login()) as response:
            response.raise_for_status()
            cursor = msgspec.json.decode(await response.read(), type=_Cursor).cursor
        pages[raw].append(time.monotonic() - asked)


class _Cursor(msgspec.Struct):
    cursor: str | None = None


async def _weigh(system: Running, sizes: list[float]) -> None:
    while True:
        sizes.append(system.resident())
        await asyncio.sleep(0.05)


# -- the cluster that changes by itself, a process of its own --------------------------------------------------------


@asynccontextmanager
async def _changing_cluster(orders: Connection, its_end: Connection, home: Path, objects: int) -> AsyncIterator[str]:
    """Once it has the Schedule it keeps to it, and then says when it was done and how late it was at the worst."""
    arguments = (objects, home / "kubeconfig", its_end)
    process = multiprocessing.get_context("spawn").Process(target=_be_the_cluster, args=arguments)
    process.start()
    try:
        yield await asyncio.to_thread(orders.recv)
    finally:
        process.kill()
        process.join()


def _be_the_cluster(objects: int, kubeconfig: Path, orders: Connection) -> None:
    asyncio.run(_serve(objects, kubeconfig, orders))


async def _serve(objects: int, kubeconfig: Path, orders: Connection) -> None:
    cluster = Cluster()
    fill(cluster, objects)
    for number in range(MARKERS):
        cluster.create(_marker(number))
    async with Sandbox(cluster=cluster) as sandbox:
        sandbox.write_kubeconfig(kubeconfig)
        orders.send(sandbox.url)
        schedule: Schedule = await asyncio.to_thread(orders.recv)
        most_late = await _keep(schedule, cluster)
        orders.send((time.monotonic(), most_late))
        await asyncio.Event().wait()


def _marker(number: int) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "Panel",
        "metadata": {"name": f"marker-{number}", "namespace": "default", "labels": {"benchmark": "marker"}},
        "spec": {"widgetData": {"title": "marker"}},
        "status": {"sample": number - MARKERS},
    }


async def _keep(schedule: Schedule, cluster: Cluster) -> float:
    """Make each change when it is due, or as soon after as possible; returns the seconds of the greatest delay."""
    targets = [(name, entry.name, entry.namespace) for name in CHANGED_TYPES for entry in _entries(cluster, name)]
    random.Random(0).shuffle(targets)
    others = itertools.cycle(targets)
    most_late = 0.0
    for change in range(schedule.changes):
        late = time.monotonic() - schedule.due(change)
        most_late = max(most_late, late)
        # Once in a while even when late: what was changed has to be sent.
        if late < 0 or change % 10 == 0:
            await asyncio.sleep(max(0, -late))
        sample, is_other = divmod(change, schedule.every)
        target = next(others) if is_other else (CHANGED_TYPES[0], f"marker-{sample % MARKERS}", "default")
        cluster.change(*target, partial(_with_status, sample=sample, change=change), Write("status"))
    return most_late


def _entries(cluster: Cluster, name: str) -> Sequence[Entry]:
    entries = cluster.store(cluster.registry.named(name)).snapshot()
    return [entry for entry in entries if entry.labels.get("benchmark") != "marker"]


def _with_status(manifest: dict[str, Any], **status: int) -> dict[str, Any]:
    return {**manifest, "status": {**manifest["status"], **status}}


# -- what it takes ----------------------------------------------------------------------------------------------------


async def _page(system: Running, **query: str | int) -> list[dict[str, Any]]:
    parameters = {"group": GROUP, "resource": RESOURCE, "namespace": "*", **query}
    async with system.session.get(f"{system.service}/resources", params=parameters, headers=_login()) as response:
        response.raise_for_status()
        items: list[dict[str, Any]] = (await response.json())["items"]
        return items


@cache
def _login() -> dict[str, str]:
    return {"Authorization": f"Bearer {token('benchmark')}"}


def _milliseconds(seconds: Sequence[float], percent: int) -> float:
    """The percentile; 100 is the slowest. 0 when nothing was measured."""
    ordered = sorted(seconds)
    return round(1000 * ordered[(len(ordered) - 1) * percent // 100], 1) if ordered else 0.0


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.latency", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--objects", type=int, default=5_000, help="in the cluster; default: 5000")
    parser.add_argument("--rate", type=int, metavar="N", default=1_000, help="changes a second; default: 1000")
    parser.add_argument("--seconds", type=int, default=60, help="for how long; default: 60")
    parser.add_argument("--readers", type=int, default=4, help="that read meanwhile; default: 4")
    parser.add_argument(
        "--pages",
        type=float,
        default=100,
        metavar="N",
        help="a second, of all readers; 0: as many as they get; default: 100",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file, too")
    arguments = parser.parse_args()
    figures = asyncio.run(
        sustain(arguments.objects, arguments.rate, arguments.seconds, arguments.readers, arguments.pages)
    )
    print(figures)
    write_json(arguments.json, asdict(figures))


if __name__ == "__main__":
    main()
