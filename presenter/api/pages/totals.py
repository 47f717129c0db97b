"""How many objects a caller's question is about, remembered while nothing changes in their types."""

from __future__ import annotations

import time

from presenter.access.lru import LruCache
from presenter.cache.numbers import count
from presenter.cache.plan import Total
from presenter.cache.pool import Pool
from presenter.cache.query import Filters, Query
from presenter.cache.revisions import Revisions, state
from presenter.cache.scope import ScanRange

_REMEMBERED = 1024

_Question = tuple[tuple[ScanRange, ...], Filters, tuple[tuple[str, int, int, int], ...]]


class Totals:
    """Totals by what they are of: the ranges that a caller may see, the filters, and the revisions of the types.

    So whoever may see something else is never told this one, and a change makes it another question.
    """

    def __init__(self, pool: Pool, ttl: float) -> None:
        self._pool = pool
        self._ttl = ttl
        self._known: LruCache[_Question, tuple[Total, float]] = LruCache(_REMEMBERED)

    async def of(self, query: Query, revisions: Revisions) -> Total:
        """The total of a query whose types were read at these revisions; without revisions it is counted anew.

        Raises DatabaseUnavailable and SchemaOutdated.
        """
        question = (query.ranges, query.filters, tuple(state(revisions)))
        known = self._known.get(question)
        if known is not None and time.monotonic() < known[1]:
            return known[0]
        total = await count(self._pool, query)
        if revisions and self._ttl:
            self._known.put(question, (total, time.monotonic() + self._ttl))
        return total
