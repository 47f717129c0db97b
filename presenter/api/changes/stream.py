"""One stream: its place in each cluster, and what its caller is told, as fast as he takes it."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import get_args

from starlette.types import Send

from presenter.access.lru import LruCache
from presenter.api.answers import one
from presenter.api.changes import events
from presenter.api.changes.followed import Followed
from presenter.api.changes.metrics import EVENTS
from presenter.api.changes.position import Position
from presenter.api.changes.reading import RETRY_INTERVAL, Place, Reading, Step
from presenter.api.changes.viewer import LOOKS, Viewer
from presenter.api.parameters import ChangesParameters
from presenter.cache.catalog_reader import CatalogReader
from presenter.cache.feed import Batch
from presenter.cache.memory import Share
from presenter.errors import Unavailable
from presenter.http.connection import Connection
from presenter.observability import observed

HEARTBEAT = 15.0
"""Seconds after which something is sent, if only the position."""
PATIENCE = 30.0
"""Seconds within which a piece has to be taken."""
PIECE = 65_536
"""Bytes that are sent at once."""
TOLD_BYTES = 8 * 2**20
"""How much is remembered of what has been written for one stream, and may be told to others."""

Texts = LruCache[tuple[object, ...], "Text"]


_EVENTS = {kind: EVENTS.labels(kind) for kind in get_args(events.Kind)}


class Text:
    """What a step is to whoever follows the same: its events, and how many there are of each kind."""

    __slots__ = ("counts", "events")

    def __init__(self, told: Sequence[tuple[events.Kind, bytes]]) -> None:
        self.events = events.together([events.event(kind, json) for kind, json in told])
        self.counts = Counter(kind for kind, _ in told)


def remembered_texts() -> Texts:
    """An empty memory of texts, for all streams of a process."""
    return LruCache(TOLD_BYTES, lambda _, text: 512 + len(text.events))


class Writer:
    """Sends a stream, and waits until it is taken."""

    def __init__(self, send: Send, connection: Connection, share: Share) -> None:
        self._send = send
        self._connection = connection
        self._share = share
        self.at = 0.0
        """When something was sent last, by the monotonic clock."""

    async def begin(self, headers: Mapping[str, str]) -> None:
        """Send the head."""
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        self._connection.is_stream = True
        await self._send({"type": "http.response.start", "status": 200, "headers": raw})

    async def write(self, body: bytes) -> None:
        """Send a part, piece by piece. Raises CallerTooSlow, and TooManyRequests when others hold too much."""
        self.at = time.monotonic()
        if len(body) <= PIECE:
            await self._write(body)
            return
        await self._share.hold(len(body))
        for start in range(0, len(body), PIECE):
            await self._write(body[start : start + PIECE])
        self._share.release()

    async def end(self, event: bytes) -> None:
        """Send the last event, and the end."""
        await self._send({"type": "http.response.body", "body": events.ended(event)})

    async def _write(self, piece: bytes) -> None:
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        if self._connection.is_behind:
            await self._taken()

    async def _taken(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._connection.sent()
        except TimeoutError:
            self._connection.cut_off(f"the caller took less than {PIECE} bytes of the changes in {PATIENCE:g} seconds")
            await self._connection.sent()


class Stream:
    """Tells a caller of what has changed, batch by batch, until there is a reason to end."""

    def __init__(
        self,
        viewer: Viewer,
        followed: Followed,
        places: Mapping[str, Place],
        reading: Reading,
        catalog: CatalogReader,
        texts: Texts,
        parameters: ChangesParameters,
    ) -> None:
        self._viewer = viewer
        self._followed = followed
        self._places = places
        self._reading = reading
        self._catalog = catalog
        self._texts = texts
        self._parameters = parameters
        self._ready: dict[str, Step | None] = {}

    @property
    def position(self) -> Position:
        """Up to where it has been told."""
        return Position(tuple(place.revision for place in self._places.values()), self._followed.digest)

    async def look(self) -> None:
        """See that what follows is known. Raises Expired, and Unavailable."""
        for cluster, place in self._places.items():
            self._ready[cluster] = await self._reading.after(cluster, place)

    async def tell(self, writer: Writer) -> None:
        """Tell of everything, until the time that the caller has set. Raises what else ends it."""
        limit = self._parameters.limit_seconds
        end = math.inf if limit is None else time.monotonic() + limit
        await writer.write(events.RETRY + events.identified(b"", self.position))
        while (now := time.monotonic()) < end:
            self._reading.require_running()
            steps = await self._steps()
            for cluster, step in steps:
                await self._tell(writer, cluster, step)
            if not steps:
                if now >= writer.at + HEARTBEAT:
                    await writer.write(events.identified(b"", self.position))
                seconds = min(end, writer.at + HEARTBEAT, now + LOOKS) - now
                await self._reading.wait(self._followed, self._places, seconds)

    async def _steps(self) -> Sequence[tuple[str, Step]]:
        """What follows in each cluster where anything does, to be told by the rights of now. Raises what ends it."""
        try:
            found = [
                (cluster, self._ready.pop(cluster, None) or await self._reading.after(cluster, place))
                for cluster, place in self._places.items()
            ]
            catalog = await self._catalog.current()
        except Unavailable:
            await asyncio.sleep(RETRY_INTERVAL)
            return ()
        self._followed = await self._viewer.look_again(self._followed, catalog)
        return [(cluster, step) for cluster, step in found if step is not None]

    async def _tell(self, writer: Writer, cluster: str, step: Step) -> None:
        place = self._places[cluster]
        text = self._text(cluster, place.revision, step)
        place.revision = step.batch.revision
        if text.events:
            await writer.write(events.identified(text.events, self.position))
            for kind, count in text.counts.items():
                _EVENTS[kind].inc(count)
            observation = observed()
            observation.rows = (observation.rows or 0) + sum(text.counts.values())

    def _text(self, cluster: str, revision: int, step: Step) -> Text:
        """A step as it is told to whoever follows the same, and has been told up to a revision."""
        asked, batch = self._parameters, step.batch
        after = max(revision, batch.after)
        of = (asked.raw, asked.status_raw, self._viewer.version)
        key = (cluster, after, batch.revision, self._followed.digest, of)
        text = self._texts.get(key)
        if text is None:
            text = Text(list(self._told(cluster, after, batch)))
            self._texts.put(key, text)
        return text

    def _told(self, cluster: str, after: int, batch: Batch) -> Iterator[tuple[events.Kind, bytes]]:
        asked, version = self._parameters, self._viewer.version
        for change in batch.changes:
            if change.revision > after and (kind := self._followed.told(cluster, change)) is not None:
                yield (
                    kind,
                    one(change.item, cluster, change.type, raw=asked.raw, status=asked.status_raw, version=version),
                )
