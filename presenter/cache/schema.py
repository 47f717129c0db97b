"""The schema's version: bring a database to head, and tell whether it is there."""

from __future__ import annotations

from functools import cache

import asyncpg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import create_async_engine

from presenter.cache.pool import Address, Pool, translated
from presenter.errors import SchemaOutdated

_MIGRATION_LOCK = 0x70726573656E7472  # any number that nobody else takes: "presentr"


def configuration() -> Config:
    """Alembic's configuration; the migrations ship inside the package."""
    config = Config()
    config.set_main_option("script_location", "presenter:migrations")
    return config


@cache
def head() -> str:
    """The revision this version of the program works with."""
    revision = ScriptDirectory.from_config(configuration()).get_current_head()
    if revision is None:
        raise RuntimeError("the package carries no migrations")
    return revision


async def migrate(address: Address) -> tuple[str | None, str]:
    """Bring the database to head, one migrator at a time, in one transaction. Returns the revision before and after."""
    engine = create_async_engine("postgresql+asyncpg://", async_creator=address.connect, poolclass=sa.NullPool)
    try:
        with translated():
            async with engine.begin() as connection:
                await connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
                before = await connection.run_sync(_current)
                await connection.run_sync(_upgrade)
                return before, head()
    finally:
        await engine.dispose()


def _current(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: sa.Connection) -> None:
    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def check(pool: Pool) -> None:
    """Raise SchemaOutdated unless the database's schema is at head."""
    async with pool.connection() as connection:
        try:
            current = await connection.fetchval("SELECT version_num FROM alembic_version")
        except asyncpg.UndefinedTableError:
            current = None
    if current != head():
        raise SchemaOutdated(
            f"the database's schema is at {current or 'nothing'}, this version needs {head()}: run `presenter migrate`"
        )
