"""A helm, and a cluster to install into."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from presenter.sandbox import Cluster, Sandbox, fill
from tests.chart.helm import CHECKOUT, Helm, Manifests, Values
from tests.chart.promtool import Promtool


@pytest.fixture(scope="session")
def program() -> str:
    """Where helm is."""
    own = CHECKOUT / ".tools" / "bin" / "helm"
    found = str(own) if own.exists() else shutil.which("helm")
    if found is None:
        reason = "no helm: scripts/tools could not get it, and none is on PATH"
        if os.environ.get("TEST_REQUIRE_TOOLS"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="session")
def helm(program: str, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """helm without a cluster."""
    return Helm(program, tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def render(helm: Helm) -> Callable[[Values], Manifests]:
    """From values to manifests, which are not to be changed."""
    rendered: dict[str, Manifests] = {}

    def once(values: Values) -> Manifests:
        key = json.dumps(values)
        if key not in rendered:
            rendered[key] = helm.render(values)
        return rendered[key]

    return once


@pytest.fixture
def promtool(tmp_path: Path) -> Promtool:
    """promtool, or a skip."""
    return Promtool(tmp_path)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A cluster with something of every sample type, that holds to its RBAC rules."""
    cluster = Cluster()
    fill(cluster, 40)
    async with Sandbox(cluster=cluster) as running:
        running.enforce_rbac = True
        yield running
