"""One reading of the feed for all streams of a process: its last batches are kept for whoever comes to them.

    who is up to date        is woken by a batch that concerns him, and moved on by any other
    who is a little behind   takes the batches that are kept
    who is further behind    has the database read for him, a batch at a time

So nothing is kept for one caller alone, however slowly he reads.
"""

from __future__ import annotations

import asyncio
import bisect
import contextvars
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from presenter.api.changes.basis import Basis
from presenter.api.changes.followed import Followed
from presenter.api.changes.metrics import BATCHES
from presenter.cache import feed
from presenter.cache.catalog_reader import CatalogReader
from presenter.cache.feed import Batch
from presenter.cache.pool import Pool
from presenter.cache.query import Row
from presenter.errors import DatabaseUnavailable, Expired, PresenterError, Unavailable

INTERVAL, FOR_EACH, LONGEST_INTERVAL = 0.1, 0.000_15, 0.25
"""Seconds between two looks at whether there is something new: more for each stream, so that many are woken less often
and told more at once; but no longer than that."""
KEPT_BYTES = 8 * 2**20
"""How much of a cluster's last changes is kept, as it is stored."""
ROWS, BYTES = 200, 256 * 1024
"""Of what a batch is made for those who are behind: each may hold as much for a while."""
_CHANGE = 1024
"""Bytes that a change takes beside its object."""
RETRY_INTERVAL = 0.5
"""Seconds after which the database is asked again that did not answer."""
_FOR_ALL, _FOR_THOSE_BEHIND = BATCHES.labels("all"), BATCHES.labels("behind")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A batch, about how many bytes it takes, and the basis on which it is told."""

    batch: Batch
    size: int
    basis: object


class Line:
    """The last steps of one cluster, each from where the one before it ended; `end` is where the last one did.

    `lost`: the database has lost what was read.
    """

    def __init__(self, end: int) -> None:
        self.end = self.seen = end
        self.streams = 0
        self.waiting: set[Waiting] = set()
        self.lost: Expired | None = None
        self._steps: list[Step] = []
        self._size = 0

    def add(self, step: Step) -> None:
        """Keep a step, and drop the first ones if they are too much."""
        self._steps.append(step)
        self.end, self.seen = step.batch.revision, step.batch.seen
        self._size += step.size
        while self._size > KEPT_BYTES and len(self._steps) > 1:
            self._size -= self._steps.pop(0).size

    def after(self, revision: int) -> Step | None:
        """What goes on from a revision, if it is kept."""
        at = bisect.bisect_right(self._steps, revision, key=lambda step: step.batch.revision)
        step = self._steps[at] if at < len(self._steps) else None
        return step if step is not None and step.batch.after <= revision else None

    def tell(self, cluster: str, step: Step) -> None:
        """Wake those whom a step concerns, or who follow on another basis. To the others there is nothing to tell."""
        concerns: dict[str, bool] = {}
        for waiting in self.waiting:
            followed, place = waiting.followed, waiting.places[cluster]
            if followed.digest not in concerns:
                told = (followed.told(cluster, change) for change in step.batch.changes)
                concerns[followed.digest] = any(told)
            if concerns[followed.digest] or followed.basis is not step.basis or place.revision < step.batch.after:
                waiting.woken.set()
            else:
                place.revision = step.batch.revision

    def wake(self) -> None:
        """Wake all."""
        for waiting in self.waiting:
            waiting.woken.set()


@dataclass(slots=True)
class Place:
    """Where a stream is in one cluster: it has been told all up to `revision`.

    When it began the cluster was at `begun`: who comes again may have been told of anything until then. `seen` is what
    it may have been told of since, where that was ahead of its place; None: nothing.
    """

    line: Line
    revision: int
    begun: int
    seen: int | None = None


class Waiting:
    """A stream that has been told all there is."""

    __slots__ = ("followed", "places", "woken")

    def __init__(self, followed: Followed, places: Mapping[str, Place]) -> None:
        self.followed = followed
        self.places = places
        self.woken = asyncio.Event()


class Reading:
    """The lines of the clusters that streams follow."""

    def __init__(self, pool: Pool, catalog: CatalogReader) -> None:
        self._pool = pool
        self._catalog = catalog
        self.basis = Basis()
        self._lines: dict[str, Line] = {}
        self._wanted = asyncio.Event()
        self._turn = asyncio.Semaphore(1)
        self._behind: dict[tuple[str, int, int | None], asyncio.Task[Step]] = {}
        self._is_over = False

    # -- for streams ---------------------------------------------------------------------------------------------------

    async def now(self, cluster: str) -> int:
        """Where a cluster is now. Raises Expired when there is none, Unavailable and DatabaseUnavailable."""
        return (await feed.read_batch(self._pool, cluster, None)).revision

    @contextmanager
    def followed(self, revisions: Mapping[str, int], now: Mapping[str, int]) -> Iterator[dict[str, Place]]:
        """The places of a stream that goes on from revisions of clusters, which are somewhere now, while it is open."""
        places = {}
        for cluster, revision in revisions.items():
            line = self._lines.setdefault(cluster, Line(now[cluster]))
            line.streams += 1
            places[cluster] = Place(line, revision, now[cluster])
        self._wanted.set()
        try:
            yield places
        finally:
            for cluster, place in places.items():
                place.line.streams -= 1
                if not place.line.streams:
                    self._end(cluster, place.line)

    async def after(self, cluster: str, place: Place) -> Step | None:
        """What follows; None: nothing yet. Raises Expired when that is not known any more, and DatabaseUnavailable."""
        line, revision = place.line, place.revision
        if line.lost is not None:
            raise line.lost
        step = line.after(revision)
        if step is not None and step.batch.revision >= (place.seen or place.begun):  # or else an object might go back
            return step
        if revision >= line.end:
            return None
        step = await self._read_behind(cluster, revision, place.seen)
        place.seen = step.batch.seen
        return step

    async def wait(self, followed: Followed, places: Mapping[str, Place], seconds: float) -> None:
        """Wait for something that may concern who follows that and is in these places; at most for so long.

        Who has more to read where he is does not wait.
        """
        if self._is_over or any(place.line.lost or place.revision < place.line.end for place in places.values()):
            return
        waiting = Waiting(followed, places)
        for place in places.values():
            place.line.waiting.add(waiting)
        try:
            async with asyncio.timeout(seconds):
                await waiting.woken.wait()
        except TimeoutError:
            pass
        finally:
            for place in places.values():
                place.line.waiting.discard(waiting)

    def require_running(self) -> None:
        """Raises Unavailable when all is over."""
        if self._is_over:
            raise Unavailable("this process is ending: come again with the last id")

    # -- reading -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Read what streams follow, until cancelled; then they end."""
        try:
            while True:
                if not self._lines:
                    self._wanted.clear()
                    await self._wanted.wait()
                try:
                    await self._read_on()
                    streams = sum(line.streams for line in self._lines.values())
                    pause = min(INTERVAL + FOR_EACH * streams, LONGEST_INTERVAL)
                except PresenterError as error:
                    log.warning("changes cannot be read", error=str(error))
                    pause = RETRY_INTERVAL
                except Exception:  # a bug must not stop the server
                    log.exception("changes cannot be read")
                    pause = RETRY_INTERVAL
                await asyncio.sleep(pause)
        finally:
            self._is_over = True
            for line in self._lines.values():
                line.wake()
            for reading in self._behind.values():
                reading.cancel()

    async def _read_on(self) -> None:
        """Read what is new in each cluster. Raises DatabaseUnavailable."""
        for cluster, line in list(self._lines.items()):
            try:
                await self._read_line(cluster, line)
            except Expired as error:
                line.lost = error
                self._end(cluster, line)
                line.wake()
            except DatabaseUnavailable:
                raise
            except Unavailable as error:  # nobody keeps what changes in it; the others go on
                log.debug("changes cannot be read", cluster=cluster, error=str(error))

    def _end(self, cluster: str, line: Line) -> None:
        """Have whoever comes from now on begin another line."""
        if self._lines.get(cluster) is line:
            del self._lines[cluster]

    async def _read_line(self, cluster: str, line: Line) -> None:
        more = True
        while more and line.streams:
            step = await self._read(cluster, line.end, line.seen)
            more = step.batch.more
            if step.batch.revision != line.end:
                _FOR_ALL.inc()
                line.add(step)
                line.tell(cluster, step)

    async def _read(
        self, cluster: str, after: int, seen: int | None = None, rows: int = feed.ROWS, size: int = feed.BYTES
    ) -> Step:
        batch = await feed.read_batch(self._pool, cluster, after, seen=seen, rows=rows, size=size)
        catalog = await self._catalog.current()
        if any(change.type_id not in catalog.by_id for change in batch.changes):
            catalog = await self._catalog.anew()  # a type may be new, and nothing of it shall be missed
        size = sum(_CHANGE + len(_document(change.item)) for change in batch.changes)
        return Step(batch, size, self.basis.of(catalog))

    async def _read_behind(self, cluster: str, after: int, seen: int | None) -> Step:
        """For one who is behind, or several who are at the same place; one place after the other."""
        place = (cluster, after, seen)
        reading = self._behind.get(place)
        if reading is None:
            # In a context of its own, since it belongs to no request.
            reading = asyncio.create_task(self._read_in_turn(*place), context=contextvars.Context())
            reading.add_done_callback(_look_at)
            self._behind[place] = reading
        await asyncio.wait([reading])  # not awaited itself: a waiter's cancellation would cancel it for all
        if reading.cancelled():
            self.require_running()
        return reading.result()

    async def _read_in_turn(self, cluster: str, after: int, seen: int | None) -> Step:
        try:
            await self._turn.acquire()
        finally:
            del self._behind[
                cluster, after, seen
            ]  # who comes from now on may have been told of more than this will show
        try:
            _FOR_THOSE_BEHIND.inc()
            return await self._read(cluster, after, seen, ROWS, BYTES)
        finally:
            self._turn.release()


def _document(item: bytes | Row) -> bytes:
    return (item.raw or b"") if isinstance(item, Row) else item


def _look_at(reading: asyncio.Task[Step]) -> None:
    """Else asyncio logs the failure where the last to wait has just left."""
    if not reading.cancelled():
        reading.exception()
