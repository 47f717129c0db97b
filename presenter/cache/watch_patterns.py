"""WATCH: which resource types are kept in the cache. Pure; ingest and serving ask the same question here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from presenter.errors import ConfigError
from presenter.resource import RBAC_GROUP

NEVER_BY_WILDCARD = frozenset({"secrets", "leases.coordination.k8s.io", "events.events.k8s.io"})
"""Types that only their own full name selects: Secrets are secret, Leases change every few seconds and say
nothing, and `events.events.k8s.io` are the very objects that `events` are."""

ALWAYS = frozenset(
    f"{resource}.{RBAC_GROUP}" for resource in ("roles", "rolebindings", "clusterroles", "clusterrolebindings")
)
"""Types that are watched whatever WATCH says: who may see what follows from them."""

_PART = r"[a-z0-9*]([-a-z0-9*]*[a-z0-9*])?"
_WELL_FORMED = re.compile(rf"{_PART}(\.{_PART})*")
_CORE = ""


@dataclass(frozen=True, slots=True)
class _Pattern:
    text: str
    resource: re.Pattern[str]
    group: re.Pattern[str]

    @classmethod
    def parse(cls, text: str) -> _Pattern:
        if not _WELL_FORMED.fullmatch(text):
            raise ConfigError(
                f"WATCH has the pattern {text!r}: write resource.group with the lower-case plural, "
                "for example panels.widgets.templates.krateo.io, *.composition.krateo.io or pods"
            )
        resource, _, group = text.partition(".")
        return cls(text, _glob(resource), _glob(group))

    def matches(self, group: str, resource: str) -> bool:
        return bool(self.resource.fullmatch(resource) and self.group.fullmatch(group))


def _glob(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(piece) for piece in text.split("*")))


class WatchPatterns:
    """The patterns of WATCH, asked with `WatchPatterns(["*.*.krateo.io"]).selects("core.krateo.io", "panels")`.

    The first dot separates resource and group; no dot means the core group. `*` stands for any run of
    characters, in the group also across dots, so `*.*` is every type and `*` every core type. A leading `!`
    excludes, wherever it stands.

    Raises ConfigError naming WATCH for a pattern that is none, and when no pattern includes anything.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self.texts = tuple(patterns)
        self.unknown: tuple[str, ...] = ()
        self._excluding = [_Pattern.parse(text[1:]) for text in self.texts if text.startswith("!")]
        self._including = [_Pattern.parse(text) for text in self.texts if not text.startswith("!")]
        if not self._including:
            raise ConfigError(
                f"WATCH is {','.join(self.texts)!r}, which includes nothing: name a type, for example pods"
            )

    @classmethod
    @lru_cache(maxsize=256)
    def stored(cls, texts: tuple[str, ...]) -> WatchPatterns:
        """Those of a cluster in the database, where a newer version may have written what is no pattern to this one.

        Such texts are `unknown`, and select nothing; nothing is raised.
        """
        known = tuple(text for text in texts if _WELL_FORMED.fullmatch(text.removeprefix("!")))
        patterns = cls([*known, *ALWAYS])
        patterns.texts = texts
        patterns.unknown = tuple(text for text in texts if text not in known)
        return patterns

    def selects(self, group: str, resource: str) -> bool:
        """Whether a type is watched: `resource` is its lower-case plural, `group` empty for core."""
        name = resource if group == _CORE else f"{resource}.{group}"
        if name in ALWAYS:
            return True
        if any(pattern.matches(group, resource) for pattern in self._excluding):
            return False
        if name in NEVER_BY_WILDCARD:
            return any(pattern.text == name for pattern in self._including)
        return any(pattern.matches(group, resource) for pattern in self._including)

    def reaches(self, group: str) -> bool:
        """Whether types of this group could be watched, if the cluster had them."""
        return any(pattern.group.fullmatch(group) for pattern in self._including)
