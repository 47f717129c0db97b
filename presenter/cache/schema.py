"""The version of the database's schema."""

from __future__ import annotations

import asyncpg

from presenter.cache.pool import Pool
from presenter.errors import SchemaOutdated

HEAD = "0002"
"""The revision this version of the program works with. Revisions are numbered in order: `0001`, `0002`."""


async def check(pool: Pool) -> None:
    """Raise SchemaOutdated when the database's schema is older than this version's.

    A later one works too, by the rule of migrations (docs/operations.md): it is being rolled out, or was rolled back.
    """
    async with pool.connection() as connection:
        try:
            current = await connection.fetchval("SELECT version_num FROM alembic_version")
        except asyncpg.UndefinedTableError:
            current = None
    require(current)


def require(current: str | None) -> None:
    """Raise SchemaOutdated unless a database at this revision will do; None is one without any."""
    if current is None or current < HEAD:
        raise SchemaOutdated(
            f"the database's schema is at {current or 'nothing'}, this version needs {HEAD}: run `presenter migrate`"
        )
