"""One request and its answer, as an ASGI application receives the one and sends the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from presenter.http.connection import Connection

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

REFUSED = "refused"
"""Key in the ASGI scope's `state`: the error to answer with, where the request is refused. Its scope has what could be
parsed of it."""
_COPIED = 65_536
"""Bytes up to which a body is copied behind its head, since that takes less than to write them one after the other."""
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}".encode() for status in HTTPStatus}
_WITHOUT_BODY = (204, 304)

log = structlog.get_logger(__name__)


class Exchange:
    """The request, of which a body may still be arriving, and the answer until it is written to its end."""

    __slots__ = (
        "_arrived",
        "_body",
        "_connection",
        "_has_more",
        "_has_news",
        "_head",
        "_is_chunked",
        "is_answered",
        "keep_alive",
        "scope",
    )

    def __init__(self, connection: Connection, scope: Scope, *, keep_alive: bool) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        """Whether another one may follow on its connection."""
        self.is_answered = False
        """Whether the answer is written to its end, or there is nobody any more to take it."""
        self._connection = connection
        self._body = bytearray()
        self._has_more = True
        self._has_news = False
        self._arrived: asyncio.Future[None] | None = None  # which is waited for
        self._head: bytes | None = None  # of the answer, until it is written together with the first of its body
        self._is_chunked = False

    async def run(self, application: Application) -> None:
        """Have the application answer it."""
        try:
            await application(self.scope, self.receive, self.send)
        except Exception:
            log.exception("a request failed")
        finally:
            self._connection.ended(self)

    # -- the request ---------------------------------------------------------------------------------------------------

    def arrive(self, body: bytes = b"", *, more: bool = False) -> None:
        """Take what has arrived of the body; without `more` nothing follows."""
        self._body += body
        self._has_more, self._has_news = more, True
        self.wake()

    @property
    def unread(self) -> int:
        """Bytes of the body that have arrived and are not received."""
        return len(self._body)

    def wake(self) -> None:
        """Have `receive` look again."""
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    async def receive(self) -> Message:
        """What has arrived of the body since, or a disconnect where there is nobody any more, or it was refused."""
        if not (self._has_news or self._is_over):
            self._connection.go_on_receiving()
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        if self._is_over:
            return {"type": "http.disconnect"}
        body, self._body, self._has_news = bytes(self._body), bytearray(), False
        return {"type": "http.request", "body": body, "more_body": self._has_more}

    @property
    def _is_over(self) -> bool:
        return self.is_answered or REFUSED in self.scope["state"]

    # -- the answer ----------------------------------------------------------------------------------------------------

    async def send(self, message: Message) -> None:
        """Write what follows of the answer, once the kernel has all that was written before."""
        await self._connection.sent()
        if self.is_answered:
            return
        if message["type"] == "http.response.start":
            if self._head == b"":
                raise RuntimeError("another answer has begun already")
            self._head = self._begin(message["status"], message.get("headers", ()))
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if self.scope["method"] == "HEAD":
            body = b""
        elif self._is_chunked:
            chunk = (b"%x\r\n" % len(body), body, b"\r\n") if body else ()
            body = b"".join((*chunk, b"" if more else b"0\r\n\r\n"))
        head, self._head = self._head or b"", b""
        if len(body) > _COPIED:
            self._connection.transport.write(head)
            self._connection.transport.write(body)
        else:
            self._connection.transport.write(head + body)
        if not more:
            self.is_answered = True
            self._connection.answered(self)

    def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """The head of the answer."""
        lines = [_STATUS_LINES[status], _date(int(time.time()))]
        has_length = False
        for name, value in headers:
            has_length = has_length or name == b"content-length"
            lines.append(name + b": " + value)
        # HTTP/1.0 knows no chunks: there the end of the connection is that of the body.
        self._is_chunked = not has_length and status not in _WITHOUT_BODY and self.scope["http_version"] != "1.0"
        if self._is_chunked:
            lines.append(b"transfer-encoding: chunked")
        if not self.keep_alive:
            lines.append(b"connection: close")
        head = b"\r\n".join(lines)
        if not head.count(b"\n") == head.count(b"\r") == len(lines) - 1:
            raise ValueError("a header of the answer has more than one line")
        return head + b"\r\n\r\n"


@lru_cache(1)
def _date(second: int) -> bytes:
    return f"date: {formatdate(second, usegmt=True)}".encode()
