"""Waiting for a condition, which is what tests do instead of sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 20.0
"""Seconds any condition may take to become true."""


async def eventually(look: Callable[[], Awaitable[T]], wanted: Callable[[T], bool], seconds: float = PATIENCE) -> T:
    """Look until what is seen is as wanted; after `seconds`, fail with what was seen last."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not wanted(seen := await look()):
        assert asyncio.get_running_loop().time() < deadline, seen
        await asyncio.sleep(0.02)
    return seen
