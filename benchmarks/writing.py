"""What the writer takes for first lists and for events, beside an earlier checkout: processor time, of both in turns.

Each has a process and a PostgreSQL of its own, and gets the same objects. Other work on the machine changes processor
time least; a turn of one is compared with the turn of the other beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TURNS = 30
PAGE, RUN = 500, 50
"""Objects of a page of a list, and events of a run."""
PAGES, RUNS = 2, 15
"""Of a turn."""
UPDATED, RELABELLED, CREATED = 35, 3, 6
"""Events of a run that change a status, change labels, and bring an object; the rest delete."""

_STEADY = ("ALTER SYSTEM SET autovacuum = off", "ALTER SYSTEM SET checkpoint_timeout = '1h'", "SELECT pg_reload_conf()")
"""What comes now and then would come in the turn of one and not of the other."""

Figures = dict[str, float]


# -- one of the two ----------------------------------------------------------------------------------------------------


async def work(directory: str) -> None:
    """Do a turn for each line that comes in, and write what it took."""
    import psutil

    from benchmarks.population import CLUSTER, TYPES, Population
    from presenter.cache import migration
    from presenter.cache.pool import Pool
    from presenter.cache.writer import Writer
    from presenter.commands.embedded import EmbeddedPostgres

    postgres = await EmbeddedPostgres.start(Path(directory) / "postgresql")
    try:
        await migration.migrate(postgres.address())
        async with Pool.opened(postgres.address(), size=2, command_timeout=600) as pool:
            async with pool.connection() as connection:
                for setting in _STEADY:
                    await connection.execute(setting)
                data = await connection.fetchval("SHOW data_directory")
            server = psutil.Process(int((Path(data) / "postmaster.pid").read_text().split()[0]))
            writer = Writer(pool, CLUSTER)
            await writer.open_cluster(CLUSTER, ["*.*"])
            watches = [watch for type in TYPES for watch in await writer.declare(type)]
            rows = itertools.chain.from_iterable(Population(TURNS * PAGES * PAGE * 2, [0] * len(TYPES)).batches())
            for line in sys.stdin:
                watch = watches[int(line)]
                took = [_listing(writer, watch, rows), _events(writer, watch, rows)]
                figures: Figures = {}
                for what, doing in zip(("list", "events"), took, strict=True):
                    before = _used(server)
                    await doing
                    process, database = (now - then for now, then in zip(_used(server), before, strict=True))
                    figures |= {f"{what} process": process, f"{what} PostgreSQL": database, what: process + database}
                print(json.dumps(figures), flush=True)
    finally:
        await postgres.stop()


def _used(server: Any) -> tuple[float, float]:
    """Seconds of processor time: of this process, and of PostgreSQL with all that it has started."""
    import psutil

    total = 0.0
    for process in (server, *server.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
        if process == server:
            total += times.children_user + times.children_system
    return time.process_time(), total


async def _listing(writer: Any, watch: Any, rows: Iterator[Any]) -> None:
    await writer.begin_list(watch)
    for _ in range(PAGES):
        await writer.list_page(watch, _objects(rows, PAGE))
    await writer.finish_list(watch, "1000000000")


async def _events(writer: Any, watch: Any, rows: Iterator[Any]) -> None:
    import msgspec

    from presenter.resource import Event

    chance = random.Random(0)
    known = _objects(rows, PAGE)
    await writer.apply(watch, [Event("upsert", object) for object in known], None)
    for version in range(RUNS):
        events = []
        for number, object in enumerate(chance.sample(known, RUN - CREATED)):
            newer = msgspec.structs.replace(
                object,
                resource_version=2_000_000_000 + version,
                raw=object.raw.replace(b'"metadata"', b'"status":{"seen":%d},"metadata"' % version, 1),
            )
            if number < UPDATED:
                events.append(Event("upsert", newer))
            elif number < UPDATED + RELABELLED:
                labels = json.dumps({"changed": str(version)}).encode()
                events.append(Event("upsert", msgspec.structs.replace(newer, labels=labels)))
            else:
                events.append(Event("delete", newer))
                known.remove(object)
        new = _objects(rows, CREATED)
        known += new
        await writer.apply(watch, [*events, *(Event("upsert", object) for object in new)], str(version))


def _objects(rows: Iterator[Any], count: int) -> list[Any]:
    from benchmarks.database import as_object

    return [as_object(row) for row in itertools.islice(rows, count)]


# -- both --------------------------------------------------------------------------------------------------------------


@dataclass
class Side:
    """A checkout that works."""

    process: subprocess.Popen[str]
    figures: Figures

    @classmethod
    def started(cls, checkout: Path, directory: Path) -> Side:
        """One that waits for its turns."""
        directory.mkdir()
        return cls(
            subprocess.Popen(
                [sys.executable, __file__, "--work", directory],
                cwd=checkout,
                env={**os.environ, "PYTHONPATH": str(checkout)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            ),
            {},
        )

    def take(self, turn: int) -> None:
        """Take a turn."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(turn, file=self.process.stdin, flush=True)
        while not (line := self.process.stdout.readline()).startswith("{"):
            assert line, "it has ended"
        self.figures = json.loads(line)


def compare(base: Path) -> dict[str, list[float]]:
    """Turn by turn, what this checkout takes of what the base does."""
    ratios: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as directory:
        before = Side.started(base, Path(directory) / "base")
        now = Side.started(Path(__file__).parents[1], Path(directory) / "now")
        for turn in range(TURNS):
            for side in (before, now) if turn % 2 else (now, before):
                side.take(turn)
            for what, seconds in now.figures.items():
                ratios.setdefault(what, []).append(seconds / before.figures[what])
        for side in (before, now):
            side.process.communicate()
    return ratios


def main() -> None:
    """Compare with another checkout of this repository."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--base", type=Path, help="the checkout that is compared with")
    which.add_argument("--work", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        asyncio.run(work(arguments.work))
        return
    for what, ratios in compare(arguments.base).items():
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"{what}: {middle:.2f} of the base (half of the turns: {low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
