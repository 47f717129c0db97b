"""What the cache measures, for Prometheus: it stands in the catalog, so that all replicas tell the same.

And what this process measures of the pages that it keeps.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from presenter import __version__
from presenter.cache.catalog import Catalog
from presenter.resource import RBAC_GROUP, State

PAGE_CACHE_BYTES = Gauge(
    "presenter_page_cache_bytes",
    "Bytes of pages that are kept as they went out.",
    registry=None,
    multiprocess_mode="livesum",
)
PAGE_CACHE_HITS = Counter("presenter_page_cache_hits", "Pages that were answered as they were kept.", registry=None)
PAGE_CACHE_MISSES = Counter(
    "presenter_page_cache_misses", "Pages that were read, as they were not kept or had changed.", registry=None
)
OF_HOT_PAGES = (PAGE_CACHE_BYTES, PAGE_CACHE_HITS, PAGE_CACHE_MISSES)


def cache_metrics(catalog: Catalog | None) -> bytes:
    """The cache's metrics in Prometheus' text format. None: the database does not answer, which is all to tell."""
    return _text(_Cache(catalog))


def verdict_metrics(catalog: Catalog | None) -> bytes:
    """Of these what anybody may know."""
    return _verdict_text(catalog is not None, catalog is not None and catalog.usable)


@cache
def _verdict_text(up: bool, ready: bool) -> bytes:
    return _text(_Verdict(up, ready))


def _text(collector: Collector) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return generate_latest(registry)


class _Verdict(Collector):
    """Whether the database answered, and there is a cluster that can be asked."""

    def __init__(self, up: bool, ready: bool) -> None:
        self._up = up
        self._ready = ready

    def collect(self) -> Iterator[Metric]:
        """What Prometheus' client asks a collector for."""
        yield GaugeMetricFamily(
            "presenter_database_up", "Whether the database answered when it was last asked.", self._up
        )
        yield GaugeMetricFamily(
            "presenter_ready",
            "Whether the database answers and a cluster can be asked: what /readyz says.",
            self._ready,
        )


class _Cache(_Verdict):
    """All there is to say of a catalog (None: the database did not answer).

    The label `namespace` is empty, which to Prometheus is no label, unless NAMESPACES restricts what is watched.
    """

    def __init__(self, catalog: Catalog | None) -> None:
        super().__init__(catalog is not None, catalog is not None and catalog.usable)
        self._catalog = catalog

    def collect(self) -> Iterator[Metric]:
        """What Prometheus' client asks a collector for."""
        build = GaugeMetricFamily("presenter_build_info", "The version that runs.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        yield from super().collect()
        if (catalog := self._catalog) is not None:
            yield _clusters(catalog)
            yield from _leases(catalog)
            yield from _watches(catalog)
            yield _rules(catalog)


def _clusters(catalog: Catalog) -> Metric:
    ready = GaugeMetricFamily("presenter_cluster_ready", "Whether the cluster can be asked.", labels=["cluster"])
    for cluster in catalog.clusters:
        ready.add_metric([cluster.name], catalog.is_usable(cluster))
    return ready


def _leases(catalog: Catalog) -> Iterator[Metric]:
    held = GaugeMetricFamily(
        "presenter_lease_held", "Whether a process holds the lease to write the cluster.", labels=["cluster"]
    )
    expires = GaugeMetricFamily(
        "presenter_lease_expires_seconds", "Time until the lease is free, if it is not renewed.", labels=["cluster"]
    )
    epoch = GaugeMetricFamily(
        "presenter_lease_epoch", "The epoch of the lease, in which writes are made.", labels=["cluster"]
    )
    transitions = CounterMetricFamily(
        "presenter_lease_transitions", "How often the lease changed hands.", labels=["cluster"]
    )
    for cluster in catalog.clusters:
        lease = cluster.lease
        held.add_metric([cluster.name], lease is not None and lease.held)
        expires.add_metric([cluster.name], max(0.0, lease.expires_in.total_seconds()) if lease else 0)
        epoch.add_metric([cluster.name], lease.epoch if lease else 0)
        transitions.add_metric([cluster.name], lease.epoch if lease else 0)
    yield from (held, expires, epoch, transitions)


def _rules(catalog: Catalog) -> Metric:
    silent = GaugeMetricFamily(
        "presenter_rbac_lag_seconds",
        "Time since the RBAC objects were last heard of: rules that are too old decide nothing.",
        labels=["cluster"],
    )
    for cluster in catalog.clusters:
        lags = [watch.lag_seconds for cached in catalog.of_group(cluster.name, RBAC_GROUP) for watch in cached.watches]
        known = [lag for lag in lags if lag is not None]
        if known:
            silent.add_metric([cluster.name], max(known))
    return silent


def _watches(catalog: Catalog) -> Iterator[Metric]:
    labels = ["cluster", "group", "resource", "namespace"]
    state = GaugeMetricFamily(
        "presenter_cache_state", "How the watch stands: 1 for the state it is in.", labels=[*labels, "state"]
    )
    lag = GaugeMetricFamily("presenter_cache_lag_seconds", "Time since the watch was last heard of.", labels=labels)
    objects = GaugeMetricFamily("presenter_cache_objects", "Objects that are cached.", labels=labels)
    events = CounterMetricFamily("presenter_cache_events", "Events that were applied.", labels=labels)
    lists = CounterMetricFamily("presenter_cache_lists", "Lists that were completed.", labels=labels)
    repairs = CounterMetricFamily("presenter_cache_repairs", "Differences found without an event.", labels=labels)
    sanitised = CounterMetricFamily("presenter_cache_sanitised", "Objects not stored as they are.", labels=labels)
    for cached, watch in catalog.watches:
        values = [cached.cluster, cached.type.group, cached.type.resource, watch.namespace]
        for known in get_args(State):
            state.add_metric([*values, known], watch.state == known)
        if watch.lag_seconds is not None:
            lag.add_metric(values, watch.lag_seconds)
        objects.add_metric(values, watch.objects)
        events.add_metric(values, watch.events)
        lists.add_metric(values, watch.lists)
        repairs.add_metric(values, watch.repairs)
        sanitised.add_metric(values, watch.sanitised)
    yield from (state, lag, objects, events, lists, repairs, sanitised)
