"""How long to wait before the next attempt."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

MAX_SERVER_DELAY = 300.0
"""Seconds of `Retry-After` that are honoured at most: one odd answer must not stop a watch for a day."""


@dataclass(frozen=True, slots=True)
class BackoffTimings:
    """Seconds: the first delay, the largest, and how much health makes the next one the first again.

    The numbers are client-go's (`tools/cache/reflector.go`).
    """

    initial: float = 0.8
    maximum: float = 30.0
    reset_after: float = 120.0


class Backoff:
    """Delays that double, with jitter so that many clients do not come back at the same moment."""

    def __init__(
        self,
        timings: BackoffTimings,
        *,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._timings = timings
        self._clock = clock
        self._jitter = jitter
        self._next = timings.initial
        self._due = clock()

    def reset(self) -> None:
        """Begin with the first delay again: what was waited for is over."""
        self._next = self._timings.initial

    def next(self, server_delay: float | None = None) -> float:
        """Seconds to wait now, at least as many as the server asked for."""
        now = self._clock()
        if now - self._due >= self._timings.reset_after:
            self._next = self._timings.initial
        delay = self._jitter(self._next / 2, self._next)
        self._next = min(self._next * 2, self._timings.maximum)
        if server_delay is not None:
            delay = max(delay, min(server_delay, MAX_SERVER_DELAY))
        self._due = now + delay
        return delay
