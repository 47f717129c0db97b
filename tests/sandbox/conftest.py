"""A sandbox per test, a client for it, and a real kubectl."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from presenter.sandbox import Sandbox
from tests.sandbox.harness import CHECKOUT, Client, Kubectl, crd


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as running:
        running.cluster.create(crd("panels", "Panel"))
        yield running


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        client = Client(session, sandbox)
        yield client
        client.close()


@pytest.fixture
def kubectl(sandbox: Sandbox, tmp_path: Path) -> Kubectl:
    own = CHECKOUT / ".tools" / "bin" / "kubectl"
    binary = str(own) if own.exists() else shutil.which("kubectl")
    if binary is None:
        reason = "no kubectl: run scripts/tools, or put one on PATH"
        if os.environ.get("TEST_REQUIRE_TOOLS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return Kubectl(Path(binary), sandbox, tmp_path)
