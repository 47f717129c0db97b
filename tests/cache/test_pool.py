"""Connections that are lost: whoever uses them is told that the database is away, whatever asyncpg calls it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

import pytest

from presenter.cache.pool import Address, Pool
from presenter.errors import DatabaseUnavailable, PresenterError
from tests.eventually import eventually
from tests.servers import Postgres


async def fetch_on_one_that_has_ended(pool: Pool) -> None:
    async with pool.connection() as connection:
        async with pool.connection() as other:
            await other.execute("SELECT pg_terminate_backend($1)", connection.get_server_pid())

        async def shown() -> str:
            return repr(connection)

        await eventually(shown, lambda shown: "released" in shown)
        await connection.fetch("SELECT 1")


async def test_a_connection_that_ends_while_its_holder_does_something_else(pool: Pool) -> None:
    with pytest.raises(DatabaseUnavailable, match="PostgreSQL cannot be used"):
        await fetch_on_one_that_has_ended(pool)
    async with pool.connection() as connection:
        assert await connection.fetchval("SELECT 1") == 1


@pytest.fixture
async def limited(postgres: Postgres, database: Address) -> AsyncIterator[Address]:
    """The database for a role that may not connect now."""
    await asyncio.to_thread(postgres.execute, "CREATE ROLE limited LOGIN CONNECTION LIMIT 0")
    yield replace(database, user="limited")
    await asyncio.to_thread(postgres.execute, "DROP ROLE limited")


async def test_that_there_are_no_connections_is_known_until_there_are(limited: Address, postgres: Postgres) -> None:
    async with Pool.opened(limited, size=2) as pool:
        assert await _trouble(pool) is None, "nobody has asked"
        with pytest.raises(DatabaseUnavailable):
            await pool.check()
        assert 'too many connections for role "limited"' in str(await _trouble(pool))
        trying = asyncio.create_task(pool.reconnect())
        await asyncio.to_thread(postgres.execute, "ALTER ROLE limited CONNECTION LIMIT 5")
        await eventually(partial(_trouble, pool), lambda trouble: trouble is None)
        await pool.check()
        trying.cancel()
        await asyncio.wait([trying])


async def _trouble(pool: Pool) -> PresenterError | None:
    return pool.last_error


async def test_a_query_that_fails_is_no_trouble_with_connections(pool: Pool) -> None:
    with pytest.raises(DatabaseUnavailable):
        await fetch_on_one_that_has_ended(pool)
    assert pool.last_error is None
