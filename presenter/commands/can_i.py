"""`presenter can-i`: may this user do this, and which binding says so? Decided as the service decides it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from presenter.access.identity import Identity
from presenter.access.rules import RulesOfClusters
from presenter.cache.catalog import CachedType, Catalog, read_catalog
from presenter.cache.pool import Pool
from presenter.errors import NotFound


@dataclass(frozen=True, slots=True)
class Answer:
    """What grants it, in words; nothing grants what is denied."""

    cluster: str
    type: CachedType
    granted_by: list[str]


async def ask(
    pool: Pool,
    identity: Identity,
    verb: str,
    resource: str,
    *,
    namespace: str,
    name: str,
    cluster: str | None,
    max_staleness: timedelta,
) -> list[Answer]:
    """The answer of each cluster that has the type (`panels.widgets.templates.krateo.io`, `pods`).

    Namespace '' asks for all of them. Raises NotFound when no such type is cached, Unavailable when the rules are not.
    """
    catalog = await read_catalog(pool)
    types = _types(catalog, resource, cluster)
    rules = RulesOfClusters(pool, max_staleness)
    answers = []
    for cached in types:
        type = cached.type
        granted_by = (await rules.current(cached.cluster, catalog)).explain(
            identity,
            verb,
            type.group,
            type.resource,
            namespace if type.namespaced else "",
            name,
            namespaced=type.namespaced,
        )
        answers.append(Answer(cached.cluster, cached, granted_by))
    return answers


def _types(catalog: Catalog, resource: str, cluster: str | None) -> list[CachedType]:
    types = [cached for cached in catalog.types if cached.type.name == resource and cluster in (None, cached.cluster)]
    if not types:
        known = ", ".join(sorted({cached.type.name for cached in catalog.types if cluster in (None, cached.cluster)}))
        raise NotFound(f"{resource} is not cached{f' of cluster {cluster}' if cluster else ''}: there are {known}")
    return types
