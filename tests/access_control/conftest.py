"""A cluster in a database of the test's own, and a service on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from presenter.cache.pool import Address, Pool
from tests.access_control.world import Source
from tests.api.service import Service, serving


@pytest.fixture
async def source(pool: Pool) -> Source:
    """The cluster `test`, in which nobody may see anything yet."""
    return await Source.open(pool)


@pytest.fixture
async def service(database: Address, source: Source) -> AsyncIterator[Service]:
    """A service that decides by RBAC, on a cache that is complete. Its own caller is alice, of the group devs."""
    async with serving(database) as service:
        yield service
