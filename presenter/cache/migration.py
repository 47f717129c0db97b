"""Migrations: bring a database to the schema this version works with. They need Alembic, which serving does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import asyncpg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from presenter.cache.failures import translated
from presenter.cache.pool import Address
from presenter.cache.schema import HEAD
from presenter.errors import ConfigError, DatabaseBusy

Outcome = TypeVar("Outcome")

_KEY = 0x70726573656E7472
"""Any number of our own: "presentr" in ASCII."""

LOCK = (
    # One migrator at a time, over all transactions that it takes.
    f"SELECT pg_advisory_lock({_KEY})",
    # Others serve and watch meanwhile, and queue behind a migration that waits for a table. So it gives up and tries
    # again, well before PostgreSQL would look for a deadlock (1 s) and end one of them.
    "SET lock_timeout = '500ms'",
)
"""The first statements of every session that migrates."""

_TRY_LOCK = f"SELECT pg_try_advisory_lock({_KEY})"

_CONFLICTS = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)
_RETRY_INTERVAL = 0.5
PATIENCE = 120.0
"""Seconds for which it tries."""

_PACKAGE = Path(__file__).parents[1]


def configuration() -> Config:
    """Alembic's configuration. The migrations are within an installed package, and beside it in a checkout."""
    places = (_PACKAGE / "migrations", _PACKAGE.parent / "migrations")
    config = Config()
    place = next(place for place in places if (place / "env.py").is_file())  # git leaves empty directories behind
    config.set_main_option("script_location", str(place).replace("%", "%%"))
    return config


async def migrate(address: Address, patience: float = PATIENCE) -> tuple[str | None, str]:
    """Bring the database to head. Returns the revision before and after. A schema of a later version stays as it is.

    Raises as `exclusively` does.
    """
    return await exclusively(address, _migrate, patience)


async def exclusively(
    address: Address, work: Callable[[sa.Connection], Outcome], patience: float = PATIENCE
) -> Outcome:
    """Do `work`, which makes its own transactions, while nobody else migrates; again where others hold what it needs.

    Raises DatabaseBusy when they do so for `patience` seconds, DatabaseUnavailable, SchemaOutdated, and
    ConfigError for an unusable address and for a database of another program.
    """
    deadline = asyncio.get_running_loop().time() + patience
    engine = create_async_engine("postgresql+asyncpg://", async_creator=address.connect, poolclass=sa.NullPool)
    try:
        with translated(address.label):
            while True:
                try:
                    with driver_errors():
                        async with engine.connect() as connection:
                            await _lock(connection)
                            return await connection.run_sync(work)
                except _CONFLICTS as error:
                    if asyncio.get_running_loop().time() > deadline:
                        raise DatabaseBusy(
                            "the schema cannot be migrated, others hold its tables: look for long transactions in "
                            "pg_stat_activity"
                        ) from error
                except (asyncpg.DuplicateTableError, CommandError) as error:
                    raise ConfigError(
                        f"the database at {address.label} holds what is not of this program ({error}): set DB_NAME to "
                        "one of its own"
                    ) from error
                await asyncio.sleep(_RETRY_INTERVAL)
    finally:
        await engine.dispose()


async def _lock(connection: AsyncConnection) -> None:
    """As LOCK does, but without a statement that waits: an index made concurrently would wait for its snapshot."""
    while not await connection.scalar(sa.text(_TRY_LOCK)):
        await connection.rollback()
        await asyncio.sleep(_RETRY_INTERVAL)
    await connection.execute(sa.text(LOCK[-1]))
    await connection.commit()


@contextmanager
def driver_errors() -> Iterator[None]:
    """Raise asyncpg's errors in place of SQLAlchemy's, which wrap them."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        cause = error.orig and error.orig.__cause__
        if cause is None:
            raise
        raise cause from error


def _migrate(connection: sa.Connection) -> tuple[str | None, str]:
    with connection.begin():
        before = _current(connection)
    if before is not None and before > HEAD:
        return before, before
    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return before, HEAD


def _current(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
