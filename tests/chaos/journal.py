"""What has happened, and when: the story that a failure is told with."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable


class Journal:
    """Notes with their times, and counts. `tell` hears every note at once."""

    def __init__(self, tell: Callable[[str], None] = lambda _note: None) -> None:
        self.counts: Counter[str] = Counter()
        self._tell = tell
        self._started = time.monotonic()
        self._notes: list[str] = []

    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._started

    def note(self, where: str, what: str) -> None:
        """Write down that something happens now."""
        note = f"{self.elapsed():8.3f}  {where:12} {what}"
        self._notes.append(note)
        self._tell(note)

    def count(self, kind: str, times: int = 1) -> None:
        """Count a fault that truly befell somebody."""
        self.counts[kind] += times

    def text(self) -> str:
        """All notes."""
        return "\n".join(self._notes)
