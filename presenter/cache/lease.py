"""Who writes what a cluster says: one process at a time, elected in the database and fenced there.

The lease is a row with an epoch, timed by the database's clock. Whoever takes it over counts the epoch up, and every
write transaction holds on to the epoch it was begun under: a former leader that wakes up late writes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from presenter.cache.metrics import LEADER
from presenter.errors import LeaseLost, Unavailable

if TYPE_CHECKING:
    from presenter.cache.pool import Connection, Pool

log = structlog.get_logger(__name__)

# An expiry further away than any lease lasts comes from a clock that was set back since, or was another server's.
_IS_FREE = """
SELECT count(*) = 0 FROM leases
WHERE cluster = $1 AND expires_at > clock_timestamp() AND expires_at <= clock_timestamp() + $2::interval
"""
MAKE = """
INSERT INTO leases (cluster, epoch, holder, expires_at) VALUES ($1, 0, '', to_timestamp(0)) ON CONFLICT DO NOTHING
"""
_TAKE = """
UPDATE leases SET epoch = epoch + 1, holder = $3, expires_at = clock_timestamp() + $2::interval
WHERE cluster = $1 AND (expires_at <= clock_timestamp() OR expires_at > clock_timestamp() + $2::interval)
RETURNING epoch
"""
_RENEW = """
UPDATE leases SET expires_at = clock_timestamp() + $3::interval WHERE cluster = $1 AND epoch = $2 RETURNING true
"""
_RELEASE = "UPDATE leases SET expires_at = clock_timestamp() WHERE cluster = $1 AND epoch = $2"

# KEY SHARE: a takeover, which changes the epoch, waits for the transaction; a renewal does not.
FENCE = "SELECT true FROM leases WHERE cluster = $1 AND epoch = {epoch} FOR KEY SHARE"


@dataclass(frozen=True, slots=True)
class LeaseTimings:
    """All in seconds: how long a lease holds, and how often it is renewed or, by the others, looked at."""

    duration: float = 8.0
    renewal: float = 2.0
    look: float = 1.0


class Lease:
    """The lease of one cluster, as one process (`holder`) sees it."""

    def __init__(self, pool: Pool, cluster: str, holder: str, timings: LeaseTimings | None = None) -> None:
        self._pool = pool
        self._cluster = cluster
        self._holder = holder
        self._timings = timings or LeaseTimings()
        self._duration = timedelta(seconds=self._timings.duration)
        self._leader = LEADER.labels(cluster)

    async def lead(self, work: Callable[[int], Awaitable[None]]) -> None:
        """Whenever the lease can be had, do `work`, which is given its epoch, until cancelled.

        When the lease is lost, or at the end, the work is cancelled and waited for, and the lease given back.
        """
        while True:
            epoch = await self._take()
            log.info("leading", cluster=self._cluster, epoch=epoch)
            self._leader.set(1)
            try:
                await self._work(work, epoch)
            finally:
                self._leader.set(0)
                await self._release(epoch)
            log.warning("another process leads", cluster=self._cluster, epoch=epoch)

    async def _work(self, work: Callable[[int], Awaitable[None]], epoch: int) -> None:
        """Until the lease is lost; it is kept until the work has ended."""
        working = asyncio.ensure_future(work(epoch))
        keeping = asyncio.ensure_future(self._keep(epoch))
        try:
            await asyncio.wait((working, keeping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (working, keeping):
                task.cancel()
                await asyncio.wait((task,))
        for task in (working, keeping):
            if not task.cancelled():
                task.result()

    async def _take(self) -> int:
        told = False
        while True:
            with suppress(Unavailable):
                async with self._pool.connection() as connection:
                    if await connection.fetchval(_IS_FREE, self._cluster, self._duration):
                        await connection.execute(MAKE, self._cluster)
                        epoch = await connection.fetchval(_TAKE, self._cluster, self._duration, self._holder)
                        if epoch is not None:
                            return int(epoch)
                if not told:
                    told = True
                    log.info("standing by: another process leads", cluster=self._cluster)
            await asyncio.sleep(self._timings.look)

    async def _keep(self, epoch: int) -> None:
        """Renew until another has it. While the database cannot be reached, nobody else can take it either."""
        while True:
            await asyncio.sleep(self._timings.renewal)
            with suppress(Unavailable):
                async with self._pool.connection() as connection:
                    if not await connection.fetchval(_RENEW, self._cluster, epoch, self._duration):
                        return

    async def _release(self, epoch: int) -> None:
        with suppress(Unavailable):
            async with self._pool.connection() as connection:
                await connection.execute(_RELEASE, self._cluster, epoch)


async def fence(connection: Connection, cluster: str, epoch: int) -> None:
    """Hold on to the lease until the transaction ends. Raises LeaseLost when another process has taken it."""
    if not await connection.fetchval(FENCE.format(epoch="$2"), cluster, epoch):
        raise lost(cluster, epoch)


def lost(cluster: str, epoch: int) -> LeaseLost:
    """What to raise when another process has taken the lease."""
    return LeaseLost(f"another process has taken over the lease of cluster {cluster} since epoch {epoch}")
