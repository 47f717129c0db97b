"""Reads within a budget of bytes: documents are weighed as they arrive, and a query that brings too much is ended."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import asyncpg

from presenter.cache import items
from presenter.cache.memory import ROW, Share

if TYPE_CHECKING:
    from presenter.cache.pool import Connection

    Base = asyncpg.Connection[asyncpg.Record]
else:
    Base = asyncpg.Connection

_STEP = 2**18
"""Bytes that are taken of the memory at once: most pages take no more."""


class Scale:
    """Weighs the documents that a query brings, and cancels the task that waits for it when these are too many.

    The share holds room for the rows, and for none or all of the documents.
    """

    __slots__ = ("_most", "_room", "_share", "_task", "count", "inflate", "is_of_one", "is_tipped", "text", "weight")

    def __init__(self, share: Share, rows: int, most: float, *, inflate: bool) -> None:
        self.inflate = inflate
        """Pieces take what they take when they are inflated."""
        self._share = share
        self._most = most
        self._room = share.held - rows * ROW
        self._task = asyncio.current_task()
        self.count = 0
        """Documents that the query has brought."""
        self.weight = 0
        """The bytes they take until they are sent."""
        self.text = 0
        """The bytes of their text, which is what an answer's documents are bounded by, compressed or not."""
        self.is_tipped = False
        """There were too many."""
        self.is_of_one = False
        """For one answer, that is; otherwise all answers together took too much."""

    def begin(self) -> None:
        """Another query begins: what the one before has brought was not enough, and is not kept."""
        self.count = self.weight = self.text = 0

    def accept(self, size: int, text: int) -> bool:
        """Count a document that takes so many bytes, of so many bytes of text. Returns whether there is room for it."""
        self.weight += size
        self.text += text
        if (self.weight > self._room or self.text > self._most) and not self._makes_room():
            return False
        self.count += 1
        return True

    def _makes_room(self) -> bool:
        if self.is_tipped:
            return False
        self.is_of_one = self.text > self._most
        if not self.is_of_one:
            missing = self.weight - self._room
            for size in (max(missing, _STEP), missing):
                if self._share.grow(size):
                    self._room += size
                    return True
            if math.isinf(self._most):
                return True
        self.is_tipped = True
        assert self._task is not None
        self._task.cancel()
        return False

    def caused(self, _error: asyncio.CancelledError) -> bool:
        """Whether a cancellation is its own, and nobody else's."""
        assert self._task is not None
        return self.is_tipped and not self._task.uncancel()


class Documents:
    """Decodes the documents that arrive on a connection: PostgreSQL's binary jsonb is its text behind a byte."""

    __slots__ = ("scale",)

    def __init__(self) -> None:
        self.scale: Scale | None = None

    def decode(self, document: bytes) -> bytes | None:
        """The text, or None where it is too much."""
        if self.scale is None or self.scale.accept(len(document), len(document)):
            return document[1:]
        return None

    def decode_piece(self, piece: bytes) -> bytes | None:
        """The piece, or None where it is too much."""
        if self.scale is None:
            return piece
        text = items.length(piece)
        return piece if self.scale.accept(text if self.scale.inflate else len(piece), text) else None


class WeighingConnection(Base):
    """A connection whose documents are weighed while there is a scale for them."""

    __slots__ = ("documents",)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.documents = Documents()

    async def fetch(self, *arguments: Any, **more: Any) -> Any:
        """As asyncpg's; what an earlier query brought no longer counts."""
        if self.documents.scale is not None:
            self.documents.scale.begin()
        return await super().fetch(*arguments, **more)


def documents_of(connection: Connection) -> Documents:
    """The decoder of a pool's connection."""
    documents: Documents = connection.documents  # type: ignore[attr-defined]  # of which pools are made
    return documents


class Reading:
    """Reads so many rows with so many documents each, or as many of them as fit into an answer, one at least.

    It is entered again until it is `done`, each time with a `limit` that may be lower; the reader sets how many
    `rows` there were. The share holds these in the end. Without a share whatever comes is read.
    """

    def __init__(self, share: Share | None, limit: int, documents: int, *, inflate: bool = True) -> None:
        self.limit = limit
        self._inflate = inflate
        self.rows = 0
        self.done = False
        self._share = share
        self._documents = documents
        self._most: float = math.inf if share is None else share.most
        self._needed: float = limit * ROW

    async def __aenter__(self) -> Self:
        """Raises TooManyRequests when other answers do not give back enough."""
        if self._share is not None:
            await self._share.hold(self._needed)
            self._scale = Scale(self._share, self.limit, self._most, inflate=self._inflate)
        return self

    @contextmanager
    def weighed(self, connection: Connection) -> Iterator[None]:
        """Weigh what arrives on a connection."""
        if self._share is None:
            yield
            return
        weighing = documents_of(connection)
        weighing.scale = self._scale
        try:
            yield
        finally:
            weighing.scale = None

    async def __aexit__(self, _type: object, error: BaseException | None, _traceback: object) -> bool:
        """Done, or to be done again, unless something else went wrong."""
        if error is None:
            self.done = True
            if self._share is not None:
                self._share.settle(self.rows * ROW + self._scale.weight)
        if self._share is None or not isinstance(error, asyncio.CancelledError) or not self._scale.caused(error):
            return False
        if self._scale.is_of_one and self.limit == 1:
            self._most = math.inf
        elif self._scale.is_of_one:
            # One row more is read than is asked for, and it too has to fit.
            self.limit = max(1, self._scale.count // self._documents - 1)
        self._needed = self._share.most + self.limit * ROW + _STEP if self._most < math.inf else math.inf
        return True
