"""One connection: its requests as they arrive, one at a time and within bounds, and its answers until they are sent.

httptools parses HTTP/1. The bounds are how many bytes are held of a request, how long it may take to arrive, how fast
its answer has to be read. A request that is refused is handed to the application with the error, so that it is
answered, counted and logged like any other.
"""

from __future__ import annotations

import asyncio
import math
import urllib.parse
from collections.abc import Callable
from typing import Any

import httptools

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
from presenter.http.exchange import REFUSED, Application, Exchange, Scope

REQUEST_TIMEOUT = 30.0
"""Seconds within which the head of a request must arrive, and after that its body.

The head's begin when the connection is opened, or with the first byte of a later request.
"""
KEEP_ALIVE_TIMEOUT = 100.0
"""Seconds that an idle connection is kept: longer than Go's clients (90) and nginx (60) keep theirs."""
LINGERING_TIMEOUT = 2.0
"""Seconds in which the caller may read a last answer before the connection is closed."""
MAX_BODY_BYTES = 2**20
"""Bytes of a body; no request needs more."""
MAX_UNREAD_BODY_BYTES = 65_536
"""Bytes of a body that are taken before the application reads it: it may not want to."""
MAX_PIPELINED_BYTES = 65_536
"""Bytes that are held of requests that arrive before the one in front of them is answered."""
RATE_WINDOW = 10.0
"""Seconds over which the rate is measured at which an answer is read."""
MIN_RATE, MIN_RATE_IN_A_CROWD = 16 * 1024, 512 * 1024
"""Bytes per second at which an answer must be read; the latter while other requests wait for what it holds."""

CONNECTION = "connection"
"""Key in the ASGI scope's `state`: the connection on which the request came."""
_ASGI = {"version": "3.0", "spec_version": "2.3"}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(asyncio.Protocol):
    """The protocol of one connection, as asyncio and httptools call it."""

    transport: asyncio.Transport

    def __init__(self, application: Application, connections: Connections) -> None:
        self.on_leaving: Callable[[CallerGone], None] | None = None
        """Called when the caller hangs up, or is cut off, before the whole answer is sent."""
        self.is_crowded: Callable[[], bool] = lambda: False
        """Whether other requests wait for what this one holds."""
        self.is_stream = False
        """Whether what is being sent lasts: how fast that has to be read is for its sender to say."""
        self._application = application
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._parser: Any = httptools.HttpRequestParser(self)
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)  # what follows a last request is not read
        self._exchange: Exchange | None = None
        self._task: asyncio.Task[None] | None = None
        # Of the request that is arriving:
        self._head = bytearray()
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._expects_continue = False
        self._in_body = False
        self._body_left: int | None = None  # bytes to come; None: it comes in chunks
        self._body_seen = self._framing_seen = 0
        self._last_head = b""
        self._pipelined = b""
        self._is_last = False  # nothing more is read from it
        self._is_lost = False
        self._cut_off = ""  # why, once it is
        self._due = math.inf  # when something must have come, by the clock of the loop
        self._clock: asyncio.TimerHandle | None = None
        self._rate_check: asyncio.TimerHandle | None = None
        self._unsent = self._taken = 0  # bytes: when writing was last paused; since the rate was last checked
        self._all_sent: asyncio.Event | None = None  # while something is not

    # -- opened and closed ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # it listens for TCP
        """Wait for a request on a connection that has been opened."""
        self.transport = transport
        transport.set_write_buffer_limits(0)  # so that writing is paused as long as anything is not sent
        self._expect(REQUEST_TIMEOUT)
        self._connections.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give back what it holds, when it is closed."""
        is_busy = self._is_busy
        self._is_lost = True
        for timer in (self._clock, self._rate_check):
            if timer is not None:
                timer.cancel()
        if self._exchange is not None:
            self._exchange.is_answered = True
            self._exchange.wake()
        if self._all_sent is not None:
            self._all_sent.set()
        self._parser = None  # which refers to it
        self._connections.closed(self)
        if self._task is None:
            self._connections.gone(self)
        elif is_busy and self.on_leaving is not None:
            self.on_leaving(CallerTooSlow(self._cut_off) if self._cut_off else CallerGone("the caller hung up"))

    def finish(self) -> None:
        """Close it once the request under way is answered."""
        if self._exchange is not None and self._is_answering:
            self._exchange.keep_alive = False
        else:
            self.transport.close()

    def abandon(self) -> None:
        """Close it, whatever is under way."""
        if self._task is not None:
            self._task.cancel()
        self.transport.abort()

    def close_idle(self) -> None:
        """Close it, as it is idle."""
        self.transport.close()

    def refuse_unfinished(self) -> None:
        """Refuse the request that is arriving, to make room."""
        self._refuse(TooManyConnections("there are too many requests that have not come whole: send it again, at once"))

    def refuse_new(self) -> None:
        """Refuse whatever would come on it, as there are too many connections."""
        self._refuse(TooManyConnections("as many connections are open as may be (MAX_CONNECTIONS): try again"))

    def _expect(self, seconds: float) -> None:
        """Have something come within so many seconds, or (infinity) whenever it likes.

        No timer is touched for a request that comes in time: the one that runs is looked at when it ends.
        """
        self._due = self._loop.time() + seconds
        if seconds < math.inf and (self._clock is None or self._clock.when() > self._due):
            if self._clock is not None:
                self._clock.cancel()
            self._clock = self._loop.call_at(self._due, self._look_at_clock)

    def _look_at_clock(self) -> None:
        self._clock = None
        if self._loop.time() < self._due:
            self._expect(self._due - self._loop.time())
        elif self._head or self._is_answering:
            self._refuse(RequestTimeout(f"the request has not come whole within {REQUEST_TIMEOUT:g} seconds"))
        else:
            self.transport.close()

    @property
    def peer(self) -> str:
        """The address that it comes from; empty where it has none."""
        name = self.transport.get_extra_info("peername")
        return str(name[0]) if isinstance(name, tuple) else ""

    @property
    def _is_answering(self) -> bool:
        """Whether there is a request whose answer has not been written to its end."""
        return self._exchange is not None and not self._exchange.is_answered

    @property
    def _is_busy(self) -> bool:
        """Whether there is an answer that has not been sent to its end."""
        return self._is_answering or self._all_sent is not None

    # -- requests as they arrive ---------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take what has arrived, request by request."""
        try:
            while data and not self._is_last:
                data = self._body(data) if self._in_body else self._begin(data)
        except httptools.HttpParserUpgrade:  # to a tunnel (CONNECT); what would follow is another protocol
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
                self.transport.pause_reading()
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
                self._expect(REQUEST_TIMEOUT)
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
        self._expect(math.inf)
        self._connections.answering(self)
        self._in_body, self._body_seen, self._framing_seen = True, 0, 0
        self._parser.feed_data(heads.without_upgrade(heads.as_meant(head)))
        if self._in_body:
            self._expect(REQUEST_TIMEOUT)
            lengths = [int(value) for name, value in self._headers if name == b"content-length"]
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
        self._parser.feed_data(piece)
        if self._framing_seen > heads.MAX_BYTES:
            self._refuse(HeadersTooLarge(f"chunks and trailers have more than {heads.MAX_BYTES} bytes besides data"))
        elif self._in_body and not self._is_last:
            self._connections.receiving(self, min(self._body_seen, MAX_BODY_BYTES))
        return data[len(piece) :]

    def on_message_begin(self) -> None:
        """Called by the parser when a request begins."""
        self._url, self._headers, self._expects_continue = b"", [], False

    def on_url(self, url: bytes) -> None:
        """Called by the parser for each part of the URL."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser for each header, and each trailer."""
        name = name.lower()
        self._headers.append((name, value))
        if name == b"expect":
            self._expects_continue = value.lower() == b"100-continue"
        if len(self._headers) > heads.MAX_HEADERS:  # by its trailers
            self._refuse(HeadersTooLarge(f"the request has more than {heads.MAX_HEADERS} headers and trailers"))

    def on_headers_complete(self) -> None:
        """Called by the parser after a head: start the application, which may read the body."""
        url, version = httptools.parse_url(self._url), self._parser.get_http_version()
        self._expects_continue = self._expects_continue and version != "1.0"  # RFC 9110 §10.1.1
        scope = self._scope(
            self._parser.get_method().decode("ascii"),
            urllib.parse.unquote(url.path.decode("ascii")),
            url.path,
            url.query or b"",
            version,
        )
        self._start(scope, keep_alive=version != "1.0" and self._parser.should_keep_alive())

    def on_body(self, body: bytes) -> None:
        """Called by the parser for each part of a body."""
        self._body_seen += len(body)
        self._framing_seen = max(0, self._framing_seen - len(body))
        if self._body_seen - len(body) > MAX_BODY_BYTES:
            self._close_after_answer()  # it has been told of more than it takes
        elif self._exchange is not None and self._is_answering:
            self._exchange.arrive(body, more=True)
            if self._exchange.unread > MAX_UNREAD_BODY_BYTES:
                self.transport.pause_reading()

    def on_message_complete(self) -> None:
        """Called by the parser at the end of a request."""
        self._read_body()  # which may have been paused by the last of it
        self._in_body = False
        if self._exchange is not None and self._is_answering:
            self._expect(math.inf)
            self._connections.answering(self)
            self._exchange.arrive()
        else:
            self._rest()

    def go_on_receiving(self) -> None:
        """The application waits for the body."""
        if self._expects_continue and not self.transport.is_closing():
            self.transport.write(_CONTINUE)
            self._expects_continue = False
        self._read_body()

    def _read_body(self) -> None:
        if self._in_body and not self.transport.is_closing():
            self.transport.resume_reading()

    # -- answers until they are sent -----------------------------------------------------------------------------------

    def _scope(self, method: str, path: str, raw_path: bytes, query_string: bytes, version: str = "1.1") -> Scope:
        return {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": raw_path,
            "query_string": query_string,
            "root_path": "",
            "headers": self._headers.copy(),  # to which no trailer is added (RFC 9110 §6.5.1)
            "state": {CONNECTION: self},
        }

    def _start(self, scope: Scope, *, keep_alive: bool) -> None:
        self._exchange = Exchange(self, scope, keep_alive=keep_alive)
        self._task = self._loop.create_task(self._exchange.run(self._application))

    def answered(self, exchange: Exchange) -> None:
        """Called when an answer has been written to its end."""
        self.is_stream = False
        if self._is_last or (self._in_body and not exchange.keep_alive):
            self.linger()
        elif not exchange.keep_alive:
            self.transport.close()
        else:
            self._go_on()

    def ended(self, exchange: Exchange) -> None:
        """Called when the application has done with a request."""
        if exchange is self._exchange:
            self._task = None
            if self._is_answering:
                self.transport.abort()
            if self._is_lost:
                self._connections.gone(self)

    def _go_on(self) -> None:
        """Turn to what has arrived meanwhile, once the answer is sent to its end."""
        if self._is_busy or self._is_last or self.transport.is_closing():
            return
        if self._in_body:
            self._read_body()  # to get past it
        else:
            self._rest()
        if self._pipelined:
            self._loop.call_soon(self._take_pipelined)

    def _rest(self) -> None:
        self._connections.idle(self)
        self._expect(KEEP_ALIVE_TIMEOUT)

    def _take_pipelined(self) -> None:
        data, self._pipelined = self._pipelined, b""
        if not self.transport.is_closing():
            self.transport.resume_reading()
            self.data_received(data)

    def _close_after_answer(self) -> None:
        """Read nothing more, and close once the request under way is answered."""
        self._is_last = True
        if self._exchange is not None and self._is_answering:
            self._exchange.keep_alive = False
            self._exchange.arrive()
        else:
            self.linger()

    def _refuse(self, error: PresenterError) -> None:
        """Answer the request that is arriving with an error, and read nothing more."""
        if self._is_last:
            return
        self._expect(math.inf)
        if self._exchange is not None and self._is_answering:
            self._exchange.scope["state"][REFUSED] = error
            self._close_after_answer()
            return
        self._is_last = True
        self._connections.answering(self)
        words = bytes((self._head or self._last_head)[:1024]).split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        path, _, query = (words[1] if len(words) > 1 else "").partition("?")
        self.on_message_begin()
        method = words[0] if words[0].isascii() and words[0].isalpha() else ""
        scope = self._scope(method, path, path.encode("latin-1"), query.encode("latin-1"))
        scope["state"][REFUSED] = error
        self._head.clear()
        self._start(scope, keep_alive=False)

    def linger(self) -> None:
        """Close once the caller has had time to read the last answer.

        Closed at once, with bytes that were not read, the kernel would reset the connection, and the answer be lost.
        """
        self._is_last = True
        if self.transport.is_closing():
            return
        self.transport.write_eof()
        self.transport.resume_reading()
        self._connections.lingering(self)
        self._expect(LINGERING_TIMEOUT)

    async def sent(self) -> None:
        """Wait until the kernel has all that was written, or the connection is lost."""
        if self._all_sent is not None:
            await self._all_sent.wait()

    @property
    def is_behind(self) -> bool:
        """Whether something was written that the kernel has not taken yet."""
        return self._all_sent is not None

    def cut_off(self, why: str) -> None:
        """Close it at once, since the caller reads too slowly."""
        self._cut_off = why
        self.transport.abort()

    def pause_writing(self) -> None:
        """Called when something is written that the kernel does not take yet."""
        self._all_sent = asyncio.Event()
        self._unsent = self.transport.get_write_buffer_size()
        if self._rate_check is None and not self.is_stream:
            self._taken = 0
            self._rate_check = self._loop.call_later(RATE_WINDOW, self._check_rate)

    def resume_writing(self) -> None:
        """Called when the kernel has taken all that was written."""
        if self._all_sent is not None:
            self._all_sent.set()
            self._all_sent = None
        self._taken += self._unsent
        self._unsent = 0
        self._go_on()

    def _check_rate(self) -> None:
        """Cut the caller off if it has read its answer too slowly."""
        unsent = self.transport.get_write_buffer_size() if self._all_sent else 0
        taken = self._taken + self._unsent - unsent
        slowest = MIN_RATE_IN_A_CROWD if self.is_crowded() else MIN_RATE
        if self._all_sent and taken < slowest * RATE_WINDOW:
            self.cut_off(
                f"the caller took {taken} bytes of its answer in {RATE_WINDOW:g} seconds: "
                f"{slowest} a second are asked for"
            )
            return
        self._taken, self._unsent = 0, unsent
        self._rate_check = self._loop.call_later(RATE_WINDOW, self._check_rate) if self._is_busy else None
