"""Followers of the feed: they read everything once, then only what has changed, and have everything in the end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import msgspec

from presenter.cache import items
from presenter.cache.feed import Change, State, news, read_batch
from presenter.cache.pool import Pool
from presenter.cache.query import Row
from presenter.errors import Expired, Unavailable
from tests.chaos.world import World
from tests.e2e.system import Json

ROWS = """
SELECT c.name, c.revision, r.uid, r.labels, r.raw FROM clusters c LEFT JOIN resources r ON r.cluster = c.name
"""
COLOUR = "red"


class _Item(msgspec.Struct):
    raw: Json


class Follower:
    """Who is told what becomes of the objects that match, and was never told to read anything anew."""

    def __init__(self, pool: Pool, world: World, matches: Callable[[State], bool]) -> None:
        self.changes = 0
        self._pool = pool
        self._world = world
        self._matches = matches
        self._cluster = ""
        self._position: tuple[int, int] | None = None
        self._objects: dict[str, Json] = {}

    async def follow(self, seed: int) -> None:
        """Read batches of any size, until cancelled."""
        rng = random.Random(seed)
        while True:
            await self._read(rng.choice((1, 20, 500)))
            await asyncio.sleep(rng.choice((0, 0.05, 0.5)))

    async def check(self) -> None:
        """Catch up, and see that it has what a query gives."""
        while await self._read(500):
            pass
        _, _, wanted = await self._read_all()
        missing, ghosts = wanted.keys() - self._objects.keys(), self._objects.keys() - wanted.keys()
        stale = [uid for uid in wanted.keys() & self._objects.keys() if wanted[uid] != self._objects[uid]]
        assert not missing and not ghosts and not stale, f"{missing=} {ghosts=} {stale=} at {self._position}"  # noqa: PT018
        assert self.changes > 0, "it was told nothing"

    async def _read_all(self) -> tuple[str, int, dict[str, Json]]:
        """The cluster's name and revision, and the objects that match."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(ROWS)
        objects = {
            row["uid"]: msgspec.json.decode(row["raw"])
            for row in rows
            if row["uid"] and self._matches(State(msgspec.json.decode(row["labels"]), None))
        }
        return rows[0]["name"], rows[0]["revision"], objects

    async def _read(self, rows: int) -> bool:
        """Read a batch, or first of all everything. Returns whether there is more."""
        try:
            if self._position is None:
                self._cluster, revision, self._objects = await self._read_all()
                self._position = revision, revision
            after, seen = self._position
            batch = await read_batch(self._pool, self._cluster, after, seen=seen, rows=rows)
        except Unavailable:
            return True
        except Expired as error:
            raise AssertionError(f"nothing was lost, and {self._position} is no position any more") from error
        for change in batch.changes:
            self._take(change)
        self._position = batch.revision, batch.seen
        return batch.more

    def _take(self, change: Change) -> None:
        told = news(change, self._matches)
        if told == "DELETED":
            self._objects.pop(change.uid, None)
        elif told is not None:
            raw = _document(change.item)
            assert self._world.was(raw), f"the cluster has never said this: {raw}"
            known = self._objects.get(change.uid)
            assert known is None or _version(known) <= _version(raw), f"went back: {known}, {raw}"
            self._objects[change.uid] = raw
        self.changes += told is not None


def followers(pool: Pool, world: World) -> list[Follower]:
    """One of everything, and one of what has a label."""
    return [
        Follower(pool, world, lambda _state: True),
        Follower(pool, world, lambda state: state.labels.get("colour") == COLOUR),
    ]


def _document(item: Any) -> Json:
    if isinstance(item, Row):
        return msgspec.json.decode(item.raw or b"", type=Json)
    return msgspec.json.decode(items.inflated([item]), type=_Item).raw


def _version(raw: Json) -> int:
    return int(raw["metadata"]["resourceVersion"])
