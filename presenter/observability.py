"""What is known of each request: for the headers of its answer, the log, the metrics and the traces.

Whoever works on a request notes on its observation what it learns; what a request is in the middle of is a phase.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from functools import cache
from time import perf_counter
from typing import Literal, get_args

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from presenter.logs import HELD_BACK

Phase = Literal["auth", "scope", "wait", "query", "serialise"]
"""Who asks; what they may see of what; the wait for a connection to the database; its work; the answer's JSON."""

PHASES: tuple[Phase, ...] = get_args(Phase)

_REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_PHASE_BUCKETS = (0.0001, 0.00025, 0.0005, *_REQUEST_BUCKETS)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OF_PROBES = frozenset({"/livez", "/readyz", "/metrics"})
"""Routes that are asked all the time: their requests are logged at debug level, and not traced."""


class Observation:
    """One request: what is known of it, and its phases, one at a time; what lies between them belongs to none.

    `route` is the pattern that its path matches, or `other`. Times are those of `time.perf_counter`.
    """

    __slots__ = (
        "_phase",
        "_since",
        "body_bytes",
        "code",
        "ended",
        "is_stream",
        "method",
        "path",
        "reason",
        "route",
        "rows",
        "seconds",
        "spans",
        "started",
        "trace_id",
        "type",
        "user",
    )

    def __init__(self, method: str, path: str, trace_id: str | None) -> None:
        self.method = method
        self.path = path
        self.route = "other"
        self.trace_id = trace_id
        """The caller's X-Krateo-TraceId, where it is fit to be sent back."""
        self.user: str | None = None
        self.type: str | None = None
        """The resource type, `*` and the group where it is all of one."""
        self.rows: int | None = None
        self.code = 500
        self.reason: str | None = None
        """Why it failed: a reason of Kubernetes' Status."""
        self.body_bytes = 0
        self.is_stream = False
        """Whether it lasts as long as the caller wants: then how long it took says nothing."""
        self.seconds: dict[Phase, float] = {}
        """How long each phase took in all, in the order in which they first came."""
        self.spans: list[tuple[Phase, float, float]] = []
        """The phases as they came, from when until when. One may come more than once."""
        self.started = self.ended = self._since = perf_counter()
        self._phase: Phase | None = None

    def begin(self, phase: Phase | None) -> Phase | None:
        """End the phase that it is in, and begin another, or none. Returns the one that ended."""
        now = perf_counter()
        ended, self._phase = self._phase, phase
        if ended is not None:
            self.spans.append((ended, self._since, now))
            self.seconds[ended] = self.seconds.get(ended, 0.0) + now - self._since
        self._since = now
        return ended

    def end(self) -> None:
        """It is over."""
        self.begin(None)
        self.ended = self._since

    @property
    def known_method(self) -> str:
        """The method, or `other` where it is none of HTTP's: whatever callers make up, there are few of these."""
        return self.method if self.method in _METHODS else "other"

    @property
    def timing(self) -> str:
        """Its phases so far as a `Server-Timing` header has them, in milliseconds."""
        spent = (*self.seconds.items(), ("total", perf_counter() - self.started))
        return ", ".join([f"{phase};dur={round(seconds * 1000, 2)}" for phase, seconds in spent])


_current: ContextVar[Observation] = ContextVar("observation")


def observe(observation: Observation) -> None:
    """From now on this task works on this request."""
    _current.set(observation)


def observed() -> Observation:
    """The request that this task works on. Raises LookupError when there is none."""
    return _current.get()


def begin(phase: Phase | None) -> Phase | None:
    """Begin a phase of the request that this task works on, if it works on one. Returns the one that ended."""
    observation = _current.get(None)
    return None if observation is None else observation.begin(phase)


Trace = Callable[[Observation, Mapping[str, str]], None]
"""Makes a trace of a request that is over; the mapping has the headers that tell what it is part of."""


class Observer:
    """Tells of requests that are over. Whatever callers send, there is a bounded number of series."""

    def __init__(self, registry: CollectorRegistry, trace: Trace | None = None) -> None:
        requests = Counter("presenter_http_requests", "HTTP requests.", ["method", "path", "code"], registry=registry)
        seconds = Histogram(
            "presenter_http_request_duration_seconds",
            "Time from the request's first byte to the answer's last.",
            ["method", "path"],
            buckets=_REQUEST_BUCKETS,
            registry=registry,
        )
        phases = Histogram(
            "presenter_http_request_phase_seconds",
            "Time that requests spent in a phase.",
            ["phase"],
            buckets=_PHASE_BUCKETS,
            registry=registry,
        )
        errors = Counter("presenter_http_errors", "Requests that failed, by reason.", ["reason"], registry=registry)
        self._rows = Counter("presenter_http_rows", "Objects in answers.", registry=registry)
        self._bytes = Counter("presenter_http_response_bytes", "Bytes of answers' bodies.", registry=registry)
        self._requests, self._seconds, self._errors = (
            cache(requests.labels),
            cache(seconds.labels),
            cache(errors.labels),
        )
        self._phases = {phase: phases.labels(phase) for phase in PHASES}
        self._log = structlog.get_logger(HELD_BACK).bind()
        self._trace = trace

    def end(self, observation: Observation, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Count, log and trace a request that is over, and came with these headers."""
        observation.end()
        self._count(observation)
        if observation.route in _OF_PROBES:
            self._log.debug("request", **_line(observation))
            return
        self._log.info("request", **_line(observation))
        if self._trace is not None:
            self._trace(observation, {name.decode(): value.decode("latin-1") for name, value in headers})

    def _count(self, observation: Observation) -> None:
        self._requests(observation.known_method, observation.route, observation.code).inc()
        if not observation.is_stream:
            self._seconds(observation.known_method, observation.route).observe(observation.ended - observation.started)
        for phase, seconds in observation.seconds.items():
            self._phases[phase].observe(seconds)
        if observation.reason is not None:
            self._errors(observation.reason).inc()
        if observation.rows is not None:
            self._rows.inc(observation.rows)
        self._bytes.inc(observation.body_bytes)


def _line(observation: Observation) -> dict[str, object]:
    """What the log says: never a token, nor what was answered."""
    line = {
        "method": observation.method,
        "path": observation.path,
        "code": observation.code,
        "ms": round((observation.ended - observation.started) * 1000, 2),
        "user": observation.user,
        "type": observation.type,
        "rows": observation.rows,
        "bytes": observation.body_bytes,
        "reason": observation.reason,
        "phases": {phase: round(seconds * 1000, 2) for phase, seconds in observation.seconds.items()} or None,
        "trace_id": observation.trace_id,
    }
    return {name: value for name, value in line.items() if value is not None}
