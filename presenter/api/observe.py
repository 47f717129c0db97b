"""Around every request: how it went and where its time went, into its answer, the log, the metrics and the traces."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from time import perf_counter

import structlog
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from presenter.api.observed import Observed
from presenter.api.request_metrics import RequestMetrics
from presenter.phases import Phase

_TRACE_HEADER = b"x-krateo-traceid"
_TRACE_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_QUIET = ("/livez", "/readyz", "/metrics")

Trace = Callable[[Observed, Mapping[str, str]], None]
"""Makes a trace of a request that is over; the mapping has the headers that tell what it is part of."""


class Observe:
    """ASGI middleware, the outermost."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry, trace: Trace | None) -> None:
        self._app = app
        self._metrics = RequestMetrics(registry)
        self._log = structlog.get_logger(__name__).bind()
        self._trace = trace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and note how it went."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Observed(scope, _trace_id(scope))

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                request.phases.begin(None)
                request.code = message["status"]
                message["headers"] = [*message["headers"], *_headers(request)]
            else:
                request.body_bytes += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            request.end(scope)
            self._tell(request, scope)

    def _tell(self, request: Observed, scope: Scope) -> None:
        spent = request.phases.seconds()
        self._metrics.count(request, spent)
        quiet = request.route in _QUIET
        (self._log.debug if quiet else self._log.info)("request", **_line(request, scope, spent))
        if self._trace is not None and not quiet:
            self._trace(request, {name.decode(): value.decode("latin-1") for name, value in scope["headers"]})


def _line(request: Observed, scope: Scope, spent: Mapping[Phase, float]) -> dict[str, object]:
    """What the log says: never a token, nor what was answered."""
    line = {
        "method": scope["method"],
        "path": scope["path"],
        "code": request.code,
        "ms": _milliseconds(request.seconds),
        "user": request.user,
        "type": request.asked,
        "rows": request.rows,
        "bytes": request.body_bytes,
        "reason": request.reason,
        "phases": {phase: _milliseconds(seconds) for phase, seconds in spent.items()} or None,
        "trace_id": request.trace_id,
    }
    return {name: value for name, value in line.items() if value is not None}


def _headers(request: Observed) -> list[tuple[bytes, bytes]]:
    headers = []
    if request.trace_id is not None:
        headers.append((_TRACE_HEADER, request.trace_id.encode()))
    if request.code == 200 and request.phases.spans:  # how long a refusal took might tell what there is
        spent = [*request.phases.seconds().items(), ("total", perf_counter() - request.started)]
        timing = ", ".join(f"{name};dur={_milliseconds(seconds)}" for name, seconds in spent)
        headers.append((b"server-timing", timing.encode()))
    return headers


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 2)


def _trace_id(scope: Scope) -> str | None:
    """The caller's trace id, if it is fit to be sent back."""
    for name, value in scope["headers"]:
        if name == _TRACE_HEADER:
            return value.decode() if _TRACE_ID.fullmatch(value) else None
    return None
