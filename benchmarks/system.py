"""What is measured: a sandbox cluster, PostgreSQL and `presenter run`, each a process of its own."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from presenter.cache import schema
from presenter.cache.pool import Pool
from presenter.embedded import EmbeddedPostgres
from tests.e2e.processes import Process
from tests.e2e.system import KEY, variables_of

ALL_SAMPLES = "*.*.krateo.io,pods,configmaps,deployments.apps"
PATIENCE = 900.0
"""Seconds after which something is taken to have failed."""
_STEP_SECONDS = 0.05


@dataclass(frozen=True)
class Running:
    """The processes, and a caller of them. `listening` is when the service began to, by the monotonic clock."""

    process: Process
    service: str
    cluster: str
    pool: Pool
    session: aiohttp.ClientSession
    listening: float

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


@asynccontextmanager
async def running(objects: int) -> AsyncIterator[Running]:
    """Everything started, with so many sample objects in the cluster and nothing in the database."""
    with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as directory:
        home = Path(directory)
        postgres = await EmbeddedPostgres.start(home / "postgresql")
        processes: list[Process] = []
        try:
            await schema.migrate(postgres.address())
            pool = await Pool.open(postgres.address(), size=2, command_timeout=60)
            arguments = ("--port", "0", "--objects", str(objects), "--kubeconfig-out", str(home / "kubeconfig"))
            cluster = await Process.start("sandbox", *arguments, home=home)
            processes.append(cluster)
            url = (await cluster.line("Sandbox Kubernetes API on (.+)", PATIENCE))[1]
            await cluster.line("^Ctrl-C ends it")
            variables = {"PORT": "0", "SIGN_KEY": KEY, "KUBECONFIG": str(home / "kubeconfig"), "WATCH": ALL_SAMPLES}
            service = await Process.start("run", home=home, **variables, **variables_of(postgres.address()))
            processes.append(service)
            port = (await service.line(r'"port": (\d+).*"event": "listening"'))[1]
            listening = time.monotonic()
            async with aiohttp.ClientSession() as session:
                yield Running(service, f"http://127.0.0.1:{port}", url, pool, session, listening)
            await pool.close()
        finally:
            for process in processes:
                await process.kill()
            await postgres.stop()


def write_json(path: Path | None, figures: Any) -> None:
    """Keep the figures for a machine to read."""
    if path is not None:
        path.write_text(json.dumps(figures, indent=2) + "\n")
