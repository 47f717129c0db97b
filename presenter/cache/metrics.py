"""Prometheus metrics of this process's connections and writes; those of the cache are in `presenter.api.metrics`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Literal

from prometheus_client import Counter, Gauge, Histogram

from presenter.errors import DatabaseBusy, LeaseLost, Unavailable

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_OBJECTS = (1, 2, 5, 10, 25, 50, 100, 250, 500)

_gauge = partial(Gauge, labelnames=["pool"], registry=None, multiprocess_mode="livesum")
_histogram = partial(Histogram, registry=None)

CONNECTIONS = _gauge("presenter_database_connections_in_use", "Connections to the database that something is done on.")
CONNECTIONS_MAX = _gauge("presenter_database_connections_max", "Connections to the database that there may be.")
WAITING = _gauge("presenter_database_waiting", "Who waits for a connection to the database now.")
WAIT_SECONDS = _histogram(
    "presenter_database_wait_seconds",
    "Time until a connection to the database was to be had.",
    ["pool"],
    buckets=_SECONDS,
)
OF_POOLS = (CONNECTIONS, CONNECTIONS_MAX, WAITING, WAIT_SECONDS)


class Usage:
    """The metrics of one pool, which has at most `size` connections."""

    def __init__(self, pool: str, size: int) -> None:
        CONNECTIONS_MAX.labels(pool).set(size)
        self.in_use = CONNECTIONS.labels(pool)
        self.waiting = WAITING.labels(pool)
        self.waited = WAIT_SECONDS.labels(pool)


LEADER = Gauge(
    "presenter_leader", "Whether this process is the one that watches the cluster.", ["cluster"], registry=None
)
WRITE_SECONDS = _histogram(
    "presenter_write_seconds",
    "Time of a write, from the wait for its turn to the commit: a page of a list, or a run of events.",
    ["kind"],
    buckets=_SECONDS,
)
WRITE_OBJECTS = _histogram(
    "presenter_write_objects",
    "Objects of a page of a list, or events of a run, that were written together.",
    ["kind"],
    buckets=_OBJECTS,
)
WRITE_FAILURES = Counter(
    "presenter_write_failures", "Transactions that failed, and objects that were refused.", ["reason"], registry=None
)
PIECES_MADE = Counter(
    "presenter_pieces_made", "Rows of an earlier version that were given what pages are sent from.", registry=None
)
PAST_STATES = Gauge(
    "presenter_past_states",
    "What is kept of objects as they were before they changed or went.",
    ["cluster"],
    registry=None,
)
PAST_SECONDS = Gauge("presenter_past_seconds", "How old the oldest of these is.", ["cluster"], registry=None)
OF_WRITING = (LEADER, WRITE_SECONDS, WRITE_OBJECTS, WRITE_FAILURES, PIECES_MADE, PAST_STATES, PAST_SECONDS)

_WRITES = {kind: (WRITE_SECONDS.labels(kind), WRITE_OBJECTS.labels(kind)) for kind in ("list", "events")}
REFUSED = WRITE_FAILURES.labels("object_refused")
_LEASE_LOST = WRITE_FAILURES.labels("lease_lost")
_BUSY = WRITE_FAILURES.labels("database_busy")
_UNAVAILABLE = WRITE_FAILURES.labels("database_unavailable")


@contextmanager
def measured(kind: Literal["list", "events"], objects: int) -> Iterator[None]:
    """Measure a write of so many objects, if it succeeds."""
    started = time.perf_counter()
    yield
    seconds, together = _WRITES[kind]
    seconds.observe(time.perf_counter() - started)
    together.observe(objects)


@contextmanager
def failures_counted() -> Iterator[None]:
    """Count a transaction that fails, by reason."""
    try:
        yield
    except Unavailable as error:
        reasons = {LeaseLost: _LEASE_LOST, DatabaseBusy: _BUSY}
        reasons.get(type(error), _UNAVAILABLE).inc()
        raise
