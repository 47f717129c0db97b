"""What pages cost, how many can be served, how fast changes arrive, and how much memory it takes; beside PostgreSQL.

Take the ratios and counts on a machine that others use, not the milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import against_base, costs, first_list, latency, memory, quiet, streams, throughput
from benchmarks.costs import NEIGHBOURS, Cost
from benchmarks.database import Filled, filled
from benchmarks.shapes import DEEP
from benchmarks.system import write_json
from benchmarks.throughput import serving
from presenter import logs

SECTIONS = ("pages", "throughput", "gzip", "first-list", "changes", "streams", "memory")
SECONDS = 5.0
CLUSTER_OBJECTS = 20_000
"""At most so many for what needs a cluster, which is held in memory."""
RATES = (100, 1_000)
CHANGING_SECONDS, READERS, PAGES_A_SECOND = 15, 4, 100
QUIET_CHANGES = 300
WORST = 15

Figures = dict[str, Any]


async def run(arguments: argparse.Namespace) -> Figures:
    """All sections that are asked for: their figures by the sections' names, and those that have a bar as `bars`."""
    bars: Figures = {"objects": arguments.objects}
    figures: Figures = {"bars": bars, "cores": os.cpu_count(), "load_before": os.getloadavg()[0]}
    async with _filled(arguments) as population:
        if "pages" in arguments.only:
            figures["pages"] = await pages(population, bars, everything=arguments.all)
        if "throughput" in arguments.only:
            figures["throughput"] = await pages_a_second(population, bars)
        if "gzip" in arguments.only:
            figures["gzip"] = await pages_beside_the_base(population, arguments, bars)
        if "memory" in arguments.only:
            await memory_of_serving(population, bars)
        if "streams" in arguments.only:
            figures["streams"] = await streams_of_changes(population, bars)
    objects = min(arguments.objects, CLUSTER_OBJECTS)
    if "first-list" in arguments.only:
        stored = await first_list.measure(min(arguments.objects, 100_000))
        bars["list_vs_copy"] = round(stored.writer / stored.copy, 2)
        print(f"first list: {stored.writer:,.0f} objects/s by the writer, {stored.copy:,.0f} by COPY")
        figures["first-list"] = asdict(stored)
    if "changes" in arguments.only:
        sustained = [await latency.sustain(objects, rate, CHANGING_SECONDS, READERS, PAGES_A_SECOND) for rate in RATES]
        print(*sustained, sep="\n")
        bars["visible_p95_ms"] = sustained[-1].p95
        figures["changes"] = [asdict(each) for each in sustained]
        figures["quiet"] = await single_changes(objects, bars)
    if "memory" in arguments.only:
        watched = [await memory.measure(count, "watch") for count in (objects // 4, objects)]
        print(memory.table(watched))
        bars["watch_mb"] = watched[-1].memory_peak
        figures["memory"] = [asdict(each) for each in watched]
    return figures


@asynccontextmanager
async def _filled(arguments: argparse.Namespace) -> AsyncIterator[Filled]:
    with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as directory:
        async with filled(arguments.objects, arguments.data_dir or Path(directory)) as population:
            yield population


async def pages(population: Filled, bars: Figures, *, everything: bool) -> list[Figures]:
    """What each shape costs in PostgreSQL."""
    found = await costs.measure(
        population.pool, population.population, lambda shape: everything or shape.is_plain_but_for_two
    )
    of_50 = [cost for cost in found if cost.size == "50 raw"]
    bars["worst_shape_p95_ms"] = max(cost.p95_ms for cost in of_50)
    bars["deep_vs_first"] = _deep_vs_first(found)
    print(
        f"\n{len(found)} pages in PostgreSQL; those of 50 whole objects that took the longest, and looked at the most:"
    )
    print(_COST_HEADER)
    worst = {*sorted(of_50, key=_p95)[-WORST:], *sorted(of_50, key=lambda cost: cost.buffers)[-WORST:]}
    for cost in sorted(worst, key=_p95, reverse=True):
        print(_line(cost))
    ordered = sorted(cost.p95_ms for cost in of_50)
    print(f"half of them take {ordered[len(ordered) // 2]} ms, 95 % {ordered[len(ordered) * 95 // 100]} ms at most")
    print(f"{sum(cost.sequential for cost in found)} sequential scans")
    return [asdict(cost) for cost in found]


_COST_HEADER = "  p50 ms   p95 ms  buffers  visited   sorted  page"


def _line(cost: Cost) -> str:
    what = ", ".join((cost.order, cost.filter, cost.scope, cost.types))
    return (
        f"{cost.p50_ms:8.2f} {cost.p95_ms:8.2f} {cost.buffers:8,} {cost.visited:8,} {cost.sorted:8,}  "
        f"{cost.page:4}  {what}"
    )


def _p95(cost: Cost) -> float:
    return cost.p95_ms


def _deep_vs_first(found: Sequence[Cost]) -> float:
    """The worst of what pages from DEEP on take, relative to the first ones of the same shapes."""
    pairs = [(first, deep) for first, deep in itertools.pairwise(found) if first.page == 1 != deep.page]
    deepest = [(first, deep) for first, deep in pairs if deep.vs_first is not None]
    times = [deep.vs_first for _, deep in deepest if deep.vs_first is not None]
    for what, chosen in (
        (f"pages {DEEP}", deepest),
        ("last pages before that", [p for p in pairs if p not in deepest]),
    ):
        buffers = [deep.buffers / first.buffers for first, deep in chosen]
        print(f"{_spread(buffers)} {what} look at no more than 1.1 times as much as the first ones")
    print(
        f"{_spread(times)} times {NEIGHBOURS} pages from {DEEP} on take no longer than 1.1 times as long as from 1 on"
    )
    return max(times, default=1.0)


def _spread(ratios: Sequence[float]) -> str:
    worst = f" (the worst: {max(ratios):.2f})" if ratios else ""
    return f"{sum(ratio <= 1.1 for ratio in ratios)} of {len(ratios)}{worst}"


async def pages_a_second(population: Filled, bars: Figures) -> list[Figures]:
    """Over HTTP, with as many processes as there are cores."""
    async with serving(population.address, os.cpu_count() or 1) as service:
        await service.load(8, 1, limit=50, raw="true")
        found = await throughput.rates(population, service, SECONDS)
        bars.update(await throughput.latencies(service, SECONDS))
    print(
        "\npages of whole objects a second\n"
        "  size  connections     HTTP  pgbench  ratio  p50 ms  p95 ms  server's µs  caller's core"
    )
    for rate in found:
        print(
            f"{rate.page:6} {rate.connections:12} {rate.http:8,.0f} {rate.pgbench:8,.0f} {rate.ratio:6.2f} "
            f"{rate.p50_ms:7.1f} {rate.p95_ms:7.1f} {rate.server_us:12,} {rate.caller:14.0%}"
        )
    for limit in throughput.SIZES:
        bars[f"http{limit}_vs_pgbench"] = next(
            rate.ratio for rate in found if rate.page == limit and rate.connections == 8
        )
    return [asdict(rate) for rate in found]


async def pages_beside_the_base(population: Filled, arguments: argparse.Namespace, bars: Figures) -> list[Figures]:
    """Compressed and as they are, beside what an earlier commit makes of the same objects."""
    print(f"\npages of whole objects beside those of {against_base.BASE}\n{against_base.HEADER}")
    with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as directory:
        return await against_base.measure(population, arguments.data_dir or Path(directory), bars)


async def single_changes(objects: int, bars: Figures) -> list[Figures]:
    """One at a time, beside an earlier commit; in one process, and in one that watches beside one that serves."""
    print(f"\nmilliseconds from a change in a quiet cluster until it is visible\n{quiet.HEADER}")
    found = []
    for name, (base, this) in zip(("run", "apart"), await quiet.measure(objects, QUIET_CHANGES), strict=True):
        for percentile in ("p50", "p95"):
            bars[f"quiet_{name}_{percentile}_ms"] = this.figures()[percentile]
            bars[f"quiet_{name}_{percentile}_vs_base"] = round(
                this.figures()[percentile] / base.figures()[percentile], 2
            )
        found += [{"name": side.name, **side.figures()} for side in (base, this)]
    return found


async def memory_of_serving(population: Filled, bars: Figures) -> None:
    """Of one process, at its peak: with pages of 50, and with pages of 5,000, one at a time."""
    async with serving(population.address, 1) as service:
        await service.load(8, SECONDS, limit=50, raw="true")
        bars["serve_mb"] = memory.peak(service.process.pid)
        compressed = await service.load(1, SECONDS, encoding="gzip", limit=5000, raw="true")
        bars["page5000_gzip_extra_mb"] = round(memory.peak(service.process.pid) - bars["serve_mb"], 1)
        large = await service.load(1, SECONDS, limit=5000, raw="true")
        bars["page5000_extra_mb"] = round(memory.peak(service.process.pid) - bars["serve_mb"], 1)
    print(f"\nserving takes {bars['serve_mb']} MiB; and with a page of 5,000")
    for name, page in (("page5000_extra_mb", large), ("page5000_gzip_extra_mb", compressed)):
        size, milliseconds = page.body_bytes / 2**20, page.milliseconds(0.5)
        print(f"  {bars[name]:4.1f} MiB more, of {size:.1f} MiB in {milliseconds:.0f} ms")


async def streams_of_changes(population: Filled, bars: Figures) -> Figures:
    """A thousand of them: how long a change takes to be told, and what pages lose."""
    found = await streams.measure(population, streams.STREAMS, streams.RATE, SECONDS)
    print(f"\n{streams.table(found)}")
    bars |= {"told_p95_ms": found.p95_ms, "stream_kib": found.kib_a_stream, "page_beside_streams": found.slower}
    return asdict(found)


def main() -> None:
    """Measure, print, and write the figures as JSON if asked to."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--objects", type=int, default=100_000, help="default: 100000")
    parser.add_argument("--only", type=_sections, default=SECTIONS, metavar="A,B", help=f"of {','.join(SECTIONS)}")
    parser.add_argument("--all", action="store_true", help="every shape of page, which takes long")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="where the filled database is kept for next time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file, too")
    arguments = parser.parse_args()
    if "throughput" in arguments.only and arguments.objects < throughput.LEAST_OBJECTS:
        parser.error(f"--objects is {arguments.objects}: throughput takes {throughput.LEAST_OBJECTS} at least")
    logs.configure(debug=False, quiet=True)
    figures = asyncio.run(run(arguments))
    print("\nbars:", *(f"  {name:<22}{value:>12,}" for name, value in figures["bars"].items()), sep="\n")
    write_json(arguments.json, figures)


def _sections(text: str) -> Sequence[str]:
    chosen = text.split(",")
    if unknown := set(chosen) - set(SECTIONS):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: allowed are {', '.join(SECTIONS)}")
    return chosen


if __name__ == "__main__":
    main()
