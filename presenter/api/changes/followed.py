"""What a stream follows: objects, by the filters and by what may be seen; and what is told of a change to them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from presenter.api.changes.events import Kind
from presenter.api.changes.position import digest
from presenter.cache.catalog import CachedType
from presenter.cache.feed import Change, State, news
from presenter.cache.query import Filters
from presenter.cache.scope import ScanRange

Type = tuple[str, str, str]
"""A type by its cluster, API group and plural: it may be forgotten, and come again under another id."""


@dataclass(frozen=True)
class Followed:
    """The clusters, in the order of their names; of each type the namespaces, None: all; and the filters.

    A type of which nothing may be seen has no namespaces. The digest is that of positions. All this holds as long as
    the `basis` is the same (see `basis`).
    """

    clusters: tuple[str, ...]
    types: Mapping[Type, Collection[str] | None]
    filters: Filters
    digest: str
    basis: object

    @classmethod
    def of(
        cls,
        clusters: Sequence[str],
        types: Sequence[CachedType],
        ranges: Sequence[ScanRange],
        filters: Filters,
        described: bytes,
        basis: object,
    ) -> Followed:
        """What is asked for of these types, and may be seen in these ranges; `described`: the digest of the request."""
        seen = {scanned.type_id: scanned.namespaces for scanned in ranges}
        return cls(
            tuple(clusters),
            {(cached.cluster, cached.type.group, cached.type.resource): seen.get(cached.id, ()) for cached in types},
            filters,
            digest(described, clusters, ranges),
            basis,
        )

    def sees(self, cached: CachedType) -> bool:
        """Whether anything of a type may be seen."""
        return self.types.get((cached.cluster, cached.type.group, cached.type.resource), ()) != ()

    def becoming(self, now: Followed) -> Followed | None:
        """What is followed from here on; None where that would miss what was there before: it has to be listed.

        A type that is new has had no objects before. One that is gone is followed on, until its objects are gone, too.
        """
        if now.clusters != self.clusters:
            return None
        if any(now.types.get(type, namespaces) != namespaces for type, namespaces in self.types.items()):
            return None
        is_gone = not self.types.keys() <= now.types.keys()
        # Who comes again with a position from before the end of such objects would not be told of it.
        return replace(now, types={**self.types, **now.types}, digest=self.digest if is_gone else now.digest)

    def told(self, cluster: str, change: Change) -> Kind | None:
        """What is told of a change to who has been told all before it; None: nothing."""
        namespaces = self.types.get((cluster, change.type.group, change.type.resource), ())
        if (namespaces is not None and change.namespace not in namespaces) or not self._is_named(change.name):
            return None
        return news(change, self._matches)

    def _is_named(self, name: str) -> bool:
        filters = self.filters
        if filters.name_contains is not None and _lower(filters.name_contains) not in _lower(name):
            return False
        return filters.name in (None, name)

    def _matches(self, state: State) -> bool:
        filters = self.filters
        if filters.composition_id is not None and state.composition_id != filters.composition_id:
            return False
        return not filters.labels or state.labels.items() >= dict(filters.labels).items()


def _lower(text: str) -> bytes:
    """A to Z in small, as PostgreSQL compares names by the collation "C"."""
    return text.encode().lower()
