"""The line that a request leaves in the log of a real process."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlsplit

import pytest

from presenter.observability import PHASES
from tests.e2e.system import PANELS, Json, Service, System

QUERY: dict[str, str | int] = {"group": "widgets.templates.krateo.io", "resource": "panels", "namespace": "*"}


async def line(service: Service, trace_id: str, **query: str | int) -> Json:
    """Ask for a page, and return what the log says of that."""
    headers = {"Authorization": f"Bearer {service.token}", "X-Krateo-TraceId": trace_id}
    async with service.session.get(f"{service.url}/resources", params=query, headers=headers) as response:
        await response.read()
    found = await service.process.line(rf'^.*"trace_id": "{trace_id}".*$')
    told: Json = json.loads(found[0])
    assert told["bytes"] == int(response.headers["Content-Length"])
    return told


async def test_a_request_leaves_one_line_with_all_that_is_known_of_it(system: System) -> None:
    service = await (await system.start(DEBUG="true")).ready()
    system.put("noted", note="what is in an object is nobody's business")
    await system.in_sync(service, PANELS)
    told = await line(service, "answered", raw="true", **QUERY)
    assert (told["event"], told["method"], told["path"], told["code"]) == ("request", "GET", "/resources", 200)
    assert (told["user"], told["type"], told["rows"]) == ("tester", PANELS, len(system.served(PANELS)))
    assert told["phases"].keys() == set(PHASES)
    assert sum(told["phases"].values()) <= told["ms"] + 0.1, "rounded to hundredths"
    assert all(number == round(number, 2) for number in (told["ms"], *told["phases"].values()))

    refused = await line(service, "refused", limit=0, **QUERY)
    assert (refused["code"], refused["reason"], refused["user"]) == (400, "BadRequest", "tester")
    assert refused["phases"].keys() == {"auth"}
    assert "rows" not in refused

    log = service.process.log()
    assert "nobody's business" not in log
    for part in service.token.split("."):
        assert part not in log


HEAD = "GET /livez HTTP/1.1\r\n"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (HEAD + "x: y\r\n" * 200, {"method": "GET", "path": "/livez", "code": 431}),
        ("GET /some/where?" + "x" * 70_000, {"method": "GET", "path": "/some/where", "code": 414}),
        ("GET /a b?c=d HTTP/1.1\r\n\r\n", {"method": "GET", "path": "/a", "code": 400}),
        ("\x16\x03\x01", {"method": "", "code": 400}),
    ],
    ids=["431", "414", "400", "not HTTP"],
)
async def test_a_request_that_is_refused_leaves_its_line(system: System, said: str, told: Json) -> None:
    service = await system.start("serve")
    url = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    writer.write(said.encode("latin-1"))
    assert (await reader.read()).startswith(f"HTTP/1.1 {told['code']} ".encode())
    writer.close()
    found = json.loads((await service.process.line(rf'^.*"code": {told["code"]}.*"event": "request".*$'))[0])
    assert found.items() >= told.items()
    assert found["reason"]


async def test_a_query_that_nobody_escaped_leaves_its_line(system: System) -> None:
    service = await (await system.start()).ready()
    url = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    request = "GET /resources?group=core&name=zoë x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    writer.write(f"{request}Authorization: Bearer {service.token}\r\nX-Krateo-TraceId: raw\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    told = json.loads((await service.process.line(r'^.*"trace_id": "raw".*$'))[0])
    assert answer.startswith(f"HTTP/1.1 {told['code']} ".encode())
    assert (told["path"], told["user"]) == ("/resources", "tester")
    assert told["code"] != 400


async def test_the_requests_before_the_end_leave_their_lines(system: System) -> None:
    service = await system.start("serve")
    await asyncio.gather(*(service.get("/resources", group="core") for _ in range(20)))
    assert await service.process.stop() == 0
    assert sum('"event": "request"' in line for line in service.process.err) == 20
