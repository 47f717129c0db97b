"""Migrations: bring a database to the schema this version works with. They need Alembic, which serving does not."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.ext.asyncio import create_async_engine

from presenter.cache.pool import Address, translated
from presenter.cache.schema import HEAD

_MIGRATION_LOCK = 0x70726573656E7472  # any number that nobody else takes: "presentr"


def configuration() -> Config:
    """Alembic's configuration; the migrations ship inside the package."""
    config = Config()
    config.set_main_option("script_location", "presenter:migrations")
    return config


async def migrate(address: Address) -> tuple[str | None, str]:
    """Bring the database to head, one migrator at a time, in one transaction. Returns the revision before and after.

    A schema of a later version stays as it is.
    """
    engine = create_async_engine("postgresql+asyncpg://", async_creator=address.connect, poolclass=sa.NullPool)
    try:
        with translated():
            async with engine.begin() as connection:
                await connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
                before = await connection.run_sync(_current)
                if before is not None and before > HEAD:
                    return before, before
                await connection.run_sync(_upgrade)
                return before, HEAD
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
