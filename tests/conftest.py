"""What every test may ask for: a real PostgreSQL, with a database of its own cloned from a template."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from presenter.cache import migration
from presenter.cache.pool import Address, Pool
from presenter.cache.writer import Writer
from tests.servers import Postgres, postgres_container, postgres_embedded

# Seconds to load, for formats of JSON Schema (IRIs) that no schema here has; jsonschema goes on without.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]  # as Python has it: there is no such module

CONTAINERS = os.environ.get("TEST_CONTAINERS") == "1"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for this test process: embedded, or a container with `scripts/test --containers`."""
    with postgres_container() if CONTAINERS else postgres_embedded() as server:
        server.run(lambda address: migration.migrate(address), server.create("template"))
        yield server


@pytest.fixture
def empty_database(postgres: Postgres) -> Iterator[Address]:
    """A database without any table."""
    name = f"empty{next(_numbers)}"
    yield postgres.create(name)
    postgres.drop(name)


@pytest.fixture
def database(postgres: Postgres) -> Iterator[Address]:
    """A database of this test's own, at head."""
    name = f"test{next(_numbers)}"
    yield postgres.create(name, template="template")
    postgres.drop(name)


@pytest.fixture
async def pool(database: Address) -> AsyncIterator[Pool]:
    """Connections to the test's own database."""
    pool = await Pool.open(database, size=4, command_timeout=30)
    yield pool
    await pool.close()


@pytest.fixture
def writer(pool: Pool) -> Writer:
    """A writer for the cluster `test`."""
    return Writer(pool, "test")
