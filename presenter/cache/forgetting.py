"""`presenter forget`: removing a cluster that is no longer watched."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from presenter.cache.clock import SteadyClock
from presenter.cache.lease import CREATE_LEASE, LeaseStatus, LeaseTimings, Observed
from presenter.cache.writes import ANNOUNCE
from presenter.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from presenter.cache.pool import Pool

_CLUSTERS = "SELECT name FROM clusters ORDER BY name"

# The cluster's lease is taken, so that no process begins to write it meanwhile. Its row stays: if the cluster comes
# back, its epochs must not begin anew, or they would fence off no former leader.
_TAKE = """
UPDATE leases SET epoch = epoch + 1, holder = 'forgetting' WHERE cluster = $1 AND epoch = $2 AND expires_at = $3
RETURNING true
"""
_LOOK_SECONDS = 0.2

_FORGET_ROWS = "DELETE FROM resources WHERE cluster = $1"
_FORGET_REST = (
    "DELETE FROM past_states WHERE cluster = $1",
    "DELETE FROM resource_types WHERE cluster = $1",  # and their watches
    "DELETE FROM clusters WHERE name = $1",
)


async def forget_cluster(pool: Pool, cluster: str) -> int:
    """Remove a cluster with its objects and types, in one transaction. Returns the number of objects.

    Raises NotFound when there is no such cluster, Unavailable while it is watched.
    """
    lease = await _free_lease(pool, cluster)
    async with pool.connection() as connection, connection.transaction():
        known = [row["name"] for row in await connection.fetch(_CLUSTERS)]
        if cluster not in known:
            raise NotFound(f"there is no cluster {cluster}: the clusters are {', '.join(known) or 'none'}")
        await connection.execute(CREATE_LEASE, cluster)
        if not await connection.fetchval(_TAKE, cluster, lease.epoch, lease.expires_at):
            raise _watched(cluster, lease)
        deleted = await connection.execute(_FORGET_ROWS, cluster)
        for statement in _FORGET_REST:
            await connection.execute(statement, cluster)
        await connection.execute(ANNOUNCE)
    return int(deleted.rpartition(" ")[2])


async def _free_lease(pool: Pool, cluster: str) -> LeaseStatus:
    """The lease, once it is certain that nobody renews it. Raises Unavailable when somebody does."""
    observed = Observed(pool, cluster, LeaseTimings().duration, SteadyClock())
    first = await observed.look()
    while not (lease := await observed.look()).free:
        if lease != first:
            raise _watched(cluster, lease)
        await asyncio.sleep(_LOOK_SECONDS)
    return lease


def _watched(cluster: str, lease: LeaseStatus) -> Unavailable:
    return Unavailable(f"cluster {cluster} is being watched by {lease.holder}: stop that first")
