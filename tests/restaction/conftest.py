"""A cluster, a service that is none of it, and what resolving RESTActions against them needs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from presenter.restaction.jq import Jq
from presenter.sandbox import Sandbox
from tests.restaction.foreign import Foreign
from tests.restaction.world import World


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as running:
        yield running


@pytest.fixture
async def foreign() -> AsyncIterator[Foreign]:
    async with Foreign() as running:
        yield running


@pytest.fixture
async def jq() -> AsyncIterator[Jq]:
    async with Jq() as jq:
        yield jq


@pytest.fixture
async def world(sandbox: Sandbox, foreign: Foreign, jq: Jq, tmp_path: Path) -> AsyncIterator[World]:
    async with World(sandbox, foreign, jq, tmp_path / "kubeconfig") as world:
        yield world
