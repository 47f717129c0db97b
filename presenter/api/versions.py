"""Objects in another version than the cached one: whether they can be given."""

from __future__ import annotations

from collections.abc import Iterable

from presenter.cache.catalog import CachedType, Catalog
from presenter.cache.conversion import Conversions
from presenter.cache.pool import Pool
from presenter.errors import BadRequest


class Versions:
    """What the definitions in the cache say of that."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._conversions = Conversions()

    async def other(self, catalog: Catalog, types: Iterable[CachedType], version: str | None) -> str | None:
        """The version asked for, if a type is cached in another. Raises BadRequest when it cannot be given."""
        if version is None:
            return None
        others = [cached for cached in types if cached.type.version != version]
        for cached in others:
            if obstacle := await self._conversions.obstacle(self._pool, catalog, cached):
                raise BadRequest(
                    f"version is {version!r}, in which {cached.type.name} of cluster {cached.cluster} is served but "
                    f"not cached: allowed is {cached.type.version}, since {obstacle}"
                )
        return version if others else None
