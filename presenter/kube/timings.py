"""How long the Kubernetes edge waits, for what, and before the next attempt."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

MAX_SERVER_DELAY = 300.0
"""Seconds of `Retry-After` that are honoured at most: one odd answer must not stop a watch for a day."""


@dataclass(frozen=True, slots=True)
class BackoffTimings:
    """In seconds: the first delay, the largest, and how much health makes the next one the first again.

    The numbers are client-go's (`tools/cache/reflector.go`).
    """

    initial: float = 0.8
    maximum: float = 30.0
    reset_after: float = 120.0


@dataclass(frozen=True, slots=True)
class Timings:
    """In seconds. The defaults suit a real API server; most are those of client-go."""

    backoff: BackoffTimings = field(default_factory=BackoffTimings)
    watch: tuple[int, int] = (300, 600)
    """A watch is asked to last a random time between these, so that not all end together."""
    catching_up: int = 3
    """What a watch is asked to last that has yet to catch up."""
    instant: float = 1.0
    """A watch that ends sooner without any event is an error."""
    silence: float = 90.0
    """Without anything for so long a watch is opened anew; where bookmarks (one a minute) were seen, it was dead."""
    initial: float = 10.0
    """A streaming list that says nothing for so long before its end will have none: the server cannot stream lists."""
    lag: float = 10.0
    """An API server whose version went back has so long to catch up; after that, etcd was restored."""
    grace: float = 8.0
    """What was received before the end is applied within this."""
    forbidden: float = 60.0
    """Between tries of what RBAC forbids."""
    discovery: float = 30.0
    """Between polls of discovery."""
    settling: float = 1.0
    """Between the polls that follow a changed CRD or APIService: discovery shows it a little later."""


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
