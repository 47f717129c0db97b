"""Connections that are lost: whoever uses them is told that the database is away, whatever asyncpg calls it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
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

        async def is_closed() -> bool:
            return connection.is_closed()

        await eventually(is_closed, bool)
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


# -- what is lent, and how it comes back -------------------------------------------------------------------------------

_PID = "SELECT pg_backend_pid()"
_OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
_SLEEPING = f"{_OTHERS} AND query LIKE 'SELECT pg_sleep%' AND state = 'active'"


async def _ask(pool: Pool, query: str) -> int:
    async with pool.connection() as connection:
        number: int = await connection.fetchval(query)
        return number


async def _sleep(pool: Pool) -> None:
    async with pool.connection() as connection:
        await connection.execute("SELECT pg_sleep(600)")


async def test_who_gives_up_leaves_a_connection_that_the_next_one_can_use(pool: Pool, database: Address) -> None:
    async with Pool.opened(database, size=1) as small:
        before = await _ask(small, _PID)
        for _ in range(5):
            sleepers = [asyncio.create_task(_sleep(small)) for _ in range(3)]
            await eventually(partial(_ask, pool, _SLEEPING), lambda sleeping: sleeping == 1)
            for sleeper in sleepers:
                sleeper.cancel()
            assert await _ask(small, _PID) == before
            assert await _ask(pool, _OTHERS) == 1, "nobody has made another one meanwhile"


async def test_a_connection_that_is_left_in_a_transaction_is_not_lent_again(database: Address) -> None:
    async with Pool.opened(database, size=1) as pool:
        async with pool.connection() as connection:
            before = await connection.fetchval(_PID)
            await connection.execute("BEGIN")
        assert await _ask(pool, _PID) != before


async def test_connections_that_nobody_uses_are_closed(pool: Pool, database: Address) -> None:
    async with Pool.opened(replace(database, idle_timeout=0.1), size=3) as mostly_idle:
        async with mostly_idle.connection(), mostly_idle.connection(), mostly_idle.connection():
            assert await _ask(pool, _OTHERS) == 3
        await eventually(partial(_ask, mostly_idle, _OTHERS), lambda others: others <= 1)  # the one that asks is used
        await eventually(partial(_ask, pool, _OTHERS), lambda others: others == 0)


async def test_a_statement_stays_prepared_however_long_nobody_sends_it(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = "SELECT count(*) FROM pg_prepared_statements WHERE statement = 'SELECT 40 + 2'"
    async with pool.connection() as connection:
        await connection.fetchval("SELECT 40 + 2")
        loop = asyncio.get_running_loop()
        now = loop.time
        with monkeypatch.context() as later:
            later.setattr(loop, "time", lambda: now() + 3_600)  # an hour, for whoever has set an alarm
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert await connection.fetchval(prepared) == 1


async def test_as_many_connections_as_there_are_at_the_start_stay(pool: Pool, database: Address) -> None:
    address = replace(database, idle_timeout=0.1)
    async with Pool.reading(address, "pages", 4, timedelta(seconds=30), at_start=2) as kept:
        assert await _ask(pool, _OTHERS) == 2
        async with kept.connection(), kept.connection(), kept.connection():
            assert await _ask(pool, _OTHERS) == 3
        await eventually(partial(_ask, pool, _OTHERS), lambda others: others <= 2)
        assert await _ask(pool, _OTHERS) == 2
