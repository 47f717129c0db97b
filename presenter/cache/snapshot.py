"""A snapshot of a watch's rows at its checkpoint, to be compared with the cluster at the same resourceVersion.

The checkpoint is committed with the rows, so that any snapshot of the database shows rows and the version they have.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from presenter.resource import Watch

if TYPE_CHECKING:
    from presenter.cache.pool import Connection, Pool

# While the transaction is idle, the API server may take its time for a page.
_IDLE_TIMEOUT = "SET LOCAL idle_in_transaction_session_timeout = '5min'"

_CHECKPOINT = """
SELECT checkpoint FROM watches WHERE type_id = $1 AND namespace = $2 AND state = 'live' AND NOT listing
"""
_VERSIONS = """
SELECT uid, coalesce(resource_version::text, raw #>> '{metadata,resourceVersion}') AS resource_version
FROM resources WHERE cluster = $1 AND type_id = $2 AND uid = ANY ($3::text[])
"""
_ROWS = "SELECT count(*) FROM resources WHERE cluster = $1 AND type_id = $2 AND ($3 = '' OR namespace = $3)"


class Snapshot:
    """The rows of a watch as they were at `checkpoint`."""

    def __init__(self, connection: Connection, cluster: str, watch: Watch, checkpoint: str) -> None:
        self.checkpoint = checkpoint
        self._connection = connection
        self._cluster = cluster
        self._watch = watch
        self._missing = self._matching = self._differing = 0

    async def compare(self, versions: Mapping[str, str]) -> None:
        """Compare with some of the cluster's objects: resourceVersions by uid, each object once."""
        rows = await self._connection.fetch(_VERSIONS, self._cluster, self._watch.type_id, list(versions))
        differing = sum(versions[row["uid"]] != row["resource_version"] for row in rows)
        self._missing += len(versions) - len(rows)
        self._differing += differing
        self._matching += len(rows) - differing

    async def differences(self) -> int:
        """The number of objects that differ, are missing, or are only here, once all of the cluster's were compared."""
        rows: int = await self._connection.fetchval(_ROWS, self._cluster, self._watch.type_id, self._watch.namespace)
        ghosts = rows - self._matching - self._differing
        return self._missing + self._differing + ghosts


class Snapshots:
    """Takes snapshots of one cluster's rows. All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool, cluster: str) -> None:
        self._pool = pool
        self._cluster = cluster

    @asynccontextmanager
    async def take(self, watch: Watch) -> AsyncIterator[Snapshot | None]:
        """A snapshot of a watch; None while its rows are no state that the cluster ever had, as during a list."""
        async with (
            self._pool.connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            await connection.execute(_IDLE_TIMEOUT)
            checkpoint = await connection.fetchval(_CHECKPOINT, watch.type_id, watch.namespace)
            yield None if checkpoint is None else Snapshot(connection, self._cluster, watch, checkpoint)
