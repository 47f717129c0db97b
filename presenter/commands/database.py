"""The PostgreSQL of a command: the one that DB_HOST names, or an embedded one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from presenter.cache.pool import Address
from presenter.commands.embedded import EmbeddedPostgres
from presenter.config import DatabaseSettings


@asynccontextmanager
async def database(settings: DatabaseSettings) -> AsyncIterator[Address]:
    """The configured PostgreSQL, or the embedded one, which is there for as long as the command runs.

    Raises ConfigError, and DatabaseUnavailable when the embedded one does not start.
    """
    if settings.host is not None:
        yield Address.of(settings)
        return
    postgres = await EmbeddedPostgres.start(settings.data_dir)
    try:
        yield postgres.address()
    finally:
        await postgres.stop()


@asynccontextmanager
async def migrated_database(settings: DatabaseSettings) -> AsyncIterator[Address]:
    """The same; the embedded one, which nobody else migrates, at the schema of this version."""
    async with database(settings) as address:
        if settings.host is None:
            from presenter.cache import migration  # Alembic takes 27 MB, which who serves a real one need not give

            await migration.migrate(address)
        yield address


def existing_database(settings: DatabaseSettings) -> Address:
    """The configured PostgreSQL, or the embedded one, if it runs: nothing is started.

    Raises ConfigError, and DatabaseUnavailable when none runs.
    """
    return Address.of(settings) if settings.host is not None else EmbeddedPostgres.running(settings.data_dir)
