"""The role of those who only serve: what it may read, what it may not do, and the settings that it has."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest

from presenter.cache import migration, schema
from presenter.cache.catalog import read_catalog
from presenter.cache.pages import PLANNING
from presenter.cache.pool import Address, Pool
from presenter.cache.reader import grant_reading
from presenter.errors import ConfigError, DatabaseUnavailable
from tests.servers import Postgres

ROLE = """strange "role"; --'$1"""
TIMEOUT = timedelta(seconds=10)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@pytest.fixture
def owned(postgres: Postgres) -> Iterator[Address]:
    """An empty database whose owner is an ordinary role; another one is there that may nothing yet."""
    postgres.execute(
        f"CREATE ROLE {quoted(ROLE)} LOGIN", "CREATE ROLE ordinary LOGIN", "CREATE DATABASE owned OWNER ordinary"
    )
    yield replace(postgres.address("owned"), user="ordinary")
    postgres.drop("owned")
    postgres.execute(f"DROP ROLE {quoted(ROLE)}", "DROP ROLE ordinary")


@pytest.fixture
async def migrated(owned: Address) -> Address:
    await migration.migrate(owned)
    return owned


async def test_it_reads_everything_and_writes_nothing(migrated: Address) -> None:
    reader = replace(migrated, user=ROLE)
    async with Pool.opened(reader, size=2) as pool:
        with pytest.raises(
            DatabaseUnavailable, match=r"permission denied for table alembic_version: at .*--reader ROLE"
        ):
            await schema.check(pool)
        await grant_reading(migrated, ROLE, TIMEOUT)
        await schema.check(pool)
        assert (await read_catalog(pool)).clusters == ()
        assert not await schema.may_be_written(pool)
        async with pool.connection() as connection:
            tables = await connection.fetch("SELECT format('%I', tablename) FROM pg_tables WHERE schemaname = 'public'")
            for (table,) in tables:
                await connection.fetch(f"SELECT * FROM {table} LIMIT 1")
            for statement in (
                "DELETE FROM resources",
                "CREATE TABLE mine ()",
                "UPDATE alembic_version SET version_num = 1",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)


async def test_it_reads_what_later_migrations_add(migrated: Address) -> None:
    await grant_reading(migrated, ROLE, TIMEOUT)
    connection = await migrated.connect()
    await connection.execute("CREATE TABLE later AS SELECT 1 AS number")
    await connection.execute("CREATE FUNCTION next(number integer) RETURNS integer LANGUAGE sql RETURN number + 1")
    await connection.execute("REVOKE EXECUTE ON FUNCTION next FROM PUBLIC")
    await connection.close()
    connection = await replace(migrated, user=ROLE).connect()
    assert await connection.fetchval("SELECT next(number) FROM later") == 2
    await connection.close()


async def test_it_may_connect_where_nobody_else_may(migrated: Address, postgres: Postgres) -> None:
    await asyncio.to_thread(postgres.execute, "REVOKE CONNECT ON DATABASE owned FROM PUBLIC")
    await grant_reading(migrated, ROLE, TIMEOUT)
    await (await replace(migrated, user=ROLE).connect()).close()


async def test_the_settings_are_for_who_may_give_them(migrated: Address, postgres: Postgres) -> None:
    """An owner that may not alter roles is told what there is to do; the role may do it, too."""
    wanted = PLANNING | {"statement_timeout": "10s"}
    reader = replace(migrated, user=ROLE)
    refused = await grant_reading(migrated, ROLE, TIMEOUT)
    assert len(refused) == len(wanted)
    connection = await reader.connect({})
    for statement in refused:
        await connection.execute(statement)
    await connection.close()
    assert await grant_reading(migrated, ROLE, TIMEOUT) == [], "there is nothing left to do"
    assert await _settings(reader, wanted) == wanted

    administrator = postgres.address("owned")
    assert await grant_reading(administrator, ROLE, timedelta(milliseconds=1500)) == []
    assert await _settings(reader, wanted) == wanted | {"statement_timeout": "1500ms"}
    assert await _settings(replace(administrator, user="ordinary"), wanted) != wanted, "nobody else has them"


async def _settings(address: Address, names: dict[str, str]) -> dict[str, str]:
    connection = await address.connect({})
    try:
        return {name: await connection.fetchval("SELECT current_setting($1)", name) for name in names}
    finally:
        await connection.close()


async def test_whom_it_cannot_be(migrated: Address) -> None:
    with pytest.raises(ConfigError, match=r'has no role for\. Make it first: CREATE ROLE "no""body" LOGIN PASSWORD'):
        await grant_reading(migrated, 'no"body', TIMEOUT)
    with pytest.raises(ConfigError, match="--reader is 'ordinary', who migrates"):
        await grant_reading(migrated, "ordinary", TIMEOUT)


async def test_many_at_once(migrated: Address) -> None:
    await asyncio.gather(*(grant_reading(migrated, ROLE, TIMEOUT) for _ in range(4)))
