"""The world these tests act in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from presenter.config import ClusterSettings
from presenter.kube.client import KubeClient
from presenter.sandbox import Sandbox
from tests.reviews.world import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A cluster with three namespaces, of which `void` holds nothing."""
    async with Sandbox() as sandbox, aiohttp.ClientSession() as session:
        sandbox.write_kubeconfig(tmp_path / "kubeconfig")
        client = await KubeClient.connect(ClusterSettings(kubeconfig=str(tmp_path / "kubeconfig")), read_timeout=5.0)
        world = World(sandbox, client, session)
        world.namespaces("prod", "dev", "void")
        world.config_maps("prod", "a", "b")
        world.config_maps("dev", "a", "c")
        yield world
        await client.close()
