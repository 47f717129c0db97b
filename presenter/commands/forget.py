"""`presenter forget`: a cluster that is gone, removed from the database."""

from __future__ import annotations

from typing import Annotated

import typer

from presenter.cache import schema
from presenter.cache.forgetting import forget_cluster
from presenter.cache.pool import Pool
from presenter.commands.database import database
from presenter.commands.process import read_settings, run_until_done
from presenter.config import DatabaseSettings

_LONGEST = 3600.0
"""Seconds that the removal of one cluster's objects may take."""


def forget(cluster: Annotated[str, typer.Argument(help="Name of the cluster.")]) -> None:
    """Remove a cluster that is no longer watched under this name from the database, with all its objects.

    Refused, with 1, while somebody watches it.
    """
    run_until_done(_forget(read_settings(quiet=True).database, cluster))


async def _forget(settings: DatabaseSettings, cluster: str) -> None:
    async with database(settings) as address, Pool.opened(address, size=1, command_timeout=_LONGEST) as pool:
        await schema.check(pool)
        objects = await forget_cluster(pool, cluster)
    typer.echo(f"cluster {cluster} is forgotten, with {objects} objects")
