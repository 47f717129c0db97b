"""The database's clock, which may be set: what has passed is told from what it has jumped, by this process's own clock.

Moments are stored by the database's clock, since it is the one that all processes share. Who reads it again and again
sees when it has run otherwise than its own monotonic clock, and for how much longer or shorter than they are the
moments from before a jump then seem to be past. A failover may be such a jump, and two replicas that are read in turn.

The leader sees it, too. It moves what is stored by as much, for who has not seen it before, and dates rows by a clock
that does not jump.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

import structlog

Key = TypeVar("Key")

LEAST = 1.0
"""Seconds: that much may be the way of the answer, or a machine that was busy."""

JUMP = timedelta(minutes=3)
"""By less than this a clock may be set forward or back without anybody taking notice."""

HOLDS = 5.0
"""Seconds for which a reading is counted on from: a leader renews its lease before, which brings the next one."""

_EXACT = 0.1
"""Seconds by which the measures of a jump may differ that two processes take."""

_RATE = 0.01
"""The seconds by which a difference is made up for in each second."""

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


class SteadyClock:
    """The database's clock as rows are dated: it goes on, and never back, whatever the other is set to.

    As adjtime(3) does, it makes up for a difference by going a little faster or slower. Only one by which the other is
    further ahead than clocks jump is made up for at once: so it is where the machine of this process has slept.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._reading: Reading | None = None
        self._said = self._at = 0.0

    @property
    def due(self) -> bool:
        """Whether the database's is to be read."""
        return self._reading is None or self._monotonic() - self._reading.at > HOLDS

    def read(self, reading: Reading) -> float:
        """Go by what the database's says. Returns the seconds by which it jumped since the last reading."""
        jumped = reading.jumped_since(self._reading)
        if self._reading is None:
            self._said, self._at = reading.said, reading.at
        self._reading = reading
        return jumped

    def go_on_from(self, date: datetime) -> None:
        """Say nothing earlier, unless this is further ahead than clocks jump."""
        if date - self.now() < JUMP:
            self._said = max(self._said, date.timestamp())

    def now(self) -> datetime:
        """What it says, after the first reading."""
        assert self._reading is not None
        at = self._monotonic()
        database = self._reading.said + at - self._reading.at
        elapsed = at - self._at
        ahead = database - (self._said + elapsed)
        if ahead > JUMP.total_seconds():
            self._said = database
        else:
            self._said += elapsed + min(max(ahead, -_RATE * elapsed), _RATE * elapsed)
        self._at = at
        return datetime.fromtimestamp(self._said, UTC)


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
        about as old as the jump was far; but for what was moved by as much.
        """
        jumped = reading.jumped_since(self._reading)
        if jumped or self._early:
            now = moments()
            self._early = {key: early for key, early in self._early.items() if now.get(key) == early.moment}
        if jumped:
            log.warning("the database's clock was set", seconds=round(jumped, 1))
            before = self._moments()
            for key, moment in now.items():
                moved = moment - before.get(key, -math.inf)
                seems_early = (reading.said - moment) / jumped > 0.5
                if moved == 0 or (seems_early and abs(moved - jumped) > _EXACT):
                    early = self._early.get(key, _Early(moment, 0.0))
                    self._early[key] = replace(early, jumped=early.jumped + jumped)
        self._reading, self._moments = reading, moments
        return {key: early.jumped for key, early in self._early.items()}
