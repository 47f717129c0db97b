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
    from presenter.cache.pool import Pool

COLUMNS = """t.cluster, max(w.revision) AS revision,
    sum(w.events - w.numbered)::bigint AS unnumbered, c.revision AS position"""
TABLES = """watches w JOIN resource_types t ON t.id = w.type_id
JOIN clusters c ON c.name = t.cluster"""
GROUPS = "t.cluster, c.revision"
"""A Revision for each cluster, of some watches (`w`)."""

_OF_TYPES = f"""
SELECT w.type_id, {COLUMNS}
FROM {TABLES}
WHERE w.type_id = ANY ($1::integer[]) GROUP BY w.type_id, {GROUPS}
"""


class Revision(NamedTuple):
    """The revision of some types of a cluster: that of the last transaction that has changed their rows.

    During an upgrade a version may write that knows of none: then its events are counted, `unnumbered`. `position` is
    the revision of the whole cluster, from which on its changes can be followed.
    """

    cluster: str
    revision: int
    unnumbered: int
    position: int


Revisions = tuple[Revision, ...]
"""Those of types of several clusters, by the clusters' names."""


def state(revisions: Revisions) -> Sequence[tuple[str, int, int]]:
    """What tells of the rows: where it is the same for the same types, their rows are."""
    return [(each.cluster, each.revision, each.unnumbered) for each in revisions]


def together(revisions: Iterable[Revision]) -> Revisions:
    """The revisions of all these types together. Those of one cluster are of one count, which only grows."""
    found: dict[str, Revision] = {}
    for each in revisions:
        known = found.get(each.cluster, each)
        found[each.cluster] = (
            each
            if known is each
            else each._replace(
                revision=max(known.revision, each.revision), unnumbered=known.unnumbered + each.unnumbered
            )
        )
    return tuple(sorted(found.values()))


class RevisionReader:
    """Asks PostgreSQL for the revisions of types. Who comes meanwhile waits, and all who do are answered together."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._is_asking = False
        self._next: _Asking | None = None

    async def current(self, type_ids: Iterable[int]) -> Revisions:
        """The revisions of these types, in which everything is that was committed before this call.

        Raises DatabaseUnavailable.
        """
        types = set(type_ids)
        if not types:
            return ()
        if self._is_asking:
            found = await self._wait_for_next(types)
        else:
            found = await self._ask(types)
        return together([revision for type_id, revision in found if type_id in types])

    async def _wait_for_next(self, types: set[int]) -> _Found:
        if self._next is None:
            self._next = _Asking(set(), asyncio.get_running_loop().create_future())
        asking = self._next
        asking.types.update(types)
        before = begin("query")
        await asyncio.wait([asking.found])  # not awaited itself: a waiter's cancellation would cancel it for all
        begin(before)
        return asking.found.result()

    async def _ask(self, types: set[int]) -> _Found:
        self._is_asking = True
        try:
            async with self._pool.connection() as connection:
                rows = await connection.fetch(_OF_TYPES, list(types))
        finally:
            following, self._next = self._next, None
            self._is_asking = following is not None
            if following is not None:  # in a context of its own, since it belongs to no request
                context = contextvars.Context()
                following.task = asyncio.create_task(self._answer(following), name="revisions", context=context)
        return [(type_id, Revision(*revision)) for type_id, *revision in rows]

    async def _answer(self, asking: _Asking) -> None:
        try:
            asking.found.set_result(await self._ask(asking.types))
        except BaseException as error:
            asking.found.set_exception(error)
            asking.found.exception()  # else asyncio logs it where the last to wait has just left
            if not isinstance(error, Exception):
                raise


_Found = Sequence[tuple[int, Revision]]
"""By type."""


@dataclass
class _Asking:
    """One that has yet to begin, for all who wait for it."""

    types: set[int]
    found: asyncio.Future[_Found]
    task: asyncio.Task[None] | None = None
