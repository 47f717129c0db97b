"""The schema: migrations bring an empty database to exactly what `tables` describes."""

from __future__ import annotations

import warnings

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import create_async_engine

from presenter.cache import migration, schema
from presenter.cache.pool import Address, Pool
from presenter.errors import DatabaseBusy, SchemaOutdated


async def test_migrations_make_what_the_tables_describe(database: Address) -> None:
    def check(connection: sa.Connection) -> None:
        config = migration.configuration()
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
    assert await migration.migrate(empty_database) == (None, schema.HEAD)
    assert await migration.migrate(empty_database) == (schema.HEAD, schema.HEAD)


async def test_downgrade_leaves_nothing_behind(database: Address) -> None:
    def downgrade(connection: sa.Connection) -> list[str]:
        config = migration.configuration()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        return sa.inspect(connection).get_table_names()

    engine = create_async_engine("postgresql+asyncpg://", async_creator=database.connect, poolclass=sa.NullPool)
    async with engine.begin() as connection:
        assert await connection.run_sync(downgrade) == ["alembic_version"]
    await engine.dispose()


async def test_an_older_schema_is_refused(empty_database: Address) -> None:
    async with Pool.opened(empty_database, size=1, command_timeout=10) as pool:
        with pytest.raises(SchemaOutdated, match=r"at nothing, .* run `presenter migrate`"):
            await schema.check(pool)
        await migration.migrate(empty_database)
        await schema.check(pool)
        await pretend(pool, "0000")
        with pytest.raises(SchemaOutdated, match="at 0000"):
            await schema.check(pool)


async def test_a_newer_schema_is_worked_with_and_left_alone(database: Address, pool: Pool) -> None:
    await pretend(pool, "9999")
    await schema.check(pool)
    assert await migration.migrate(database) == ("9999", "9999")


async def pretend(pool: Pool, revision: str) -> None:
    async with pool.connection() as connection:
        await connection.execute("UPDATE alembic_version SET version_num = $1", revision)


def test_revisions_are_numbered_in_order() -> None:
    script = ScriptDirectory.from_config(migration.configuration())
    revisions = [found.revision for found in script.walk_revisions()]
    assert revisions == [f"{number:04}" for number in range(len(revisions), 0, -1)]
    assert revisions[0] == schema.HEAD


async def test_a_migration_that_others_stand_in_the_way_of_is_given_up_and_can_be_repeated(
    empty_database: Address,
) -> None:
    connection = await empty_database.connect()
    try:
        undone = connection.transaction()
        await undone.start()
        await connection.execute("CREATE TABLE clusters ()")
        with pytest.raises(DatabaseBusy, match="pg_stat_activity"):
            await migration.migrate(empty_database, patience=0.6)
        await undone.rollback()
        assert await migration.migrate(empty_database) == (None, schema.HEAD)
    finally:
        await connection.close()
