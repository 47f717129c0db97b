"""Traces of requests for an OpenTelemetry collector, where one is named: sent by OTLP over HTTP, in the background.

A span for each request, and below it one for each of its phases, are made when it is over: nothing is measured twice,
and a process that does not trace does not even import the library. That reads its own variables (OTEL_…).
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from presenter import __version__
from presenter.errors import ConfigError

try:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
    from opentelemetry.trace import Span, SpanKind, StatusCode, get_current_span, set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as error:
    raise ConfigError(
        "OTEL_EXPORTER_OTLP_ENDPOINT is set, which needs more libraries: install resources-presenter[telemetry]"
    ) from error

if TYPE_CHECKING:
    from presenter.observability import Observation

FLUSH = 1.0
"""Seconds that a stop waits for the collector to take what is left."""

_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")

log = structlog.get_logger(__name__)


@contextmanager
def tracing() -> Iterator[Tracer]:
    """Export traces for a while; in the end, what is left is sent, unless the collector does not take it in time."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it would tell of each attempt
    ids = _Ids()
    service = Resource.create({"service.name": "resources-presenter", "service.version": __version__})
    provider = TracerProvider(
        resource=service.merge(OTELResourceDetector().detect()), id_generator=ids, shutdown_on_exit=False
    )
    provider.add_span_processor(BatchSpanProcessor(_Exporter()))
    try:
        yield Tracer(provider, ids)
    finally:
        ending = threading.Thread(target=provider.shutdown, daemon=True)
        ending.start()
        ending.join(FLUSH)


class Tracer:
    """Makes the spans of a request."""

    def __init__(self, provider: TracerProvider, ids: _Ids) -> None:
        self._tracer = provider.get_tracer("presenter", __version__)
        self._ids = ids
        self._propagator = TraceContextTextMapPropagator()

    def __call__(self, observation: Observation, headers: Mapping[str, str]) -> None:
        """Trace a request that is over, as part of the trace that the caller's `traceparent` names.

        Without one it is a trace of its own, with the caller's X-Krateo-TraceId as its id where that can be one.
        """
        parent = self._propagator.extract(headers)
        of_caller = observation.trace_id or ""
        if _TRACE_ID.fullmatch(of_caller) and not get_current_span(parent).get_span_context().is_valid:
            self._ids.next = int(of_caller, 16)
        epoch = time.time() - time.perf_counter()
        span = self._tracer.start_span(
            f"{observation.known_method} {observation.route}",
            parent,
            SpanKind.SERVER,
            _attributes(observation),
            start_time=_nanoseconds(epoch + observation.started),
        )
        self._ids.next = None
        if span.is_recording():
            self._describe(span, observation, epoch)
        span.end(_nanoseconds(epoch + observation.ended))

    def _describe(self, span: Span, observation: Observation, epoch: float) -> None:
        if observation.trace_id is not None and f"{span.get_span_context().trace_id:032x}" != observation.trace_id:
            span.set_attribute("krateo.trace_id", observation.trace_id)
        if observation.code >= 500:
            span.set_status(StatusCode.ERROR)
        below = set_span_in_context(span)
        for phase, since, until in observation.spans:
            child = self._tracer.start_span(phase, below, start_time=_nanoseconds(epoch + since))
            child.end(_nanoseconds(epoch + until))


def _attributes(observation: Observation) -> dict[str, str | int]:
    """By OpenTelemetry's conventions for HTTP servers; what these do not know of begins with `presenter.`."""
    attributes: dict[str, str | int | None] = {
        "http.request.method": observation.known_method,
        "http.route": observation.route,
        "http.response.status_code": observation.code,
        "http.response.body.size": observation.body_bytes,
        "error.type": observation.reason,
        "enduser.id": observation.user,
        "presenter.type": observation.type,
        "presenter.rows": observation.rows,
    }
    return {name: value for name, value in attributes.items() if value is not None}


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)


class _Ids(RandomIdGenerator):
    """Random ids but for the next trace, if it has one already."""

    next: int | None = None

    def generate_trace_id(self) -> int:
        return super().generate_trace_id() if self.next is None else self.next


class _Exporter(OTLPSpanExporter):
    """Tells once when the collector is lost, and once when it is found again."""

    _lost = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = super().export(spans)
        lost = result is not SpanExportResult.SUCCESS
        if lost and not self._lost:
            log.warning("the collector does not take traces: they are dropped until it does", endpoint=self._endpoint)
        elif self._lost and not lost:
            log.info("the collector takes traces again", endpoint=self._endpoint)
        self._lost = lost
        return result
