"""What the makers of sample objects draw from: names, words, times and the compositions made so far."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeVar

from presenter.sandbox.objects import Manifest

_FIRST = ("amber", "brave", "calm", "dusty", "eager", "fancy", "gentle", "happy", "icy", "jolly", "keen")
_SECOND = ("anchor", "beacon", "cedar", "delta", "engine", "falcon", "garden", "harbor", "island", "lantern")
_SENTENCES = (
    "This panel gathers what the platform knows about one composition and the resources that belong to it.",
    "The release was installed by its blueprint and is reconciled every few minutes.",
    "A change in the repository reaches the cluster with the next reconciliation.",
    "Owners find the health of deployments, the last events and the links to pipelines here.",
    "Values that differ from the defaults of the chart are marked.",
    "A ticket is needed to widen the quota of the namespace.",
    "Alerts go to the channel of the team and, out of hours, to the rota of the platform.",
    "Costs are an estimate of the running month, taken from requests rather than from use.",
    "Backups run at night; the last one that was restored in a drill is named below.",
    "Geprüft von Zoë, 検証済み.",
)
_POOL_SIZE = 500
_ROOM = 2_000

T = TypeVar("T")


class Words:
    """Text to cut descriptions from; one pool for all objects, as making each from sentences would be slow."""

    def __init__(self, source: random.Random) -> None:
        sentences = source.choices(_SENTENCES, k=_POOL_SIZE)
        self._source = source
        self._pool = " ".join(sentences)
        ends = accumulate(len(sentence) + 1 for sentence in sentences)
        self._starts = [0, *(end for end in ends if end < len(self._pool) - _ROOM)]

    def text(self, length: int) -> str:
        """Up to so many characters, at most 2,000, of text that begins with a sentence and ends with a word."""
        start = self._starts[int(self._source.random() * len(self._starts))]
        return self._pool[start : start + length].rpartition(" ")[0]


@dataclass(frozen=True)
class Draft:
    """One object to be made."""

    source: random.Random
    words: Words
    number: int
    namespace: str
    created: str
    compositions: list[Manifest]

    def pick(self, options: Sequence[T]) -> T:
        """One of some options; much faster than `random.choice`, which matters at 100,000 objects."""
        return options[int(self.source.random() * len(options))]

    def between(self, least: int, most: int) -> int:
        """A whole number, both ends included."""
        return least + int(self.source.random() * (most - least + 1))

    def name(self, prefix: str = "") -> str:
        """A name that no other sample bears."""
        words = [self.pick(_FIRST), self.pick(_SECOND), f"{self.number:05x}"]
        return "-".join([prefix, *words] if prefix else words)

    def title(self) -> str:
        """Two words to show."""
        return f"{self.pick(_FIRST)} {self.pick(_SECOND)}".title()

    def text(self, least: int, most: int) -> str:
        """Text of a length between two."""
        return self.words.text(self.between(least, most))

    def composition(self) -> Manifest | None:
        """One of the compositions made so far."""
        return self.pick(self.compositions) if self.compositions else None

    def manifest(self, api_version: str, kind: str, metadata: dict[str, Any], **rest: Any) -> Manifest:
        """The object, with its namespace and creationTimestamp."""
        metadata = {"namespace": self.namespace, "creationTimestamp": self.created, **metadata}
        return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}

    def ready(self) -> dict[str, Any]:
        """A Ready condition, mostly true."""
        ready = self.source.random() < 0.92
        return {
            "type": "Ready",
            "status": "True" if ready else "False",
            "reason": "Available" if ready else "ReconcileError",
            "message": "" if ready else self.text(60, 160),
            "lastTransitionTime": self.created,
        }
