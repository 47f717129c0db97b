"""Memory of the presenter's process while it reads a cluster for the first time, and how fast it does.

The peak must not grow with the number of objects. On a shared machine trust the ratio of peaks more than the times.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.system import running, write_json

_STORED = "SELECT count(*) AS objects, sum(octet_length(raw::text)) AS bytes FROM resources"


@dataclass(frozen=True)
class Figures:
    """One run. Memory is that of the one process, resident, in MiB."""

    objects: int
    mean_object_bytes: int
    first_list_seconds: float
    objects_per_second: int
    memory_at_start: float
    memory_peak: float
    memory_after: float


async def measure(objects: int, command: str = "run") -> Figures:
    """Load so many objects once, with `run` or with `watch`."""
    async with running(objects, command=command) as system:
        sampled = [system.resident()]
        await system.until_ready(lambda: sampled.append(system.resident()))
        seconds = time.monotonic() - system.listening
        async with system.pool.connection() as connection:
            stored = await connection.fetchrow(_STORED)
        assert stored is not None
        if stored["objects"] < objects:
            raise RuntimeError(f"{stored['objects']} of {objects} objects arrived")
        return Figures(
            objects=stored["objects"],
            mean_object_bytes=stored["bytes"] // stored["objects"],
            first_list_seconds=round(seconds, 1),
            objects_per_second=round(stored["objects"] / seconds),
            memory_at_start=sampled[0],
            memory_peak=max(*sampled, peak(system.process.pid)),
            memory_after=system.resident(),
        )


def peak(pid: int) -> float:
    """The most that a process ever had, in MiB: Linux sees it itself, and misses nothing between two samples."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return 0.0
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return round(int(line.split()[1]) / 1024, 1)


def table(runs: list[Figures]) -> str:
    """The figures for people."""
    lines = ["objects   bytes each   first list   objects/s   MiB at start   MiB at peak   MiB after"]
    lines += [
        f"{run.objects:7,}   {run.mean_object_bytes:10,}   {run.first_list_seconds:8.1f} s   "
        f"{run.objects_per_second:9,}   {run.memory_at_start:12.1f}   {run.memory_peak:11.1f}   {run.memory_after:9.1f}"
        for run in runs
    ]
    least, most = min(runs, key=lambda run: run.objects), max(runs, key=lambda run: run.objects)
    if most.objects > least.objects:
        lines.append(
            f"{most.objects / least.objects:.1f} times the objects take "
            f"{most.memory_peak / least.memory_peak:.2f} times the memory."
        )
    return "\n".join(lines)


def main() -> None:
    """Measure each of the given numbers of objects and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("objects", nargs="*", type=int, default=[20_000, 100_000], help="default: 20000 100000")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file, too")
    arguments = parser.parse_args()
    runs = [asyncio.run(measure(objects)) for objects in arguments.objects]
    print(table(runs))
    write_json(arguments.json, [asdict(run) for run in runs])


if __name__ == "__main__":
    main()
