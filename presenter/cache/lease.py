"""Who writes what a cluster says: one process at a time, elected in the database and fenced there.

The lease is a row with an epoch, timed by the database's clock. Whoever takes it over counts the epoch up, and every
write transaction holds on to the epoch it was begun under: a former leader that wakes up late writes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from presenter.cache.claim import RECENT, Standing
from presenter.cache.metrics import LEADER
from presenter.cache.recoveries import Recoveries
from presenter.errors import LeaseLost, Unavailable

if TYPE_CHECKING:
    from presenter.cache.claim import Claim
    from presenter.cache.pool import Connection, Pool

log = structlog.get_logger(__name__)

# An expiry further away than any lease lasts comes from a clock that was set back since, or was another server's.
_STANDING = """
SELECT coalesce(c.uid, '') AS uid, coalesce(l.holder, '') AS holder,
    coalesce(l.expires_at <= time.now OR l.expires_at > time.now + $2::interval, true) AS free,
    coalesce(l.expires_at > time.now - $3::interval AND l.expires_at <= time.now + $2::interval, false) AS recent
FROM (SELECT clock_timestamp()) time (now)
    LEFT JOIN leases l ON l.cluster = $1 LEFT JOIN clusters c ON c.name = $1
"""
MAKE = """
INSERT INTO leases (cluster, epoch, holder, expires_at) VALUES ($1, 0, '', to_timestamp(0)) ON CONFLICT DO NOTHING
"""
_TAKE = """
UPDATE leases SET epoch = epoch + 1, holder = $3, expires_at = clock_timestamp() + $2::interval
WHERE cluster = $1 AND (expires_at <= clock_timestamp() OR expires_at > clock_timestamp() + $2::interval)
    AND coalesce((SELECT uid FROM clusters WHERE name = $1), '') = $4
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
    """All in seconds: how long a lease holds, and how often it is renewed or, by the others, looked at.

    `retry`: when it could not be renewed. Who waits for the database waits for that.
    """

    duration: float = 8.0
    renewal: float = 2.0
    look: float = 1.0
    retry: float = 0.5


class Lease:
    """The lease of one cluster, as one process (`holder`) sees it.

    It is taken only where the `claim` to the cluster's name holds. `recoveries` are told when it can be renewed again.
    """

    def __init__(
        self,
        pool: Pool,
        cluster: str,
        holder: str,
        timings: LeaseTimings | None = None,
        *,
        claim: Claim | None = None,
        recoveries: Recoveries | None = None,
    ) -> None:
        self._pool = pool
        self._cluster = cluster
        self._holder = holder
        self._timings = timings or LeaseTimings()
        self._duration = timedelta(seconds=self._timings.duration)
        self._claim = claim
        self._recoveries = recoveries or Recoveries()
        self._outage = _Outage(cluster)
        self._leader = LEADER.labels(cluster)

    async def lead(self, work: Callable[[int], Awaitable[None]]) -> None:
        """Whenever the lease can be had, do `work`, which is given its epoch, until cancelled.

        When the lease is lost, or at the end, the work is cancelled and waited for, and the lease given back. Raises
        ConfigError when the name is another cluster's.
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
            try:
                standing = await self._standing()
                if self._claim is None or await self._claim.holds(standing):
                    if standing.free and (epoch := await self._try(standing)) is not None:
                        return epoch
                    if not told:
                        told = True
                        log.info("standing by: another process leads", cluster=self._cluster)
            except Unavailable as error:
                self._outage.begun("the lease cannot be looked at", error)
            await asyncio.sleep(self._timings.look)

    async def _standing(self) -> Standing:
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(_STANDING, self._cluster, self._duration, RECENT)
        assert row is not None  # it is a join with a row that is always there
        self._outage.over("the lease can be looked at again")
        return Standing(**row)

    async def _try(self, standing: Standing) -> int | None:
        """Take it as it stood. Returns the epoch, or None when somebody was faster."""
        async with self._pool.connection() as connection:
            await connection.execute(MAKE, self._cluster)
            epoch: int | None = await connection.fetchval(
                _TAKE, self._cluster, self._duration, self._holder, standing.uid
            )
        return epoch

    async def _keep(self, epoch: int) -> None:
        """Renew until another has it. While the database cannot be reached, nobody else can take it either."""
        pause = self._timings.renewal
        while True:
            await asyncio.sleep(pause)
            try:
                async with self._pool.connection() as connection:
                    if not await connection.fetchval(_RENEW, self._cluster, epoch, self._duration):
                        return
            except Unavailable as error:
                self._outage.begun("the lease cannot be renewed", error)
                pause = min(self._timings.retry, self._timings.renewal)
            else:
                if self._outage.over("the lease is renewed again"):
                    self._recoveries.happened()
                pause = self._timings.renewal

    async def _release(self, epoch: int) -> None:
        with suppress(Unavailable):
            async with self._pool.connection() as connection:
                await connection.execute(_RELEASE, self._cluster, epoch)


class _Outage:
    """The time in which the database does not answer. Its begin and its end are told, once each."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._since: float | None = None

    def begun(self, event: str, error: Unavailable) -> None:
        if self._since is None:
            self._since = time.monotonic()
            log.warning(event, cluster=self._cluster, error=error.message)

    def over(self, event: str) -> bool:
        """Whether it was there at all."""
        if self._since is None:
            return False
        log.info(event, cluster=self._cluster, seconds=round(time.monotonic() - self._since, 1))
        self._since = None
        return True


async def fence(connection: Connection, cluster: str, epoch: int) -> None:
    """Hold on to the lease until the transaction ends. Raises LeaseLost when another process has taken it."""
    if not await connection.fetchval(FENCE.format(epoch="$2"), cluster, epoch):
        raise lost(cluster, epoch)


def lost(cluster: str, epoch: int) -> LeaseLost:
    """What to raise when another process has taken the lease."""
    return LeaseLost(f"another process has taken over the lease of cluster {cluster} since epoch {epoch}")
