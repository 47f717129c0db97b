"""The catalog: the clusters in the cache, their types, and the state of every watch. All that serving knows of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache, cached_property
from typing import TYPE_CHECKING, get_args

import msgspec
import structlog

from presenter.cache import schema
from presenter.cache.watch_patterns import WatchPatterns
from presenter.cache.writer import type_of
from presenter.errors import NotSynced
from presenter.resource import ALL_NAMESPACES, ANY_RESOURCE, RBAC_GROUP, ResourceType, State

if TYPE_CHECKING:
    import asyncpg

    from presenter.cache.pool import Pool
    from presenter.cache.scope import ScanRange

STALLED_AFTER = timedelta(minutes=3)
"""Twice the silence after which a reflector closes a connection: then nobody watches any more."""

Moment = tuple[int | None, str]
"""That at which the watch of a type (by its id) and namespace was complete; without a type, at which a lease ends."""

Stamp = tuple[tuple[str, int, int, int], ...]
"""A version of a type's rows: by namespace the revision, events and lists of its watch. It changes when they do."""

_STATES: list[State] = list(get_args(State))
"""From good to bad."""
_SEVERITY = {state: severity for severity, state in enumerate(_STATES)}

log = structlog.get_logger(__name__)

# One statement: it is one state of the database, and one round trip. The watches of a type come as JSON: there are very
# many of them where many types are restricted to many namespaces, and to decode them so takes a tenth of the time.
_CATALOG = """
SELECT v.version_num, c.name AS cluster, c.revision, c.watch, c.discovered_at IS NOT NULL AS discovered,
    c.completed_at IS NOT NULL AS completed, l.holder, l.epoch, l.expires_at - time.now AS expires_in,
    extract(epoch FROM time.now)::float8 AS now, extract(epoch FROM l.expires_at)::float8 AS expires_at,
    t.id, t.api_group, t.version, t.resource, t.kind, t.namespaced, t.versions, w.watches, w.unknown
FROM alembic_version v CROSS JOIN (SELECT clock_timestamp()) AS time (now)
LEFT JOIN clusters c ON true
LEFT JOIN leases l ON l.cluster = c.name
LEFT JOIN resource_types t ON t.cluster = c.name
LEFT JOIN LATERAL (
    SELECT array_agg(DISTINCT state) FILTER (WHERE state <> ALL ($1::text[])) AS unknown, json_agg(json_build_array(
        namespace,
        CASE WHEN state <> ALL ($1) THEN 'unknown' WHEN state = 'live' AND lag > $2 THEN 'stalled' ELSE state END,
        error, synced_at, checkpoint, CASE WHEN lag < 0 THEN 0 ELSE lag END, revision,
        objects, events, lists, repairs, sanitised, extract(epoch FROM last_event_at)::float8
    ) ORDER BY namespace)::text AS watches
    FROM (
        SELECT *, extract(epoch FROM time.now - last_event_at)::float8 AS lag FROM watches WHERE type_id = t.id
    ) AS watch
) AS w ON true
ORDER BY c.name, t.api_group, t.resource
"""


@dataclass(frozen=True, slots=True)
class Leadership:
    """The lease of a cluster, and the process that holds it or did last."""

    holder: str
    epoch: int
    expires_in: timedelta
    expires_at: float

    @property
    def held(self) -> bool:
        """Whether it has not expired."""
        return self.expires_in > timedelta()


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that is watched.

    `discovered`: every type it has and WATCH selects is known. `completed`: the first lists of all of them were once
    complete, but for those that the API server refused lastingly; a type may have come since whose list is not.
    `revision`: where its changes can be followed from.
    """

    name: str
    patterns: WatchPatterns
    discovered: bool
    completed: bool
    revision: int
    lease: Leadership | None


class WatchStatus(msgspec.Struct, frozen=True, array_like=True):
    """The state of one watch of a type.

    `synced_at`: when its last list was completed. `checkpoint`: the resourceVersion its rows are complete up to.
    `lag_seconds`: the time since its rows were last known to be complete, None for never. `revision`: that of the last
    change of its rows. `objects`: how many are cached; of all time are the `events` that were applied, the `lists` that
    were completed, the `repairs` of what differed without an event, and the objects that were `sanitised` because
    PostgreSQL cannot store them as they are. `complete_at`: what the lag is counted from, in seconds of the database's
    clock.
    """

    namespace: str
    state: State
    error: str
    synced_at: datetime | None
    checkpoint: str | None
    lag_seconds: float | None
    revision: int = 0
    objects: int = 0
    events: int = 0
    lists: int = 0
    repairs: int = 0
    sanitised: int = 0
    complete_at: float | None = None

    @property
    def synced(self) -> bool:
        """Whether its first list was completed."""
        return self.synced_at is not None

    @property
    def refused(self) -> bool:
        """Whether its first list is not complete, and was refused or broken off the last time it ended."""
        return self.synced_at is None and self.error != ""

    @property
    def lag(self) -> timedelta:
        """The time since its rows were last known to be complete; `timedelta.max` for never."""
        return timedelta.max if self.lag_seconds is None else timedelta(seconds=self.lag_seconds)

    def aged(self, lag: float) -> WatchStatus:
        """The same with another lag."""
        state: State = self.state
        if state in ("live", "stalled"):
            state = "stalled" if lag > STALLED_AFTER.total_seconds() else "live"
        return msgspec.structs.replace(self, lag_seconds=max(0.0, lag), state=state)

    @property
    def severity(self) -> int:
        """The rank of its state, from good to bad."""
        return _SEVERITY[self.state]


_decode_watches = msgspec.json.Decoder(tuple[WatchStatus, ...]).decode


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """The worst state of some watches, and their longest lag in seconds; None where one has none yet."""

    state: State
    lag_seconds: float | None

    @classmethod
    def worst(cls, statuses: Sequence[WatchStatus | SyncStatus]) -> SyncStatus | None:
        """The status of all of these together; None of none."""
        if not statuses:
            return None
        lags = [status.lag_seconds for status in statuses if status.lag_seconds is not None]
        severity = max(_SEVERITY[status.state] for status in statuses)
        return cls(_STATES[severity], max(lags) if len(lags) == len(statuses) else None)


@dataclass(frozen=True)
class CachedType:
    """A type of a cluster, as it is cached. What follows from its watches is computed once in a catalog."""

    id: int
    cluster: str
    type: ResourceType
    watches: tuple[WatchStatus, ...]

    @cached_property
    def synced(self) -> bool:
        """Whether its first lists are complete, so that what is cached is all there is."""
        return all(watch.synced for watch in self.watches)

    @cached_property
    def refused(self) -> bool:
        """Whether it is not synced, and every watch that is not was refused at its last attempt."""
        return not self.synced and all(watch.synced or watch.refused for watch in self.watches)

    @cached_property
    def sync_status(self) -> SyncStatus | None:
        """The worst of all its watches."""
        return SyncStatus.worst(self.watches)

    @cached_property
    def by_namespace(self) -> Mapping[str, WatchStatus]:
        """Its watches, by their namespaces."""
        return {watch.namespace: watch for watch in self.watches}

    @cached_property
    def objects(self) -> int:
        """How many objects are cached."""
        return sum(watch.objects for watch in self.watches)

    @property
    def stamp(self) -> Stamp:
        """Changes whenever its rows do, also where a version of this program wrote them that knows of no revisions."""
        return tuple((watch.namespace, watch.revision, watch.events, watch.lists) for watch in self.watches)

    @property
    def waiting(self) -> str:
        """What its first list waits for, in words for operators; empty when it is complete."""
        waiting = "; ".join(
            f"{f'namespace {watch.namespace}: ' if watch.namespace != ALL_NAMESPACES else ''}{watch.state}"
            f"{f' ({watch.error})' if watch.error else ''}"
            for watch in self.watches
            if not watch.synced
        )
        return f"{self.type.name} in cluster {self.cluster} is not complete yet: {waiting}" if waiting else ""

    def require_synced(self) -> None:
        """Raise NotSynced unless the first lists are complete.

        The message is for callers: it names no namespaces, and does not quote the API server, which may name objects.
        """
        if not self.synced:
            states = dict.fromkeys(watch.state for watch in self.watches if not watch.synced)
            raise NotSynced(f"{self.type.name} in cluster {self.cluster} is not complete yet: {', '.join(states)}")


class Catalog:
    """A snapshot of what is cached.

    `unwatched` are types that WATCH selects and that cannot be watched; `undiscovered` are, by cluster, the API groups
    whose types are not known, since their servers do not answer. `now` is what the database's clock said, in seconds.
    """

    def __init__(
        self,
        clusters: tuple[Cluster, ...],
        types: tuple[CachedType, ...],
        unwatched: tuple[CachedType, ...] = (),
        undiscovered: frozenset[tuple[str, str]] = frozenset(),
        now: float = 0.0,
    ) -> None:
        self.clusters = clusters
        self.types = types
        self.unwatched = unwatched
        self.undiscovered = undiscovered
        self.now = now
        self.by_id = {cached.id: cached for cached in types}
        self.by_cluster = {cluster.name: cluster for cluster in clusters}
        self._of_group: dict[tuple[str, str], list[CachedType]] = {}
        self._of_cluster: dict[str, list[CachedType]] = {}
        for cached in types:
            self._of_group.setdefault((cached.cluster, cached.type.group), []).append(cached)
            self._of_cluster.setdefault(cached.cluster, []).append(cached)
        self._sync_statuses: dict[ScanRange, SyncStatus | None] = {}

    @property
    def complete(self) -> bool:
        """Whether there is a cluster, and every cluster is cached completely."""
        discovered = all(cluster.discovered for cluster in self.clusters)
        return bool(self.clusters) and discovered and all(cached.synced for cached in self.types)

    @cached_property
    def usable(self) -> bool:
        """Whether some cluster is usable: what another one lacks is no reason to turn callers away."""
        return any(self.is_usable(cluster) for cluster in self.clusters)

    def is_usable(self, cluster: Cluster) -> bool:
        """Whether a cluster was once complete, but for types that are refused, and has its RBAC objects."""
        return cluster.completed and all(cached.synced for cached in self.of_group(cluster.name, RBAC_GROUP))

    def refuses(self, cached: CachedType) -> bool:
        """Whether the API server refuses to list a type, though its cluster was once complete.

        While a cluster is first listed, a type that was refused once is merely slow.
        """
        return cached.refused and self.by_cluster[cached.cluster].completed

    @property
    def watches(self) -> list[tuple[CachedType, WatchStatus]]:
        """Every watch with its type: what was never complete first, then from bad to good, then by name."""
        watches = [(cached, watch) for cached in self.types for watch in cached.watches]
        return sorted(watches, key=lambda each: (each[1].synced, -each[1].severity))

    def moments(self) -> Mapping[Moment, float]:
        """What is told by the database's clock, and when that was, in seconds."""
        ends = {(None, each.name): each.lease.expires_at for each in self.clusters if each.lease is not None}
        watches = ((cached.id, watch) for cached in self.types for watch in cached.watches)
        return ends | {
            (id, watch.namespace): watch.complete_at for id, watch in watches if watch.complete_at is not None
        }

    def without(self, jumped: Mapping[Moment, float]) -> Catalog:
        """The same, where the database's clock was set forward by so many seconds since these moments."""
        if not jumped:
            return self
        return Catalog(
            tuple(_cluster_without(jumped.get((None, cluster.name), 0.0), cluster) for cluster in self.clusters),
            tuple(self._type_without(jumped, cached) for cached in self.types),
            self.unwatched,
            self.undiscovered,
            self.now,
        )

    def _type_without(self, jumped: Mapping[Moment, float], cached: CachedType) -> CachedType:
        watches = [
            watch.aged(self.now - watch.complete_at - jumped[moment])
            if watch.complete_at is not None and (moment := (cached.id, watch.namespace)) in jumped
            else watch
            for watch in cached.watches
        ]
        return replace(cached, watches=tuple(watches))

    def of_group(self, cluster: str, group: str) -> Sequence[CachedType]:
        """The types of an API group in a cluster."""
        return self._of_group.get((cluster, group), ())

    def of_cluster(self, cluster: str) -> Sequence[CachedType]:
        """The types of a cluster."""
        return self._of_cluster.get(cluster, ())

    def sync_status(self, scanned: ScanRange) -> SyncStatus | None:
        """The worst of the watches that feed a range; None where none does. Computed once for each range."""
        if scanned.namespaces is None:
            return self.by_id[scanned.type_id].sync_status
        if scanned not in self._sync_statuses:
            watches = self.by_id[scanned.type_id].by_namespace
            found = (watches.get(ALL_NAMESPACES) or watches.get(namespace) for namespace in scanned.namespaces)
            self._sync_statuses[scanned] = SyncStatus.worst([watch for watch in found if watch is not None])
        return self._sync_statuses[scanned]


async def read_catalog(pool: Pool) -> Catalog:
    """Read the catalog. Raises SchemaOutdated and DatabaseUnavailable."""
    async with pool.connection() as connection:
        rows = await connection.fetch(_CATALOG, _STATES, STALLED_AFTER.total_seconds())
    schema.require(rows[0]["version_num"] if rows else None)
    clusters = {row["cluster"]: _cluster(row) for row in rows if row["cluster"] is not None}
    types = [_type(row) for row in rows if row["id"] is not None]
    for state in {state for row in rows for state in row["unknown"] or ()}:
        warn_once("a state that this version does not know, as a newer one may write: read as unknown", state=state)
    return Catalog(
        tuple(clusters.values()),
        tuple(cached for cached in types if cached.watches),
        tuple(cached for cached in types if not cached.watches and cached.type.resource != ANY_RESOURCE),
        frozenset((cached.cluster, cached.type.group) for cached in types if cached.type.resource == ANY_RESOURCE),
        rows[0]["now"],
    )


def _cluster(row: asyncpg.Record) -> Cluster:
    patterns = WatchPatterns.stored(tuple(row["watch"]))
    for text in patterns.unknown:
        warn_once("a WATCH pattern that this version does not know, as a newer one may write: ignored", pattern=text)
    return Cluster(row["cluster"], patterns, row["discovered"], row["completed"], row["revision"], _leadership(row))


def _cluster_without(jumped: float, cluster: Cluster) -> Cluster:
    if cluster.lease is None:
        return cluster
    expires_in = cluster.lease.expires_in + timedelta(seconds=jumped)
    return replace(cluster, lease=replace(cluster.lease, expires_in=expires_in))


def _leadership(row: asyncpg.Record) -> Leadership | None:
    return (
        None if row["holder"] is None else Leadership(row["holder"], row["epoch"], row["expires_in"], row["expires_at"])
    )


def _type(row: asyncpg.Record) -> CachedType:
    watches = () if row["watches"] is None else _decode_watches(row["watches"])
    return CachedType(row["id"], row["cluster"], type_of(row), watches)


@cache
def warn_once(event: str, **values: str) -> None:
    """Log a warning, the first time only."""
    log.warning(event, **values)
