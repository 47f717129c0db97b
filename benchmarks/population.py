"""The objects that are measured: of very unequal types and namespaces, with labels and names as clusters have them.

The same number of objects is the same population every time. What is asked for in the measurements is named here,
beside the share of objects that it concerns.
"""

from __future__ import annotations

import itertools
import json
import random
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from presenter.resource import ResourceType

CLUSTER = "benchmark"
GROUP, VERSION = "apps.benchmark.krateo.io", "v1"
TYPES = tuple(
    ResourceType(GROUP, VERSION, f"things{number:02}", f"Thing{number:02}", True, (VERSION,)) for number in range(30)
)
BIG_TYPE_SHARE = 0.2
"""Of the first type; the others share the rest."""
NAMESPACES = tuple(f"ns-{number:03}" for number in range(500))
"""The first holds a seventh of all objects, the last one in 3,400: sizes fall as in Zipf's law."""

MEDIUM, RARE, OLD = ("canary", "true"), ("audit", "true"), ("legacy", "true")
BLUE, GREEN = ("blue", "true"), ("green", "true")
COMMON = ("env", "env-0")
ABSENT = ("env", "nowhere")
OVERLAPPING = (COMMON, ("tier", "tier-0"))
MEDIUM_SHARE, RARE_SHARE, OLD_SHARE, BLUE_SHARE = 0.05, 0.001, 0.02, 0.4
_LABELS = {"name": 200, "instance": 5000, "part-of": 40, "team": 60, "env": 5, "tier": 4, "region": 12, "release": 300}
"""Label keys, and how many values each has."""
FREQUENT_NAME, RARE_NAME = "app-0-", "needle"
RARE_NAME_SHARE = 0.0001

START, SPAN = datetime(2024, 1, 1, tzinfo=UTC), timedelta(days=730)
RECENT = START + SPAN * 0.999
"""One object in a thousand was updated since."""
COMPOSED_SHARE, COMPOSITION_SIZE = 0.3, 60

_BODIES = 512
_COMPACT = (",", ":")
"""As API servers write JSON."""
_RUN = 500
"""So many objects of one type follow each other, as the pages of concurrent lists do."""

Record = tuple[Any, ...]
COLUMNS = (
    "cluster", "type_id", "uid", "namespace", "name", "version", "epoch", "resource_version", "created_at",
    "updated_at", "composition_id", "labels", "raw",
)  # fmt: skip


@dataclass(frozen=True)
class Population:
    """So many objects, as rows of `resources`; `type_ids` are the keys of `TYPES` in the database.

    Without `documents` they have nothing but metadata.
    """

    objects: int
    type_ids: Sequence[int]
    documents: bool = True

    def compositions(self) -> list[UUID]:
        """The ids of the compositions some objects belong to, of about COMPOSITION_SIZE each."""
        chance = random.Random("compositions")
        return [_uuid(chance) for _ in range(max(1, int(self.objects * COMPOSED_SHARE / COMPOSITION_SIZE)))]

    def batches(self, size: int = 5_000) -> Iterator[list[Record]]:
        """All rows, in the order in which they are stored."""
        rows = self._rows()
        while batch := list(itertools.islice(rows, size)):
            yield batch

    def _rows(self) -> Iterator[Record]:
        chance = random.Random(self.objects)
        types = _Unequal(len(TYPES) - 1, 0.7)
        maker = _Maker(chance, self.compositions(), self.documents)
        for first in range(0, self.objects, _RUN):
            number = 0 if chance.random() < BIG_TYPE_SHARE else 1 + types.pick(chance)
            for _ in range(min(_RUN, self.objects - first)):
                yield maker.row(TYPES[number], self.type_ids[number])


class _Unequal:
    """Picks one of several numbers, the lower the more often."""

    def __init__(self, count: int, exponent: float = 1.0) -> None:
        self._bounds = list(itertools.accumulate((number + 1) ** -exponent for number in range(count)))

    def pick(self, chance: random.Random) -> int:
        return bisect(self._bounds, chance.random() * self._bounds[-1])


class _Maker:
    """Makes rows, one after the other."""

    def __init__(self, chance: random.Random, compositions: Sequence[UUID], documents: bool) -> None:
        self._chance = chance
        self._compositions = compositions
        self._versions = itertools.count(1)
        bodies = random.Random("bodies")
        self._bodies = [_body(bodies) for _ in range(_BODIES)] if documents else [b'"spec":{}}']
        self._namespaces = _Unequal(len(NAMESPACES))
        self._values = {key: _Unequal(count) for key, count in _LABELS.items()}

    def row(self, type: ResourceType, type_id: int) -> Record:
        chance = self._chance
        age = chance.random()
        created_at = START + SPAN * (1 - age)
        updated_at = created_at + (START + SPAN - created_at) * chance.random()
        labels = self._labels(age)
        rare = RARE_NAME if chance.random() < RARE_NAME_SHARE else "run"
        name = f"{labels['name']}-{rare}-{chance.getrandbits(40):010x}"
        namespace = NAMESPACES[self._namespaces.pick(chance)]
        uid = str(_uuid(chance))
        composition = chance.choice(self._compositions) if chance.random() < COMPOSED_SHARE else None
        version = next(self._versions)
        encoded = json.dumps(labels, separators=_COMPACT)
        head = (
            f'{{"apiVersion":"{GROUP}/{VERSION}","kind":"{type.kind}","metadata":{{"name":"{name}",'
            f'"namespace":"{namespace}","uid":"{uid}","resourceVersion":"{version}","labels":{encoded},'
            f'"creationTimestamp":"{created_at:%Y-%m-%dT%H:%M:%SZ}"}},'
        )
        return (
            CLUSTER, type_id, uid, namespace, name, VERSION, 0, version, created_at,
            updated_at, composition, encoded.encode(), head.encode() + chance.choice(self._bodies),
        )  # fmt: skip

    def _labels(self, age: float) -> dict[str, str]:
        chance = self._chance
        prefixes = {"name": "app"}
        labels = {key: f"{prefixes.get(key, key)}-{values.pick(chance)}" for key, values in self._values.items()}
        if age > 1 - OLD_SHARE:
            labels[OLD[0]] = OLD[1]
        for (key, value), share in ((MEDIUM, MEDIUM_SHARE), (RARE, RARE_SHARE)):
            if chance.random() < share:
                labels[key] = value
        side = chance.random()
        if side < BLUE_SHARE:
            labels[BLUE[0]] = BLUE[1]
        elif side < 2 * BLUE_SHARE:
            labels[GREEN[0]] = GREEN[1]
        return labels


def _body(chance: random.Random) -> bytes:
    """Spec and status of one to thirty kilobytes, most of them small, and as compressible as manifests are."""
    size = min(30_000, int(800 * chance.paretovariate(0.9)))
    containers: list[dict[str, Any]] = []
    while len(json.dumps(containers)) < size:
        containers.append(_container(chance))
    status = {
        "conditions": [
            {"type": type, "status": "True", "reason": f"{type}Reached", "lastTransitionTime": "2025-01-01T00:00:00Z"}
            for type in ("Ready", "Synced")
        ],
        "observedGeneration": chance.randrange(100),
    }
    return json.dumps({"spec": {"containers": containers}, "status": status}, separators=_COMPACT)[1:].encode()


def _container(chance: random.Random) -> dict[str, Any]:
    return {
        "name": f"container-{chance.randrange(100)}",
        "image": f"registry.example.com/team-{chance.randrange(60)}/image@sha256:{chance.getrandbits(256):064x}",
        "env": [{"name": f"SETTING_{number}", "value": f"{chance.getrandbits(32):08x}"} for number in range(4)],
        "resources": {"requests": {"cpu": "100m", "memory": f"{chance.randrange(1024)}Mi"}, "limits": {"cpu": "1"}},
    }


def _uuid(chance: random.Random) -> UUID:
    return UUID(int=chance.getrandbits(128), version=4)
