"""The schema: migrations bring an empty database to exactly what `tables` describes."""

from __future__ import annotations

import warnings

import pytest
import sqlalchemy as sa
from alembic import command
from sqlalchemy.ext.asyncio import create_async_engine

from presenter.cache import schema
from presenter.cache.pool import Address, Pool
from presenter.errors import SchemaOutdated


async def test_migrations_make_what_the_tables_describe(database: Address) -> None:
    def check(connection: sa.Connection) -> None:
        config = schema.configuration()
        config.attributes["connection"] = connection
        with warnings.catch_warnings():
            # Alembic cannot compare an index expression with an operator class, and says so.
            warnings.filterwarnings("ignore", message=".*operator clause.*")
            command.check(config)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=database.connect, poolclass=sa.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(check)
    await engine.dispose()


async def test_migrate_is_repeatable_and_says_what_it_did(empty_database: Address) -> None:
    assert await schema.migrate(empty_database) == (None, schema.head())
    assert await schema.migrate(empty_database) == (schema.head(), schema.head())


async def test_downgrade_leaves_nothing_behind(database: Address) -> None:
    def downgrade(connection: sa.Connection) -> list[str]:
        config = schema.configuration()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        return sa.inspect(connection).get_table_names()

    engine = create_async_engine("postgresql+asyncpg://", async_creator=database.connect, poolclass=sa.NullPool)
    async with engine.begin() as connection:
        assert await connection.run_sync(downgrade) == ["alembic_version"]
    await engine.dispose()


async def test_a_schema_that_is_not_at_head_is_refused(empty_database: Address) -> None:
    pool = await Pool.open(empty_database, size=1, command_timeout=10)
    try:
        with pytest.raises(SchemaOutdated, match=r"at nothing, .* run `presenter migrate`"):
            await schema.check(pool)
        await schema.migrate(empty_database)
        await schema.check(pool)
        async with pool.connection() as connection:
            await connection.execute("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(SchemaOutdated, match="at 9999"):
            await schema.check(pool)
    finally:
        await pool.close()
