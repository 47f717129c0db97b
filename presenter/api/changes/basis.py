"""What decides what may be seen, the types and the rules, as one value that is compared for all streams at once."""

from __future__ import annotations

from presenter.cache.catalog import Catalog
from presenter.resource import RBAC_GROUP


class Basis:
    """The basis of the last catalog that it was asked for."""

    def __init__(self) -> None:
        self._catalog: Catalog | None = None
        self._last: object = None

    def of(self, catalog: Catalog) -> object:
        """The very same object as long as neither the types have changed nor the rules of who may see what."""
        if catalog is not self._catalog:
            clusters = tuple((known.name, known.discovered, known.completed) for known in catalog.clusters)
            types = tuple((cached.id, cached.type, cached.synced) for cached in catalog.types)
            rules = tuple(cached.stamp for cached in catalog.types if cached.type.group == RBAC_GROUP)
            if (basis := (clusters, types, rules)) != self._last:
                self._last = basis
            self._catalog = catalog
        return self._last
