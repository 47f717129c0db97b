"""What is different after a migration, for those who may care: said, rather than left to be found out."""

from __future__ import annotations

from collections.abc import Iterator

from presenter.api.parameters import MAX_LIMIT
from presenter.restaction.idioms import NAMESPACE
from presenter.restaction.listing import ALL
from presenter.restaction.pattern import Old, OldList

_KRATEO, _BUILT_IN = ".krateo.io", ".k8s.io"


def consequences(old: Old) -> list[str]:
    """A sentence for each."""
    return [*old.notes, *(sentence for each in old.lists.values() for sentence in _of(each))]


def _of(old: OldList) -> Iterator[str]:
    name, listing = old.call.name, old.listing
    resource = listing.resource if listing.group == "core" else f"{listing.resource}.{listing.group}"
    if not f".{listing.group}".endswith(_KRATEO):
        yield f"{name}: the presenter must watch {resource}: add it to WATCH"
    if "." not in listing.group or listing.group.endswith(_BUILT_IN):
        yield f"{name}: objects have kind and apiVersion, which the API server leaves out in lists of its own types"
    if not old.paged and old.limit is None:
        yield f"{name}: at most {MAX_LIMIT} objects are given, where there was no limit"
    everywhere = listing.namespace == ALL and all(each.keys != NAMESPACE for each in old.conditions)
    yield from _order(name, old, everywhere)
    if old.iterated and not old.call.continue_on_error:
        yield (
            f"{name}: it ended at the first namespace whose {listing.resource} the user may not list, since there is "
            "no continueOnError; now the objects of all the others are given"
        )
    elif everywhere and not old.iterated:
        yield (
            f"{name}: who may not list {listing.resource} in all namespaces was refused; now they are given the "
            "objects of those where they may"
        )


def _order(name: str, old: OldList, everywhere: bool) -> Iterator[str]:
    if old.order.by == "created_at":
        yield f"{name}: objects with equal creationTimestamps have no defined order now; they had the API server's"
    elif old.order.by == "name" and everywhere:
        yield f"{name}: objects with equal names in several namespaces have no defined order now"
    elif old.order.by == "api" and everywhere and not old.iterated:
        yield (
            f"{name}: the order is by namespace, then name; the API server has the namespace `a-b` before `a`, and the "
            "presenter after it"
        )
