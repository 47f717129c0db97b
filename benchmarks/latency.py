"""How long it takes from a change in the cluster until it is served.

Single changes, one after the other: from the start of the PATCH to the end of the first answer that has its outcome.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.system import PATIENCE, Running, running, write_json
from tests.e2e.system import token

GROUP, VERSION, RESOURCE = "widgets.templates.krateo.io", "v1beta1", "panels"


@dataclass(frozen=True)
class Figures:
    """Milliseconds from change to visible; `milliseconds_of_answer` is the share of one answer in it."""

    objects: int
    changes: int
    p50: float
    p95: float
    slowest: float
    milliseconds_of_answer: float


async def measure(objects: int, changes: int) -> Figures:
    """Change one object after the other, so many times."""
    async with running(objects) as system:
        await system.until_ready()
        panels = await _page(system, limit=100)
        answers: list[float] = []
        waits = [await _change(system, panels[number % len(panels)], number, answers) for number in range(changes)]
        milliseconds = [1000 * wait for wait in waits]
        return Figures(
            objects=objects,
            changes=changes,
            p50=round(statistics.median(milliseconds), 1),
            p95=round(statistics.quantiles(milliseconds, n=20, method="inclusive")[-1], 1),
            slowest=round(max(milliseconds), 1),
            milliseconds_of_answer=round(1000 * statistics.median(answers), 1),
        )


async def _change(system: Running, panel: dict[str, Any], number: int, answers: list[float]) -> float:
    """Label a panel and wait until it is found by the label; returns how long that took."""
    path = f"/apis/{GROUP}/{VERSION}/namespaces/{panel['namespace']}/{RESOURCE}/{panel['name']}"
    patch = {"metadata": {"labels": {"benchmark": str(number)}}}
    headers = {"Content-Type": "application/merge-patch+json"}
    started = time.monotonic()
    async with system.session.patch(system.cluster + path, json=patch, headers=headers) as response:
        response.raise_for_status()
    async with asyncio.timeout(PATIENCE):
        while True:
            asked = time.monotonic()
            found = await _page(system, labels=f'{{"benchmark":"{number}"}}')
            answers.append(time.monotonic() - asked)
            if found:
                return time.monotonic() - started


async def _page(system: Running, **query: str | int) -> list[dict[str, Any]]:
    parameters = {"group": GROUP, "resource": RESOURCE, "namespace": "*", **query}
    headers = {"Authorization": f"Bearer {token('benchmark')}"}
    async with system.session.get(f"{system.service}/resources", params=parameters, headers=headers) as response:
        response.raise_for_status()
        items: list[dict[str, Any]] = (await response.json())["items"]
        return items


def main() -> None:
    """Measure, and print one line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("--objects", type=int, default=5_000, help="in the cluster; default: 5000")
    parser.add_argument("--changes", type=int, default=300, help="to make and to wait for; default: 300")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file, too")
    arguments = parser.parse_args()
    figures = asyncio.run(measure(arguments.objects, arguments.changes))
    print(
        f"{figures.changes} changes among {figures.objects:,} objects: visible after {figures.p50} ms (median), "
        f"{figures.p95} ms (95 %), {figures.slowest} ms (slowest); one answer takes {figures.milliseconds_of_answer} ms"
    )
    write_json(arguments.json, asdict(figures))


if __name__ == "__main__":
    main()
