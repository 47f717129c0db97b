"""The world these tests act in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from presenter.cache.pool import Pool
from presenter.cache.writer import Writer
from presenter.config import ClusterSettings
from presenter.kube.client import KubeClient
from presenter.sandbox import Sandbox
from tests.kube.world import World


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(bookmark_lead=2.9) as sandbox:  # which soon tells how far a watch is
        yield sandbox


@pytest.fixture
def settings(sandbox: Sandbox, tmp_path: Path) -> ClusterSettings:
    """Settings that name the sandbox."""
    path = tmp_path / "kubeconfig"
    sandbox.write_kubeconfig(path)
    return ClusterSettings(kubeconfig=str(path))


@pytest.fixture
async def client(settings: ClusterSettings) -> AsyncIterator[KubeClient]:
    client = await KubeClient.connect(settings, read_timeout=1.0)
    yield client
    await client.close()


@pytest.fixture
def world(sandbox: Sandbox, client: KubeClient, writer: Writer, pool: Pool) -> World:
    return World(sandbox, client, writer, pool)
