"""Traces, as a collector gets them from real processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import psutil
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from presenter import __version__
from tests.e2e.collector import Collector, attributes, collecting
from tests.e2e.processes import AFRESH
from tests.e2e.system import PANELS, Service, System
from tests.eventually import eventually

SOON = {"OTEL_BSP_SCHEDULE_DELAY": "50"}  # milliseconds until a batch is sent
QUERY = {"group": "widgets.templates.krateo.io", "resource": "panels", "namespace": "*"}
TRACE_ID, OTHER_TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with collecting() as collector:
        yield collector


async def start(system: System, collector: Collector, command: str = "serve", **variables: str) -> Service:
    return await system.start(command, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, **variables)


async def asked(service: Service, path: str = "/resources", **headers: str) -> int:
    """The status of an answer."""
    headers["Authorization"] = f"Bearer {service.token}"
    async with service.session.get(service.url + path, params=QUERY, headers=headers) as response:
        return response.status


async def one(collector: Collector) -> Span:
    """The span of the only request."""
    [span] = await eventually(collector.requests, bool)
    return span


async def test_a_request_is_a_span_with_its_phases_below(system: System, collector: Collector) -> None:
    service = await start(system, collector, "run", **SOON)
    await system.in_sync(await service.ready(), PANELS)
    assert await asked(service, traceparent=PARENT) == 200
    spans = await eventually(collector.requests, lambda spans: any(span.trace_id.hex() == TRACE_ID for span in spans))
    [span] = (span for span in spans if span.trace_id.hex() == TRACE_ID)
    assert span.name == "GET /resources"
    told = attributes(list(span.attributes))
    assert told["http.request.method"] == "GET"
    assert told["http.route"] == "/resources"
    assert told["http.response.status_code"] == "200"
    assert told["enduser.id"] == "tester"
    assert told["presenter.type"] == PANELS
    assert int(told["presenter.rows"]) == len(system.served(PANELS))
    phases = collector.phases(span)
    assert [phase.name for phase in phases if phase.name != "scope"] == ["auth", "wait", "query", "serialise"]
    times = [span.start_time_unix_nano]
    for phase in phases:
        assert phase.trace_id == span.trace_id
        times += [phase.start_time_unix_nano, phase.end_time_unix_nano]
    assert [*times, span.end_time_unix_nano] == sorted([*times, span.end_time_unix_nano])
    assert service.token not in str(collector.spans)


@pytest.mark.parametrize(
    ("headers", "trace_id", "attribute"),
    [
        ({"traceparent": PARENT}, TRACE_ID, None),
        ({"traceparent": PARENT, "X-Krateo-TraceId": OTHER_TRACE_ID}, TRACE_ID, OTHER_TRACE_ID),
        ({"X-Krateo-TraceId": OTHER_TRACE_ID}, OTHER_TRACE_ID, None),
        ({"X-Krateo-TraceId": OTHER_TRACE_ID, "traceparent": "00-nothing"}, OTHER_TRACE_ID, None),
        ({"X-Krateo-TraceId": "of-krateo"}, None, "of-krateo"),
        ({"X-Krateo-TraceId": "0" * 32}, None, "0" * 32),
        ({}, None, None),
    ],
)
async def test_a_trace_is_part_of_the_callers(
    system: System, collector: Collector, headers: dict[str, str], trace_id: str | None, attribute: str | None
) -> None:
    service = await start(system, collector, **SOON)
    assert await asked(service, **headers) == 503, "nothing has been watched"
    span = await one(collector)
    if trace_id is not None:
        assert span.trace_id.hex() == trace_id
    assert span.parent_span_id.hex() == ("00f067aa0ba902b7" if trace_id == TRACE_ID else "")
    told = attributes(list(span.attributes))
    assert told.get("krateo.trace_id") == attribute
    assert told["error.type"] == "ServiceUnavailable"
    assert span.status.code == Status.STATUS_CODE_ERROR


async def test_a_stop_sends_what_is_left(system: System, collector: Collector) -> None:
    service = await start(
        system,
        collector,
        OTEL_BSP_SCHEDULE_DELAY="3600000",
        OTEL_SERVICE_NAME="portal-cache",
        OTEL_RESOURCE_ATTRIBUTES="k8s.pod.name=one",
        OTEL_EXPORTER_OTLP_HEADERS="x-tenant=krateo",
    )
    await asked(service)
    assert collector.spans == []
    assert await service.process.stop() == 0
    assert len(await collector.requests()) == 1
    assert collector.service["service.name"] == "portal-cache"
    assert collector.service["service.version"] == __version__
    assert collector.service["k8s.pod.name"] == "one"
    assert collector.headers["x-tenant"] == "krateo"


async def test_what_is_not_sampled_is_not_sent_nor_are_probes(system: System, collector: Collector) -> None:
    service = await start(system, collector, OTEL_TRACES_SAMPLER="parentbased_always_off")
    for path in ("/resources", "/livez", "/readyz", "/metrics"):
        await asked(service, path)
    await asked(service, traceparent=PARENT)
    for path in ("/livez", "/readyz", "/metrics"):
        await asked(service, path, traceparent=PARENT)
    assert await service.process.stop() == 0
    assert [span.name for span in await collector.requests()] == ["GET /resources"]


async def test_a_collector_that_is_lost_is_told_once(system: System, collector: Collector) -> None:
    collector.broken = True
    service = await start(system, collector, **SOON)

    async def refused() -> int:
        assert await asked(service) == 503
        return collector.asked

    await eventually(refused, lambda count: count > 3)
    collector.broken = False
    await eventually(partial(_asked_and_found, service, collector), bool)
    await service.process.line("the collector takes traces again")
    told = [line for line in service.process.err if "the collector does not take traces" in line]
    assert len(told) == 1
    assert collector.url in told[0]


async def _asked_and_found(service: Service, collector: Collector) -> list[Span]:
    await asked(service)
    return await collector.requests()


async def test_a_stop_does_not_wait_for_a_lost_collector(system: System) -> None:
    service = await system.start("serve", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    await asked(service)
    assert await service.process.stop() == 0


async def test_without_a_collector_nothing_of_it_is_loaded(system: System, collector: Collector) -> None:
    plain, traced = await system.start("serve", **AFRESH), await start(system, collector)
    loaded = [_loaded(service.process.pid) for service in (plain, traced)]
    assert not any("/google/_upb/" in path for path in loaded[0])
    assert any("/google/_upb/" in path for path in loaded[1])


def _loaded(pid: int) -> list[str]:
    return [mapping.path for mapping in psutil.Process(pid).memory_maps()]


async def test_without_the_extra_it_says_what_to_install(system: System, home: Path) -> None:
    absent = home / "opentelemetry" / "sdk" / "__init__.py"  # found before the real one, which stays installed
    absent.parent.mkdir(parents=True)
    absent.write_text("raise ImportError")
    process = await system.launch(
        "serve", **system.variables, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", PYTHONPATH=str(home)
    )
    assert await process.ended() == 2
    assert "resources-presenter[telemetry]" in process.err[-1]
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in process.err[-1]
