"""Alembic's environment, the same for `presenter migrate` and for `alembic` in a checkout.

`presenter migrate` hands a connection over, on which it holds the lock of migrations. `alembic` itself has none: the
database is then the one that the DB_* variables name, and the lock is taken here. With `--sql` there is no database at
all, and the script that is printed takes the lock.
"""

from __future__ import annotations

import asyncio
import logging.config

import sqlalchemy as sa
from alembic import context
from alembic.operations import MigrationScript
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError

from presenter.cache.migration import LOCK, exclusively
from presenter.cache.pool import Address
from presenter.cache.schema import HEAD
from presenter.cache.tables import metadata
from presenter.config import Settings
from presenter.errors import PresenterError


def migrate(connection: sa.Connection) -> None:
    """Run the migrations on a connection, each in a transaction of its own: an index may be made outside of any."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        process_revision_directives=number,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def number(_context: MigrationContext, _base: object, directives: list[MigrationScript]) -> None:
    """Give a new revision the next number: they are ordered by it."""
    for script in directives:
        script.rev_id = f"{int(HEAD) + 1:04}"


def print_sql() -> None:
    """Print what the migrations would do."""
    context.configure(
        dialect_name="postgresql", target_metadata=metadata, literal_binds=True, transaction_per_migration=True
    )
    for statement in LOCK:
        context.execute(statement)
    with context.begin_transaction():
        context.run_migrations()


if (connection := context.config.attributes.get("connection")) is not None:
    migrate(connection)
elif context.is_offline_mode():
    print_sql()
else:
    if context.config.config_file_name is not None:
        logging.config.fileConfig(context.config.config_file_name, disable_existing_loggers=False)
    try:
        address = Address.of(Settings.from_environment().database)
        asyncio.run(exclusively(address, migrate))
    except PresenterError as error:
        raise CommandError(str(error)) from error
