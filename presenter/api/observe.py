"""Around every request: its trace id goes back and into the log, its time and outcome into the log and the metrics."""

from __future__ import annotations

import re
import time

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TRACE_HEADER = "X-Krateo-TraceId"
_TRACE_ID = re.compile(r"[\x21-\x7e]{1,128}")
_QUIET = ("/livez", "/readyz", "/metrics")

log = structlog.get_logger(__name__)


class Observe:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self._app = app
        self._requests = Counter(
            "presenter_http_requests", "HTTP requests.", ["method", "path", "code"], registry=registry
        )
        self._seconds = Histogram(
            "presenter_http_request_duration_seconds",
            "Time from the request's first byte to the answer's last.",
            ["method", "path"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
            registry=registry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and note how it went."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace_id = _trace_id(Headers(scope=scope))
        code = 500

        async def answer(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
                if trace_id is not None:
                    MutableHeaders(scope=message)[TRACE_HEADER] = trace_id
            await send(message)

        started = time.perf_counter()
        try:
            await self._app(scope, receive, answer)
        finally:
            self._note(scope, code, time.perf_counter() - started, trace_id)

    def _note(self, scope: Scope, code: int, seconds: float, trace_id: str | None) -> None:
        route = scope.get("route")
        path = getattr(route, "path", "other")  # never the raw path: labels must be few
        self._requests.labels(scope["method"], path, code).inc()
        self._seconds.labels(scope["method"], path).observe(seconds)
        note = log.debug if path in _QUIET else log.info
        note(
            "request",
            method=scope["method"],
            path=scope["path"],
            code=code,
            ms=round(seconds * 1000, 2),
            user=scope.get("state", {}).get("user"),
            trace_id=trace_id,
        )


def _trace_id(headers: Headers) -> str | None:
    """The caller's trace id, if it is fit to be sent back."""
    trace_id = headers.get(TRACE_HEADER)
    return trace_id if trace_id and _TRACE_ID.fullmatch(trace_id) else None
