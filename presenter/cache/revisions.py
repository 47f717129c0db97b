"""The revisions of types: what tells whether their rows are still those that were read.

Every page comes with them, from its own snapshot. Whoever has a page asks for them again, and for nothing else. They
are asked for after the request came, so that no answer is older than one that was given before it, by whatever process.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from presenter.observability import begin

if TYPE_CHECKING:
    import asyncpg

    from presenter.cache.pool import Pool
    from presenter.cache.scope import ScanRange

COLUMNS = "max(w.revision) AS revision, sum(w.events - w.numbered)::bigint AS unnumbered, count(*) AS watches"
"""Those of a Revision, of watches (`w`)."""

# Without a join, which would take longer than all else; the clusters are few.
_ALL = f"""
SELECT w.type_id, NULL AS cluster, {COLUMNS} FROM watches w WHERE w.type_id = ANY ($1::integer[]) GROUP BY w.type_id
UNION ALL
SELECT NULL, name, revision, NULL, NULL FROM clusters
"""


class Revision(NamedTuple):
    """The revision of some types of a cluster: that of the last transaction that has changed their rows.

    During an upgrade a version may write that knows of none: then its events are counted, `unnumbered`. `watches` is
    how many there are: fewer where one of the types has been forgotten. `position` is the revision of the whole
    cluster, from which on its changes can be followed.
    """

    cluster: str
    revision: int
    unnumbered: int
    watches: int
    position: int


Revisions = tuple[Revision, ...]
"""Those of types of several clusters, by the clusters' names."""


def state(revisions: Revisions) -> Sequence[tuple[str, int, int, int]]:
    """What tells of the rows: where it is the same for the same types, their rows are."""
    return [(each.cluster, each.revision, each.unnumbered, each.watches) for each in revisions]


def together(revisions: Iterable[Revision]) -> Revisions:
    """The revisions of all these types together. Those of one cluster are of one count, which only grows."""
    found: dict[str, Revision] = {}
    for each in revisions:
        known = found.get(each.cluster, each)
        found[each.cluster] = (
            each
            if known is each
            else each._replace(
                revision=max(known.revision, each.revision),
                unnumbered=known.unnumbered + each.unnumbered,
                watches=known.watches + each.watches,
            )
        )
    return tuple(sorted(found.values()))


class RevisionReader:
    """Asks PostgreSQL for the revisions of types. Who comes meanwhile waits, and all who do are answered together."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._is_asking = False
        self._next: _Asking | None = None

    async def current(self, ranges: Iterable[ScanRange]) -> Revisions:
        """The revisions of the types of these, in which everything is that was committed before this call.

        Raises DatabaseUnavailable.
        """
        clusters = {scanned.type_id: scanned.cluster for scanned in ranges}
        if not clusters:
            return ()
        if self._is_asking:
            found = await self._wait_for_next(clusters)
        else:
            found = await self._ask(clusters)
        positions = {cluster: revision for type_id, cluster, revision, *_ in found if type_id is None}
        return together(
            [
                Revision(clusters[type_id], revision, unnumbered, watches, positions.get(clusters[type_id], 0))
                for type_id, _, revision, unnumbered, watches in found
                if type_id in clusters
            ]
        )

    async def _wait_for_next(self, types: Iterable[int]) -> _Found:
        if self._next is None:
            self._next = _Asking(set(), asyncio.get_running_loop().create_future())
        asking = self._next
        asking.types.update(types)
        before = begin("query")
        await asyncio.wait([asking.found])  # not awaited itself: a waiter's cancellation would cancel it for all
        begin(before)
        return asking.found.result()

    async def _ask(self, types: Iterable[int]) -> _Found:
        self._is_asking = True
        try:
            async with self._pool.connection() as connection:
                return await connection.fetch(_ALL, list(types))
        finally:
            following, self._next = self._next, None
            self._is_asking = following is not None
            if following is not None:  # in a context of its own, since it belongs to no request
                context = contextvars.Context()
                following.task = asyncio.create_task(self._answer(following), name="revisions", context=context)

    async def _answer(self, asking: _Asking) -> None:
        try:
            asking.found.set_result(await self._ask(asking.types))
        except BaseException as error:
            asking.found.set_exception(error)
            asking.found.exception()  # else asyncio logs it where the last to wait has just left
            if not isinstance(error, Exception):
                raise


_Found = Sequence["asyncpg.Record"]
"""Of types their revisions, and of clusters theirs."""


@dataclass
class _Asking:
    """One that has yet to begin, for all who wait for it."""

    types: set[int]
    found: asyncio.Future[_Found]
    task: asyncio.Task[None] | None = None
