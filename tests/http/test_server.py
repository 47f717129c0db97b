"""The server with applications of a few lines: how answers are written, and what becomes of those that go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs

from presenter.http.exchange import Application, Receive, Scope, Send
from presenter.http.server import listen, serve_until_cancelled

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


@dataclass
class Serving:
    """A server of one application."""

    port: int
    task: asyncio.Task[None]

    @asynccontextmanager
    async def asked(self, request: bytes) -> AsyncIterator[asyncio.StreamReader]:
        """A connection on which this has been said."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        try:
            yield reader
        finally:
            writer.close()

    async def answer(self, request: bytes) -> bytes:
        """All that comes back until the connection is closed."""
        async with self.asked(request) as reader:
            return await asyncio.wait_for(reader.read(), 20)

    async def stop(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


@asynccontextmanager
async def serving(application: Application, grace: float = 20) -> AsyncIterator[Serving]:
    listener = listen(0)
    task = asyncio.create_task(serve_until_cancelled(application, listener, grace=grace, most=9, most_idle=9))
    server = Serving(listener.getsockname()[1], task)
    try:
        yield server
    finally:
        await server.stop()


def sending(*parts: bytes, status: int = 200, **headers: str) -> Application:
    """It answers with these parts."""

    async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
        lines = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": lines})
        for number, part in enumerate(parts, 1):
            await send({"type": "http.response.body", "body": part, "more_body": number < len(parts)})

    return application


def bodies(answer: bytes) -> list[bytes]:
    """What follows each head."""
    return [part.partition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize("size", [0, 2, 200_000], ids=["empty", "small", "large"])
async def test_an_answer_whose_length_is_told_is_that_long(size: int) -> None:
    async with serving(sending(b"x" * size, content_length=str(size))) as server:
        assert bodies(await server.answer(GET + LAST)) == [b"x" * size] * 2


async def test_an_answer_whose_length_is_not_told_comes_in_chunks() -> None:
    async with serving(sending(b"", b"ab", b"c" * 17, b"")) as server:
        assert bodies(await server.answer(GET + LAST)) == [b"2\r\nab\r\n11\r\n" + b"c" * 17 + b"\r\n0\r\n\r\n"] * 2


async def test_to_http_1_0_it_comes_as_it_is_until_the_connection_ends() -> None:
    async with serving(sending(b"ab", b"c" * 17)) as server:
        answer = await server.answer(GET.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert bodies(answer) == [b"ab" + b"c" * 17]
    assert b"\r\nconnection: close\r\n" in answer
    assert b"transfer-encoding" not in answer


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304)])
async def test_some_answers_have_no_body(method: bytes, status: int) -> None:
    application = sending(b"" if status != 200 else b"ab", status=status, etag='"a"')
    async with serving(application) as server:
        answer = await server.answer((GET + LAST).replace(b"GET", method))
    assert bodies(answer) == [b"", b""]
    assert answer.count(b'etag: "a"') == 2


async def test_a_header_never_has_a_second_line() -> None:
    with capture_logs() as logs:
        async with serving(sending(b"", content_length="0", warning="one\r\nset-cookie: two")) as server:
            assert await server.answer(GET) == b""
    assert [log["event"] for log in logs] == ["a request failed"]


async def test_an_answer_that_ends_in_the_middle_is_cut_off() -> None:
    async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ab", "more_body": True})
        await send({"type": "http.response.start", "status": 500, "headers": []})

    with capture_logs() as logs:
        async with serving(application) as server, server.asked(GET) as reader:
            assert (await reader.readuntil(b"2\r\nab\r\n")).startswith(b"HTTP/1.1 200 ")
            with suppress(ConnectionError):
                assert await reader.read() == b""
    assert [log["event"] for log in logs] == ["a request failed"]


async def test_an_application_is_told_once_of_the_body_and_then_that_nobody_is_there() -> None:
    told: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    async def application(_scope: Scope, receive: Receive, _send: Send) -> None:
        for _ in range(2):
            message = await receive()
            await told.put((message["type"], message.get("body", b"")))

    async with serving(application) as server:
        async with server.asked(GET.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\nab")):
            assert await asyncio.wait_for(told.get(), 20) == ("http.request", b"ab")
            assert told.empty()
        assert await asyncio.wait_for(told.get(), 20) == ("http.disconnect", b"")


async def test_a_body_is_asked_for_where_the_caller_waits_for_that() -> None:
    async def application(_scope: Scope, receive: Receive, send: Send) -> None:
        body = (await receive())["body"]
        await sending(body, content_length="2")(_scope, receive, send)

    request = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    async with serving(application) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request)
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ab")
        assert (await reader.readuntil(b"\r\n\r\nab")).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.close()


async def heard(scope: Scope, receive: Receive, send: Send) -> None:
    """It answers with the body, and as headers with those that it was sent."""
    await asyncio.sleep(0)
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    headers = [(b"sent-" + name, value) for name, value in scope["headers"]]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def test_who_speaks_http_1_0_is_not_asked_for_the_body() -> None:
    request = b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    async with serving(heard) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
        writer.write(b"ab")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.close()


async def test_a_trailer_is_no_header() -> None:
    """Whatever stands between may look at headers alone, say at who calls."""
    chunks = b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nAuthorization: b\r\n\r\n"
    async with serving(heard) as server:
        answer = await server.answer(b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + chunks)
    assert b"\r\nsent-host: a\r\n" in answer
    assert b"sent-authorization" not in answer


@pytest.mark.parametrize("name", [b"Upgrade", b"upgrade", b"UpGrade"])
async def test_who_wishes_for_another_protocol_is_answered_in_this_one(name: bytes) -> None:
    wish = b"Connection: Upgrade\r\n%s: h2c\r\nContent-Length: 2\r\n\r\nab" % name
    async with serving(heard) as server:
        answer = await server.answer(b"POST / HTTP/1.1\r\nHost: a\r\n" + wish + LAST)
    assert bodies(answer) == [b"2\r\nab\r\n0\r\n\r\n", b"0\r\n\r\n"]


async def test_who_still_sends_a_body_can_read_a_last_answer() -> None:
    """The connection is not reset while the caller sends what nobody reads."""
    request = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 200000\r\n\r\n"
    async with serving(sending(b"ab", content_length="2")) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request)
        assert (await reader.read()).endswith(b"ab")
        for _ in range(20):
            writer.write(b"x" * 10_000)
            await writer.drain()
        writer.close()
        await writer.wait_closed()


async def test_a_stop_waits_for_answers_but_not_for_ever() -> None:
    asked, may_answer = asyncio.Semaphore(0), asyncio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        asked.release()
        await may_answer.wait()
        await sending(b"ab", content_length="2")(scope, receive, send)

    async with serving(application) as server, server.asked(GET) as reader:
        await asked.acquire()
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0)
        may_answer.set()
        answer = await reader.read()
        assert answer.endswith(b"connection: close\r\n\r\nab")
        await stopping

    may_answer.clear()
    with capture_logs() as logs:
        async with serving(application, grace=0.1) as server, server.asked(GET) as reader:
            await asked.acquire()
            await server.stop()
            with suppress(ConnectionError):
                assert await reader.read() == b""
    assert [log["requests"] for log in logs] == [1]


@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_of_a_body_that_is_not_read_little_is_held(framing: str) -> None:
    """Then all of it comes, and the connection is good for another request."""
    size, parts = 2**20, list[int]()
    is_asked, may_read = asyncio.Event(), asyncio.Event()

    async def application(_scope: Scope, receive: Receive, send: Send) -> None:
        is_asked.set()
        await may_read.wait()
        more = True
        while more:
            message = await receive()
            parts.append(len(message["body"]))
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % sum(parts)})

    if framing == "length":
        request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
    else:
        chunk = b"%x\r\n" % (size // 8) + b"x" * (size // 8) + b"\r\n"
        request = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 8 + b"0\r\n\r\n"
    async with serving(application) as server, server.asked(request + LAST) as reader:
        await is_asked.wait()
        for _ in range(100):  # turns of the loop in which it would arrive
            await asyncio.sleep(0)
        may_read.set()
        answer = await asyncio.wait_for(reader.read(), 20)
    assert parts[0] < size // 2
    assert answer.count(b"HTTP/1.1 200") == 2
    assert b"\r\n%d\r\n" % size in answer


@pytest.mark.parametrize("size", [100_000, 2**20 - 200, 2**20])
async def test_past_a_body_that_nobody_reads_the_next_request_is_found(size: int) -> None:
    request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
    async with serving(sending(b"ab", content_length="2")) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for following in (request, request, LAST):
            writer.write(following)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
            assert head.startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(2) == b"ab"
        writer.close()
