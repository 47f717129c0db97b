"""That the database answers again, for those who would otherwise wait longer than it takes."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Recoveries:
    """How often the database has come back; `count` tells."""

    def __init__(self) -> None:
        self.count = 0
        self._next = asyncio.Event()

    def happened(self) -> None:
        """It has come back once more."""
        self.count += 1
        self._next.set()
        self._next = asyncio.Event()

    async def wait(self, since: int, seconds: float) -> bool:
        """Wait so many seconds, but no longer than until `count` is more than `since`. Returns whether it is."""
        if self.count == since:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._next.wait()
        return self.count != since
