"""Pieces for the rows that an earlier version of the program left without one, made in the background.

Until a row has its piece it is answered from its document. Whoever leads looks all rows through once, in small
transactions and with pauses, and is done: what it writes itself has pieces.
"""

from __future__ import annotations

import asyncio
import time

import structlog

from presenter.cache.metrics import PIECES_MADE
from presenter.cache.writer import Writer
from presenter.errors import LeaseLost, Unavailable

LOOKED_AT, AT_ONCE = 2000, 100
"""Rows that one transaction looks at, and those of which it makes pieces."""
SHARE = 0.2
"""How much of the time it takes; the rest is for others."""
_RETRY = 5.0
"""Seconds after which it goes on where the database failed."""
_TELL_EVERY = 30.0

log = structlog.get_logger(__name__)


async def fill(writer: Writer, *, share: float = SHARE, retry: float = _RETRY) -> int:
    """Give every row a piece, then return how many were made. Where the lease is lost, somebody else does it."""
    made, told = 0, time.monotonic()
    types = None
    while types is None:
        try:
            types = await writer.types()
        except Unavailable:
            await asyncio.sleep(retry)
    for type_id, type in types.items():
        after: str | None = ""
        while after is not None:
            begun = time.monotonic()
            try:
                after, more = await writer.make_pieces(type_id, type, after, LOOKED_AT, AT_ONCE)
            except LeaseLost:
                return made
            except Unavailable:
                await asyncio.sleep(retry)
                continue
            now = time.monotonic()
            PIECES_MADE.inc(more)
            made += more
            if more and now - told > _TELL_EVERY:
                told = now
                log.info("making the pieces of rows that an earlier version wrote", made=made, type=type.name)
            await asyncio.sleep((now - begun) * (1 / share - 1))
    if made:
        log.info("all rows have their pieces", made=made)
    return made
