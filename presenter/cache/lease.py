"""Leader election: one process at a time writes a cluster, elected in the database and fenced there.

The lease is a row with an epoch. Taking it over increments the epoch, and every write transaction locks the epoch it
was begun under: a former leader that wakes up late writes nothing.

Each renewal changes the row. Who waits for the lease takes it when the row has not changed for as long as the lease
lasts, by the waiter's own clock, which nobody sets. The database's clock, which may jump, has a say only where it says
that the lease has been over for longer than clocks jump; so it does after a release.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from presenter.cache.clock import JUMP, Reading, SteadyClock
from presenter.cache.metrics import LEADER
from presenter.errors import ClusterError, ConfigError, LeaseLost, Unavailable

if TYPE_CHECKING:
    from presenter.cache.pool import Connection, Pool

UNKNOWN = ""
"""The uid of a cluster that cannot be read: no identity, and so neither equal to one nor another."""

RECENT = timedelta(minutes=10)
"""For so long a name stays with its last holder: longer than a process that crashes takes to start again."""

log = structlog.get_logger(__name__)

_STATUS = """
SELECT coalesce(c.uid, '') AS uid, coalesce(l.holder, '') AS holder, coalesce(l.epoch, 0) AS epoch,
    coalesce(l.expires_at, to_timestamp(0)) AS expires_at, extract(epoch FROM time.now)::float8 AS now,
    coalesce(l.expires_at <= time.now - $2::interval, true) AS over,
    coalesce(l.expires_at > time.now - $3::interval AND l.expires_at <= time.now + $2 + $4::interval, false) AS recent
FROM (SELECT clock_timestamp()) time (now)
    LEFT JOIN leases l ON l.cluster = $1 LEFT JOIN clusters c ON c.name = $1
"""
CREATE_LEASE = """
INSERT INTO leases (cluster, epoch, holder, expires_at) VALUES ($1, 0, '', to_timestamp(0)) ON CONFLICT DO NOTHING
"""
# A leader who keeps the feed passes it on to one who does, too (see `numbering`).
_TAKE = """
WITH taken AS (
    UPDATE leases SET epoch = epoch + 1, holder = $3, expires_at = clock_timestamp() + $2::interval
    WHERE cluster = $1 AND epoch = $5 AND expires_at = $6
        AND coalesce((SELECT uid FROM clusters WHERE name = $1), '') = $4
    RETURNING epoch
), passed_on AS (
    UPDATE clusters SET feed_epoch = taken.epoch FROM taken WHERE name = $1 AND feed_epoch = taken.epoch - 1
)
SELECT epoch FROM taken
"""
_RENEW = """
UPDATE leases SET expires_at = clock_timestamp() + $3::interval WHERE cluster = $1 AND epoch = $2
RETURNING extract(epoch FROM clock_timestamp())::float8
"""
# Who has not seen the clock jump sees moments that are as long ago as they are. What is being written just now is dated
# anew, and not waited for.
_MOVES = (
    """
    UPDATE watches w SET last_event_at = w.last_event_at + early.jumped
    FROM (
        SELECT w.type_id, w.namespace, $2::interval AS jumped FROM watches w JOIN resource_types t ON t.id = w.type_id
        WHERE t.cluster = $1
            AND extract(epoch FROM clock_timestamp() - w.last_event_at) / extract(epoch FROM $2::interval) > 0.5
        FOR UPDATE OF w SKIP LOCKED
    ) AS early
    WHERE w.type_id = early.type_id AND w.namespace = early.namespace
    """,
    """
    UPDATE clusters SET discovered_at = discovered_at + $2::interval
    WHERE name = $1 AND completed_at IS NULL
        AND extract(epoch FROM clock_timestamp() - discovered_at) / extract(epoch FROM $2::interval) > 0.5
    """,
)
_RELEASE = "UPDATE leases SET expires_at = clock_timestamp() - $3::interval WHERE cluster = $1 AND epoch = $2"

# KEY SHARE: a takeover, which changes the epoch, waits for the transaction; a renewal does not.
FENCE = "SELECT true FROM leases WHERE cluster = $1 AND epoch = {epoch} FOR KEY SHARE"


@dataclass(frozen=True, slots=True)
class LeaseTimings:
    """In seconds: how long a lease holds, and how often its holder renews it and the others look at it.

    `retry`: the pause after a renewal that failed. Who waits for the database waits for that.
    """

    duration: float = 8.0
    renewal: float = 2.0
    poll: float = 1.0
    retry: float = 0.5


class Lease:
    """The lease of one cluster, for one process (`holder`).

    It is taken only where the `claim` to the cluster's name allows it. `recoveries` counts the outages that are over.
    The `clock` is read whenever the lease is looked at or renewed.
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
        clock: SteadyClock | None = None,
    ) -> None:
        self._pool = pool
        self._cluster = cluster
        self._holder = holder
        self._timings = timings or LeaseTimings()
        self._duration = timedelta(seconds=self._timings.duration)
        self._claim = claim
        self._recoveries = recoveries or Recoveries()
        self._clock = clock or SteadyClock()
        self._outage = _Outage(cluster)
        self._leader = LEADER.labels(cluster)

    async def lead(self, work: Callable[[int], Awaitable[None]]) -> None:
        """Whenever the lease is free, take it and do `work`, which gets its epoch; until cancelled.

        When the lease is lost, or at the end, the work is cancelled and awaited, and the lease released. Raises
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
        """Do the work until the lease is lost. The lease is renewed until the work has ended."""
        working = asyncio.ensure_future(work(epoch))
        renewing = asyncio.ensure_future(self._renew(epoch))
        try:
            await asyncio.wait((working, renewing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (working, renewing):
                task.cancel()
                await asyncio.wait((task,))
        for task in (working, renewing):
            if not task.cancelled():
                task.result()

    async def _take(self) -> int:
        logged = False
        observed = Observed(self._pool, self._cluster, self._timings.duration, self._clock)
        while True:
            try:
                status = await observed.look()
                self._outage.end("the lease can be looked at again")
                if self._claim is None or await self._claim.allows(status):
                    if status.free and (epoch := await self._try_to_take(status)) is not None:
                        return epoch
                    if not logged:
                        logged = True
                        log.info("standing by: another process leads", cluster=self._cluster)
            except Unavailable as error:
                self._outage.begin("the lease cannot be looked at", error)
            await asyncio.sleep(self._timings.poll)

    async def _try_to_take(self, status: LeaseStatus) -> int | None:
        """Take the lease, if it still is as `status` says. Returns its epoch, or None."""
        async with self._pool.connection() as connection:
            await connection.execute(CREATE_LEASE, self._cluster)
            epoch: int | None = await connection.fetchval(
                _TAKE, self._cluster, self._duration, self._holder, status.uid, status.epoch, status.expires_at
            )
        return epoch

    async def _renew(self, epoch: int) -> None:
        """Renew the lease until another process has it. Without the database nobody else can take it either."""
        pause = self._timings.renewal
        while True:
            await asyncio.sleep(pause)
            try:
                async with self._pool.connection() as connection:
                    began = time.monotonic()
                    said = await connection.fetchval(_RENEW, self._cluster, epoch, self._duration)
                    if said is None:
                        return
                    if jumped := self._clock.read(Reading.between(began, time.monotonic(), said)):
                        for move in _MOVES:
                            await connection.execute(move, self._cluster, timedelta(seconds=jumped))
            except Unavailable as error:
                self._outage.begin("the lease cannot be renewed", error)
                pause = min(self._timings.retry, self._timings.renewal)
            else:
                if self._outage.end("the lease is renewed again"):
                    self._recoveries.record()
                pause = self._timings.renewal

    async def _release(self, epoch: int) -> None:
        with suppress(Unavailable):
            async with self._pool.connection() as connection:
                await connection.execute(_RELEASE, self._cluster, epoch, JUMP)


class Observed:
    """The lease of a cluster as it is seen from outside, again and again. The `clock` is read with it."""

    def __init__(self, pool: Pool, cluster: str, duration: float, clock: SteadyClock) -> None:
        self._pool = pool
        self._cluster = cluster
        self._duration = duration
        self._clock = clock
        self._seen: tuple[int, datetime] | None = None
        self._since = 0.0

    async def look(self) -> LeaseStatus:
        """How it stands. Raises DatabaseUnavailable."""
        async with self._pool.connection() as connection:
            began = time.monotonic()
            row = await connection.fetchrow(_STATUS, self._cluster, JUMP, RECENT, timedelta(seconds=self._duration))
        assert row is not None  # it is a join with a row that is always there
        ended = time.monotonic()
        self._clock.read(Reading.between(began, ended, row["now"]))
        if self._seen != (row["epoch"], row["expires_at"]):
            self._seen, self._since = (row["epoch"], row["expires_at"]), ended
        free = row["over"] or began - self._since >= self._duration
        return LeaseStatus(row["uid"], row["holder"], free, row["recent"], *self._seen)


class _Outage:
    """A time in which the database does not answer. Its begin and its end are logged, once each."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._since: float | None = None

    def begin(self, event: str, error: Unavailable) -> None:
        if self._since is None:
            self._since = time.monotonic()
            log.warning(event, cluster=self._cluster, error=error.message)

    def end(self, event: str) -> bool:
        """End it. Returns whether there was one."""
        if self._since is None:
            return False
        log.info(event, cluster=self._cluster, seconds=round(time.monotonic() - self._since, 1))
        self._since = None
        return True


async def fence(connection: Connection, cluster: str, epoch: int) -> None:
    """Lock the lease until the transaction ends. Raises LeaseLost when another process has taken it."""
    if not await connection.fetchval(FENCE.format(epoch="$2"), cluster, epoch):
        raise lease_lost(cluster, epoch)


def lease_lost(cluster: str, epoch: int) -> LeaseLost:
    """The error of a write whose process no longer holds the lease."""
    return LeaseLost(f"another process has taken over the lease of cluster {cluster} since epoch {epoch}")


# -- the name of a cluster ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LeaseStatus:
    """The lease of a cluster's name: the `uid` of the cluster that has the name, and the lease's last `holder`.

    `free`: nobody holds it, as far as that is known yet. `recent`: somebody does, or did until less than RECENT ago.
    """

    uid: str
    holder: str
    free: bool
    recent: bool
    epoch: int
    expires_at: datetime


class Claim:
    """One process's claim to a cluster's name. `identify` returns that cluster's uid, or raises ClusterError.

    A cluster is known by the uid of its kube-system namespace, which is recorded beside its name. A name passes on when
    its watcher sees the uid change, as where a cluster was made anew at the same address, or when nobody has watched
    for a while. Any other process that finds it with another cluster has to choose another name.
    """

    def __init__(self, cluster: str, identify: Callable[[], Awaitable[str]]) -> None:
        self._cluster = cluster
        self._identify = identify
        self._seen: set[str] = set()
        self._reported = ""

    async def allows(self, status: LeaseStatus) -> bool:
        """Whether this process may take the lease. False: the cluster's uid cannot be read yet.

        Raises ConfigError when the name is another cluster's.
        """
        # What was seen here before and is no more has been replaced behind the address: it was the same claim.
        if status.uid == UNKNOWN or status.uid in self._seen:
            return True
        try:
            uid = await self._identify()
        except ClusterError as error:
            self._report(str(error))
            return False
        self._report("")
        self._seen.add(uid)
        if uid == status.uid or not status.recent:
            return True
        raise ConfigError(self._refusal(status, uid))

    def _refusal(self, status: LeaseStatus, uid: str) -> str:
        refusal = (
            f"another cluster is called {self._cluster} in this database: set CLUSTER_NAME to a name of this one's own "
            f"(the namespace kube-system has the uid {status.uid} there, and {uid} here; "
        )
        ended = f"until less than {RECENT.total_seconds() / 60:g} minutes ago"
        watches = f"watched that one {ended}" if status.free else "watches that one, or did a moment ago"
        return f"{refusal}{status.holder} {watches}; if it is gone for good, run `presenter forget {self._cluster}`)"

    def _report(self, error: str) -> None:
        if error and error != self._reported:
            log.warning("waiting to learn which cluster this is", cluster=self._cluster, error=error)
        self._reported = error


# -- outages -----------------------------------------------------------------------------------------------------------


class Recoveries:
    """Counts how often the database has come back, for those who would otherwise wait longer than that takes."""

    def __init__(self) -> None:
        self.count = 0
        self._next = asyncio.Event()

    def record(self) -> None:
        """Count that the database has come back once more."""
        self.count += 1
        self._next.set()
        self._next = asyncio.Event()

    async def wait(self, since: int, seconds: float) -> bool:
        """Wait until `count` exceeds `since`, for so many seconds at most. Returns whether it does."""
        if self.count == since:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._next.wait()
        return self.count != since
