"""Connections that are lost: whoever uses them is told that the database is away, whatever asyncpg calls it."""

from __future__ import annotations

import pytest

from presenter.cache.pool import Pool
from presenter.errors import DatabaseUnavailable
from tests.eventually import eventually


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
