"""Services on databases: a shared one that nobody changes, and one of a test's own."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta

import pytest
import pytest_asyncio
import uvloop

from presenter.cache.pool import Address, Pool
from presenter.config import AccessSettings
from tests.api.service import Service, serving
from tests.api.world import World, fill
from tests.servers import Postgres


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], AbstractEventLoop]]:
    """The loop that the command line runs the service on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def shared_database(postgres: Postgres) -> Address:
    return postgres.create("world", template="template")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world(shared_database: Address) -> AsyncIterator[World]:
    """For tests that only read; they run on the session's loop, as the service does."""
    pool = await Pool.open(shared_database, size=2, command_timeout=30)
    stored = await fill(pool)
    await pool.close()
    for_long = AccessSettings(RBAC_MAX_STALENESS=timedelta(days=1))  # however long the tests take together
    async with serving(shared_database, access=for_long) as service:
        yield World(service, stored)


@pytest.fixture
async def service(database: Address) -> AsyncIterator[Service]:
    """A service on the test's own database, which is at head and otherwise empty."""
    async with serving(database) as service:
        yield service
