"""Past states that nobody needs any more, removed in the background: the old ones, and the oldest of too many.

Whoever leads looks once a minute, or once in the time for which they are kept. What goes, goes in whole revisions, and
the feed begins after them: in the same transaction, so that no position is ever valid whose changes are not all there.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import structlog

from presenter.cache.metrics import PAST_SECONDS, PAST_STATES
from presenter.cache.writer import Writer
from presenter.errors import LeaseLost, Unavailable

AT_ONCE = 1000
"""Past states that one transaction removes, or a few more: those of the last revision all go."""
_LOOK_EVERY = 60.0
_SHARE = 0.2
"""How much of the time it takes while there is something to remove; the rest is for others."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Retention:
    """How long past states are kept, and how many at most."""

    age: timedelta
    count: int


async def retain(writer: Writer, cluster: str, retention: Retention, *, every: float = _LOOK_EVERY) -> None:
    """Remove what is not to be kept, until cancelled or the lease is lost."""
    states, seconds = PAST_STATES.labels(cluster), PAST_SECONDS.labels(cluster)
    pause = min(every, max(1.0, retention.age.total_seconds()))
    try:
        while True:
            try:
                await _remove(writer, retention)
                kept = await writer.past_states()
            except LeaseLost:
                return
            except Unavailable as error:
                log.debug("past states not removed", error=str(error))
            else:
                states.set(kept.count)
                seconds.set(kept.age.total_seconds())
            await asyncio.sleep(pause)
    finally:
        PAST_STATES.remove(cluster)
        PAST_SECONDS.remove(cluster)


async def _remove(writer: Writer, retention: Retention) -> None:
    loop = asyncio.get_running_loop()
    while True:
        begun = loop.time()
        if await writer.remove_past(retention.age, retention.count, AT_ONCE) < AT_ONCE:
            return
        await asyncio.sleep((loop.time() - begun) * (1 / _SHARE - 1))
