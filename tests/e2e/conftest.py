"""A sandbox cluster with sample data, a database, and real processes between them and a caller."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from presenter.cache.pool import Address
from presenter.sandbox import Cluster, Sandbox, fill
from tests.e2e.processes import Process, working_in
from tests.e2e.system import KEY, Launch, System, variables_of

SAMPLES = 80


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory for everything a test's processes write.

    Not pytest's own: a PostgreSQL that root starts runs as another user, who may not look in there, and the path of
    its socket has to be short.
    """
    with tempfile.TemporaryDirectory(prefix="e2e-", ignore_cleanup_errors=True) as directory:
        yield Path(directory).resolve()


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A cluster with something of every sample type, in this process."""
    cluster = Cluster()
    fill(cluster, SAMPLES)
    async with Sandbox(cluster=cluster) as running:
        yield running


@pytest.fixture
async def presenter(home: Path) -> AsyncIterator[Launch]:
    """Starts `presenter …`. What is left in the end is killed; a test that failed shows what was printed."""
    started: list[Process] = []

    async def launch(*arguments: str, **variables: str) -> Process:
        process = await Process.start(*arguments, home=home, **variables)
        started.append(process)
        return process

    yield launch
    for process in started:
        await process.kill()
        sys.stderr.write(process.log() + "\n")
    for left in working_in(home):
        left.kill()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield session


@pytest.fixture
def system(
    sandbox: Sandbox, presenter: Launch, session: aiohttp.ClientSession, database: Address, home: Path
) -> System:
    """The sandbox and the database, with settings that bring a service to both."""
    kubeconfig = home / "kubeconfig"
    sandbox.write_kubeconfig(kubeconfig)
    variables = {
        "PORT": "0",
        "SIGN_KEY": KEY,
        "KUBECONFIG": str(kubeconfig),
        "ANONYMOUS_METRICS": "true",
        **variables_of(database),
    }
    return System(sandbox, presenter, session, variables)
