"""What `lint` has to say: one finding, one line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """What goes wrong and what to do about it. `line` counts from 1; `rule` is the name of what found it."""

    path: str
    line: int
    level: Level
    rule: str
    what: str
    remedy: str

    def __str__(self) -> str:
        line = f"{self.path}:{self.line}: {self.level}: {self.what} ({self.remedy})"
        return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)
