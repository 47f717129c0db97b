"""Conversion to the versions that a type is served in but not cached in.

Where the `spec.conversion.strategy` of its CustomResourceDefinition is None, they differ in nothing but `apiVersion`.
How a webhook, or a built-in type, is converted only the API server knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from presenter.cache.catalog import CachedType, Catalog, Stamp
    from presenter.cache.pool import Pool

CRD_GROUP, CRD_RESOURCE = "apiextensions.k8s.io", "customresourcedefinitions"

_STRATEGY = """
SELECT coalesce(raw #>> '{spec,conversion,strategy}', 'None') FROM resources WHERE type_id = $1 AND name = $2
"""


class Conversions:
    """The conversion strategies of the CustomResourceDefinitions in the cache, read again once one of these changed."""

    def __init__(self) -> None:
        self._strategies: dict[tuple[int, str], tuple[Stamp, str | None]] = {}

    async def obstacle(self, pool: Pool, catalog: Catalog, cached: CachedType) -> str:
        """Why the type's objects cannot be given in another version, for an error message; empty when they can.

        Raises NotSynced while the CustomResourceDefinitions are not all there, and DatabaseUnavailable.
        """
        definitions = _definitions(catalog, cached.cluster)
        if definitions is None:
            return f"{CRD_RESOURCE}.{CRD_GROUP}, which would say how to convert it, are not cached"
        definitions.require_synced()
        strategy = await self._strategy(pool, definitions, cached.type.name)
        if strategy is None:
            return "it has no CustomResourceDefinition, so that only the API server can convert it"
        if strategy != "None":
            return f"it is converted by {strategy}, which only the API server can do"
        return ""

    async def _strategy(self, pool: Pool, definitions: CachedType, name: str) -> str | None:
        stamp = definitions.stamp  # a definition can be a megabyte to unpack
        key = (definitions.id, name)
        if (known := self._strategies.get(key)) is None or known[0] != stamp:
            async with pool.connection() as connection:
                strategy = await connection.fetchval(_STRATEGY, definitions.id, name)
            known = self._strategies[key] = (stamp, strategy)
        return known[1]


def _definitions(catalog: Catalog, cluster: str) -> CachedType | None:
    group = catalog.of_group(cluster, CRD_GROUP)
    return next((cached for cached in group if cached.type.resource == CRD_RESOURCE), None)
