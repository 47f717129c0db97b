"""One watch, followed for ever as client-go's reflector does: list, replace, watch, apply."""

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
from presenter.kube.client import KubeClient, ListPage, WatchEvent
from presenter.kube.cluster_errors import InStreamError
from presenter.kube.discovery import DEFINING_TYPES
from presenter.kube.objects import ends_initial_events, read_object, resource_version_of
from presenter.kube.read_ahead import Budget, ReadAhead
from presenter.kube.resource_version import ServerVersion, is_older, parse_resource_version
from presenter.kube.timings import Backoff, Timings
from presenter.resource import Event, Object, State, Watch

PAGE_OBJECTS = 500
PAGE_BYTES = 8 * 2**20
CONCURRENT_LISTS = 4
FRUITLESS_WATCHES = 3
"""After so many watches in a row without an event or a bookmark only a list can help.

Some servers answer an expired version with a bare 500, some end every watch at once, some never send a bookmark.
"""

_PASSING = (ClusterUnavailable, ClusterForbidden, ClusterNotFound)
"""Failures after which the same request may succeed. After any other (410, 400) its resourceVersion is of no use."""

_UNKNOWN_REQUEST = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.NOT_IMPLEMENTED)
"""How API servers refuse a streaming list when they have none; kube-apiserver by 422."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Shared:
    """What all reflectors of a cluster share.

    `rediscover` is called when the server's types may have changed; `secret_data` keeps the values of Secrets;
    `recoveries` are those of the database; `lists` bounds concurrent lists; `unstreamed` are API groups that
    have no streaming lists.
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
        self._read_ahead: ReadAhead[WatchEvent] | None = None
        self._reached = ""
        """The highest resourceVersion that the API server has shown."""
        self._behind_since: float | None = None
        self._server = ServerVersion("", 0.0)
        """What a watch that resumes has to reach to have caught up."""
        self._caught_up = False
        self._last_watch: Literal["none", "ended", "current"] = "none"
        """The last watch: it failed or there was none; it ended, perhaps without having caught up; it had caught up."""
        self._fruitless = 0
        self._bookmarks = False
        self._reported: str | None = None

    async def run(self) -> None:
        """Follow the watch until `finish`, or cancelled. Whatever fails is logged and tried again."""
        backoff = Backoff(self._timings.backoff)
        while not self._ended:
            recoveries = self._shared.recoveries.count
            try:
                await self._list_and_watch()
            except (ClusterError, Unavailable) as error:
                self._last_watch = "none"
                if self._streaming and self._is_refused(error):
                    continue
                delay = self._handle(error, backoff)
                await self._report(error, delay)
                if isinstance(error, ClusterError):
                    await asyncio.sleep(delay)
                elif await self._shared.recoveries.wait(recoveries, delay):
                    backoff.reset()
            except Exception as error:  # a bug that one type meets must not stop the others
                log.exception("reflector crashed", type=str(self._watch))
                self._last_watch = "none"
                self._must_list = self._by_pages = True
                await self._show("error", f"internal error, see the log: {error!r}")
                await asyncio.sleep(backoff.next())

    def finish(self) -> bool:
        """End once what was received is applied. False: no watch is open, so that the task may be cancelled."""
        self._ended = True
        return self._cut()

    async def relist(self) -> None:
        """Apply what was received, then list everything anew; returns when that is done."""
        self._must_list = True
        self._listed.clear()
        self._cut()
        await self._listed.wait()

    def _cut(self) -> bool:
        if self._read_ahead is not None:
            self._read_ahead.cut()
        return self._read_ahead is not None

    async def _list_and_watch(self) -> None:
        """Resume from the checkpoint, or list, and watch until the server ends the watch."""
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
        self._server = ServerVersion(probe.resource_version, asked_at)
        # A watch from a version that etcd has not reached does not fail: it drops events silently.
        caught_up = await self._check_version(probe.resource_version)
        usable = caught_up and checkpoint.exact and not self._must_list
        return checkpoint.resource_version if usable else None

    async def _check_version(self, resource_version: str) -> bool:
        """Whether the server is no older than before. False: it went back, as a restored etcd does; a new epoch began.

        Raises ClusterUnavailable for the first seconds: an API server that lags behind its peers will soon catch up.
        """
        if not is_older(resource_version, self._reached):
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
            await self._check_version(resource_version)
            await self._writer.begin_list(self._watch)
            while True:
                objects = [object for item in page.items if (object := self._read(item)) is not None]
                await self._writer.list_page(self._watch, objects, unreadable=len(page.items) - len(objects))
                if not page.continue_token:
                    break
                page = await self._page(page.continue_token)
            await self._finish_list(ServerVersion(resource_version, asked_at))

    async def _page(self, continue_token: str) -> ListPage:
        page = await self._client.list_page(
            self._watch.type, self._watch.namespace, limit=self._page_objects, continue_token=continue_token
        )
        if page.items:
            fitting = PAGE_BYTES * len(page.items) // page.size
            self._page_objects = max(1, min(fitting, PAGE_OBJECTS))
        return page

    async def _receive_initial(self, stream: ReadAhead[WatchEvent], asked_at: float) -> str:
        """Store a streaming list: the events before the bookmark that ends it. Returns its resourceVersion."""
        await self._writer.begin_list(self._watch)
        while batch := await self._next_initial(stream):
            events, unreadable = self._changes(batch)
            await self._writer.list_events(self._watch, events, unreadable=unreadable)
            if ends_initial_events(batch[-1]):
                resource_version = resource_version_of(batch[-1].object)
                await self._finish_list(ServerVersion(resource_version, asked_at))
                return resource_version
        raise ClusterUnavailable(f"the list of {self._watch} ended before it was complete")

    async def _next_initial(self, stream: ReadAhead[WatchEvent]) -> list[WatchEvent] | None:
        try:
            async with asyncio.timeout(self._timings.initial):
                return await stream.batch()
        except TimeoutError as error:
            self._shared.unstreamed.add(self._watch.type.group)
            raise ClusterUnavailable(
                f"the API server does not say where the list of {self._watch} ends: it is read in pages"
            ) from error

    async def _finish_list(self, server: ServerVersion) -> None:
        await self._writer.finish_list(self._watch, server.resource_version, as_of=server.asked_at)
        self._reached = server.resource_version
        self._must_list = self._streaming = self._by_pages = False
        self._listed.set()
        self._fruitless = 0
        self._last_watch = "current"
        self._notice_definitions()

    # -- following -------------------------------------------------------------------------------------------

    async def _follow(self, since: str | None) -> None:
        """Watch from the version `since` on, until the server ends the watch. None: begin with a streaming list."""
        progressed = False
        self._streaming = since is None
        self._caught_up = since is None or self._server.is_reached(since)
        async with AsyncExitStack() as listing:
            if since is None:
                await listing.enter_async_context(self._shared.lists)
            started = time.monotonic()
            async with self._receive(since) as stream:
                if since is None:
                    since = await self._receive_initial(stream, started)
                    await listing.aclose()
                else:
                    await self._show_resumed()
                self._report_recovery()
                while batch := await self._next_batch(stream):
                    reached = await self._apply(batch, since)
                    progressed, since = progressed or reached != since, reached
        if self._ended or self._must_list:
            return
        at_once = not progressed and time.monotonic() - started < self._timings.instant
        if at_once or not self._caught_up:
            self._count_fruitless()
        if at_once:
            raise ClusterUnavailable(f"the watch of {self._watch} ended at once, without any news")

    async def _show_resumed(self) -> None:
        """Store the state of a watch that resumes from its checkpoint; after one that ended well it stays as it was."""
        if self._caught_up:
            await self._writer.apply(self._watch, [], None, as_of=self._server.asked_at)
        elif self._last_watch == "none":
            await self._writer.set_state(self._watch, "syncing")
        self._last_watch = "current" if self._caught_up else "ended"

    def _watch_seconds(self) -> int:
        """The `timeoutSeconds` of a watch.

        kube-apiserver sends a bookmark two seconds before it ends a watch, and else once a minute: so a short watch
        soon shows that nothing was missed.
        """
        if self._caught_up or self._last_watch == "current":
            return random.randint(*self._timings.watch)  # noqa: S311 - spreads load, hides nothing
        return self._timings.catching_up

    @asynccontextmanager
    async def _receive(self, since: str | None) -> AsyncIterator[ReadAhead[WatchEvent]]:
        """The stream of a watch from `since` on; None: of a streaming list."""
        async with (
            self._client.watch(
                self._watch.type,
                self._watch.namespace,
                since or "",
                timeout_seconds=self._watch_seconds(),
                initial_events=since is None,
            ) as events,
            ReadAhead(events, _size, self._shared.budget, ends=ends_initial_events) as stream,
        ):
            self._read_ahead = stream
            try:
                yield stream
            finally:
                self._read_ahead = None

    async def _next_batch(self, stream: ReadAhead[WatchEvent]) -> list[WatchEvent] | None:
        """The next events; None at the end, or after a long silence.

        Raises ClusterUnavailable after a silence where bookmarks had come before.
        """
        try:
            async with asyncio.timeout(self._timings.silence):
                return await stream.batch()
        except TimeoutError as error:
            if not self._bookmarks:
                self._last_watch = "ended"
                return None
            raise ClusterUnavailable(
                f"the watch of {self._watch} was silent for {self._timings.silence} s, without even a bookmark"
            ) from error

    async def _apply(self, batch: Sequence[WatchEvent], since: str) -> str:
        """Store a run of events; returns the resourceVersion that the rows have then."""
        events, unreadable = self._changes(batch)
        checkpoint = since
        for version in filter(None, map(_version, batch)):
            if not is_older(version, checkpoint):  # as that of an event that comes twice may be
                checkpoint = version
        news = [event for event in events if not _is_known(event, since)]
        bookmark = len(events) + unreadable < len(batch)
        as_of: float | None = time.monotonic()
        if not self._caught_up:
            as_of = self._server.asked_at if self._server.is_reached(checkpoint, bookmark=bookmark) else None
        await self._writer.apply(self._watch, news, checkpoint, unreadable=unreadable, as_of=as_of)
        if as_of is not None:
            self._caught_up, self._last_watch = True, "current"
        if self._caught_up or (checkpoint != since and parse_resource_version(checkpoint) is not None):
            self._fruitless = 0
        if not is_older(checkpoint, self._reached):
            self._reached = checkpoint
        self._bookmarks = self._bookmarks or bookmark
        if news:
            self._notice_definitions()
        return checkpoint

    def _changes(self, batch: Sequence[WatchEvent]) -> tuple[list[Event], int]:
        """The changes of objects, and the number of events whose object cannot be read."""
        changes = [event for event in batch if event.type != "BOOKMARK"]
        events = [
            Event("delete" if change.type == "DELETED" else "upsert", object)
            for change in changes
            if (object := self._read(change.object)) is not None
        ]
        return events, len(changes) - len(events)

    def _read(self, raw: msgspec.Raw) -> Object | None:
        """The object; None for what is none, which is logged and holds up no others."""
        try:
            return read_object(raw, self._watch.type, secret_data=self._shared.secret_data)
        except ClusterError as error:
            log.error("left out", type=str(self._watch), error=str(error))
            return None

    def _notice_definitions(self) -> None:
        if self._watch.type.name in DEFINING_TYPES:
            self._shared.rediscover()

    # -- failing ---------------------------------------------------------------------------------------------

    def _is_refused(self, error: ClusterError | Unavailable) -> bool:
        """Whether the API server has no streaming lists of this group: then the next attempt is made at once."""
        if not isinstance(error, ClusterError) or error.code not in _UNKNOWN_REQUEST:
            return False
        log.info("no streaming lists, listing in pages", group=self._watch.type.group, error=str(error))
        self._shared.unstreamed.add(self._watch.type.group)
        return True

    def _handle(self, error: ClusterError | Unavailable, backoff: Backoff) -> float:
        """Choose how to go on after a failure; returns the seconds to wait."""
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

    async def _report(self, error: ClusterError | Unavailable, delay: float) -> None:
        """Log a failure once, and show it as the watch's state as long as it lasts."""
        if isinstance(error, ResourceExpired):
            log.info("history expired, listing again", type=str(self._watch))
            return
        text = str(error)
        if text != self._reported:
            self._reported = text
            log.warning("watch interrupted", type=str(self._watch), error=text, retry_seconds=round(delay, 1))
        if not isinstance(error, ClusterError):
            return  # the database could not be written a moment ago: there is no use in writing that there
        await self._show("forbidden" if isinstance(error, ClusterForbidden) else "error", text)

    async def _show(self, state: State, text: str) -> None:
        try:
            await self._writer.set_state(self._watch, state, text)
        except Unavailable as unavailable:
            log.debug("state not stored", type=str(self._watch), error=str(unavailable))

    def _report_recovery(self) -> None:
        if self._reported is not None:
            self._reported = None
            log.info("watching again", type=str(self._watch))


def _is_known(event: Event, since: str) -> bool:
    """Whether the rows include it already. Applied again, it would bring an object back that was deleted since."""
    version, reached = event.object.resource_version, parse_resource_version(since)
    return version is not None and reached is not None and version <= reached


def _version(event: WatchEvent) -> str:
    try:
        return resource_version_of(event.object)
    except ClusterError:  # it was left out
        return ""


def _size(event: WatchEvent) -> int:
    return len(memoryview(event.object))
