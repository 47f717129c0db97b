"""The version of the database's schema."""

from __future__ import annotations

import asyncpg

from presenter.cache.pool import Pool
from presenter.errors import SchemaOutdated

HEAD = "0005"
"""The revision this version of the program works with. Revisions are numbered in order: `0001`, `0002`."""


_MAY_WRITE = "SELECT has_table_privilege('resources', 'INSERT') AND has_table_privilege('resources', 'DELETE')"


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


async def may_be_written(pool: Pool) -> bool:
    """Whether the role of these connections may write the cache, where it is not that of those who only read it."""
    async with pool.connection() as connection:
        return bool(await connection.fetchval(_MAY_WRITE))
