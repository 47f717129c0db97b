"""The open connections of a server, and which of them are closed when there are too many.

A connection is idle, or receives a request, or answers one. An answer is never cut off for want of room.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

MAX_RECEIVING_BYTES = 32 * 2**20
"""Bytes that all connections together may hold of requests that have not arrived whole."""


class Closable(Protocol):
    """How a connection is closed to make room."""

    def close_idle(self) -> None:
        """Close it; it is idle."""

    def refuse_unfinished(self) -> None:
        """Answer the request that is arriving on it with an error, and close it."""

    def refuse_new(self) -> None:
        """Answer with an error that there is no room, and close it; it has just been opened."""

    def finish(self) -> None:
        """Close it once the request under way is answered."""

    def abandon(self) -> None:
        """Close it, whatever is under way."""


class Connections:
    """At most `most` connections, of which at most `most_idle` are idle.

    Beyond that the one is closed that has been idle for longest; where none is, the one whose request has been arriving
    for longest; where all are answering, the new one is refused.
    """

    def __init__(self, most: int, most_idle: int) -> None:
        self._most = most
        self._most_idle = most_idle
        self._here: set[Closable] = set()  # until the last of it is gone
        self._gone = asyncio.Event()
        self._all: set[Closable] = set()
        self._idle: dict[Closable, None] = {}  # the longest idle first
        self._receiving: dict[Closable, int] = {}
        self._bytes_receiving = 0

    def opened(self, connection: Closable) -> None:
        """Count a new connection, which is idle."""
        self._here.add(connection)
        self._all.add(connection)
        while len(self._all) > self._most and self._idle:
            self._oldest(self._idle).close_idle()
        while len(self._all) > self._most and self._receiving:
            self._oldest(self._receiving).refuse_unfinished()
        if len(self._all) > self._most:
            connection.refuse_new()
        else:
            self.idle(connection)

    def lingering(self, connection: Closable) -> None:
        """Count it as idle again: its last answer is written, and it stays for a moment in which that may be read."""
        self._all.add(connection)
        self.idle(connection)
        while len(self._all) > self._most and self._idle:
            self._oldest(self._idle).close_idle()

    def closed(self, connection: Closable) -> None:
        """Count it no more."""
        self._all.discard(connection)
        self._forget(connection)

    def gone(self, connection: Closable) -> None:
        """Note that it is closed, and nothing is done for it any more."""
        self._here.discard(connection)
        self._gone.set()

    async def finish(self, grace: float) -> int:
        """Close all, once their requests are answered, or after so many seconds. Returns how many were not."""
        for connection in tuple(self._here):
            connection.finish()
        # Not asyncio.timeout, which does not work in who was cancelled before Python 3.11.3 (python/cpython#102780).
        finishing = asyncio.create_task(self._until_gone())
        await asyncio.wait((finishing,), timeout=grace)
        finishing.cancel()
        for connection in tuple(self._here):
            connection.abandon()
        return len(self._here)

    async def _until_gone(self) -> None:
        while self._here:
            self._gone.clear()
            await self._gone.wait()

    def idle(self, connection: Closable) -> None:
        """Note that no request is under way on it."""
        self._forget(connection)
        self._idle[connection] = None
        while len(self._idle) > self._most_idle:
            self._oldest(self._idle).close_idle()

    def receiving(self, connection: Closable, size: int) -> None:
        """Note that it holds `size` bytes of a request that has not arrived whole."""
        self._idle.pop(connection, None)
        self._bytes_receiving += size - self._receiving.get(connection, 0)
        self._receiving[connection] = size
        while self._bytes_receiving > MAX_RECEIVING_BYTES:
            self._oldest(self._receiving).refuse_unfinished()

    def answering(self, connection: Closable) -> None:
        """Note that its request has arrived, and is being answered."""
        self._forget(connection)

    def _forget(self, connection: Closable) -> None:
        self._idle.pop(connection, None)
        self._bytes_receiving -= self._receiving.pop(connection, 0)

    def _oldest(self, connections: dict[Closable, None] | dict[Closable, int]) -> Closable:
        connection = next(iter(connections))
        self.closed(connection)
        return connection
