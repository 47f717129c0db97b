"""Which namespaces hold something: read by hopping along an index, so that it costs their number, not that of rows."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from presenter.cache.pool import Pool

# A loose index scan (PostgreSQL wiki, "Loose indexscan"): each step seeks the first namespace after the last one.
_NAMESPACES = """
WITH RECURSIVE found AS (
    SELECT wanted.type_id, first.namespace FROM unnest($1::integer[]) AS wanted (type_id) CROSS JOIN LATERAL (
        SELECT namespace FROM resources
        WHERE type_id = wanted.type_id ORDER BY namespace LIMIT 1
    ) AS first
    UNION ALL
    SELECT found.type_id, next.namespace FROM found CROSS JOIN LATERAL (
        SELECT namespace FROM resources
        WHERE type_id = found.type_id AND namespace > found.namespace ORDER BY namespace LIMIT 1
    ) AS next
)
SELECT type_id, namespace FROM found
"""


async def namespaces_of(pool: Pool, type_ids: Collection[int]) -> dict[int, list[str]]:
    """By type id, the namespaces that hold objects of it, sorted; a type without objects is not in it.

    Raises DatabaseUnavailable and its kin.
    """
    namespaces: dict[int, list[str]] = {}
    async with pool.connection() as connection:
        for row in await connection.fetch(_NAMESPACES, sorted(set(type_ids))):
            namespaces.setdefault(row["type_id"], []).append(row["namespace"])
    return {type_id: sorted(names) for type_id, names in namespaces.items()}
