"""What the cache holds: clusters, their types, and how far each is. Serving learns it from here, and only from here."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, get_args

import structlog

from presenter.cache.writer import type_of
from presenter.cache.writes import CATALOG_CHANNEL
from presenter.errors import NotSynced, Unavailable
from presenter.patterns import Patterns
from presenter.resource import ALL_NAMESPACES, ResourceType, State

if TYPE_CHECKING:
    import asyncpg

    from presenter.cache.pool import Connection, Pool

STALLED_AFTER = timedelta(minutes=3)
"""Twice the silence after which a reflector gives a connection up: then nobody watches any more."""

Stamp = tuple[tuple[str, int, int, int], ...]
"""What tells one state of a type's rows from every other: by namespace the revision, events and lists of its watch."""

_FROM_GOOD_TO_BAD: tuple[State, ...] = get_args(State)

log = structlog.get_logger(__name__)

_CLUSTERS = """
SELECT c.name, c.watch, c.discovered_at IS NOT NULL AS discovered, c.completed_at IS NOT NULL AS completed,
    l.holder, l.epoch, l.expires_at - clock_timestamp() AS expires_in
FROM clusters c LEFT JOIN leases l ON l.cluster = c.name
ORDER BY c.name
"""

_TYPES = """
SELECT t.id, t.cluster, t.api_group, t.version, t.resource, t.kind, t.namespaced, t.versions,
    w.namespace, w.state, w.error, w.synced_at, w.checkpoint, w.revision,
    w.objects, w.events, w.lists, w.repairs, w.sanitised,
    clock_timestamp() - w.last_event_at AS lag
FROM resource_types t JOIN watches w ON w.type_id = t.id
ORDER BY t.cluster, t.api_group, t.resource, w.namespace
"""


@dataclass(frozen=True, slots=True)
class Leadership:
    """Who writes what a cluster says, or did so last."""

    holder: str
    epoch: int
    expires_in: timedelta

    @property
    def held(self) -> bool:
        """Whether it holds still."""
        return self.expires_in > timedelta()


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that is watched.

    `discovered`: every type it has and WATCH selects is known. `completed`: the first lists of all of them were once
    complete, though a type may have come since whose is not.
    """

    name: str
    patterns: Patterns
    discovered: bool
    completed: bool
    lease: Leadership | None


@dataclass(frozen=True, slots=True)
class WatchStatus:
    """How one watch of a type stands.

    `synced_at`: when its last list was completed. `checkpoint`: the resourceVersion its rows are complete up to. `lag`:
    the time since its rows were last known to be complete, or a very long one. `revision`:
    that of the last change of its rows. `objects`: how many are cached; of all time are the `events` that were applied,
    the `lists` that were completed, the `repairs` of what differed without an event, and the objects that were
    `sanitised` because PostgreSQL cannot store them as they are.
    """

    namespace: str
    state: State
    error: str
    synced_at: datetime | None
    checkpoint: str | None
    lag: timedelta
    revision: int = 0
    objects: int = 0
    events: int = 0
    lists: int = 0
    repairs: int = 0
    sanitised: int = 0

    @property
    def synced(self) -> bool:
        """Whether its first list was completed."""
        return self.synced_at is not None

    @property
    def lag_seconds(self) -> float | None:
        """The lag as a number; None when it was never heard of."""
        return None if self.lag == timedelta.max else self.lag.total_seconds()

    @property
    def badness(self) -> int:
        """What orders watches from good to bad."""
        return _FROM_GOOD_TO_BAD.index(self.state)

    def covers(self, namespace: str | None) -> bool:
        """Whether it brings objects of a namespace (None: of any)."""
        return namespace is None or self.namespace in (ALL_NAMESPACES, namespace)


@dataclass(frozen=True, slots=True)
class CachedType:
    """A type of a cluster, as it is cached."""

    id: int
    cluster: str
    type: ResourceType
    watches: tuple[WatchStatus, ...]

    @property
    def synced(self) -> bool:
        """Whether what is cached may be taken for all there is."""
        return all(watch.synced for watch in self.watches)

    @property
    def objects(self) -> int:
        """How many objects are cached."""
        return sum(watch.objects for watch in self.watches)

    @property
    def stamp(self) -> Stamp:
        """What differs whenever its rows do, also when a version wrote them that knows of no revisions."""
        return tuple((watch.namespace, watch.revision, watch.events, watch.lists) for watch in self.watches)

    @property
    def waiting(self) -> str:
        """What its first list waits for, in words; empty when it is complete."""
        waiting = "; ".join(
            f"{f'namespace {watch.namespace}: ' if watch.namespace != ALL_NAMESPACES else ''}{watch.state}"
            f"{f' ({watch.error})' if watch.error else ''}"
            for watch in self.watches
            if not watch.synced
        )
        return f"{self.type.name} in cluster {self.cluster} is not complete yet: {waiting}" if waiting else ""

    def require_synced(self) -> None:
        """Raise NotSynced unless the first list is complete: until then nothing may be said to be all there is."""
        if not self.synced:
            raise NotSynced(self.waiting)


class Catalog:
    """A snapshot of what is cached."""

    def __init__(self, clusters: tuple[Cluster, ...], types: tuple[CachedType, ...]) -> None:
        self.clusters = clusters
        self.types = types
        self.by_id = {cached.id: cached for cached in types}
        self._of_group: dict[tuple[str, str], list[CachedType]] = {}
        for cached in types:
            self._of_group.setdefault((cached.cluster, cached.type.group), []).append(cached)

    @property
    def complete(self) -> bool:
        """Whether there is a cluster, and all of every cluster that is to be cached is."""
        discovered = all(cluster.discovered for cluster in self.clusters)
        return bool(self.clusters) and discovered and all(cached.synced for cached in self.types)

    @property
    def usable(self) -> bool:
        """Whether there is a cluster, and every cluster was once complete.

        A type that comes later and cannot be listed is no reason to turn callers away from all the others.
        """
        return bool(self.clusters) and all(cluster.completed for cluster in self.clusters)

    @property
    def watches(self) -> list[tuple[CachedType, WatchStatus]]:
        """Every watch with its type: what was never complete first, then from bad to good, then by name."""
        watches = [(cached, watch) for cached in self.types for watch in cached.watches]
        return sorted(watches, key=lambda each: (each[1].synced, -each[1].badness))

    def of_group(self, cluster: str, group: str) -> list[CachedType]:
        """The types of an API group in a cluster."""
        return self._of_group.get((cluster, group), [])


async def read_catalog(pool: Pool) -> Catalog:
    """Read the catalog. Raises DatabaseUnavailable and its kin."""
    async with pool.connection() as connection:
        clusters = await connection.fetch(_CLUSTERS)
        rows = await connection.fetch(_TYPES)
    watches: dict[int, list[WatchStatus]] = {}
    for row in rows:
        watches.setdefault(row["id"], []).append(_status(row))
    types = {row["id"]: type_of(row) for row in rows}
    owners = {row["id"]: row["cluster"] for row in rows}
    return Catalog(
        tuple(_cluster(row) for row in clusters),
        tuple(CachedType(id, owners[id], types[id], tuple(watches[id])) for id in types),
    )


def _cluster(row: asyncpg.Record) -> Cluster:
    return Cluster(row["name"], Patterns(row["watch"]), row["discovered"], row["completed"], _leadership(row))


def _leadership(row: asyncpg.Record) -> Leadership | None:
    return None if row["holder"] is None else Leadership(row["holder"], row["epoch"], row["expires_in"])


def _status(row: asyncpg.Record) -> WatchStatus:
    lag = timedelta.max if row["lag"] is None else max(row["lag"], timedelta())
    return WatchStatus(
        namespace=row["namespace"],
        state="stalled" if row["state"] == "live" and lag > STALLED_AFTER else row["state"],
        error=row["error"],
        synced_at=row["synced_at"],
        checkpoint=row["checkpoint"],
        lag=lag,
        revision=row["revision"],
        objects=row["objects"],
        events=row["events"],
        lists=row["lists"],
        repairs=row["repairs"],
        sanitised=row["sanitised"],
    )


class CatalogReader:
    """The catalog, read again when it changed or is older than `max_age` seconds; all who wait share one reading."""

    def __init__(self, pool: Pool, max_age: float = 0.5) -> None:
        self._pool = pool
        self._max_age = max_age
        self._turn = asyncio.Lock()
        self._catalog: Catalog | None = None
        self._read_at = 0.0

    async def current(self) -> Catalog:
        """The catalog as it was at most `max_age` seconds ago. Raises DatabaseUnavailable and its kin."""
        if (catalog := self._fresh()) is not None:
            return catalog
        async with self._turn:
            if (catalog := self._fresh()) is not None:
                return catalog
            self._read_at = time.monotonic()  # before reading: what is announced meanwhile counts
            self._catalog = None
            self._catalog = await read_catalog(self._pool)
            return self._catalog

    async def follow(self) -> None:
        """Hear at once of what writers announce, until cancelled. `max_age` is the net below it.

        It is all there is where nothing is announced: on a standby server, and behind a pooler.
        """
        while True:
            try:
                async with self._pool.connection() as connection:
                    if not await connection.fetchval("SELECT pg_is_in_recovery()"):
                        await self._listen(connection)
            except Unavailable as error:
                log.debug("announcements are not heard", error=error.message)
            await asyncio.sleep(self._max_age)

    async def _listen(self, connection: Connection) -> None:
        closed = asyncio.Event()

        def announced(*_: object) -> None:
            self._read_at = 0.0

        connection.add_termination_listener(lambda _: closed.set())
        await connection.add_listener(CATALOG_CHANNEL, announced)
        try:
            announced()
            await closed.wait()
        finally:
            if not connection.is_closed():
                await connection.remove_listener(CATALOG_CHANNEL, announced)

    def _fresh(self) -> Catalog | None:
        return self._catalog if time.monotonic() - self._read_at < self._max_age else None
