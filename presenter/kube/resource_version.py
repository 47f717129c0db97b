"""resourceVersions: which of two is older, and whether a watch has reached one."""

from __future__ import annotations

from dataclasses import dataclass

_MAX_DIGITS = 39
"""The cache compares this many digits at most (128 bits); a longer version is as good as no number."""


def parse_resource_version(resource_version: str) -> int | None:
    """A resourceVersion as a number; None where it is none, and so cannot be compared."""
    if resource_version.isascii() and resource_version.isdigit() and len(resource_version) <= _MAX_DIGITS:
        return int(resource_version)
    return None


def is_older(resource_version: str, than: str) -> bool:
    """Whether a resourceVersion is lower than another; False where they cannot be compared."""
    left, right = parse_resource_version(resource_version), parse_resource_version(than)
    return left is not None and right is not None and left < right


@dataclass(frozen=True, slots=True)
class ServerVersion:
    """The resourceVersion of a consistent list, and when the API server was asked for it (time.monotonic)."""

    resource_version: str
    asked_at: float

    def is_reached(self, version: str, *, bookmark: bool = False) -> bool:
        """Whether a watch that has come to `version` has seen all that the API server had.

        Where versions are no numbers, only a `bookmark` tells: it is made after the watch was opened, and comes behind
        whatever there was to send.
        """
        at, reached = parse_resource_version(self.resource_version), parse_resource_version(version)
        if at is None or reached is None:
            return bookmark or version == self.resource_version
        return at <= reached
