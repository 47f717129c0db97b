"""What will happen: everything is decided by the seed, before anything happens."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

GROUPS: Mapping[str, tuple[str, ...]] = {
    "api": ("restart", "down", "refuse", "html", "throttle", "hold"),
    "history": ("compact", "expire", "expire-stream", "expire-page"),
    "streams": (
        "end", "mid-line", "abort", "error", "instant", "stream-error", "stall", "fragment", "repeat", "no-bookmarks",
    ),
    "database": ("stop-fast", "stop-immediate", "kill-database"),
    "watchers": ("kill", "terminate", "pause"),
    "servers": ("kill-server", "terminate-server"),
}  # fmt: skip
"""The kinds of faults. What each does is told where it is done: `api_server`, `database`, `processes`."""

LEASE_SECONDS = 8.0


@dataclass(frozen=True)
class Step:
    """One thing to do, `at` seconds after the start or as soon as what came before it on its lane is done.

    `seconds` is how long it lasts, `number` how much of it there is; `seed` decides everything else about it.
    """

    at: float
    kind: str
    seconds: float
    number: int
    seed: int


Lanes = Mapping[str, list[Step]]
"""What happens to each part of the system: to each one thing after another, to all of them at the same time."""


def chosen(words: Collection[str]) -> frozenset[str]:
    """The kinds that are named, by themselves or by their group. Raises ValueError for anything else."""
    kinds = {kind for group in GROUPS.values() for kind in group}
    unknown = set(words) - kinds - GROUPS.keys()
    if unknown:
        raise ValueError(
            f"no such fault: {', '.join(sorted(unknown))}; there are {', '.join([*GROUPS, *sorted(kinds)])}"
        )
    return frozenset(kind for word in words for kind in GROUPS.get(word, (word,)))


def plan(seed: int, seconds: float, kinds: Collection[str], watchers: int, servers: int = 0) -> Lanes:
    """The schedule of a seed. Faults come in shuffled rounds, so that each kind comes about equally often."""
    rng = random.Random(seed)
    lanes = {"cluster": list(_writes(rng, seconds))}
    at_the_server = [kind for group in ("api", "history", "streams") for kind in GROUPS[group] if kind in kinds]
    lanes["api server"] = list(_faults(rng, seconds, at_the_server, (0.2, 1.2), (0.2, 2.0)))
    lanes["database"] = list(_faults(rng, seconds, [k for k in GROUPS["database"] if k in kinds], (2, 6), (0.1, 2.5)))
    for number in range(watchers):
        at_watchers = [kind for kind in GROUPS["watchers"] if kind in kinds]
        lanes[f"watcher {number}"] = list(_faults(rng, seconds, at_watchers, (1, 6), (0.1, 3.0)))
    for number in range(servers):
        at_servers = [kind for kind in GROUPS["servers"] if kind in kinds]
        lanes[f"server {number}"] = list(_faults(rng, seconds, at_servers, (2, 6), (0.1, 1.5)))
    return lanes


def _writes(rng: random.Random, seconds: float) -> Iterator[Step]:
    at = 0.0
    while (at := at + rng.uniform(0.02, 0.3)) < seconds:
        kind = rng.choices(("write", "burst", "clear"), (60, 3, 1))[0]
        number = rng.randint(100, 300) if kind == "burst" else rng.randint(1, 10)
        yield Step(at, kind, 0, number, rng.getrandbits(32))


def _faults(
    rng: random.Random, seconds: float, kinds: list[str], pause: tuple[float, float], length: tuple[float, float]
) -> Iterator[Step]:
    at = 0.0
    while kinds:
        for kind in rng.sample(kinds, len(kinds)):
            at += rng.uniform(*pause)
            if at >= seconds:
                return
            lasts = rng.uniform(LEASE_SECONDS + 1, LEASE_SECONDS + 4) if kind == "pause" else rng.uniform(*length)
            yield Step(at, kind, lasts, rng.randint(1, 5), rng.getrandbits(32))
            at += lasts
