"""Answers that are made piece by piece, as the caller takes them, and whose memory is given back as they are sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from presenter.api.answers import Piece
from presenter.cache.memory import Share
from presenter.http.connection import CONNECTION, Connection
from presenter.observability import begin


class Pieces(Response):
    """JSON in pieces: with its length if there is one only, otherwise chunked."""

    def __init__(self, pieces: Iterator[Piece], headers: Mapping[str, str], share: Share) -> None:
        self._pieces = pieces
        self._share = share
        self.status_code = 200
        self.background = None
        self._first = next(pieces)
        self._next = next(pieces, None)
        self.raw_headers = [(b"content-type", b"application/json")]
        self.raw_headers += [(name.lower().encode("latin-1"), text.encode("latin-1")) for name, text in headers.items()]
        if self._next is None:
            self.raw_headers.append((b"content-length", b"%d" % len(self._first.json)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        connection: Connection = scope["state"][CONNECTION]
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        piece, more = self._first, self._next
        del self._first, self._next
        while more is not None:
            await send({"type": "http.response.body", "body": piece.json, "more_body": True})
            size = piece.size
            piece = more
            await connection.sent()
            self._share.give_back(size)
            begin("serialise")
            more = next(self._pieces, None)
            begin(None)
        await send({"type": "http.response.body", "body": piece.json})
