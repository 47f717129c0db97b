"""Where the time of a request goes: each phase is noted by whoever begins it, wherever that is."""

from __future__ import annotations

from contextvars import ContextVar
from time import perf_counter
from typing import Literal, get_args

Phase = Literal["auth", "scope", "wait", "query", "serialise"]
"""Who asks; what they may see of what; the wait for a connection to the database; its work; the answer's JSON."""

PHASES: tuple[Phase, ...] = get_args(Phase)


class Phases:
    """The phases of one request, one at a time; what lies between them belongs to none."""

    __slots__ = ("_now", "_since", "spans")

    def __init__(self) -> None:
        self.spans: list[tuple[Phase, float, float]] = []
        """Which phase, from when until when, by `time.perf_counter`. A phase may come more than once."""
        self._now: Phase | None = None
        self._since = 0.0

    def begin(self, phase: Phase | None) -> Phase | None:
        """End the phase that it is in, and begin another, or none. Returns the one that ended."""
        now = perf_counter()
        ended, self._now = self._now, phase
        if ended is not None:
            self.spans.append((ended, self._since, now))
        self._since = now
        return ended

    def seconds(self) -> dict[Phase, float]:
        """How long each took in all, in the order in which they first came."""
        seconds: dict[Phase, float] = {}
        for phase, since, until in self.spans:
            seconds[phase] = seconds.get(phase, 0.0) + until - since
        return seconds


measured: ContextVar[Phases | None] = ContextVar("measured", default=None)
"""The phases of the request that this task works on."""


def begin(phase: Phase | None) -> Phase | None:
    """Begin a phase of the request that this task works on, if it works on one. Returns the one that ended."""
    phases = measured.get()
    return None if phases is None else phases.begin(phase)
