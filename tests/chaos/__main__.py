"""The command line of `scripts/chaos`."""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
from collections.abc import Coroutine
from typing import Any

from tests.chaos.plan import GROUPS, chosen
from tests.chaos.run import Summary, run


def main() -> None:
    """Run for a while, and tell what there was to survive."""
    parser = argparse.ArgumentParser(prog="scripts/chaos")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--faults", default=",".join(GROUPS))
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    try:
        kinds = chosen([word for word in arguments.faults.split(",") if word])
    except ValueError as error:
        parser.error(str(error))
    sys.stdout.write(f"seed {arguments.seed}\n")
    tell = _tell if arguments.verbose else lambda _note: None
    sys.stdout.write(_written(asyncio.run(_until_told(run(arguments.seed, arguments.minutes * 60, kinds, tell)))))


async def _until_told(running: Coroutine[Any, Any, Summary]) -> Summary:
    """Run it; a signal breaks it off, and what it has started is ended."""
    task = asyncio.ensure_future(running)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


def _tell(note: str) -> None:
    sys.stdout.write(note + "\n")
    sys.stdout.flush()


def _written(summary: Summary) -> str:
    lines = [
        f"minutes         {summary.seconds / 60:g}",
        f"writes          {summary.writes}",
        f"pages read      {summary.pages} ({summary.unchanged} were unchanged), and {summary.unavailable} answers 503",
        f"events told     {summary.events}, to consumers who came again {summary.resumed} times",
        f"leader changes  {summary.leader_changes}",
        f"converged in    {summary.convergence:.1f} s",
        *(f"  {kind:16} {count}" for kind, count in sorted(summary.befallen.items())),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
