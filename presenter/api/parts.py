"""Answers that are made part by part, as the caller takes them, and whose memory is given back as they are sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from presenter.api.answers import Part
from presenter.cache.memory import Share
from presenter.http.connection import CONNECTION, Connection
from presenter.observability import begin


class Parts(Response):
    """JSON in parts: with its length if there is one only, otherwise chunked."""

    def __init__(self, parts: Iterator[Part], headers: Mapping[str, str], share: Share) -> None:
        self._parts = parts
        self._share = share
        self.status_code = 200
        self.background = None
        self._first = next(parts)
        self._next = next(parts, None)
        self.whole = self._first.body if self._next is None else None
        """Its body, where that is one part."""
        self.raw_headers = [(b"content-type", b"application/json")]
        self.raw_headers += [(name.lower().encode("latin-1"), text.encode("latin-1")) for name, text in headers.items()]
        if self._next is None:
            self.raw_headers.append((b"content-length", b"%d" % len(self._first.body)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        connection: Connection = scope["state"][CONNECTION]
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        part, more = self._first, self._next
        del self._first, self._next
        while more is not None:
            await send({"type": "http.response.body", "body": part.body, "more_body": True})
            size = part.size
            part = more
            await connection.sent()
            self._share.give_back(size)
            begin("serialise")
            more = next(self._parts, None)
            begin(None)
        await send({"type": "http.response.body", "body": part.body})
