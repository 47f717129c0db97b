"""All objects of a few types of a cluster, held in memory: read whole once, and from then on only what changed.

What changed has a higher revision than all that was read before (see `writer`). A version of the program that knows of
no revisions may write the same rows, while one takes over from the other; that its changes are none of those that were
counted shows on the watches, and then everything is read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import asyncpg

    from presenter.cache.pool import Pool

# A list, too, may have been begun by such a version, which left rows behind that nobody counted.
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
_Uncounted = dict[tuple[int, str], tuple[int, int]]
"""By watch what came without revisions, or may have."""


class Held(msgspec.Struct, frozen=True):
    """An object that is held: its type, uid, namespace and name."""

    type_id: int
    uid: str
    namespace: str
    name: str


class Changes(msgspec.Struct, frozen=True):
    """What is no longer there, and then what is new or may be different, with its JSON."""

    removed: list[Held]
    put: list[tuple[Held, bytes]]


class Replica:
    """Knows which objects its owner holds, and reads what differs."""

    def __init__(self, pool: Pool, type_ids: Sequence[int]) -> None:
        self._pool = pool
        self._type_ids = list(type_ids)
        self._held: dict[_Key, Held] = {}
        self._seen = _NEVER
        self._uncounted: _Uncounted = {}

    async def read_changes(self) -> Changes:
        """What changed since the last reading, as of one moment. Raises DatabaseUnavailable and its kin."""
        async with (
            self._pool.connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            watches = await connection.fetch(_WATCHES, self._type_ids)
            revision = max((watch["revision"] for watch in watches), default=0)
            uncounted = {
                (watch["type_id"], watch["namespace"]): (watch["lists"], watch["unnumbered"]) for watch in watches
            }
            counted = uncounted == self._uncounted and revision >= self._seen  # a failover may have lost the last ones
            changed = await connection.fetch(_CHANGED, self._type_ids, self._seen if counted else _NEVER)
            known = self._held.keys() | {_key(row) for row in changed}
            gone: set[_Key] = set()
            # All that is there is known: what is new was changed. So if there is as much as is known, nothing is gone.
            if await connection.fetchval(_COUNT, self._type_ids) != len(known):
                gone = known - {_key(row) for row in await connection.fetch(_ALL, self._type_ids)}
        self._seen, self._uncounted = revision, uncounted
        removed = [self._held.pop(key) for key in gone]
        return Changes(removed, [self._take(row) for row in changed])

    def _take(self, row: asyncpg.Record) -> tuple[Held, bytes]:
        held = self._held[_key(row)] = Held(row["type_id"], row["uid"], row["namespace"], row["name"])
        return held, row["raw"]


def _key(row: asyncpg.Record) -> _Key:
    return row["type_id"], row["uid"]
