"""Reading ahead: a stream is read as fast as it comes, and handed on as whatever has gathered meanwhile."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TypeVar

Item = TypeVar("Item")

MAX_ITEMS = 500
MAX_BYTES = 4 * 2**20
BUFFER_BYTES = 8 * 2**20


async def batches(
    source: AsyncGenerator[Item, None],
    size: Callable[[Item], int],
    *,
    max_items: int = MAX_ITEMS,
    max_bytes: int = MAX_BYTES,
    buffer_bytes: int = BUFFER_BYTES,
) -> AsyncGenerator[list[Item], None]:
    """All items of `source` in their order: one at a time when idle, many under load.

    A batch has at most `max_items` items and `max_bytes` bytes by `size`; a larger item comes alone. What is
    read ahead stays below `buffer_bytes` plus one item: then the source is closed and the batches end after
    what was read, because a Kubernetes API server cuts off slow readers anyway, and the caller resumes from
    what it has stored. An error of the source is raised after the items before it.
    """
    gathered: deque[Item] = deque()
    held = 0
    changed = asyncio.Event()

    async def read_ahead() -> None:
        nonlocal held
        async with aclosing(source):
            async for item in source:
                gathered.append(item)
                held += size(item)
                changed.set()
                if held >= buffer_bytes:
                    return

    reader = asyncio.create_task(read_ahead())
    reader.add_done_callback(lambda _: changed.set())
    try:
        while True:
            await changed.wait()
            changed.clear()
            while gathered:
                batch, taken = _take(gathered, size, max_items, max_bytes)
                held -= taken
                yield batch
            if reader.done():
                await reader  # raises what the source raised
                return
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


def _take(gathered: deque[Item], size: Callable[[Item], int], max_items: int, max_bytes: int) -> tuple[list[Item], int]:
    batch = [gathered.popleft()]
    taken = size(batch[0])
    while gathered and len(batch) < max_items and taken + size(gathered[0]) <= max_bytes:
        batch.append(gathered.popleft())
        taken += size(batch[-1])
    return batch, taken
