"""One watch, followed for ever: list → replace → watch → apply."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Literal

import msgspec
import structlog

from presenter.cache.lease import Recoveries
from presenter.cache.writer import Writer
from presenter.errors import (
    ClusterError,
    ClusterForbidden,
    ClusterNotFound,
    ClusterUnavailable,
    ResourceExpired,
    Unavailable,
)
from presenter.kube.answers import InStreamError
from presenter.kube.backoff import Backoff
from presenter.kube.client import KubeClient, ListPage, WatchEvent
from presenter.kube.discovery import SHAPING_TYPES
from presenter.kube.mark import Mark
from presenter.kube.objects import ends_initial_events, number, read_object, resource_version_of
from presenter.kube.received import Budget, Received
from presenter.kube.timings import Timings
from presenter.resource import Event, Object, State, Watch

PAGE_OBJECTS = 500
PAGE_BYTES = 8 * 2**20
CONCURRENT_LISTS = 4
FRUITLESS_WATCHES = 3
"""After so many watches in a row that told nothing only a list can help.

Some servers tell expiry by a bare 500, some end every watch at once, some never say how far they are.
"""

_PASSING = (ClusterUnavailable, ClusterForbidden, ClusterNotFound)
"""What the same request may overcome. After any other refusal (410, 400) its resourceVersion is of no use."""

_UNKNOWN_REQUEST = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.NOT_IMPLEMENTED)
"""How API servers refuse a streaming list when they have none; kube-apiserver by 422."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Shared:
    """What all reflectors of a cluster share.

    `rediscover` is called when there is reason to believe that the server's types have changed; `secret_data` keeps the
    values of Secrets; `recoveries` are those of the database; `lists` bounds how many list at once; `unstreamed` are
    API groups that have no streaming lists.
    """

    client: KubeClient
    writer: Writer
    timings: Timings
    rediscover: Callable[[], None]
    secret_data: bool = False
    recoveries: Recoveries = field(default_factory=Recoveries)
    lists: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CONCURRENT_LISTS))
    budget: Budget = field(default_factory=Budget)
    unstreamed: set[str] = field(default_factory=set)


class Reflector:
    """Keeps the rows of one watch equal to the cluster."""

    def __init__(self, shared: Shared, watch: Watch) -> None:
        self._shared = shared
        self._client = shared.client
        self._writer = shared.writer
        self._timings = shared.timings
        self._watch = watch
        self._page_objects = PAGE_OBJECTS
        self._must_list = False
        self._listed = asyncio.Event()
        self._streaming = False
        self._by_pages = False
        self._ended = False
        self._received: Received[WatchEvent] | None = None
        self._reached = ""
        self._behind_since: float | None = None
        self._mark = Mark("", 0.0)
        self._caught_up = False
        self._last: Literal["none", "ended", "current"] = "none"
        self._fruitless = 0
        self._bookmarks = False
        self._told: str | None = None

    async def run(self) -> None:
        """Follow the watch until `finish`, or cancelled. Whatever fails is told and tried again."""
        backoff = Backoff(self._timings.backoff)
        while not self._ended:
            recoveries = self._shared.recoveries.count
            try:
                await self._attend()
            except (ClusterError, Unavailable) as error:
                self._last = "none"
                if self._streaming and self._is_refused(error):
                    continue
                delay = self._consider(error, backoff)
                await self._tell(error, delay)
                if isinstance(error, ClusterError):
                    await asyncio.sleep(delay)
                elif await self._shared.recoveries.wait(recoveries, delay):
                    backoff.reset()
            except Exception as error:  # a bug that one type meets must not stop the others
                log.exception("reflector crashed", type=str(self._watch))
                self._last = "none"
                self._must_list = self._by_pages = True
                await self._show("error", f"internal error, see the log: {error!r}")
                await asyncio.sleep(backoff.next())

    def finish(self) -> bool:
        """Apply what was received, and end. False when nothing is being received: then it may be cancelled."""
        self._ended = True
        return self._cut()

    async def relist(self) -> None:
        """Have everything read anew, after what was received is applied; returns when it is."""
        self._must_list = True
        self._listed.clear()
        self._cut()
        await self._listed.wait()

    def _cut(self) -> bool:
        if self._received is not None:
            self._received.cut()
        return self._received is not None

    async def _attend(self) -> None:
        """Once through: find out where to start, list if need be, and follow."""
        self._streaming = False
        since = await self._resume()
        if since is None and (self._by_pages or self._watch.type.group in self._shared.unstreamed):
            await self._list()  # and then from its checkpoint, which is resumed like any other
        else:
            await self._follow(since)

    # -- where to start --------------------------------------------------------------------------------------

    async def _resume(self) -> str | None:
        """The resourceVersion to watch from: the checkpoint if it can be trusted. None: only a list can help."""
        checkpoint = await self._writer.checkpoint(self._watch)
        if checkpoint is None:
            return None
        self._reached = self._reached or checkpoint.resource_version
        asked_at = time.monotonic()
        probe = await self._client.list_page(self._watch.type, self._watch.namespace, limit=1)
        self._mark = Mark(probe.resource_version, asked_at)
        # A watch from a version that etcd has not reached does not fail: it drops events silently.
        caught_up = await self._catch_up(probe.resource_version)
        usable = caught_up and checkpoint.exact and not self._must_list
        return checkpoint.resource_version if usable else None

    async def _catch_up(self, resource_version: str) -> bool:
        """Note how far the server is; False when it went back, as a restored etcd does: a new epoch has begun.

        Raises ClusterUnavailable at first, since a replica that lags behind the others will soon have caught up.
        """
        if not _is_lower(resource_version, self._reached):
            self._reached = resource_version
            self._behind_since = None
            return True
        now = time.monotonic()
        self._behind_since = self._behind_since or now
        if now - self._behind_since < self._timings.lag:
            raise ClusterUnavailable(
                f"the API server is at version {resource_version} of {self._watch}, behind {self._reached}, "
                "which it has told before"
            )
        log.warning("versions went back", type=str(self._watch), was=self._reached, now=resource_version)
        await self._writer.new_epoch(self._watch)
        self._reached = resource_version
        self._behind_since = None
        return False

    # -- listing ---------------------------------------------------------------------------------------------

    async def _list(self) -> None:
        """Read everything, page by page, and sweep what is gone."""
        async with self._shared.lists:
            asked_at = time.monotonic()
            page = await self._page("")
            resource_version = page.resource_version
            await self._catch_up(resource_version)
            await self._writer.begin_list(self._watch)
            while True:
                objects = [object for item in page.items if (object := self._read(item)) is not None]
                await self._writer.list_page(self._watch, objects, unreadable=len(page.items) - len(objects))
                if not page.continue_token:
                    break
                page = await self._page(page.continue_token)
            await self._finish_list(Mark(resource_version, asked_at))

    async def _page(self, continue_token: str) -> ListPage:
        page = await self._client.list_page(
            self._watch.type, self._watch.namespace, limit=self._page_objects, continue_token=continue_token
        )
        if page.items:
            fitting = PAGE_BYTES * len(page.items) // page.size
            self._page_objects = max(1, min(fitting, PAGE_OBJECTS))
        return page

    async def _take_initial(self, received: Received[WatchEvent], asked_at: float) -> str:
        """Take a stream's initial events for a list. Returns the resourceVersion that it has."""
        await self._writer.begin_list(self._watch)
        while batch := await self._next_initial(received):
            events, unreadable = self._changes(batch)
            await self._writer.list_events(self._watch, events, unreadable=unreadable)
            if ends_initial_events(batch[-1]):
                resource_version = resource_version_of(batch[-1].object)
                await self._finish_list(Mark(resource_version, asked_at))
                return resource_version
        raise ClusterUnavailable(f"the list of {self._watch} ended before it was complete")

    async def _next_initial(self, received: Received[WatchEvent]) -> list[WatchEvent] | None:
        try:
            async with asyncio.timeout(self._timings.initial):
                return await received.batch()
        except TimeoutError as error:
            self._shared.unstreamed.add(self._watch.type.group)
            raise ClusterUnavailable(
                f"the API server does not say where the list of {self._watch} ends: it is read in pages"
            ) from error

    async def _finish_list(self, mark: Mark) -> None:
        await self._writer.finish_list(self._watch, mark.resource_version, as_of=mark.asked_at)
        self._reached = mark.resource_version
        self._must_list = self._streaming = self._by_pages = False
        self._listed.set()
        self._fruitless = 0
        self._last = "current"
        self._shaped()

    # -- following -------------------------------------------------------------------------------------------

    async def _follow(self, since: str | None) -> None:
        """Apply what happens after `since`, until the server ends the watch. None: first list everything."""
        told = False
        self._streaming = since is None
        self._caught_up = since is None or self._mark.is_passed(since)
        async with AsyncExitStack() as listing:
            if since is None:
                await listing.enter_async_context(self._shared.lists)
            started = time.monotonic()
            async with self._receive(since) as received:
                if since is None:
                    since = await self._take_initial(received, started)
                    await listing.aclose()
                else:
                    await self._begin()
                self._tell_recovery()
                while batch := await self._next(received):
                    reached = await self._apply(batch, since)
                    told, since = told or reached != since, reached
        if self._ended or self._must_list:
            return
        at_once = not told and time.monotonic() - started < self._timings.instant
        if at_once or not self._caught_up:
            self._count_fruitless()
        if at_once:
            raise ClusterUnavailable(f"the watch of {self._watch} ended at once, without any news")

    async def _begin(self) -> None:
        """Show how a watch stands that goes on from a checkpoint; after one that ended well, as before."""
        if self._caught_up:
            await self._writer.apply(self._watch, [], None, as_of=self._mark.asked_at)
        elif self._last == "none":
            await self._writer.set_state(self._watch, "syncing")
        self._last = "current" if self._caught_up else "ended"

    def _seconds(self) -> int:
        """How long a watch is asked to last.

        kube-apiserver says how far a watch is (by a bookmark) two seconds before it ends it, and else only once a
        minute: a short one soon tells that nothing was missed.
        """
        if self._caught_up or self._last == "current":
            return random.randint(*self._timings.watch)  # noqa: S311 - spreads load, hides nothing
        return self._timings.catching_up

    @asynccontextmanager
    async def _receive(self, since: str | None) -> AsyncIterator[Received[WatchEvent]]:
        """What the API server tells of the time after `since`; None: from the beginning."""
        async with (
            self._client.watch(
                self._watch.type,
                self._watch.namespace,
                since or "",
                timeout_seconds=self._seconds(),
                initial_events=since is None,
            ) as events,
            Received(events, _size, self._shared.budget, ends=ends_initial_events) as received,
        ):
            self._received = received
            try:
                yield received
            finally:
                self._received = None

    async def _next(self, received: Received[WatchEvent]) -> list[WatchEvent] | None:
        """The next events. After a long silence the watch ends; where there should have been bookmarks, by an error."""
        try:
            async with asyncio.timeout(self._timings.silence):
                return await received.batch()
        except TimeoutError as error:
            if not self._bookmarks:
                self._last = "ended"
                return None
            raise ClusterUnavailable(
                f"the watch of {self._watch} was silent for {self._timings.silence} s, without even a bookmark"
            ) from error

    async def _apply(self, batch: Sequence[WatchEvent], since: str) -> str:
        """Store a run of events; returns the resourceVersion that the rows have then."""
        events, unreadable = self._changes(batch)
        checkpoint = since
        for version in filter(None, map(_version, batch)):
            if not _is_lower(version, checkpoint):  # as that of an event that comes twice may be
                checkpoint = version
        news = [event for event in events if not _is_known(event, since)]
        bookmark = len(events) + unreadable < len(batch)
        as_of: float | None = time.monotonic()
        if not self._caught_up:
            as_of = self._mark.asked_at if self._mark.is_passed(checkpoint, bookmark=bookmark) else None
        await self._writer.apply(self._watch, news, checkpoint, unreadable=unreadable, as_of=as_of)
        if as_of is not None:
            self._caught_up, self._last = True, "current"
        if self._caught_up or (checkpoint != since and number(checkpoint) is not None):
            self._fruitless = 0
        if not _is_lower(checkpoint, self._reached):
            self._reached = checkpoint
        self._bookmarks = self._bookmarks or bookmark
        if news:
            self._shaped()
        return checkpoint

    def _changes(self, batch: Sequence[WatchEvent]) -> tuple[list[Event], int]:
        """What happened to objects, and how many events told of something that is none."""
        changes = [event for event in batch if event.type != "BOOKMARK"]
        events = [
            Event("delete" if change.type == "DELETED" else "upsert", object)
            for change in changes
            if (object := self._read(change.object)) is not None
        ]
        return events, len(changes) - len(events)

    def _read(self, raw: msgspec.Raw) -> Object | None:
        """The object, or None for what is none, which must not stand in the way of the others."""
        try:
            return read_object(raw, self._watch.type, secret_data=self._shared.secret_data)
        except ClusterError as error:
            log.error("left out", type=str(self._watch), error=str(error))
            return None

    def _shaped(self) -> None:
        if self._watch.type.name in SHAPING_TYPES:
            self._shared.rediscover()

    # -- failing ---------------------------------------------------------------------------------------------

    def _is_refused(self, error: ClusterError | Unavailable) -> bool:
        """Whether the API server has no streaming lists of this group: then there is nothing to wait for."""
        if not isinstance(error, ClusterError) or error.code not in _UNKNOWN_REQUEST:
            return False
        log.info("no streaming lists, listing in pages", group=self._watch.type.group, error=str(error))
        self._shared.unstreamed.add(self._watch.type.group)
        return True

    def _consider(self, error: ClusterError | Unavailable, backoff: Backoff) -> float:
        """What follows from a failure; returns the seconds to wait."""
        if isinstance(error, InStreamError):
            self._count_fruitless()
        if self._streaming:
            self._by_pages = True  # once at least: what counts is to make progress
        if isinstance(error, ClusterError) and not isinstance(error, _PASSING):
            self._must_list = True
        if isinstance(error, ClusterNotFound):
            self._shared.rediscover()
        if isinstance(error, ClusterForbidden) and error.code == HTTPStatus.FORBIDDEN:
            return self._timings.forbidden
        return backoff.next(error.delay if isinstance(error, ClusterError) else None)

    def _count_fruitless(self) -> None:
        self._fruitless += 1
        if self._fruitless > FRUITLESS_WATCHES:
            self._fruitless = 0
            self._must_list = True

    async def _tell(self, error: ClusterError | Unavailable, delay: float) -> None:
        """Log a failure once, and show it as the watch's state as long as it lasts."""
        if isinstance(error, ResourceExpired):
            log.info("history expired, listing again", type=str(self._watch))
            return
        text = str(error)
        if text != self._told:
            self._told = text
            log.warning("watch interrupted", type=str(self._watch), error=text, retry_seconds=round(delay, 1))
        if not isinstance(error, ClusterError):
            return  # the database could not be written a moment ago: there is no use in writing that there
        await self._show("forbidden" if isinstance(error, ClusterForbidden) else "error", text)

    async def _show(self, state: State, text: str) -> None:
        try:
            await self._writer.set_state(self._watch, state, text)
        except Unavailable as unavailable:
            log.debug("state not stored", type=str(self._watch), error=str(unavailable))

    def _tell_recovery(self) -> None:
        if self._told is not None:
            self._told = None
            log.info("watching again", type=str(self._watch))


def _is_lower(resource_version: str, than: str) -> bool:
    left, right = number(resource_version), number(than)
    return left is not None and right is not None and left < right


def _is_known(event: Event, since: str) -> bool:
    """Whether the rows tell of it already. Told again of an object that was deleted since, it would make a ghost."""
    version, reached = event.object.resource_version, number(since)
    return version is not None and reached is not None and version <= reached


def _version(event: WatchEvent) -> str:
    try:
        return resource_version_of(event.object)
    except ClusterError:  # it was left out
        return ""


def _size(event: WatchEvent) -> int:
    return len(memoryview(event.object))
