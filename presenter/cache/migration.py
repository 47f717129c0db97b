"""Migrations: bring a database to the schema this version works with. They need Alembic, which serving does not."""

from __future__ import annotations

import asyncio

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from presenter.cache.pool import Address, translated
from presenter.cache.schema import HEAD
from presenter.errors import DatabaseBusy

_MIGRATION_LOCK = 0x70726573656E7472  # any number that nobody else takes: "presentr"

# Others serve and watch meanwhile, and wait behind whoever waits for a table. A migration gives way to them, well
# before PostgreSQL would look for a deadlock (1 s) and end one of them, and tries again.
_GIVE_WAY = "SET LOCAL lock_timeout = '500ms'"
_GIVEN_WAY = {"55P03", "40P01"}  # lock_not_available, deadlock_detected
_PAUSE = 0.5
PATIENCE = 120.0
"""Seconds for which it tries."""


def configuration() -> Config:
    """Alembic's configuration; the migrations ship inside the package."""
    config = Config()
    config.set_main_option("script_location", "presenter:migrations")
    return config


async def migrate(address: Address, patience: float = PATIENCE) -> tuple[str | None, str]:
    """Bring the database to head, one migrator at a time, in one transaction. Returns the revision before and after.

    A schema of a later version stays as it is. Raises DatabaseBusy when others hold the tables for `patience` seconds.
    """
    deadline = asyncio.get_running_loop().time() + patience
    engine = create_async_engine("postgresql+asyncpg://", async_creator=address.connect, poolclass=sa.NullPool)
    try:
        while True:
            try:
                with translated():
                    return await _migrate(engine)
            except sa.exc.DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) not in _GIVEN_WAY:
                    raise
                if asyncio.get_running_loop().time() > deadline:
                    raise DatabaseBusy(
                        "the schema cannot be migrated, others hold its tables: look for long transactions in "
                        "pg_stat_activity"
                    ) from error
            await asyncio.sleep(_PAUSE)
    finally:
        await engine.dispose()


async def _migrate(engine: AsyncEngine) -> tuple[str | None, str]:
    async with engine.begin() as connection:
        await connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        await connection.execute(sa.text(_GIVE_WAY))
        before = await connection.run_sync(_current)
        if before is not None and before > HEAD:
            return before, before
        await connection.run_sync(_upgrade)
        return before, HEAD


def _current(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: sa.Connection) -> None:
    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
