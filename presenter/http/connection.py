"""One connection: its requests as they arrive, one at a time and within bounds, and its answers until they are sent.

uvicorn and httptools parse HTTP/1 and write the answers. This adds the bounds that they do not have: how many bytes are
held of a request, how long it may take to arrive, how fast its answer has to be read. A request that is refused is
handed to the application with the error, so that it is answered, counted and logged like any other.
"""

from __future__ import annotations

import asyncio
import urllib.parse
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn._types import ASGIReceiveEvent, HTTPScope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from presenter.errors import (
    BadRequest,
    CallerGone,
    CallerTooSlow,
    HeadersTooLarge,
    PresenterError,
    RequestTimeout,
    TooManyConnections,
)
from presenter.http import head as heads
from presenter.http.connections import Connections

REQUEST_TIMEOUT = 30.0
"""Seconds within which the head of a request must arrive, and after that its body.

The head's begin when the connection is opened, or with the first byte of a later request.
"""
LINGERING_TIMEOUT = 2.0
"""Seconds in which the caller may read a last answer before the connection is closed."""
MAX_BODY_BYTES = 65_536
"""Bytes of a body that are held until the application reads them; no request needs more."""
MAX_PIPELINED_BYTES = 65_536
"""Bytes that are held of requests that arrive before the one in front of them is answered."""
RATE_WINDOW = 10.0
"""Seconds over which the rate is measured at which an answer is read."""
MIN_RATE, MIN_RATE_IN_A_CROWD = 16 * 1024, 512 * 1024
"""Bytes per second at which an answer must be read; the latter while other requests wait for what it holds."""

CONNECTION = "connection"
"""Key in the ASGI scope's `state`: the connection on which the request came."""
REFUSED = "refused"
"""Key in the ASGI scope's `state`: the error to answer with, where the request is refused. Its scope has what could be
parsed of it."""


class Connection(HttpToolsProtocol):
    """The protocol of one connection, as uvicorn and asyncio call it."""

    def __init__(self, *arguments: Any, connections: Connections, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.on_leaving: Callable[[CallerGone], None] | None = None
        """Called when the caller hangs up, or is cut off, before the whole answer is sent."""
        self.is_crowded: Callable[[], bool] = lambda: False
        """Whether other requests wait for what this one holds."""
        self._connections = connections
        self._head = bytearray()
        self._pipelined = b""
        self._in_body = False
        self._body_left: int | None = None  # bytes to come; None: it comes in chunks
        self._body_seen = self._framing_seen = 0
        self._is_last = False  # nothing more is read from it
        self._cut_off = ""  # why, once it is
        self._last_head = b""
        self._deadline: asyncio.TimerHandle | None = None
        self._rate_check: asyncio.TimerHandle | None = None
        self._unsent = self._taken = 0  # bytes: when writing was last paused; since the rate was last checked

    # -- opened and closed ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Wait for a request on a connection that has been opened."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # so that writing is paused as long as anything is not sent
        self._set_deadline(REQUEST_TIMEOUT)
        self._connections.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give back what it holds, when it is closed."""
        self._set_deadline(None)
        self._unset_keepalive_if_required()
        if self._rate_check is not None:
            self._rate_check.cancel()
        self._connections.closed(self)
        is_busy = self._is_busy
        super().connection_lost(exc)
        if is_busy and self.on_leaving is not None:
            self.on_leaving(CallerTooSlow(self._cut_off) if self._cut_off else CallerGone("the caller hung up"))

    def close_idle(self) -> None:
        """Close it, as it is idle."""
        self.transport.close()

    def refuse_unfinished(self) -> None:
        """Refuse the request that is arriving, to make room."""
        self._refuse(TooManyConnections("there are too many requests that have not come whole: send it again, at once"))

    def refuse_new(self) -> None:
        """Refuse whatever would come on it, as there are too many connections."""
        self._refuse(TooManyConnections("as many connections are open as may be (MAX_CONNECTIONS): try again"))

    def _set_deadline(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._timed_out)

    def _timed_out(self) -> None:
        if self._head or self._is_answering:
            self._refuse(RequestTimeout(f"the request has not come whole within {REQUEST_TIMEOUT:g} seconds"))
        else:
            self.transport.close()

    @property
    def _is_answering(self) -> bool:
        """Whether there is a request whose answer has not been written to its end."""
        exchange: RequestResponseCycle | None = self.cycle  # None before the first request
        return exchange is not None and not exchange.response_complete

    @property
    def _is_busy(self) -> bool:
        """Whether there is an answer that has not been sent to its end."""
        return self._is_answering or self.flow.write_paused

    # -- requests as they arrive ---------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take what has arrived, request by request."""
        try:
            while data and not self._is_last:
                data = self._body(data) if self._in_body else self._begin(data)
        except httptools.HttpParserUpgrade:  # which is ignored; what would follow is another protocol
            self._close_after_answer()
        except httptools.HttpParserError as error:
            self._refuse(BadRequest(f"this is not an HTTP/1.1 request: {error}"))
        except PresenterError as error:
            self._refuse(error)

    def _begin(self, data: bytes) -> bytes:
        """Take what has arrived of the next request's head, once the request before is answered; return the rest."""
        if self._is_busy or self._pipelined:  # or what comes now would overtake it
            if len(self._pipelined) + len(data) > MAX_PIPELINED_BYTES:
                self._close_after_answer()
            else:
                self._pipelined += data
                self.flow.pause_reading()
            return b""
        head: bytes | bytearray = data
        if self._head:
            searched = max(0, len(self._head) - len(heads.END) + 1)
            self._head += data
            head = self._head
        else:
            searched = 0
            head = data = data.lstrip(b"\r\n")  # RFC 9112 §2.2
            if not data:
                return b""
        end = head.find(heads.END, searched)
        if end < 0:
            if not self._head:
                self._unset_keepalive_if_required()
                self._set_deadline(REQUEST_TIMEOUT)
                self._head += data
            heads.check(self._head)
            self._connections.receiving(self, len(self._head))
            return b""
        end += len(heads.END)
        whole, rest = bytes(head[:end]), bytes(head[end:])
        self._head.clear()
        self._feed_head(whole)
        return rest

    def _feed_head(self, head: bytes) -> None:
        self._last_head = head  # for the log, if it is refused
        self._unset_keepalive_if_required()
        self._set_deadline(None)
        self._connections.answering(self)
        self._in_body, self._body_seen, self._framing_seen = True, 0, 0
        self.parser.feed_data(heads.as_meant(head))
        if self._in_body:
            self._set_deadline(REQUEST_TIMEOUT)
            lengths = [int(value) for name, value in self.headers if name == b"content-length"]
            self._body_left = lengths[0] if lengths else None

    def _body(self, data: bytes) -> bytes:
        """Parse what is left of the body and return the rest, which `_begin` has to check first."""
        if self._body_left is not None:
            piece = data[: min(self._body_left, MAX_BODY_BYTES)]
            self._body_left -= len(piece)
        else:
            # Where it comes in chunks it ends with a line.
            line = data.find(b"\n", 0, MAX_BODY_BYTES)
            piece = data[: line + 1 or MAX_BODY_BYTES]
            self._framing_seen += len(piece)
        self.parser.feed_data(piece)
        if self._framing_seen > heads.MAX_BYTES:
            self._refuse(HeadersTooLarge(f"chunks and trailers have more than {heads.MAX_BYTES} bytes besides data"))
        elif self._in_body and not self._is_last:
            self._connections.receiving(self, min(self._body_seen, MAX_BODY_BYTES))
        return data[len(piece) :]

    def on_message_begin(self) -> None:
        """Called by the parser when a request begins."""
        super().on_message_begin()
        self.scope["state"][CONNECTION] = self

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser for each header, and each trailer."""
        super().on_header(name, value)
        if len(self.headers) > heads.MAX_HEADERS:  # by its trailers
            self._refuse(HeadersTooLarge(f"the request has more than {heads.MAX_HEADERS} headers and trailers"))

    def on_headers_complete(self) -> None:
        """Called by the parser after a head: start the application, which may read the body."""
        self.scope["method"] = self.parser.get_method().decode("ascii")
        version = self.parser.get_http_version()
        self.scope["http_version"] = version
        url = httptools.parse_url(self.url)
        self.scope["raw_path"] = url.path
        self.scope["path"] = urllib.parse.unquote(url.path.decode("ascii"))
        self.scope["query_string"] = url.query or b""
        self._start(self.scope, version != "1.0" and self.parser.should_keep_alive(), self.transport)

    def on_body(self, body: bytes) -> None:
        """Called by the parser for each part of a body."""
        self._body_seen += len(body)
        self._framing_seen = max(0, self._framing_seen - len(body))
        if self._body_seen - len(body) > MAX_BODY_BYTES:
            self._close_after_answer()  # it has been told of more than it takes
        elif not self.cycle.response_complete:
            self.cycle.body += body
            self.cycle.message_event.set()

    def on_message_complete(self) -> None:
        """Called by the parser at the end of a request."""
        self._in_body = False
        if self._deadline is not None:
            self._set_deadline(None)
        if self._is_answering:
            self._connections.answering(self)
            self.cycle.more_body = False
            self.cycle.message_event.set()
        else:
            self._connections.idle(self)

    # -- answers until they are sent -----------------------------------------------------------------------------------

    def _start(self, scope: HTTPScope, keep_alive: bool, transport: Any) -> None:
        self.cycle = _Exchange(
            scope=scope,
            transport=transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )
        self._start_asgi_task(self.cycle, self.app)

    def on_response_complete(self) -> None:
        """Called when an answer has been written to its end."""
        super().on_response_complete()
        self._go_on()

    def _go_on(self) -> None:
        """Turn to what has arrived meanwhile, once the answer is sent to its end."""
        if self._is_busy or self._is_last or self.transport.is_closing():
            return
        if not self._in_body:
            self._connections.idle(self)
        if self._pipelined:
            self.loop.call_soon(self._take_pipelined)

    def _take_pipelined(self) -> None:
        data, self._pipelined = self._pipelined, b""
        if not self.transport.is_closing():
            self.flow.resume_reading()
            self.data_received(data)

    def _close_after_answer(self) -> None:
        """Read nothing more, and close once the request under way is answered."""
        self._is_last = True
        if self._is_answering:
            self.cycle.transport = _LingeringTransport(self)  # type: ignore[assignment]  # as much as is used of one
            self.cycle.keep_alive = False
            self.cycle.more_body = False
            self.cycle.message_event.set()
        else:
            self.linger()

    def _refuse(self, error: PresenterError) -> None:
        """Answer the request that is arriving with an error, and read nothing more."""
        if self._is_last:
            return
        self._set_deadline(None)
        if self._is_answering:
            self.cycle.scope["state"][REFUSED] = error
            self._close_after_answer()
            return
        self._is_last = True
        self._connections.answering(self)
        self.expect_100_continue = False
        words = bytes((self._head or self._last_head)[:1024]).split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        path, _, query = (words[1] if len(words) > 1 else "").partition("?")
        self.on_message_begin()
        self.scope |= {
            "method": words[0] if words[0].isascii() and words[0].isalpha() else "",
            "path": path,
            "raw_path": path.encode("latin-1"),
            "query_string": query.encode("latin-1"),
        }
        self.scope["state"][REFUSED] = error
        self._head.clear()
        self._start(self.scope, False, _LingeringTransport(self))

    def linger(self) -> None:
        """Close once the caller has had time to read the last answer.

        Closed at once, with bytes that were not read, the kernel would reset the connection, and the answer be lost.
        """
        self._is_last = True
        self._set_deadline(None)
        if self.transport.is_closing():
            return
        self.transport.write_eof()
        self.flow.resume_reading()
        self._connections.lingering(self)
        self._deadline = self.loop.call_later(LINGERING_TIMEOUT, self.transport.close)

    async def sent(self) -> None:
        """Wait until the kernel has all that was written, or the connection is lost."""
        if self.flow.write_paused:
            await self.flow.drain()

    def pause_writing(self) -> None:
        """Called when something is written that the kernel does not take yet."""
        super().pause_writing()
        self._unsent = self.transport.get_write_buffer_size()
        if self._rate_check is None:
            self._taken = 0
            self._rate_check = self.loop.call_later(RATE_WINDOW, self._check_rate)

    def resume_writing(self) -> None:
        """Called when the kernel has taken all that was written."""
        super().resume_writing()
        self._taken += self._unsent
        self._unsent = 0
        self._go_on()

    def _check_rate(self) -> None:
        """Cut the caller off if it has read its answer too slowly."""
        unsent = self.transport.get_write_buffer_size() if self.flow.write_paused else 0
        taken = self._taken + self._unsent - unsent
        slowest = MIN_RATE_IN_A_CROWD if self.is_crowded() else MIN_RATE
        if self.flow.write_paused and taken < slowest * RATE_WINDOW:
            self._cut_off = (
                f"the caller took {taken} bytes of its answer in {RATE_WINDOW:g} seconds: "
                f"{slowest} a second are asked for"
            )
            self.transport.abort()
            return
        self._taken, self._unsent = 0, unsent
        self._rate_check = self.loop.call_later(RATE_WINDOW, self._check_rate) if self._is_busy else None


class _Exchange(RequestResponseCycle):
    """A request and its answer."""

    async def receive(self) -> ASGIReceiveEvent:
        """What arrives of the body, or a disconnect where the request was refused meanwhile."""
        message = await super().receive()
        if REFUSED in self.scope["state"] and not self.response_complete:
            return {"type": "http.disconnect"}
        return message


class _LingeringTransport:
    """As much of a transport as the last answer of a connection needs, which is closed late enough to be read."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.write = connection.transport.write
        self.is_closing = connection.transport.is_closing

    def close(self) -> None:
        """Close when the answer has had time to be read."""
        self._connection.linger()
