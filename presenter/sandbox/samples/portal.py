"""Sample data: the objects of a portal in use, as many as asked for, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from presenter.sandbox.cluster import Cluster
from presenter.sandbox.loader import load_directory
from presenter.sandbox.metadata import timestamp
from presenter.sandbox.objects import Manifest
from presenter.sandbox.samples import widgets, workloads
from presenter.sandbox.samples.draft import Draft, Words

_MANIFESTS = Path(__file__).parents[1] / "manifests"
_PAST = timedelta(days=150)
_PROGRESS_EVERY = 500

# Namespaces with their shares of the objects, as unequal as teams are.
_NAMESPACES = {
    "krateo-system": 10,
    "demo-system": 14,
    "fireworksapp-system": 12,
    "ghscaffolding-system": 8,
    "team-atlas": 20,
    "team-borealis": 12,
    "team-cobalt": 9,
    "team-dorado": 6,
    "team-ember": 4,
    "team-fjord": 2,
    "team-garnet": 1,
    "sandbox": 2,
}

# What is made, with its share. Compositions come first: panels refer to them.
_KINDS: tuple[tuple[Callable[[Draft], Manifest], int], ...] = (
    (workloads.fireworks_app, 6),
    (workloads.github_scaffolding, 4),
    (workloads.composition_definition, 1),
    (widgets.panel, 42),
    (widgets.data_grid, 8),
    (widgets.page, 5),
    (widgets.button, 12),
    (widgets.rest_action, 5),
    (workloads.deployment, 4),
    (workloads.pod, 7),
    (workloads.config_map, 6),
)


def fill(cluster: Cluster, objects: int, seed: int = 0, on_progress: Callable[[int], None] | None = None) -> None:
    """Load the types, namespaces and roles of the samples, then create so many objects of about 3 kB.

    Objects of one seed are always the same, but for uids, which are the cluster's, and for times, which count
    back from its clock. `on_progress` is told from time to time how many there are. To be used once on a
    cluster, and from another thread only while nobody watches.
    """
    load_directory(cluster, _MANIFESTS)
    source = random.Random(seed)
    words = Words(source)
    names, shares = list(_NAMESPACES), list(_NAMESPACES.values())
    now, compositions = cluster.now(), list[Manifest]()
    for number, make in enumerate(_plan(source, objects), start=1):
        draft = Draft(
            source=source,
            words=words,
            number=number,
            namespace=source.choices(names, shares)[0],
            created=timestamp(now - _PAST * source.random()),
            compositions=compositions,
        )
        created = cluster.create(make(draft))
        if created["apiVersion"].startswith("composition.krateo.io/"):
            compositions.append(created)
        if on_progress and (number % _PROGRESS_EVERY == 0 or number == objects):
            on_progress(number)


def _plan(source: random.Random, objects: int) -> list[Callable[[Draft], Manifest]]:
    """What to make, one of each kind first, so that a few objects already show all there is."""
    makers, shares = [make for make, _ in _KINDS], [share for _, share in _KINDS]
    rest = source.choices(makers, shares, k=max(0, objects - len(makers)))
    return [*makers, *rest][:objects]
