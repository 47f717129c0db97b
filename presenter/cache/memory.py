"""The memory of answers: a bounded number of bytes that all callers' answers hold until they are sent."""

from __future__ import annotations

import asyncio
from collections import deque

from presenter.errors import TooManyRequests

ROW = 1536
"""Bytes that an object takes beside its documents: its columns, as they were read and as they are sent."""

_PATIENCE = 10.0
"""Seconds after which a wait for memory ends."""


class Memory:
    """At most `most` bytes for all answers together, and `most_of_one` for the documents of one."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self.most = most
        self.most_of_one = most_of_one
        self.taken = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def is_waited_for(self) -> bool:
        """Whether an answer waits for memory that others hold."""
        return bool(self._waiting)

    def take(self, size: int) -> bool:
        """Take so many bytes if they are free. Returns whether they were."""
        if size > self.most - self.taken:
            return False
        self.taken += size
        return True

    async def wait_for(self, size: int) -> None:
        """Take so many bytes once they are free, first come first served. Raises TooManyRequests after a while."""
        if not self._waiting and self.take(size):
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            async with asyncio.timeout(_PATIENCE):
                await turn
        except BaseException as error:
            # The bytes may have come too late; and those behind must not wait for one that has left.
            self.give_back(0 if turn.cancelled() else size)
            if isinstance(error, TimeoutError):
                raise TooManyRequests(
                    f"answers that their callers have not taken yet hold {self.taken} bytes, and all may hold "
                    f"{self.most} (MAX_INFLIGHT_BYTES): try again in a moment"
                ) from error
            raise

    def give_back(self, size: int) -> None:
        """Free so many bytes, for those who have waited longest."""
        self.taken -= size
        while self._waiting and (self._waiting[0][1].done() or self.take(self._waiting[0][0])):
            _, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)


class Share:
    """One answer's share of the memory: `held` bytes."""

    __slots__ = ("_memory", "held")

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.held = 0

    @property
    def most(self) -> int:
        """The bytes that the documents of one answer may take."""
        return self._memory.most_of_one

    async def hold(self, size: float) -> None:
        """Hold so many bytes, or all there are. Raises TooManyRequests when others do not release enough."""
        self.release()
        wanted = int(min(size, self._memory.most))
        await self._memory.wait_for(wanted)
        self.held = wanted

    def grow(self, size: int) -> bool:
        """Hold so many bytes more, if they are free. Returns whether they were."""
        if not self._memory.take(size):
            return False
        self.held += size
        return True

    def settle(self, size: int) -> None:
        """Hold so many bytes, whether they are free or not."""
        before, self.held = self.held, size
        self._memory.give_back(before - size)

    def give_back(self, size: int) -> None:
        """Hold so many bytes less: they have been sent."""
        self.settle(max(0, self.held - size))

    def release(self) -> None:
        """Hold nothing."""
        if self.held:
            self.settle(0)
