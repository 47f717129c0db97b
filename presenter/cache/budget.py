"""Reads within a budget of bytes: documents are weighed as they arrive, and a query that brings too much is ended."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg

from presenter.memory import ROW, Share

if TYPE_CHECKING:
    from presenter.cache.pool import Connection, Pool

    Base = asyncpg.Connection[asyncpg.Record]
else:
    Base = asyncpg.Connection

T = TypeVar("T")

_STEP = 2**18
"""Bytes that are taken of the memory at once: most pages take no more."""


class Scale:
    """Weighs the documents that a query brings, and cancels the task that waits for it when these are too many.

    The share holds room for the rows, and for none or all of the documents.
    """

    __slots__ = ("_most", "_room", "_share", "_task", "count", "is_of_one", "is_tipped", "weight")

    def __init__(self, share: Share, rows: int, most: float) -> None:
        self._share = share
        self._most = most
        self._room = share.held - rows * ROW
        self._task = asyncio.current_task()
        self.count = 0
        """Documents that the query has brought."""
        self.weight = 0
        """Their bytes."""
        self.is_tipped = False
        """There were too many."""
        self.is_of_one = False
        """For one answer, that is; otherwise all answers together took too much."""

    def begin(self) -> None:
        """Another query begins: what the one before has brought was not enough, and is not kept."""
        self.count = self.weight = 0

    def keeps(self, size: int) -> bool:
        """Whether a document of so many bytes is kept."""
        self.weight += size
        if self.weight > self._room and not self._makes_room():
            return False
        self.count += 1
        return True

    def _makes_room(self) -> bool:
        if self.is_tipped:
            return False
        self.is_of_one = self.weight > self._most
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

    def explains(self, _error: asyncio.CancelledError) -> bool:
        """Whether a cancellation is the one that it asked for, and nobody else's."""
        assert self._task is not None
        return self.is_tipped and not self._task.uncancel()


class Documents:
    """What decodes the documents that arrive on a connection: PostgreSQL's binary jsonb is its text behind a byte."""

    __slots__ = ("scale",)

    def __init__(self) -> None:
        self.scale: Scale | None = None

    def decode(self, document: bytes) -> bytes | None:
        """The text, or None where it is too much."""
        if self.scale is None or self.scale.keeps(len(document)):
            return document[1:]
        return None


class WeighingConnection(Base):
    """A connection whose documents are weighed while there is a scale for them."""

    __slots__ = ("documents",)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.documents = Documents()

    async def fetch(self, *arguments: Any, **more: Any) -> Any:
        """As asyncpg has it."""
        if self.documents.scale is not None:
            self.documents.scale.begin()
        return await super().fetch(*arguments, **more)


def documents_of(connection: Connection) -> Documents:
    """Those of a pool's connection."""
    documents: Documents = connection.documents  # type: ignore[union-attr]  # of which pools are made
    return documents


async def within(
    share: Share, pool: Pool, limit: int, documents: int, read: Callable[[Connection, int], Awaitable[tuple[int, T]]]
) -> T:
    """Read so many rows with so many documents each, or as many of them as fit into an answer, one at least.

    What reads is given a number of rows, and says how many it has found. The share holds these in the end. Raises
    TooManyRequests when other answers do not give back enough.
    """
    most: float = share.most
    await share.hold(limit * ROW)
    while True:
        scale = Scale(share, limit, most)
        try:
            async with pool.connection() as connection:
                weighing = documents_of(connection)
                weighing.scale = scale
                try:
                    rows, found = await read(connection, limit)
                finally:
                    weighing.scale = None
        except asyncio.CancelledError as error:
            if not scale.explains(error):
                raise
        else:
            share.settle(rows * ROW + scale.weight)
            return found
        if scale.is_of_one and limit == 1:
            most = math.inf
        elif scale.is_of_one:
            # One row more is read than is asked for, and it too has to fit.
            limit = max(1, scale.count // documents - 1)
        await share.hold(share.most + limit * ROW + _STEP if most < math.inf else math.inf)
