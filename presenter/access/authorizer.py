"""From an identity to a scope: what of each type a caller may see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from presenter.errors import DatabaseUnavailable, SchemaOutdated, Unavailable

if TYPE_CHECKING:
    from presenter.access.identity import Identity
    from presenter.access.rules import RulesOfClusters
    from presenter.cache.catalog import CachedType
    from presenter.cache.catalog_reader import CatalogReader
    from presenter.cache.scope import Grant, Scope

Verb = Literal["get", "list"]


class Authorizer(Protocol):
    """Decides before any data is returned. What cannot be decided raises Unavailable: it is never allowed."""

    decides_by_catalog: bool
    """Whether it decides alike as long as the catalog is the same."""

    async def scope(
        self, identity: Identity, verb: Verb, types: Sequence[CachedType], *, namespace: str | None, name: str | None
    ) -> Scope:
        """What of these types the caller may see with this verb.

        Asked for is one namespace or (None) all of them, and one name or (None) any.
        """

    async def allowed(self, identity: Identity, verb: Verb, cached: CachedType, namespace: str, name: str) -> bool:
        """Whether the caller may see one object with this verb."""


class Decision(NamedTuple):
    """A scope, and by name the clusters of which nothing is in it, since it cannot be decided."""

    scope: Scope
    undecided: Mapping[str, Unavailable]


async def decide(
    authorizer: Authorizer,
    identity: Identity,
    verb: Verb,
    types: Sequence[CachedType],
    *,
    namespace: str | None,
    name: str | None,
) -> Decision:
    """The scope over several clusters, each by itself: one that cannot be decided does not stop the others.

    Raises Unavailable when no cluster's can be decided, and DatabaseUnavailable.
    """
    by_cluster: dict[str, list[CachedType]] = {}
    for cached in types:
        by_cluster.setdefault(cached.cluster, []).append(cached)
    scope: dict[int, Grant] = {}
    undecided: dict[str, Unavailable] = {}
    for cluster, of_cluster in by_cluster.items():
        try:
            scope |= await authorizer.scope(identity, verb, of_cluster, namespace=namespace, name=name)
        except (DatabaseUnavailable, SchemaOutdated):
            raise  # which concerns every cluster
        except Unavailable as error:
            undecided[cluster] = error
    if undecided and len(undecided) == len(by_cluster):
        raise next(iter(undecided.values()))
    return Decision(scope, undecided)


class RbacAuthorizer:
    """Decides by the cluster's own RBAC rules, in memory.

    `list_verb` is the verb that a list needs: `get` is the looser rule of the Go service.
    """

    decides_by_catalog = True

    def __init__(self, catalog: CatalogReader, rules: RulesOfClusters, list_verb: Verb = "list") -> None:
        self._catalog = catalog
        self._rules = rules
        self._list_verb = list_verb

    async def scope(
        self, identity: Identity, verb: Verb, types: Sequence[CachedType], *, namespace: str | None, name: str | None
    ) -> Scope:
        """Each type by the rules of its own cluster; these do not depend on what else was asked for."""
        return {cached.id: await self._grant(identity, verb, cached) for cached in types}

    async def allowed(self, identity: Identity, verb: Verb, cached: CachedType, namespace: str, name: str) -> bool:
        """Whether one object may be seen."""
        return (await self._grant(identity, verb, cached)).covers(namespace, name)

    async def _grant(self, identity: Identity, verb: Verb, cached: CachedType) -> Grant:
        rules = await self._rules.current(cached.cluster, self._catalog.latest)
        return rules.grant(
            identity,
            self._list_verb if verb == "list" else verb,
            cached.type.group,
            cached.type.resource,
            namespaced=cached.type.namespaced,
        )
