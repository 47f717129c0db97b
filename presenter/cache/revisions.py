"""The revisions of types: what tells whether their rows are still those that were read.

Every page comes with them, from its own snapshot. Whoever has a page asks for them again, and for nothing else. They
are asked for after the request came, so that no answer is older than one that was given before it, by whatever process.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from presenter.observability import begin

if TYPE_CHECKING:
    from presenter.cache.pool import Pool

COLUMNS = """max(w.revision) AS revision,
    sum(w.events - w.numbered)::bigint AS unnumbered, max(w.synced_at) AS synced_at"""
"""Of watches (`w`)."""

_OF_TYPES = f"""
SELECT t.cluster, w.type_id, {COLUMNS}
FROM watches w JOIN resource_types t ON t.id = w.type_id
WHERE w.type_id = ANY ($1::integer[]) GROUP BY t.cluster, w.type_id
"""


class Revision(NamedTuple):
    """The revision of some types of a cluster: no two states of their rows have the same.

    `revision` is that of the last transaction that changed them. During an upgrade a version may write that knows of
    none, so that its events are counted: `unnumbered`. A database that is lost and filled anew begins to count anew;
    the last of the lists was completed at another moment then: `synced_at`.
    """

    cluster: str
    revision: int
    unnumbered: int
    synced_at: datetime | None


Revisions = tuple[Revision, ...]
"""Those of types of several clusters, by the clusters' names. Of the same types, equal ones are of the same rows."""


class RevisionReader:
    """Asks PostgreSQL for the revisions of types: once for all who came before it asks."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._turn = asyncio.Lock()
        self._next: _Asking | None = None

    async def current(self, type_ids: Iterable[int]) -> Revisions:
        """The revisions of these types, in which everything is that was committed before this call.

        Raises DatabaseUnavailable.
        """
        types = frozenset(type_ids)
        if not types:
            return ()
        if self._next is None:
            self._next = _Asking(self)
        asking = self._next
        asking.types |= types
        before = begin("query")
        await asyncio.wait([asking.task])  # not awaited itself: a waiter's cancellation would cancel it for all
        begin(before)
        return together([revision for type_id, revision in asking.task.result() if type_id in types])

    async def ask(self, asking: _Asking) -> Sequence[tuple[int, Revision]]:
        """By type, of all that those who wait for it ask for."""
        async with self._turn:
            self._next = None  # it is too late for whoever comes from now on
            async with self._pool.connection() as connection:
                rows = await connection.fetch(_OF_TYPES, list(asking.types))
        return [
            (type_id, Revision(cluster, revision, unnumbered, synced_at))
            for cluster, type_id, revision, unnumbered, synced_at in rows
        ]


class _Asking:
    """One statement, and the types that it will be about."""

    def __init__(self, reader: RevisionReader) -> None:
        self.types: set[int] = set()
        # In a context of its own, since it belongs to no request.
        self.task = asyncio.create_task(reader.ask(self), name="revisions", context=contextvars.Context())
        self.task.add_done_callback(_retrieved)


def _retrieved(task: asyncio.Task[object]) -> None:
    if not task.cancelled():
        task.exception()  # else asyncio logs it where the last to wait has just left


def together(revisions: Iterable[Revision]) -> Revisions:
    """The revisions of all these types together. Within a cluster all are of one count, which only grows."""
    found: dict[str, Revision] = {}
    for each in revisions:
        known = found.get(each.cluster)
        found[each.cluster] = each if known is None else _of_both(known, each)
    return tuple(sorted(found.values()))


def _of_both(one: Revision, other: Revision) -> Revision:
    moments = [moment for moment in (one.synced_at, other.synced_at) if moment is not None]
    return Revision(
        one.cluster,
        max(one.revision, other.revision),
        one.unnumbered + other.unnumbered,
        max(moments, default=None),
    )
