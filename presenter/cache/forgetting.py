"""`presenter forget`: removing a cluster that is no longer watched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from presenter.cache.lease import CREATE_LEASE
from presenter.cache.writes import ANNOUNCE
from presenter.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from presenter.cache.pool import Pool

_CLUSTERS = "SELECT name FROM clusters ORDER BY name"

# The cluster's lease is taken, so that no process begins to write it meanwhile. Its row stays: if the cluster comes
# back, its epochs must not begin anew, or they would fence off no former leader.
_TAKE = """
UPDATE leases SET epoch = epoch + 1, holder = 'forgetting' WHERE cluster = $1 AND expires_at <= clock_timestamp()
RETURNING true
"""
_HOLDER = "SELECT holder FROM leases WHERE cluster = $1"

_FORGET_ROWS = "DELETE FROM resources WHERE cluster = $1"
_FORGET_REST = (
    "DELETE FROM resource_types WHERE cluster = $1",  # and their watches
    "DELETE FROM clusters WHERE name = $1",
)


async def forget_cluster(pool: Pool, cluster: str) -> int:
    """Remove a cluster with its objects and types, in one transaction. Returns the number of objects.

    Raises NotFound when there is no such cluster, Unavailable while it is watched.
    """
    async with pool.connection() as connection, connection.transaction():
        known = [row["name"] for row in await connection.fetch(_CLUSTERS)]
        if cluster not in known:
            raise NotFound(f"there is no cluster {cluster}: the clusters are {', '.join(known) or 'none'}")
        await connection.execute(CREATE_LEASE, cluster)
        if not await connection.fetchval(_TAKE, cluster):
            holder = await connection.fetchval(_HOLDER, cluster)
            raise Unavailable(f"cluster {cluster} is being watched by {holder}: stop that first")
        deleted = await connection.execute(_FORGET_ROWS, cluster)
        for statement in _FORGET_REST:
            await connection.execute(statement, cluster)
        await connection.execute(ANNOUNCE)
    return int(deleted.rpartition(" ")[2])
