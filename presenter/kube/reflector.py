"""One watch, followed for ever: list → replace → watch → apply."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from http import HTTPStatus

import msgspec
import structlog

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
from presenter.kube.batches import batches
from presenter.kube.client import KubeClient, ListPage, WatchEvent
from presenter.kube.discovery import SHAPING_TYPES
from presenter.kube.objects import number, read_object, resource_version_of
from presenter.kube.timings import Timings
from presenter.resource import Event, Object, State, Watch

PAGE_OBJECTS = 500
PAGE_BYTES = 8 * 2**20
IN_STREAM_RETRIES = 3
"""After so many in-stream errors in a row only a list can help: some servers tell expiry by a bare 500."""

_PASSING = (ClusterUnavailable, ClusterForbidden, ClusterNotFound)
"""What the same request may overcome. After any other refusal (410, 400) its resourceVersion is of no use."""

log = structlog.get_logger(__name__)


class Reflector:
    """Keeps the rows of one watch equal to the cluster.

    `lists` bounds how many reflectors list at the same time; `rediscover` is called when there is reason to
    believe that the server's types have changed; `secret_data` keeps the values of Secrets.
    """

    def __init__(
        self,
        client: KubeClient,
        writer: Writer,
        watch: Watch,
        *,
        lists: asyncio.Semaphore,
        rediscover: Callable[[], None],
        timings: Timings,
        secret_data: bool = False,
    ) -> None:
        self._client = client
        self._writer = writer
        self._watch = watch
        self._lists = lists
        self._rediscover = rediscover
        self._timings = timings
        self._secret_data = secret_data
        self._page_objects = PAGE_OBJECTS
        self._must_list = False
        self._reached = ""
        self._in_stream_errors = 0
        self._bookmarks = False
        self._told: str | None = None

    async def run(self) -> None:
        """Follow the watch until cancelled. Whatever fails is told and tried again."""
        backoff = Backoff(self._timings.backoff)
        while True:
            try:
                await self._follow(await self._resume())
            except (ClusterError, Unavailable) as error:
                delay = self._consider(error, backoff)
                await self._tell(error, delay)
                await asyncio.sleep(delay)

    # -- where to start --------------------------------------------------------------------------------------

    async def _resume(self) -> str:
        """The resourceVersion to watch from: the checkpoint if it can be trusted, else that of a new list."""
        checkpoint = None if self._must_list else await self._writer.checkpoint(self._watch)
        if checkpoint is not None:
            self._reached = checkpoint
            probe = await self._client.list_page(self._watch.type, self._watch.namespace, limit=1)
            # A watch from a version that etcd has not reached does not fail: it drops events silently.
            if not await self._went_back(probe.resource_version):
                return checkpoint
        return await self._list()

    async def _list(self) -> str:
        """Read everything, page by page, and sweep what is gone. Returns the resourceVersion of the list."""
        async with self._lists:
            page = await self._page("")
            resource_version = page.resource_version
            await self._went_back(resource_version)
            await self._writer.begin_list(self._watch)
            while True:
                objects = [self._read(item) for item in page.items]
                await self._writer.list_page(self._watch, objects)
                if not page.continue_token:
                    break
                page = await self._page(page.continue_token)
            await self._writer.finish_list(self._watch, resource_version)
        self._must_list = False
        self._shaped()
        return resource_version

    async def _went_back(self, resource_version: str) -> bool:
        """Note how far the server is. Where it was further before, etcd was restored: a new epoch begins."""
        went_back = _is_lower(resource_version, self._reached)
        if went_back:
            log.warning("versions went back", type=str(self._watch), was=self._reached, now=resource_version)
            await self._writer.new_epoch(self._watch)
        self._reached = resource_version
        return went_back

    async def _page(self, continue_token: str) -> ListPage:
        page = await self._client.list_page(
            self._watch.type, self._watch.namespace, limit=self._page_objects, continue_token=continue_token
        )
        if page.items:
            fitting = PAGE_BYTES * len(page.items) // page.size
            self._page_objects = max(1, min(fitting, PAGE_OBJECTS))
        return page

    # -- following -------------------------------------------------------------------------------------------

    async def _follow(self, resource_version: str) -> None:
        """Apply what happens after `resource_version`, until the server ends the watch."""
        started = time.monotonic()
        received = False
        async with self._client.watch(
            self._watch.type,
            self._watch.namespace,
            resource_version,
            timeout_seconds=random.randint(*self._timings.watch),  # noqa: S311 - spreads load, hides nothing
        ) as events:
            await self._writer.set_state(self._watch, "live")
            self._tell_recovery()
            async with aclosing(batches(events, _size)) as arriving:
                while batch := await self._next(arriving):
                    received = True
                    await self._apply(batch)
        if not received and time.monotonic() - started < self._timings.instant:
            raise ClusterUnavailable(f"the watch of {self._watch} ended at once, without any event")

    async def _next(self, arriving: AsyncGenerator[list[WatchEvent], None]) -> list[WatchEvent] | None:
        silence = self._timings.silence if self._bookmarks else None
        try:
            async with asyncio.timeout(silence):
                return await anext(arriving, None)
        except TimeoutError as error:
            raise ClusterUnavailable(
                f"the watch of {self._watch} was silent for {silence} s, without even a bookmark"
            ) from error

    async def _apply(self, batch: list[WatchEvent]) -> None:
        changes = [event for event in batch if event.type != "BOOKMARK"]
        events = [
            Event("delete" if event.type == "DELETED" else "upsert", self._read(event.object)) for event in changes
        ]
        resource_version = resource_version_of(batch[-1].object)
        await self._writer.apply(self._watch, events, resource_version)
        self._reached = resource_version
        self._in_stream_errors = 0
        self._bookmarks = self._bookmarks or len(changes) < len(batch)
        if changes:
            self._shaped()

    def _read(self, raw: msgspec.Raw) -> Object:
        return read_object(raw, self._watch.type, secret_data=self._secret_data)

    def _shaped(self) -> None:
        if self._watch.type.name in SHAPING_TYPES:
            self._rediscover()

    # -- failing ---------------------------------------------------------------------------------------------

    def _consider(self, error: ClusterError | Unavailable, backoff: Backoff) -> float:
        """What follows from a failure; returns the seconds to wait."""
        if isinstance(error, InStreamError):
            self._in_stream_errors += 1
        lasting = isinstance(error, ClusterError) and not isinstance(error, _PASSING)
        if lasting or self._in_stream_errors > IN_STREAM_RETRIES:
            self._must_list = True
            self._in_stream_errors = 0
        if isinstance(error, ClusterNotFound):
            self._rediscover()
        if isinstance(error, ClusterForbidden) and error.code == HTTPStatus.FORBIDDEN:
            return self._timings.forbidden
        return backoff.next(error.delay if isinstance(error, ClusterError) else None)

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
        try:
            state: State = "forbidden" if isinstance(error, ClusterForbidden) else "error"
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


def _size(event: WatchEvent) -> int:
    return len(memoryview(event.object))
