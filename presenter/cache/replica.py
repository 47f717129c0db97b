"""All objects of a few types, held in memory: read whole once, and from then on only what changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import asyncpg

    from presenter.cache.pool import Pool

OVERLAP = timedelta(minutes=1)
"""How far behind the newest change seen the next reading begins: two writers may commit out of order."""

_BEGINNING = datetime(1, 1, 2, tzinfo=UTC)

_CHANGED = """
SELECT type_id, uid, namespace, name, updated_at, raw FROM resources
WHERE type_id = ANY ($1::integer[]) AND updated_at > $2 ORDER BY updated_at
"""
_COUNT = "SELECT count(*) FROM resources WHERE type_id = ANY ($1::integer[])"
_ALL = "SELECT type_id, uid FROM resources WHERE type_id = ANY ($1::integer[])"

_Key = tuple[int, str]


class Held(msgspec.Struct, frozen=True):
    """An object that is held: its type, uid, namespace and name, and when its last change was stored."""

    type_id: int
    uid: str
    namespace: str
    name: str
    updated_at: datetime


class Changes(msgspec.Struct, frozen=True):
    """What is no longer there, and then what is new or different, with its JSON."""

    removed: list[Held]
    put: list[tuple[Held, bytes]]


class Replica:
    """Knows which objects its owner holds, and reads what differs."""

    def __init__(self, pool: Pool, type_ids: Sequence[int]) -> None:
        self._pool = pool
        self._type_ids = list(type_ids)
        self._held: dict[_Key, Held] = {}
        self._newest = _BEGINNING

    async def read_changes(self) -> Changes:
        """What changed since the last reading, as of one moment. Raises DatabaseUnavailable and its kin."""
        since = max(_BEGINNING, self._newest - OVERLAP) if self._held else _BEGINNING
        async with (
            self._pool.connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            records = await connection.fetch(_CHANGED, self._type_ids, since)
            known = self._held.keys() | {(record["type_id"], record["uid"]) for record in records}
            gone: set[_Key] = set()
            if await connection.fetchval(_COUNT, self._type_ids) != len(known):
                rows = await connection.fetch(_ALL, self._type_ids)
                gone = known - {(row["type_id"], row["uid"]) for row in rows}
        removed = [self._held.pop(key) for key in gone]
        return Changes(removed, [change for record in records if (change := self._take(record)) is not None])

    def _take(self, record: asyncpg.Record) -> tuple[Held, bytes] | None:
        """Hold what a row says, unless it is held already."""
        held = Held(record["type_id"], record["uid"], record["namespace"], record["name"], record["updated_at"])
        key = (held.type_id, held.uid)
        if self._held.get(key) == held:
            return None
        self._held[key] = held
        self._newest = max(self._newest, held.updated_at)
        return held, record["raw"]
