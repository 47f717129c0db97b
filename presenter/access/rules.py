"""Each cluster's RBAC rules, kept in memory and as fresh as the cache.

Read from PostgreSQL alone, so that every replica decides alike and no request costs a call to an API server. The
stamps of the RBAC types tell when there is something to read: every write to their rows changes one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from presenter.access.metrics import RBAC_COMPILE_SECONDS, RBAC_OBJECTS
from presenter.access.rbac import Kind, RbacRules
from presenter.cache.informer import InformerStore
from presenter.errors import Unavailable
from presenter.resource import RBAC_GROUP

if TYPE_CHECKING:
    from presenter.cache.catalog import CachedType, Catalog, Stamp
    from presenter.cache.pool import Pool

KINDS: Mapping[str, Kind] = {
    "roles": "Role",
    "clusterroles": "ClusterRole",
    "rolebindings": "RoleBinding",
    "clusterrolebindings": "ClusterRoleBinding",
}
"""The kinds of RBAC's resource types."""

log = structlog.get_logger(__name__)


class RulesOfClusters:
    """The rules of every cluster in the cache.

    `max_staleness` is how long the watches that feed them may have been silent: rules that may no longer hold decide
    nothing.
    """

    def __init__(self, pool: Pool, max_staleness: timedelta) -> None:
        self._pool = pool
        self._max_staleness = max_staleness
        self._clusters: dict[str, _RulesOfCluster] = {}
        self._last: dict[str, tuple[Catalog, RbacRules]] = {}

    async def current(self, cluster: str, catalog: Catalog) -> RbacRules:
        """The rules as of this catalog. Raises Unavailable when they are not all there, or may be out of date."""
        last = self._last.get(cluster)
        if last is not None and last[0] is catalog:
            return last[1]
        types = [cached for cached in catalog.of_group(cluster, RBAC_GROUP) if cached.type.resource in KINDS]
        self._require_trustworthy(cluster, types)
        known = self._clusters.get(cluster)
        if known is None or known.type_ids != {cached.id for cached in types}:
            known = self._clusters[cluster] = _RulesOfCluster(self._pool, cluster, types)
        rules = await known.current(tuple(cached.stamp for cached in types))
        self._last[cluster] = catalog, rules
        return rules

    def _require_trustworthy(self, cluster: str, types: Sequence[CachedType]) -> None:
        missing = KINDS.keys() - {cached.type.resource for cached in types if cached.synced}
        if missing:
            raise Unavailable(
                f"who may see what in cluster {cluster} is not known yet: {', '.join(sorted(missing))} are not synced"
            )
        silent = max(watch.lag for cached in types for watch in cached.watches)
        if silent > self._max_staleness:
            raise Unavailable(
                f"who may see what in cluster {cluster} may have changed: its RBAC objects were last heard of "
                f"{silent.total_seconds():.0f} s ago (RBAC_MAX_STALENESS {self._max_staleness.total_seconds():.0f} s)"
            )


class _RulesOfCluster:
    """One cluster's rules, read by one at a time for all who wait."""

    def __init__(self, pool: Pool, cluster: str, types: Sequence[CachedType]) -> None:
        self._cluster = cluster
        self._store = InformerStore(pool, [cached.id for cached in types])
        self._kinds = {cached.id: KINDS[cached.type.resource] for cached in types}
        self._owners: dict[tuple[Kind, str, str], str] = {}
        self._rules = RbacRules()
        self._stamps: tuple[Stamp, ...] | None = None
        self._lock = asyncio.Lock()

    @property
    def type_ids(self) -> set[int]:
        return set(self._kinds)

    async def current(self, stamps: tuple[Stamp, ...]) -> RbacRules:
        if stamps != self._stamps:
            async with self._lock:
                if stamps != self._stamps:
                    with RBAC_COMPILE_SECONDS.time():
                        await self._read()
                    self._stamps = stamps
        return self._rules

    async def _read(self) -> None:
        changes = await self._store.read_changes()
        for reference in changes.removed:
            key = (self._kinds[reference.type_id], reference.namespace, reference.name)
            if self._owners.get(key) == reference.uid:  # not one that was created anew under the name
                del self._owners[key]
                self._rules.remove(*key)
        for reference, raw in changes.put:
            key = (self._kinds[reference.type_id], reference.namespace, reference.name)
            self._owners[key] = reference.uid
            if wrong := self._rules.put(*key, raw):
                log.warning("RBAC object not understood", error=wrong)
        count = Counter(kind for kind, _, _ in self._owners)
        for kind in KINDS.values():
            RBAC_OBJECTS.labels(self._cluster, kind).set(count[kind])
