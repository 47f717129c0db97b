"""A follower of changes: what it is sent, event by event, and what it makes of that."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp

from tests.api.service import Json, Service, as_text

PATIENCE = 20.0


@dataclass(frozen=True)
class Told:
    """One event. One without data is not dispatched; it has an id."""

    type: str
    data: Any
    id: str | None

    @property
    def name(self) -> str:
        """What the object is called that it is about."""
        name: str = self.data["name"]
        return name

    @property
    def what(self) -> tuple[str, str]:
        return self.type, self.name


class Stream:
    """A stream that has begun."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.headers = answer.headers
        self._content = answer.content

    async def next(self) -> Told | None:
        """The next event; None: it has ended."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(PATIENCE):
            while line := await self._content.readline(max_line_length=2**24):
                if line == b"\n" and fields.keys() != {"retry"}:
                    data = fields.get("data")
                    return Told(fields.get("event", "message"), data and json.loads(data), fields.get("id"))
                name, _, value = line.decode().removesuffix("\n").partition(": ")
                assert name not in fields, f"{name} is given twice in one event"
                fields[name] = value
        assert not fields, f"ended in the middle of an event: {fields}"
        return None

    async def event(self) -> Told:
        """The next event that is dispatched."""
        async with asyncio.timeout(PATIENCE):  # the position is told again and again
            while (told := await self.next()) is not None:
                if told.type != "message":
                    return told
        raise AssertionError("the stream has ended")

    async def rest(self) -> list[Told]:
        """All that comes until its end."""
        found = []
        while (told := await self.next()) is not None:
            found.append(told)
        return found

    async def end(self) -> tuple[str, Json]:
        """The type and the Status of the last event; nothing but ids comes before it."""
        [*ids, last] = await self.rest()
        assert all(told.type == "message" for told in ids), ids
        return last.type, last.data


@asynccontextmanager
async def following(
    service: Service, *, headers: Mapping[str, str] | None = None, **parameters: object
) -> AsyncIterator[tuple[Stream, str]]:
    """A stream that has begun, and the position that it begins with."""
    query = urlencode({name: as_text(value) for name, value in parameters.items()})
    async with service.open(f"/changes?{query}", service.authorization | dict(headers or {})) as answer:
        assert answer.status == 200, await answer.read()
        stream = Stream(answer)
        first = await stream.next()
        assert first is not None
        assert first.data is None
        assert first.id is not None
        yield stream, first.id


@dataclass
class Replica:
    """What a follower knows: the objects by uid. No object's version goes back."""

    items: dict[str, Json] = field(default_factory=dict)
    position: str | None = None
    versions: dict[str, int] = field(default_factory=dict)

    def take(self, told: Told) -> None:
        """Do what an event says, as docs/api.md does."""
        if told.type in ("ADDED", "MODIFIED", "DELETED"):
            uid = told.data["global_uid"]
            version = int(told.data["raw"]["metadata"]["resourceVersion"])
            assert version >= self.versions.get(uid, 0), f"{told.name} went back to {version}"
            self.versions[uid] = version
            if told.type == "DELETED":
                self.items.pop(uid, None)
            else:
                self.items[uid] = told.data
        if told.id is not None:
            self.position = told.id
