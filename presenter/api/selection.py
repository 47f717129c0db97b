"""Which cached types a request is about, and what to say when there are none."""

from __future__ import annotations

from dataclasses import dataclass

from presenter.cache.catalog import CachedType, Catalog, Cluster
from presenter.errors import NotFound, NotSynced


@dataclass(frozen=True, slots=True)
class Selection:
    """The types, and what the caller should be warned of."""

    types: tuple[CachedType, ...]
    warnings: tuple[str, ...] = ()


def select(
    catalog: Catalog, *, group: str, resource: str | None, version: str | None, cluster: str | None
) -> Selection:
    """The types of a group, or the one that is named, in every cluster or in one.

    A version selects the types that are served in it, whichever they are cached in. Raises NotFound for a type that
    WATCH does not cover and for a version that nothing is served in, NotSynced while discovery is not complete.
    """
    clusters = [known for known in catalog.clusters if cluster in (None, known.name)]
    types = tuple(
        cached
        for known in clusters
        for cached in catalog.of_group(known.name, group)
        if resource in (None, cached.type.resource)
    )
    if not types:
        return Selection((), (_why_empty(catalog, clusters, group, resource, cluster),))
    if version is not None:
        types = _served_in(types, version)
    return Selection(types)


def _why_empty(catalog: Catalog, clusters: list[Cluster], group: str, resource: str | None, cluster: str | None) -> str:
    """Why nothing is cached of what was asked for, as a warning; raises where that is an error."""
    name = _name(group, resource)
    if not catalog.clusters:
        raise NotSynced("no cluster has been watched yet: start `presenter watch` on this database")
    if not clusters:
        names = ", ".join(known.name for known in catalog.clusters)
        return f"there is no cluster {cluster}: the clusters are {names}"
    covering = [
        known
        for known in clusters
        if (known.patterns.selects(group, resource) if resource is not None else known.patterns.reaches(group))
    ]
    if not covering:
        patterns = ", ".join(dict.fromkeys(text for known in clusters for text in known.patterns.texts))
        raise NotFound(f"{name} is not cached: WATCH covers {patterns}")
    for covered in covering:
        if not covered.discovered:
            raise NotSynced(f"the types of cluster {covered.name} are still being discovered")
    siblings = sorted({cached.type.resource for cached in catalog.types if cached.type.group == group})
    exist = f"the group has {', '.join(siblings)}" if siblings else "the group has no types"
    return f"{name} does not exist in the cluster (is its CustomResourceDefinition installed?): {exist}"


def _served_in(types: tuple[CachedType, ...], version: str) -> tuple[CachedType, ...]:
    matching = tuple(cached for cached in types if version in (cached.type.version, *cached.type.versions))
    if not matching:
        served = "; ".join(f"{cached.type.name} in {', '.join(cached.type.versions)}" for cached in types)
        raise NotFound(f"version {version!r} is not served: the cluster serves {served}")
    return matching


def _name(group: str, resource: str | None) -> str:
    if resource is None:
        return f"the group {group or 'core'}"
    return f"{resource}.{group}" if group else resource
