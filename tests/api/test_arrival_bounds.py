"""What arrives is bounded while it arrives, with or without a token; whatever is refused is answered, and counted."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry
from starlette.types import Message

from presenter.api.application import Application
from presenter.cache.pool import Address
from presenter.errors import BadRequest
from presenter.http import connection as connections
from presenter.http import connections as all_connections
from presenter.http.exchange import REFUSED
from presenter.observability import Observer
from tests.api.service import Service, serving
from tests.api.world import WIDGETS, World
from tests.eventually import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
HOST = b"Host: presenter\r\n"
BAIT = b"GET /livez HTTP/1.1\r\n"


@pytest_asyncio.fixture(loop_scope="session")
async def service(world: World) -> Service:
    """The shared one: nothing of this changes it."""
    return world.service


Dial = Callable[[Service], Awaitable[Stream]]


@pytest_asyncio.fixture(loop_scope="session")
async def opened() -> AsyncIterator[Dial]:
    """Opens connections, which are closed in the end."""
    streams: list[Stream] = []

    async def open_one(service: Service) -> Stream:
        url = urlsplit(service.url)
        streams.append(await asyncio.open_connection(url.hostname, url.port))
        return streams[-1]

    yield open_one
    for _, writer in streams:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def answered(stream: Stream) -> tuple[int, dict[str, str], bytes]:
    """The next answer on a connection."""
    reader, _ = stream
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).decode()
    line, *lines = head.split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines if line)
    return int(line.split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


async def ended(stream: Stream) -> bool:
    """Whether the other side closes, with nothing more to say."""
    with suppress(ConnectionError):
        return await asyncio.wait_for(stream[0].read(), 20) == b""
    return True


async def counted(service: Service, code: int) -> float:
    """How many requests were answered so."""
    metrics = (await service.get("/metrics")).body.decode()
    found = re.findall(rf'presenter_http_requests_total{{code="{code}",.*}} (.*)', metrics)
    return sum(map(float, found))


@pytest.mark.parametrize(
    ("said", "code", "reason"),
    [
        (BAIT + b"x: y\r\n" * 101 + b"\r\n", 431, "RequestHeaderFieldsTooLarge"),
        (BAIT + b"x: y\r\n" * 200_000, 431, "RequestHeaderFieldsTooLarge"),
        (BAIT + b"x: " + b"y" * 2_000_000, 431, "RequestHeaderFieldsTooLarge"),
        (BAIT + b"y" * 2_000_000, 431, "RequestHeaderFieldsTooLarge"),
        (b"GET /" + b"y" * 2_000_000, 414, "RequestURITooLong"),
        (b"y" * 2_000_000, 414, "RequestURITooLong"),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400, "BadRequest"),
        (b"HELO\r\n", 400, "BadRequest"),
        (BAIT + b"x: y\nz: a\r\n", 400, "BadRequest"),
        (BAIT + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "BadRequest"),
        (BAIT + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "BadRequest"),
        (b"CONNECT example.org:443 HTTP/1.1\r\n" + HOST + b"\r\n", 400, "BadRequest"),
        (b"GET /a b HTTP/1.1\r\n\r\n", 400, "BadRequest"),
    ],
)
async def test_what_is_too_much_or_no_request_is_refused(
    opened: Dial, service: Service, said: bytes, code: int, reason: str
) -> None:
    before = await counted(service, code)
    stream = await opened(service)
    with suppress(ConnectionError):
        stream[1].write(said)
    found, headers, body = await answered(stream)
    status = json.loads(body)
    assert (found, status["code"], status["reason"], status["kind"]) == (code, code, reason, "Status")
    assert headers["connection"] == "close"
    assert await ended(stream)
    assert await counted(service, code) == before + 1
    assert (await service.get("/livez")).code == 200


@pytest.mark.parametrize(
    "rest",
    [
        b"0\r\n" + b"x: y\r\n" * 200_000,
        b"0\r\nx: " + b"y" * 2_000_000,
        b"1;x=" + b"y" * 2_000_000,
        b"1;x\r\na\r\n" * 200_000,
        b"0\r\n" + b"x: y\r\n" * 150 + b"\r\n",
    ],
    ids=["trailers", "a trailer", "an extension", "chunks", "more trailers than headers"],
)
@pytest.mark.parametrize("path", [b"/resources", b"/livez"])
async def test_what_surrounds_chunks_is_bounded(opened: Dial, service: Service, rest: bytes, path: bytes) -> None:
    """Whoever reads the body is told; where nobody does the answer may come first."""
    stream = await opened(service)
    token = service.authorization["Authorization"].encode()
    begin = b"POST %s HTTP/1.1\r\n%sAuthorization: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
    with suppress(ConnectionError):
        stream[1].write(begin % (path, HOST, token))
        stream[1].write(rest)
    code, _, body = await answered(stream)
    assert code in ((431, 413, 400) if path == b"/resources" else (431, 405)), body
    assert await ended(stream)


async def test_a_body_that_is_too_large_is_not_read_to_its_end(opened: Dial, service: Service) -> None:
    stream = await opened(service)
    token = service.authorization["Authorization"].encode()
    stream[1].write(
        b"POST /resources HTTP/1.1\r\n%sAuthorization: %s\r\nContent-Length: 99999999\r\n\r\n" % (HOST, token)
    )
    with suppress(ConnectionError):
        for _ in range(1000):
            stream[1].write(b"x" * 10_000)
            await stream[1].drain()
    code, _, _ = await answered(stream)
    assert code == 413
    assert await ended(stream)


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_a_request_may_come_in_small_parts(opened: Dial, service: Service, size: int) -> None:
    stream = await opened(service)
    stream[1].transport.set_write_buffer_limits(0)
    token = service.authorization["Authorization"].encode()
    body = b'{"group":"widgets.templates.krateo.io"}'
    requests = (
        b"\r\n\r\nGET /livez?a=\xc3\xa4 b HTTP/1.1\r\n%s\r\n" % HOST
        + b"POST /resources HTTP/1.1\r\n%sAuthorization: %s\r\nContent-Length: %d\r\n\r\n%s"
        % (HOST, token, len(body), body)
        + b"POST /resources HTTP/1.1\r\n%sAuthorization: %s\r\nTransfer-Encoding: chunked\r\n\r\n" % (HOST, token)
        + b"%x;ext=1\r\n%s\r\n0\r\ntrailer: x\r\n\r\nGET /livez HTTP/1.1\r\n%s\r\n" % (len(body), body, HOST)
    )
    for start in range(0, len(requests), size):
        stream[1].write(requests[start : start + size])
        await asyncio.sleep(0)
    codes = [(await answered(stream))[0] for _ in range(4)]
    assert codes == [200] * 4


async def test_requests_that_come_together_are_answered_in_turn(opened: Dial, world: World) -> None:
    service = world.service
    token = service.authorization["Authorization"].encode()
    names = ["zoë", "100%25", "a", "zoë", "water-panel"]
    stream = await opened(service)
    for name in names:
        stream[1].write(
            b"GET /resources?group=%s&namespace=*&name=%s HTTP/1.1\r\n%sAuthorization: %s\r\n\r\n"
            % (WIDGETS.encode(), name.encode(), HOST, token)
        )
    stream[1].write(b"nonsense\r\n\r\n")
    for name in names:
        code, _, body = await answered(stream)
        assert code == 200
        items = json.loads(body)["items"]
        assert {item["name"] for item in items} == {name.replace("%25", "%")}
    assert (await answered(stream))[0] == 400
    assert await ended(stream)


async def test_more_requests_at_once_than_are_held_are_not_answered(opened: Dial, service: Service) -> None:
    stream = await opened(service)
    count = 2 * connections.MAX_PIPELINED_BYTES // len(BAIT)
    with suppress(ConnectionError):
        stream[1].write((BAIT + b"\r\n") * count)
    answers = (await asyncio.wait_for(stream[0].read(), 20)).count(b"HTTP/1.1 200")
    assert 1 <= answers < count


async def test_a_wish_for_another_protocol_is_ignored(opened: Dial, service: Service) -> None:
    stream = await opened(service)
    stream[1].write(BAIT + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc" + BAIT + b"\r\n")
    assert [(await answered(stream))[0] for _ in range(2)] == [200, 200]


@pytest.mark.parametrize(
    "query",
    [
        "name=zoë",
        'labels={"krateo.io/portal-page": "compositions"}',
        'labels={"krateo.io/portal-page": "compositions", "tier": "gold"}&name_contains=ë',
        "name=Fire-Panel &limit=5",
    ],
)
async def test_a_query_that_nobody_escaped_is_taken_as_meant(opened: Dial, world: World, query: str) -> None:
    """As snowplow sends it."""
    service = world.service
    path = f"/resources?group={WIDGETS}&namespace=*&{query}"
    escaped = "".join(
        char if char.isascii() and char != " " else f"{''.join(f'%{b:02X}' for b in char.encode())}" for char in path
    )
    meant = await service.get(escaped)
    stream = await opened(service)
    token = service.authorization["Authorization"]
    stream[1].write(f"get {path} HTTP/1.1\r\nHost: a\r\nAuthorization: {token}\r\n\r\n".encode())
    code, _, body = await answered(stream)
    assert (code, body) == (meant.code, meant.body)
    assert code == 200


# -- connections -------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="session")
async def narrow(database: Address) -> AsyncIterator[Service]:
    """A service with three connections, of which two may be idle."""
    async with serving(database, MAX_CONNECTIONS="3", MAX_IDLE_CONNECTIONS="2") as service:
        yield service


async def test_those_that_were_idle_longest_go_first(opened: Dial, narrow: Service) -> None:
    streams = [await opened(narrow) for _ in range(2)]
    for _ in range(2):  # the second is used last
        for stream in streams:
            stream[1].write(BAIT + b"\r\n")
            assert (await answered(stream))[0] == 200
    streams.append(await opened(narrow))
    assert await ended(streams[0])
    for stream in streams[1:]:
        stream[1].write(BAIT + b"\r\n")
        assert (await answered(stream))[0] == 200


async def test_who_has_asked_is_answered_and_who_has_not_is_told_to_come_again(
    opened: Dial, database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LINGERING_TIMEOUT", 0.2)
    async with serving(database, MAX_CONNECTIONS="2", MAX_IDLE_CONNECTIONS="2") as service:
        token = service.authorization["Authorization"].encode()
        begin = b"POST /resources HTTP/1.1\r\n%sAuthorization: %s\r\nContent-Length: 1\r\n\r\n" % (HOST, token)
        busy = [await opened(service) for _ in range(2)]
        for stream in busy:
            stream[1].write(begin)
        late = await eventually(partial(_turned_away, opened, service), bool)
        assert late == (503, "1")
        for stream in busy:
            stream[1].write(b"{")
            assert (await answered(stream))[0] == 400
        assert (await service.get("/livez")).code == 200


async def _turned_away(opened: Dial, service: Service) -> tuple[int, str] | None:
    """What a newcomer is told before it has asked, if it is turned away."""
    stream = await opened(service)
    try:
        code, headers, _ = await asyncio.wait_for(answered(stream), 0.5)
    except TimeoutError:
        return None
    return code, headers["retry-after"]


async def test_requests_that_do_not_come_whole_hold_no_more_than_they_may(
    opened: Dial, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(all_connections, "MAX_RECEIVING_BYTES", 3 * 50_100)
    streams = [await opened(service) for _ in range(6)]
    for stream in streams:
        stream[1].write(BAIT + b"x: " + b"y" * 50_000)
        await stream[1].drain()
    refused = [await answered(stream) for stream in streams[:3]]
    assert [code for code, _, _ in refused] == [503] * 3
    for stream in streams[3:]:
        stream[1].write(b"\r\n\r\n")
        assert (await answered(stream))[0] == 200


async def test_what_was_refused_is_freed_at_once_and_does_not_wait_for_garbage_collection() -> None:
    application = Application([], Observer(CollectorRegistry()))
    sent: list[int] = []

    async def send(message: Message) -> None:
        sent.append(message.get("status", 0))

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    error = BadRequest("malformed")
    left = weakref.ref(error)
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "state": {REFUSED: error}}
    del error
    gc.disable()
    try:
        await application(scope, receive, send)
        assert left() is None
    finally:
        gc.enable()
    assert sent == [400, 0]
