"""How far behind its cluster an answer may be, as headers."""

from __future__ import annotations

import math
from collections.abc import Iterable

from presenter.cache.catalog import Catalog
from presenter.cache.scope import Leg

STATE = "X-Cache-State"
LAG = "X-Cache-Lag-Seconds"


def freshness(catalog: Catalog, legs: Iterable[Leg]) -> dict[str, str]:
    """The worst state and the longest lag of the watches that bring what is on these legs; nothing where none does."""
    watches = [
        watch
        for leg in legs
        for watch in catalog.by_id[leg.type_id].watches
        if any(watch.covers(namespace) for namespace in leg.namespaces or (None,))
    ]
    if not watches:
        return {}
    headers: dict[str, str] = {STATE: max(watches, key=lambda watch: watch.badness).state}
    if all(watch.lag_seconds is not None for watch in watches):
        headers[LAG] = str(math.ceil(max(watch.lag for watch in watches).total_seconds()))
    return headers
