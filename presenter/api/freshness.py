"""How far behind its cluster an answer may be, as headers."""

from __future__ import annotations

import math
from collections.abc import Iterable

from presenter.cache.catalog import Catalog, SyncStatus
from presenter.cache.scope import ScanRange

STATE = "X-Cache-State"
LAG = "X-Cache-Lag-Seconds"


def freshness(catalog: Catalog, ranges: Iterable[ScanRange]) -> dict[str, str]:
    """The worst state and the longest lag of the watches that bring what is in these; nothing where none does."""
    worst = SyncStatus.worst([status for scanned in ranges if (status := catalog.sync_status(scanned)) is not None])
    if worst is None:
        return {}
    headers: dict[str, str] = {STATE: worst.state}
    if worst.lag_seconds is not None:
        headers[LAG] = str(math.ceil(worst.lag_seconds))
    return headers
