"""An OpenTelemetry collector that keeps what it gets: OTLP over HTTP, decoded by OpenTelemetry's own messages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class Collector:
    """What came: spans, and the attributes of the service that sent them. It takes them unless it is `broken`."""

    url: str = ""
    spans: list[Span] = field(default_factory=list)
    service: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    broken: bool = False
    asked: int = 0

    async def take(self, request: web.Request) -> web.Response:
        """POST /v1/traces."""
        self.asked += 1
        if self.broken:
            return web.Response(status=400)
        assert request.content_type == "application/x-protobuf"
        self.headers = dict(request.headers)
        for group in ExportTraceServiceRequest.FromString(await request.read()).resource_spans:
            self.service = attributes(group.resource.attributes)
            self.spans += [span for scope in group.scope_spans for span in scope.spans]
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(), content_type="application/x-protobuf"
        )

    async def requests(self) -> list[Span]:
        """The spans of requests, in the order in which they came."""
        return [span for span in self.spans if span.kind == Span.SPAN_KIND_SERVER]

    def phases(self, of: Span) -> list[Span]:
        """The spans below one, by their begin."""
        return sorted(
            (span for span in self.spans if span.parent_span_id == of.span_id),
            key=lambda span: span.start_time_unix_nano,
        )


def attributes(pairs: list[KeyValue]) -> dict[str, str]:
    """As text."""
    return {pair.key: pair.value.string_value or str(pair.value.int_value) for pair in pairs}


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector while inside."""
    collector = Collector()
    application = web.Application()
    application.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield collector
    finally:
        await runner.cleanup()
