"""One connection: its requests as they arrive, one at a time and within bounds, and its answers until they are sent.

The parsing of HTTP/1 and its answers are uvicorn's and httptools'. What they leave open is closed here: how much of a
request is held before it is whole, how long that may take, how fast an answer has to be read. Whatever is refused is
refused by the application, as other errors are, so that it is counted and logged like them.
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

ARRIVAL = 30.0
"""Seconds in which the head of a request must come, from the connection or its first byte on; and then its body."""
LINGERING = 2.0
"""Seconds in which the caller may read a last answer before the connection is closed."""
MOST_BODY = 65_536
"""Bytes of a body that are held until it is read; more than that no request needs."""
MOST_PIPELINED = 65_536
"""Bytes that are held of requests that come before the one in front of them is answered."""
PACE = 10.0
"""Seconds over which it is measured how fast an answer is read."""
SLOWEST, SLOWEST_IN_A_CROWD = 16 * 1024, 512 * 1024
"""Bytes a second at which an answer must be read; the other when there are others who wait."""

CONNECTION = "connection"
"""In the ASGI scope's `state`: the connection that the request came on."""
REFUSED = "refused"
"""In the ASGI scope's `state`: the error to answer with. Of such a request is known what could be understood of it."""


class Connection(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, connections: Connections, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.on_leaving: Callable[[CallerGone], None] | None = None
        """What to call when the caller hangs up, or is cut off, before it has the whole answer."""
        self.is_crowded: Callable[[], bool] = lambda: False
        """Whether others wait for what the answer takes."""
        self._connections = connections
        self._head = bytearray()
        self._pipelined = b""
        self._in_body = False
        self._body_left: int | None = None  # None: it comes in chunks
        self._body_seen = self._framing_seen = 0
        self._is_last = False  # nothing more is read
        self._cut_off = ""  # why
        self._asked = b""
        self._late: asyncio.TimerHandle | None = None
        self._pace: asyncio.TimerHandle | None = None
        self._unsent = self._taken = 0  # when writing was paused last; since it was looked at last

    # -- as it comes and goes ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Wait for a request."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # so that writing is paused as long as anything is not sent
        self._await(ARRIVAL)
        self._connections.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Free whatever waits for the caller."""
        self._await(None)
        self._unset_keepalive_if_required()
        if self._pace is not None:
            self._pace.cancel()
        self._connections.closed(self)
        is_busy = self._is_busy
        super().connection_lost(exc)
        if is_busy and self.on_leaving is not None:
            self.on_leaving(CallerTooSlow(self._cut_off) if self._cut_off else CallerGone("the caller hung up"))

    def leave(self) -> None:
        """It is idle, and its place is wanted."""
        self.transport.close()

    def give_up(self) -> None:
        """Its request has been arriving for longest, and its place is wanted."""
        self._refuse(TooManyConnections("there are too many requests that have not come whole: send it again, at once"))

    def turn_away(self) -> None:
        """It has just come, and there is no place for it."""
        self._refuse(TooManyConnections("as many connections are open as may be (MAX_CONNECTIONS): try again"))

    def _await(self, seconds: float | None) -> None:
        if self._late is not None:
            self._late.cancel()
        self._late = None if seconds is None else self.loop.call_later(seconds, self._is_late)

    def _is_late(self) -> None:
        if self._head or self._is_asked:
            self._refuse(RequestTimeout(f"the request has not come whole within {ARRIVAL:g} seconds"))
        else:
            self.transport.close()

    @property
    def _is_asked(self) -> bool:
        """Whether there is a request that has not been answered."""
        exchange: RequestResponseCycle | None = self.cycle  # None before the first request
        return exchange is not None and not exchange.response_complete

    @property
    def _is_busy(self) -> bool:
        """Whether there is an answer that has not been sent to its end."""
        return self._is_asked or self.flow.write_paused

    # -- requests as they arrive ---------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take what has come, request by request."""
        try:
            while data and not self._is_last:
                data = self._body(data) if self._in_body else self._begin(data)
        except httptools.HttpParserUpgrade:  # which is ignored; what would follow is another protocol
            self._end_after_this()
        except httptools.HttpParserError as error:
            self._refuse(BadRequest(f"this is not an HTTP/1.1 request: {error}"))
        except PresenterError as error:
            self._refuse(error)

    def _begin(self, data: bytes) -> bytes:
        """Take the head of the next request, or as much of it as there is, once the one before is answered."""
        if self._is_busy or self._pipelined:  # or what comes now would overtake it
            if len(self._pipelined) + len(data) > MOST_PIPELINED:
                self._end_after_this()
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
                self._await(ARRIVAL)
                self._head += data
            heads.check(self._head)
            self._connections.is_arriving(self, len(self._head))
            return b""
        end += len(heads.END)
        whole, rest = bytes(head[:end]), bytes(head[end:])
        self._head.clear()
        self._feed_head(whole)
        return rest

    def _feed_head(self, head: bytes) -> None:
        self._asked = head  # for the log, if it is refused
        self._unset_keepalive_if_required()
        self._await(None)
        self._connections.is_asking(self)
        self._in_body, self._body_seen, self._framing_seen = True, 0, 0
        self.parser.feed_data(heads.as_meant(head))
        if self._in_body:
            self._await(ARRIVAL)
            lengths = [int(value) for name, value in self.headers if name == b"content-length"]
            self._body_left = lengths[0] if lengths else None

    def _body(self, data: bytes) -> bytes:
        """Take what is left of the body, and not a byte more: the next request has to be looked at first."""
        if self._body_left is not None:
            piece = data[: min(self._body_left, MOST_BODY)]
            self._body_left -= len(piece)
        else:
            # Where it comes in chunks it ends with a line.
            line = data.find(b"\n", 0, MOST_BODY)
            piece = data[: line + 1 or MOST_BODY]
            self._framing_seen += len(piece)
        self.parser.feed_data(piece)
        if self._framing_seen > heads.MOST_BYTES:
            self._refuse(HeadersTooLarge(f"chunks and trailers have more than {heads.MOST_BYTES} bytes besides data"))
        elif self._in_body and not self._is_last:
            self._connections.is_arriving(self, min(self._body_seen, MOST_BODY))
        return data[len(piece) :]

    def on_message_begin(self) -> None:
        """As the parser begins a request."""
        super().on_message_begin()
        self.scope["state"][CONNECTION] = self

    def on_header(self, name: bytes, value: bytes) -> None:
        """As the parser has read a header, or a trailer."""
        super().on_header(name, value)
        if len(self.headers) > heads.MOST_HEADERS:  # by its trailers
            self._refuse(HeadersTooLarge(f"the request has more than {heads.MOST_HEADERS} headers and trailers"))

    def on_headers_complete(self) -> None:
        """As the parser has read a head: the application is called, which may read the body."""
        self.scope["method"] = self.parser.get_method().decode("ascii")
        version = self.parser.get_http_version()
        self.scope["http_version"] = version
        url = httptools.parse_url(self.url)
        self.scope["raw_path"] = url.path
        self.scope["path"] = urllib.parse.unquote(url.path.decode("ascii"))
        self.scope["query_string"] = url.query or b""
        self._start(self.scope, version != "1.0" and self.parser.should_keep_alive(), self.transport)

    def on_body(self, body: bytes) -> None:
        """As the parser has read some of a body."""
        self._body_seen += len(body)
        self._framing_seen = max(0, self._framing_seen - len(body))
        if self._body_seen - len(body) > MOST_BODY:
            self._end_after_this()  # it has been told of more than it takes
        elif not self.cycle.response_complete:
            self.cycle.body += body
            self.cycle.message_event.set()

    def on_message_complete(self) -> None:
        """As the parser has read a request to its end."""
        self._in_body = False
        if self._late is not None:
            self._await(None)
        if self._is_asked:
            self._connections.is_asking(self)
            self.cycle.more_body = False
            self.cycle.message_event.set()
        else:
            self._connections.is_idle(self)

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
        """As the answer has been written."""
        super().on_response_complete()
        self._go_on()

    def _go_on(self) -> None:
        """Turn to what has been asked meanwhile, if the answer before has been sent to its end."""
        if self._is_busy or self._is_last or self.transport.is_closing():
            return
        if not self._in_body:
            self._connections.is_idle(self)
        if self._pipelined:
            self.loop.call_soon(self._take_pipelined)

    def _take_pipelined(self) -> None:
        data, self._pipelined = self._pipelined, b""
        if not self.transport.is_closing():
            self.flow.resume_reading()
            self.data_received(data)

    def _end_after_this(self) -> None:
        """Read nothing more, and close when what was asked is answered."""
        self._is_last = True
        if self._is_asked:
            self.cycle.transport = _LastAnswer(self)  # type: ignore[assignment]  # as much as is used of one
            self.cycle.keep_alive = False
            self.cycle.more_body = False
            self.cycle.message_event.set()
        else:
            self.linger()

    def _refuse(self, error: PresenterError) -> None:
        """Answer what is arriving with an error, and read nothing more."""
        if self._is_last:
            return
        self._await(None)
        if self._is_asked:
            self.cycle.scope["state"][REFUSED] = error
            self._end_after_this()
            return
        self._is_last = True
        self._connections.is_asking(self)
        self.expect_100_continue = False
        words = bytes((self._head or self._asked)[:1024]).split(b"\r\n", 1)[0].decode("latin-1").split(" ")
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
        self._start(self.scope, False, _LastAnswer(self))

    def linger(self) -> None:
        """Close once the caller has read the last answer: what has come and was not read would take it away."""
        self._is_last = True
        self._await(None)
        if self.transport.is_closing():
            return
        self.transport.write_eof()
        self.flow.resume_reading()
        self._connections.is_leaving(self)
        self._late = self.loop.call_later(LINGERING, self.transport.close)

    async def sent(self) -> None:
        """Wait until all that was written has gone to the kernel, or the connection is lost."""
        if self.flow.write_paused:
            await self.flow.drain()

    def pause_writing(self) -> None:
        """As something is written that the kernel does not take yet."""
        super().pause_writing()
        self._unsent = self.transport.get_write_buffer_size()
        if self._pace is None:
            self._taken = 0
            self._pace = self.loop.call_later(PACE, self._look)

    def resume_writing(self) -> None:
        """As the kernel has taken all that was written."""
        super().resume_writing()
        self._taken += self._unsent
        self._unsent = 0
        self._go_on()

    def _look(self) -> None:
        """See whether the answer is read fast enough."""
        unsent = self.transport.get_write_buffer_size() if self.flow.write_paused else 0
        taken = self._taken + self._unsent - unsent
        slowest = SLOWEST_IN_A_CROWD if self.is_crowded() else SLOWEST
        if self.flow.write_paused and taken < slowest * PACE:
            self._cut_off = (
                f"the caller took {taken} bytes of its answer in {PACE:g} seconds: {slowest} a second are asked for"
            )
            self.transport.abort()
            return
        self._taken, self._unsent = 0, unsent
        self._pace = self.loop.call_later(PACE, self._look) if self._is_busy else None


class _Exchange(RequestResponseCycle):
    """A request and its answer."""

    async def receive(self) -> ASGIReceiveEvent:
        """What comes of the body; that nothing more comes, where it was refused in the middle."""
        message = await super().receive()
        if REFUSED in self.scope["state"] and not self.response_complete:
            return {"type": "http.disconnect"}
        return message


class _LastAnswer:
    """The way out for the last answer of a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.write = connection.transport.write
        self.is_closing = connection.transport.is_closing

    def close(self) -> None:
        """Once the caller has read it."""
        self._connection.linger()
