"""Which cached types a request is about, and what to say when there are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from presenter.cache.catalog import CachedType, Catalog, Cluster
from presenter.errors import NotFound, NotSynced, Unavailable

NAMED = 20
"""So many types at most are named in a warning, which is a header too."""


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
    WATCH does not cover or that cannot be watched, and for a version that nothing is served in; NotSynced while it is
    not known which types there are.
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
    unknown = {known.name: reason for known in clusters if (reason := _unknown(catalog, known, group, resource))}
    if all(cached.cluster in unknown and not catalog.by_cluster[cached.cluster].completed for cached in types):
        raise NotSynced(next(iter(unknown.values())))
    return Selection(types, tuple(f"some may be missing: {reason}" for reason in unknown.values()))


def answering(
    catalog: Catalog, types: Sequence[CachedType], undecided: Mapping[str, Unavailable]
) -> tuple[Sequence[CachedType], tuple[str, ...]]:
    """Of the types that a caller may see something of those that can answer, and warnings that name what is left out.

    Left out are, as long as any other answers, types that the API server refuses to list, what a new cluster has not
    listed yet, and clusters of which it cannot be decided who may see what. Raises NotSynced where a type is merely
    slow: in a moment the answer will be whole.
    """
    if not undecided and all(cached.synced for cached in types):
        return types, ()
    answer = [cached for cached in types if cached.synced]
    missing = [cached for cached in types if not cached.synced]
    clusters = {cached.cluster for cached in answer}
    for cached in missing:
        is_new = not catalog.by_cluster[cached.cluster].completed and clusters - {cached.cluster}
        if not answer or not (catalog.refuses(cached) or is_new):
            cached.require_synced()
    warnings = [f"cluster {cluster} is left out: {error.message}" for cluster, error in undecided.items()]
    if missing:
        warnings.append(f"left out, since their first lists are not complete: {_names(missing)}")
    return answer, tuple(warnings)


def _names(types: Sequence[CachedType]) -> str:
    names = [f"{cached.type.name} of cluster {cached.cluster}" for cached in types]
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _unknown(catalog: Catalog, cluster: Cluster, group: str, resource: str | None) -> str:
    """Why it is not known whether a cluster has more types than are known of what was asked for; else empty."""
    if resource is not None and any(
        cached.type.resource == resource for cached in catalog.of_group(cluster.name, group)
    ):
        return ""
    if not _covers(cluster, group, resource):
        return ""
    if not cluster.discovered:
        return f"the types of cluster {cluster.name} are still being discovered"
    if (cluster.name, group) in catalog.undiscovered:
        return f"the API server of cluster {cluster.name} does not say which types {_name(group, None)} has"
    return ""


def _covers(cluster: Cluster, group: str, resource: str | None) -> bool:
    patterns = cluster.patterns
    return patterns.selects(group, resource) if resource is not None else patterns.reaches(group)


def _why_empty(catalog: Catalog, clusters: list[Cluster], group: str, resource: str | None, cluster: str | None) -> str:
    """Why nothing is cached of what was asked for, as a warning; raises where that is an error."""
    name = _name(group, resource)
    if not catalog.clusters:
        raise NotSynced("no cluster has been watched yet: start `presenter watch` on this database")
    if not clusters:
        names = ", ".join(known.name for known in catalog.clusters)
        return f"there is no cluster {cluster}: the clusters are {names}"
    covering = [known for known in clusters if _covers(known, group, resource)]
    unknown = [text for known in clusters for text in known.patterns.unknown]
    if not covering and not unknown:
        patterns = ", ".join(dict.fromkeys(text for known in clusters for text in known.patterns.texts))
        raise NotFound(f"{name} is not cached: WATCH covers {patterns}")
    for covered in covering:
        if reason := _unknown(catalog, covered, group, resource):
            raise NotSynced(reason)
    if any(
        (cached.type.group, cached.type.resource) == (group, resource) and cached.cluster in {c.name for c in covering}
        for cached in catalog.unwatched
    ):
        raise NotFound(f"{name} exists in the cluster, but its API cannot list and watch it: it cannot be cached")
    siblings = sorted({cached.type.resource for cached in catalog.types if cached.type.group == group})
    exist = f"the group has {', '.join(siblings)}" if siblings else "the group has no types"
    if not covering:
        return f"whether {name} is cached is not known (WATCH has {', '.join(unknown)}, of a newer version): {exist}"
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
