"""`presenter migrate`: the schema of the database, and who may read it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from presenter.commands.process import read_settings, run_until_done
from presenter.config import DatabaseSettings


def migrate(
    reader: Annotated[
        str | None,
        typer.Option(metavar="ROLE", help="PostgreSQL role of those who only serve: let it read, and no more."),
    ] = None,
) -> None:
    """Bring the database's schema to the one this version works with. Safe to repeat, and to run twice at once.

    The role of `--reader` has to exist. It may read what there is and what later migrations add. It gets the settings
    that pages want, which a pooler does not pass on, too: these only from somebody who may alter that role.
    """
    run_until_done(_migrate(read_settings().database, reader))


async def _migrate(settings: DatabaseSettings, reader: str | None) -> None:
    from presenter.cache.migration import migrate  # Alembic, which --help need not wait for
    from presenter.cache.pool import wait_until_ready
    from presenter.cache.reader import grant_reading
    from presenter.commands.database import database

    async with database(settings) as address:
        await wait_until_ready(address, settings.ready_timeout.total_seconds())
        before, after = await migrate(address)
        typer.echo(
            f"schema is at {after}" if before == after else f"schema migrated from {before or 'nothing'} to {after}"
        )
        if reader is None:
            return
        refused = await grant_reading(address, reader, settings.query_timeout)
        typer.echo(f"role {reader} may read it")
        if refused:
            sys.stderr.write(
                f"presenter: DB_USER may not give role {reader} the settings that it needs behind a pooler: "
                f"let an administrator, or that role itself, run {'; '.join(refused)}\n"
            )
