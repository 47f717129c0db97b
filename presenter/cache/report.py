"""The state of the cache as plain values: the JSON of `/readyz` and of `presenter status --json`."""

from __future__ import annotations

from typing import Any

from presenter.cache.catalog import CachedType, Catalog, Cluster, WatchStatus
from presenter.errors import PresenterError, SchemaOutdated
from presenter.resource import ALL_NAMESPACES

SHOWN = 500
"""The most watches in a report, the worst first: many types restricted to many namespaces make very many."""


def report(catalog: Catalog) -> dict[str, Any]:
    """The clusters, and the state of each watch."""
    watches = catalog.watches
    waiting = [cached for cached in catalog.types if not cached.synced and not catalog.refuses(cached)]
    return {
        **verdict(catalog),
        "database": "ok",
        "clusters": [_cluster(cluster, catalog) for cluster in catalog.clusters],
        "waiting": [cached.waiting for cached in waiting][:SHOWN],
        "types": [_watch(cached, watch) for cached, watch in watches[:SHOWN]],
        "omitted": max(0, len(watches) - SHOWN),
    }


def report_of_failure(error: PresenterError) -> dict[str, Any]:
    """The same where the database cannot be read."""
    absent = {"database": error.message, "clusters": [], "waiting": [], "types": [], "omitted": 0}
    return verdict_of_failure(error) | absent


def verdict(catalog: Catalog) -> dict[str, Any]:
    """Whether the cache is usable, and why not in a word: all that anybody may know."""
    if catalog.usable:
        return {"ready": True, "reason": "ok"}
    return {"ready": False, "reason": "listing" if catalog.clusters else "unwatched"}


def verdict_of_failure(error: PresenterError) -> dict[str, Any]:
    """The same where the database cannot be read."""
    return {"ready": False, "reason": "schema" if isinstance(error, SchemaOutdated) else "database"}


def _cluster(cluster: Cluster, catalog: Catalog) -> dict[str, Any]:
    """`refused`, `unwatched` and `undiscovered` say what is left out, and only where something is."""
    types = catalog.of_cluster(cluster.name)
    lease = cluster.lease
    left_out = {
        "refused": [cached.waiting for cached in types if catalog.refuses(cached)][:SHOWN],
        "unwatched": [cached.type.name for cached in catalog.unwatched if cached.cluster == cluster.name],
        "undiscovered": sorted(group for name, group in catalog.undiscovered if name == cluster.name),
    }
    return {
        "name": cluster.name,
        "ready": catalog.is_usable(cluster),
        "discovered": cluster.discovered,
        "types": len(types),
        "objects": sum(cached.objects for cached in types),
        "lease": None if lease is None else {"holder": lease.holder, "epoch": lease.epoch, "held": lease.held},
        **{kind: names for kind, names in left_out.items() if names},
    }


def _watch(cached: CachedType, watch: WatchStatus) -> dict[str, Any]:
    """`namespace` only where NAMESPACES restricts; `lag_seconds` is null where it was never heard of."""
    return {
        "cluster": cached.cluster,
        "type": cached.type.name,
        **({} if watch.namespace == ALL_NAMESPACES else {"namespace": watch.namespace}),
        "state": watch.state,
        "message": watch.error,
        "synced": watch.synced,
        "objects": watch.objects,
        "lag_seconds": None if watch.lag_seconds is None else round(watch.lag_seconds, 1),
        "checkpoint": watch.checkpoint,
        "events": watch.events,
        "lists": watch.lists,
        "repairs": watch.repairs,
        "sanitised": watch.sanitised,
    }
