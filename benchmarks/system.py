"""What is measured: a sandbox cluster, PostgreSQL and `presenter run`, each a process of its own."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aiohttp
import psutil

from presenter.cache.pool import Address, Pool
from presenter.commands.embedded import EmbeddedPostgres
from tests.e2e.processes import AFRESH, Process
from tests.e2e.system import KEY, variables_of

ALL_SAMPLES = "*.*.krateo.io,pods,configmaps,deployments.apps"
PATIENCE = 900.0
"""Seconds after which something is taken to have failed."""
MEBI = 2**20
_STEP_SECONDS = 0.05

StartCluster = Callable[[Path, int], AbstractAsyncContextManager[str]]
"""Starts a cluster of so many sample objects, writes `kubeconfig` into the directory and gives the URL."""


@dataclass(frozen=True)
class Running:
    """The processes, and a caller of them. `listening` is when the service began to, by the monotonic clock."""

    home: Path
    address: Address
    variables: Mapping[str, str]
    process: Process
    service: str
    cluster: str
    postmaster: psutil.Process
    pool: Pool
    session: aiohttp.ClientSession
    listening: float

    @asynccontextmanager
    async def beside(self, command: str) -> AsyncIterator[str]:
        """One more process on the same database, and where it listens."""
        async with _service(command, self.home, self.address, self.variables) as (_, url):
            yield url

    async def ready(self) -> bool:
        """Whether every first list is complete."""
        async with self.session.get(f"{self.service}/readyz") as response:
            return response.status == 200

    async def until_ready(self, look: Callable[[], None] = lambda: None) -> None:
        """Wait for every first list, and call `look` at each step of the waiting."""
        async with asyncio.timeout(PATIENCE):
            while not await self.ready():
                look()
                await asyncio.sleep(_STEP_SECONDS)

    def resident(self) -> float:
        """The memory of the service's process, resident, in MiB."""
        return round(psutil.Process(self.process.pid).memory_info().rss / MEBI, 1)

    def cpu_seconds(self) -> tuple[float, float]:
        """The processor time that the service has used, and PostgreSQL for whoever is connected now."""
        service = psutil.Process(self.process.pid)
        return _cpu_seconds(service), sum(_cpu_seconds(each) for each in self.postmaster.children())


def _cpu_seconds(process: psutil.Process) -> float:
    used = process.cpu_times()
    return used.user + used.system


@asynccontextmanager
async def running(
    objects: int,
    start_cluster: StartCluster | None = None,
    command: str = "run",
    variables: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[Running]:
    """Everything started, with so many sample objects in the cluster and nothing in the database.

    `command` is what is measured: `run`, or `watch` alone. Further `variables` may lead to another version.
    """
    with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as directory:
        home = Path(directory)
        postgres = await EmbeddedPostgres.start(home / "postgresql")
        try:
            await _migrate(home, postgres.address(), variables)
            pool = await Pool.open(postgres.address(), size=2, command_timeout=60)
            async with pool.connection() as connection:
                backend = psutil.Process(await connection.fetchval("SELECT pg_backend_pid()"))
            postmaster = backend.parent()
            assert postmaster is not None
            async with (
                (start_cluster or _sandbox)(home, objects) as cluster,
                _service(command, home, postgres.address(), variables) as (process, url),
                aiohttp.ClientSession() as session,
            ):
                yield Running(
                    home,
                    postgres.address(),
                    variables,
                    process,
                    url,
                    cluster,
                    postmaster,
                    pool,
                    session,
                    time.monotonic(),
                )
            await pool.close()
        finally:
            await postgres.stop()


@asynccontextmanager
async def _sandbox(home: Path, objects: int) -> AsyncIterator[str]:
    arguments = ("--port", "0", "--objects", str(objects), "--kubeconfig-out", str(home / "kubeconfig"))
    process = await Process.start("sandbox", *arguments, home=home, **AFRESH)
    try:
        url = (await process.line("Sandbox Kubernetes API on (.+)", PATIENCE))[1]
        await process.line("^Ctrl-C ends it")
        yield url
    finally:
        await process.kill()


@asynccontextmanager
async def _service(
    command: str, home: Path, address: Address, variables: Mapping[str, str]
) -> AsyncIterator[tuple[Process, str]]:
    variables = {**_variables(address, variables), "KUBECONFIG": str(home / "kubeconfig"), "WATCH": ALL_SAMPLES}
    process = await Process.start(command, home=home, **variables)
    try:
        port = (await process.line(r'"port": (\d+).*"event": "listening"'))[1]
        yield process, f"http://127.0.0.1:{port}"
    finally:
        await process.kill()


async def _migrate(home: Path, address: Address, variables: Mapping[str, str]) -> None:
    process = await Process.start("migrate", home=home, **_variables(address, variables))
    if await process.ended():
        raise RuntimeError(process.log())


def _variables(address: Address, more: Mapping[str, str]) -> dict[str, str]:
    return {"PORT": "0", "SIGN_KEY": KEY, **AFRESH, **variables_of(address), **more}


def write_json(path: Path | None, figures: Any) -> None:
    """Keep the figures for a machine to read."""
    if path is not None:
        path.write_text(json.dumps(figures, indent=2) + "\n")
