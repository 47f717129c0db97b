"""Whoever follows with whatever filters, and however often he is interrupted, has in the end what a list gives."""

from __future__ import annotations

import asyncio
import random
from functools import partial
from typing import Any

import pytest

from presenter.api.changes import reading
from presenter.cache.pool import Address
from tests.api.changes.conftest import Source
from tests.api.changes.follower import Replica, following
from tests.api.service import Json, Service, serving
from tests.api.world import BUTTONS, WIDGETS
from tests.eventually import eventually

COLOURS = ("red", "green", "blue", None)
NAMESPACES = ("default", "team-a", "team-b")
FILTERS: tuple[dict[str, Any], ...] = (
    {},
    {"resource": "panels"},
    {"labels": {"colour": "red"}},
    {"labels": {"colour": "green"}, "resource": "buttons"},
    {"name_contains": "1"},
)
QUERY: dict[str, Any] = {"group": WIDGETS, "namespace": "*", "raw": True}
FOLLOWERS = 10


class Writes:
    """Random changes of a few objects, so that the same ones come, change, stop matching and go again and again."""

    def __init__(self, source: Source, seed: int) -> None:
        self._source = source
        self._rng = random.Random(seed)
        self._labels: dict[tuple[Any, str, str], dict[str, str]] = {}

    async def some(self, transactions: int) -> None:
        """Write so often."""
        for _ in range(transactions):
            await self._one()

    async def _one(self) -> None:
        rng = self._rng
        type = rng.choice([self._source.watches["panels"].type, BUTTONS])
        name, namespace = f"object-{rng.randrange(12)}", rng.choice(NAMESPACES)
        key = (type.resource, namespace, name)
        if key in self._labels and rng.random() < 0.4:
            await self._source.delete(name, type=type, namespace=namespace, labels=self._labels.pop(key))
            return
        colour = rng.choice(COLOURS)
        self._labels[key] = {} if colour is None else {"colour": colour}
        await self._source.put(name, type=type, namespace=namespace, labels=self._labels[key])


async def differences(replica: Replica, wanted: list[Json]) -> list[str]:
    """How a replica differs from a list, by what is known here and there."""
    listed = {item["global_uid"]: item for item in wanted}
    return [uid for uid in replica.items | listed if replica.items.get(uid) != listed.get(uid)]


async def follow(service: Service, filters: dict[str, Any], replica: Replica, rng: random.Random) -> None:
    """List, then follow, with interruptions after any event, until cancelled."""
    query = {**QUERY, **filters}
    listed = await service.page(**query, limit=5, sort_by="name")
    replica.position = listed.headers["X-Cache-Position"]
    items = listed.items
    while listed.cursor is not None:
        listed = await service.page(**query, limit=5, sort_by="name", cursor=listed.cursor)
        items += listed.items
    replica.items = {item["global_uid"]: item for item in items}
    while True:
        headers = {"Last-Event-ID": replica.position}
        async with following(service, headers=headers, **query) as (told, _):
            for _ in range(rng.choice((1, 2, 3, 10, 1000))):
                event = await told.next()
                assert event is not None
                assert event.type in ("message", "ADDED", "MODIFIED", "DELETED"), event
                replica.take(event)


@pytest.mark.parametrize("seed", range(3))
async def test_in_the_end_a_replica_is_what_a_list_gives(
    database: Address, source: Source, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(reading, "ROWS", rng.choice((1, 3, 10)))
    monkeypatch.setattr(reading, "INTERVAL", 0.02)
    monkeypatch.setattr(reading, "KEPT_BYTES", rng.choice((1, 10_000, 2**20)))
    await source.declare(BUTTONS)
    writes = Writes(source, seed)
    await writes.some(20)
    async with serving(database) as service:
        followers = [(FILTERS[number % len(FILTERS)], Replica()) for number in range(FOLLOWERS)]
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(follow(service, filters, replica, random.Random(f"{seed} {number}")))
                for number, (filters, replica) in enumerate(followers)
            ]
            await writes.some(120)
            for filters, replica in followers:
                wanted = await service.walk(**QUERY, **filters)
                await eventually(partial(differences, replica, wanted), lambda found: not found)
            for task in running:
                task.cancel()
