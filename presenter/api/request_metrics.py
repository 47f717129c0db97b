"""What is counted of requests, for Prometheus. Whatever callers send, there is a bounded number of series."""

from __future__ import annotations

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Histogram

from presenter.api.observed import Observed
from presenter.phases import PHASES, Phase

_REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_PHASE_BUCKETS = (0.0001, 0.00025, 0.0005, *_REQUEST_BUCKETS)


class RequestMetrics:
    """The metrics of requests in a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
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

    def count(self, request: Observed, spent: dict[Phase, float]) -> None:
        """Count a request that is over, and the seconds spent in its phases."""
        self._requests(request.method, request.route, request.code).inc()
        self._seconds(request.method, request.route).observe(request.seconds)
        for phase, seconds in spent.items():
            self._phases[phase].observe(seconds)
        if request.reason is not None:
            self._errors(request.reason).inc()
        if request.rows is not None:
            self._rows.inc(request.rows)
        self._bytes.inc(request.body_bytes)
