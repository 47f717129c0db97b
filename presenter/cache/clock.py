"""The database's clock, which may be set: what has passed is told from what it has jumped, by this process's own clock.

Moments are stored by the database's clock, since it is the one that all processes share. Who reads it again and again
sees when it has run otherwise than its own monotonic clock, and for how much longer or shorter than they are the
moments from before a jump then seem to be past. A failover may be such a jump, and two replicas that are read in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import structlog

Key = TypeVar("Key")

LEAST = 1.0
"""Seconds: that much may be the way of the answer, or a machine that was busy."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the database's clock said, and when that was by the monotonic one, within so many seconds either way."""

    said: float
    at: float
    within: float

    @classmethod
    def between(cls, began: float, ended: float, said: float) -> Reading:
        """What was asked at the one moment, and had been answered at the other."""
        return cls(said, (began + ended) / 2, (ended - began) / 2)

    def jumped_since(self, before: Reading | None) -> float:
        """By how many seconds it was set since an earlier reading: forward, or (below zero) back."""
        if before is None:
            return 0.0
        jumped = (self.said - before.said) - (self.at - before.at)
        return jumped if abs(jumped) > LEAST + self.within + before.within else 0.0


@dataclass(frozen=True, slots=True)
class _Early:
    """A moment from before a jump, or several: it seems to be past for so many seconds longer than it is."""

    moment: float
    jumped: float


class Ages(Generic[Key]):
    """How long ago moments are by a clock that jumps, for who looks at them again and again."""

    def __init__(self) -> None:
        self._reading: Reading | None = None
        self._moments: Callable[[], Mapping[Key, float]] = dict
        self._early: dict[Key, _Early] = {}

    def jumped(self, reading: Reading, moments: Callable[[], Mapping[Key, float]]) -> Mapping[Key, float]:
        """By how many seconds too long ago the clock has these moments now; what is not in there it has as they are.

        What has not changed since the last reading was before a jump. So is what would else be in the future, or be
        about as old as the jump was far.
        """
        jumped = reading.jumped_since(self._reading)
        if jumped or self._early:
            now = moments()
            self._early = {key: early for key, early in self._early.items() if now.get(key) == early.moment}
        if jumped:
            log.warning("the database's clock was set", seconds=round(jumped, 1))
            before = self._moments()
            for key, moment in now.items():
                if before.get(key) == moment or (reading.said - moment) / jumped > 0.5:
                    early = self._early.get(key, _Early(moment, 0.0))
                    self._early[key] = replace(early, jumped=early.jumped + jumped)
        self._reading, self._moments = reading, moments
        return {key: early.jumped for key, early in self._early.items()}
