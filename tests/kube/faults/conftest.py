"""The world in which faults happen: some config maps, and an API server that streams lists or has them by pages."""

from __future__ import annotations

import pytest

from tests.kube.world import World


@pytest.fixture(params=["streamed", "paged"])
def listing(request: pytest.FixtureRequest) -> str:
    """How the API server lets everything be listed."""
    return str(request.param)


@pytest.fixture
def world(world: World, listing: str) -> World:
    if listing == "paged":
        world.sandbox.faults.no_streaming_lists()
    for name in ("untouched", "changed", "deleted", "renewed"):
        world.put(name, a="1")
    return world
