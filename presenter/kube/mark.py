"""When a watch has caught up: once it has told what the API server had at a moment after the one it begins at."""

from __future__ import annotations

from dataclasses import dataclass

from presenter.kube.objects import number


@dataclass(frozen=True, slots=True)
class Mark:
    """The resourceVersion that the API server was at, by a consistent list, and when it was asked (time.monotonic)."""

    resource_version: str
    asked_at: float

    def is_passed(self, version: str, *, bookmark: bool = False) -> bool:
        """Whether who has come to `version` knows all that the API server had.

        Where versions are no numbers, only a `bookmark` tells: it is made after the watch was opened, and comes behind
        whatever there was to tell.
        """
        at, reached = number(self.resource_version), number(version)
        if at is None or reached is None:
            return bookmark or version == self.resource_version
        return at <= reached
