"""What a caller may see, in the terms the reads apply: of each type everything, some namespaces, or single objects."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from presenter.cache.catalog import CachedType


@dataclass(frozen=True, slots=True)
class Grant:
    """What of one type may be seen: everything, what lies in some namespaces, and what bears some names.

    `names` hold in every namespace and at the cluster scope; `objects` are pairs of a namespace and a name. A request
    that names no object has the name '', which may be among them: it may be allowed where none by a name is.
    Made by `Grant.of`, two grants are equal exactly when they allow the same.
    """

    everything: bool = False
    namespaces: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    objects: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def of(
        cls, namespaces: Collection[str] = (), names: Collection[str] = (), objects: Collection[tuple[str, str]] = ()
    ) -> Grant:
        """The grant that allows all of these and says nothing twice."""
        namespaces, names = frozenset(namespaces), frozenset(names)
        alone = ((namespace, name) for namespace, name in objects if namespace not in namespaces and name not in names)
        return cls(namespaces=namespaces, names=names, objects=frozenset(alone))

    def covers(self, namespace: str, name: str = "") -> bool:
        """Whether an object may be seen ('' as its namespace: a cluster-scoped one).

        Without a name: whether all objects of the namespace may be.
        """
        if self.everything or namespace in self.namespaces:
            return True
        return name in self.names or (namespace, name) in self.objects

    def namespaces_for(self, name: str) -> frozenset[str]:
        """The namespaces in which a request with this name is allowed."""
        single = frozenset(namespace for namespace, allowed in self.objects if allowed == name)
        return self.namespaces | single if single else self.namespaces


NOTHING = Grant()
EVERYTHING = Grant(everything=True)

Scope = Mapping[int, Grant]
"""By type id; a type that is not in it may not be seen."""


class ScanRange(NamedTuple):
    """What of one type of a cluster may be on a page: all of it (`namespaces` None), or some namespaces, in order."""

    cluster: str
    type_id: int
    namespaces: tuple[str, ...] | None = None


def scan_ranges(
    scope: Scope, types: Iterable[CachedType], namespace: str | None, name: str | None = None
) -> Iterator[ScanRange]:
    """What was asked for and may be seen, of each type that has any of it.

    `namespace` None asks for all namespaces; it does not concern the cluster-scoped types. `name` None asks for any:
    what may be seen by its name only is in no range then. With a name, the query must filter by it.
    """
    name = name or ""
    for cached in types:
        cluster, type_id, grant = cached.cluster, cached.id, scope.get(cached.id, NOTHING)
        if not cached.type.namespaced:
            if grant.covers("", name):
                yield ScanRange(cluster, type_id)
        elif namespace is not None:
            if grant.covers(namespace, name):
                yield ScanRange(cluster, type_id, (namespace,))
        elif grant.everything or name in grant.names:
            yield ScanRange(cluster, type_id)
        elif namespaces := grant.namespaces_for(name):
            yield ScanRange(cluster, type_id, _in_order(namespaces))


@lru_cache(maxsize=256)
def _in_order(namespaces: frozenset[str]) -> tuple[str, ...]:
    """One and the same tuple for all types of which the same may be seen, which is most of them."""
    return tuple(sorted(namespaces))
