"""Where the processor time of a small page goes in the service: calls and microseconds of each part, for each request.

The service runs in this process, first as it is, then under cProfile, which makes calls of Python dearer than what C
does: compare a part with itself. The numbers of calls are the same on every machine.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import os
import pstats
import tempfile
import time
from collections import defaultdict
from contextlib import redirect_stderr, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import uvloop

from benchmarks.database import USER, filled
from benchmarks.throughput import Serving
from presenter import app
from presenter.access.identity import sign
from presenter.commands.database import migrated_database
from presenter.commands.process import read_settings
from tests.e2e.system import KEY, variables_of

if TYPE_CHECKING:
    from tests.e2e.processes import Process

PARTS = {
    "connection: parse, write": ("presenter/http/", "httptools", "uvicorn/"),
    "log, metrics, headers": ("observability.py", "prometheus_client/", "structlog/", "logs.py", "application.py"),
    "who may see what": ("presenter/access/", "jwt/"),
    "what is asked for": ("resources.py", "parameters.py", "selection.py", "freshness.py", "inflight.py", "catalog"),
    "which rows: plan, cursor": ("plan.py", "sql.py", "query.py", "cursor.py", "scope.py", "expressions.py", "hmac.py"),
    "connections to PostgreSQL": ("cache/pool.py", "asyncpg/pool.py", "asyncio/"),
    "PostgreSQL": ("asyncpg/", "pages.py", "budget.py", "memory.py", "revisions.py"),
    "the answer": ("answers.py", "items.py", "deflate.py", "parts.py", "hot_pages.py", "entity_tags.py"),
}
OTHER = "all else"


def _part(path: str) -> str:
    return next((part for part, places in PARTS.items() if any(place in path for place in places)), OTHER)


async def measure(objects: int, directory: Path, seconds: float, *, cached: bool, polls: bool) -> None:
    """Serve from this process, and print the table."""
    async with filled(objects, directory) as population:
        os.environ |= {"PORT": "0", "SIGN_KEY": KEY, "RBAC_MAX_STALENESS": "1000h", **variables_of(population.address)}
        os.environ["PAGE_CACHE_BYTES"] = "32Mi" if cached else "0"
        settings = read_settings()
        port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(
            app.run(
                settings, migrated_database(settings.database), watch=False, serve=True, on_listening=port.set_result
            )
        )
        token = sign(KEY.encode(), USER, [], timedelta(days=1))
        service = Serving(cast("Process", None), await port, token)
        page: dict[str, Any] = {"limit": 5, "raw": "true"}
        tag = await service.tag("gzip", **page) if polls else ""
        await service.load(1, 1, encoding="gzip", tag=tag, **page)
        used = time.process_time()
        plain = await service.load(1, seconds, encoding="gzip", tag=tag, **page)
        used = time.process_time() - used
        profile = cProfile.Profile()
        profile.enable()
        profiled = await service.load(1, seconds, encoding="gzip", tag=tag, **page)
        profile.disable()
        print(f"{1e6 * used / len(plain.answers):,.0f} µs for each request; under the profile:")
        print(*_table(profile, len(profiled.answers)), sep="\n")
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving


def _table(profile: cProfile.Profile, requests: int) -> list[str]:
    calls: defaultdict[str, float] = defaultdict(float)
    spent: defaultdict[str, float] = defaultdict(float)
    for (path, _, name), (_, count, own, _, callers) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        if path != "~":
            calls[_part(path)] += count / requests
            spent[_part(path)] += 1e6 * own / requests
        elif "_idle" not in name:  # a function in C is its caller's
            for (caller, _, _), (_, _, of_caller, _) in callers.items():
                spent[_part(caller)] += 1e6 * of_caller / requests
    rows = [f"{part:27} {calls[part]:8.1f} {spent[part]:8.1f}" for part in (*PARTS, OTHER)]
    return [f"{'':27} {'calls':>8} {'µs':>8}", *rows, f"{'':27} {sum(calls.values()):8.1f} {sum(spent.values()):8.1f}"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--data-dir", type=Path, help="where the filled database is kept for next time")
    parser.add_argument("--hot", action="store_true", help="pages that are kept in memory")
    parser.add_argument("--poll", action="store_true", help="of callers who have the page: 304")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as directory:
        place = chosen.data_dir or Path(directory)
        cached = chosen.hot or chosen.poll
        with Path(os.devnull).open("w") as nothing, redirect_stderr(nothing):
            uvloop.run(measure(chosen.objects, place, chosen.seconds, cached=cached, polls=chosen.poll))


if __name__ == "__main__":
    main()
