"""A store of all objects of a few types of a cluster: read whole once, and from then on only what changed.

What changed has a higher revision than all that was read before (see `writer`). During an upgrade a version that knows
of no revisions may write the same rows. That its changes are not numbered shows on the watches, and then everything is
read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import asyncpg

    from presenter.cache.pool import Pool

# The lists count, too: such a version may have begun one, and left rows behind without a revision.
_WATCHES = """
SELECT type_id, namespace, revision, lists, events - numbered AS unnumbered FROM watches
WHERE type_id = ANY ($1::integer[])
"""
# In the order in which they were written, so that what was created anew under a name comes after what was there before.
_CHANGED = """
SELECT type_id, uid, namespace, name, revision, raw FROM resources
WHERE type_id = ANY ($1::integer[]) AND revision > $2 ORDER BY revision, resource_version
"""
_COUNT = "SELECT count(*) FROM resources WHERE type_id = ANY ($1::integer[])"
_ALL = "SELECT type_id, uid FROM resources WHERE type_id = ANY ($1::integer[])"
_NEVER = -1

_Key = tuple[int, str]
_Unnumbered = dict[tuple[int, str], tuple[int, int]]
"""By watch: its lists, and its events that came without a revision."""


class ObjectReference(msgspec.Struct, frozen=True):
    """The identity of an object."""

    type_id: int
    uid: str
    namespace: str
    name: str


class Changes(msgspec.Struct, frozen=True):
    """Objects that were removed, and then those that are new or may have changed, with their JSON."""

    removed: list[ObjectReference]
    put: list[tuple[ObjectReference, bytes]]


class InformerStore:
    """The references of all objects that its owner has read, by which the store tells what has changed since."""

    def __init__(self, pool: Pool, type_ids: Sequence[int]) -> None:
        self._pool = pool
        self._type_ids = list(type_ids)
        self._references: dict[_Key, ObjectReference] = {}
        self._seen = _NEVER
        self._unnumbered: _Unnumbered = {}

    async def read_changes(self) -> Changes:
        """The changes since the last reading, in one snapshot. Raises DatabaseUnavailable."""
        async with (
            self._pool.connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            watches = await connection.fetch(_WATCHES, self._type_ids)
            revision = max((watch["revision"] for watch in watches), default=0)
            unnumbered = {
                (watch["type_id"], watch["namespace"]): (watch["lists"], watch["unnumbered"]) for watch in watches
            }
            # A failover may have lost the last revisions.
            numbered = unnumbered == self._unnumbered and revision >= self._seen
            changed = await connection.fetch(_CHANGED, self._type_ids, self._seen if numbered else _NEVER)
            known = self._references.keys() | {_key(row) for row in changed}
            gone: set[_Key] = set()
            # All that is there is known: what is new was changed. So if there is as much as is known, nothing is gone.
            if await connection.fetchval(_COUNT, self._type_ids) != len(known):
                gone = known - {_key(row) for row in await connection.fetch(_ALL, self._type_ids)}
        self._seen, self._unnumbered = revision, unnumbered
        removed = [self._references.pop(key) for key in gone]
        return Changes(removed, [self._take(row) for row in changed])

    def _take(self, row: asyncpg.Record) -> tuple[ObjectReference, bytes]:
        reference = ObjectReference(row["type_id"], row["uid"], row["namespace"], row["name"])
        self._references[_key(row)] = reference
        return reference, row["raw"]


def _key(row: asyncpg.Record) -> _Key:
    return row["type_id"], row["uid"]
