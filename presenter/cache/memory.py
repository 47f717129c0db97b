"""How much memory answers take: bytes that are held until they are sent, over all callers, and no more than so many."""

from __future__ import annotations

import asyncio
from collections import deque

from presenter.errors import TooManyRequests

ROW = 1536
"""Bytes that an object takes beside its documents: its columns, as they were read and as they are sent."""

_PATIENCE = 10.0
"""Seconds after which somebody who waits for memory gives up."""


class Memory:
    """What answers may take: `most` bytes of all of them together, and `most_of_one` of the documents of one."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self.most = most
        self.most_of_one = most_of_one
        self.taken = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody waits until others have taken their answers."""
        return bool(self._waiting)

    def take(self, size: int) -> bool:
        """Take so many bytes, if they are there."""
        if size > self.most - self.taken:
            return False
        self.taken += size
        return True

    async def wait_for(self, size: int) -> None:
        """Take them when they are there, in turn. Raises TooManyRequests after a while."""
        if not self._waiting and self.take(size):
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            async with asyncio.timeout(_PATIENCE):
                await turn
        except BaseException as error:
            # Its turn may have come too late; and those behind it must not wait for somebody who has left.
            self.give_back(0 if turn.cancelled() else size)
            if isinstance(error, TimeoutError):
                raise TooManyRequests(
                    f"answers that their callers have not taken yet hold {self.taken} bytes, and all may hold "
                    f"{self.most} (MAX_INFLIGHT_BYTES): try again in a moment"
                ) from error
            raise

    def give_back(self, size: int) -> None:
        """Give so many bytes to who has waited for longest."""
        self.taken -= size
        while self._waiting and (self._waiting[0][1].done() or self.take(self._waiting[0][0])):
            _, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)


class Share:
    """What one answer takes of the memory: `held` bytes."""

    __slots__ = ("_memory", "held")

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.held = 0

    @property
    def most(self) -> int:
        """What the documents of one answer may take."""
        return self._memory.most_of_one

    async def hold(self, size: float) -> None:
        """Hold so many bytes, or all there are. Raises TooManyRequests when others do not give back enough."""
        self.release()
        wanted = int(min(size, self._memory.most))
        await self._memory.wait_for(wanted)
        self.held = wanted

    def grow(self, size: int) -> bool:
        """Hold so many bytes more, if they are there."""
        if not self._memory.take(size):
            return False
        self.held += size
        return True

    def settle(self, size: int) -> None:
        """Hold so many bytes, whether they are there or not."""
        before, self.held = self.held, size
        self._memory.give_back(before - size)

    def give_back(self, size: int) -> None:
        """Hold so many bytes less: they have been sent."""
        self.settle(max(0, self.held - size))

    def release(self) -> None:
        """Hold nothing any more."""
        if self.held:
            self.settle(0)
