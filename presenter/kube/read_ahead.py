"""Reading ahead: a stream is read as fast as it comes, and handed on in batches of what has gathered meanwhile."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from types import TracebackType
from typing import Generic, Self, TypeVar

from presenter.kube.metrics import WAITING_BYTES, WAITING_EVENTS

Item = TypeVar("Item")

MAX_ITEMS = 500
MAX_BYTES = 2**20
STREAM_BYTES = 2 * 2**20
ALL_BYTES = 8 * 2**20


class Budget:
    """The bytes that all streams which share it may hold."""

    def __init__(self, size: int = ALL_BYTES) -> None:
        self._left = size
        self._freed = asyncio.Event()

    @property
    def exhausted(self) -> bool:
        """Whether there is no room left."""
        return self._left <= 0

    def take(self, size: int) -> None:
        """Hold so many bytes more; less than none may be left."""
        self._left -= size

    def give_back(self, size: int) -> None:
        """Hold so many bytes less."""
        self._left += size
        self._freed.set()

    async def freed(self) -> None:
        """Wait until something is given back."""
        self._freed.clear()
        await self._freed.wait()


class ReadAhead(Generic[Item]):
    """The items of `source`, in batches: of one item when idle, of many under load.

    A batch has at most `max_items` items and `max_bytes` bytes (by `size`), or one larger item; an item of which `ends`
    is true is the last of its batch. Once `stream_bytes`, or the `budget` shared with other streams, are used up,
    nothing more is read until a batch is done with. An error of the source is raised after the items before it.
    """

    def __init__(
        self,
        source: AsyncGenerator[Item, None],
        size: Callable[[Item], int],
        budget: Budget,
        *,
        ends: Callable[[Item], bool] = lambda _: False,
        max_items: int = MAX_ITEMS,
        max_bytes: int = MAX_BYTES,
        stream_bytes: int = STREAM_BYTES,
    ) -> None:
        self._source = source
        self._size = size
        self._budget = budget
        self._ends = ends
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._stream_bytes = stream_bytes
        self._gathered: deque[Item] = deque()
        self._held = 0
        self._handed_on = (0, 0)
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._reading = asyncio.create_task(self._read())
        self._reading.add_done_callback(lambda _: self._changed.set())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cut()
        await asyncio.wait((self._reading,))
        self._give_back(self._handed_on[0] + len(self._gathered), self._held)

    def cut(self) -> None:
        """Read no further. What has gathered is still handed on."""
        self._reading.cancel()

    async def batch(self) -> list[Item] | None:
        """The next items, as soon as there are any; None at the end of the source, or where it was cut.

        The batch before is done with: its bytes are given back.
        """
        self._give_back(*self._handed_on)
        self._handed_on = (0, 0)
        while not self._gathered:
            if self._reading.done():
                if not self._reading.cancelled():
                    self._reading.result()
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._take()

    async def _read(self) -> None:
        async with aclosing(self._source):
            async for item in self._source:
                self._gathered.append(item)
                size = self._size(item)
                self._held += size
                self._budget.take(size)
                WAITING_EVENTS.inc()
                WAITING_BYTES.inc(size)
                self._changed.set()
                while self._held >= self._stream_bytes or (self._held and self._budget.exhausted):
                    await self._budget.freed()

    def _take(self) -> list[Item]:
        batch: list[Item] = []
        taken = 0
        while self._gathered and len(batch) < self._max_items:
            size = self._size(self._gathered[0])
            if batch and (taken + size > self._max_bytes or self._ends(batch[-1])):
                break
            batch.append(self._gathered.popleft())
            taken += size
        self._handed_on = (len(batch), taken)
        return batch

    def _give_back(self, items: int, size: int) -> None:
        self._held -= size
        self._budget.give_back(size)
        WAITING_EVENTS.dec(items)
        WAITING_BYTES.dec(size)
