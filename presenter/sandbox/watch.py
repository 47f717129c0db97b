"""A watch: from a resourceVersion to lines of JSON."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from presenter.apimachinery import errors
from presenter.apimachinery.list_options import ListOptions
from presenter.apimachinery.status import failure
from presenter.sandbox.cluster import Cluster
from presenter.sandbox.faults import BreakOff, Faults, NoBookmarks, Stall, Swallow
from presenter.sandbox.forms import Form
from presenter.sandbox.listing import selection
from presenter.sandbox.objects import Entry, bookmark_of, restamped
from presenter.sandbox.registry import Definition
from presenter.sandbox.store import Bookmark, Cut, Event, EventType, Repeat, Watcher

_LONGEST = 3600.0
_INITIAL_EVENTS_END = {"k8s.io/initial-events-end": "true"}


class Bookmarks(NamedTuple):
    """When watches get them: every `interval` seconds, and `lead` seconds before they end."""

    interval: float
    lead: float


class Watch:
    """One running watch: of what follows a version or, with initial events, of the present state and what follows it.

    The present state must then be as new as the version asked for; where it ends, a bookmark tells those who asked for
    initial events and for bookmarks. `lines` ends when the watch does; a `Cut` in it says how to break off.
    """

    def __init__(
        self,
        cluster: Cluster,
        definition: Definition,
        namespace: str,
        form: Form,
        options: ListOptions,
        bookmarks: Bookmarks,
        faults: Faults,
    ) -> None:
        """Raises StatusError."""
        asked, streamed = _version(cluster, options), options.send_initial_events
        self._cluster = cluster
        self._definition = definition
        self._namespace = namespace if definition.namespaced else ""
        self._form = form
        self._selected = selection(definition, options)
        self._initial_events = options.from_now if streamed is None else streamed
        self._version = asked if self._initial_events or asked else cluster.resource_version
        self._streamed = bool(streamed)
        self._wants_bookmarks = options.allow_watch_bookmarks
        self._bookmarks = bookmarks
        self._timeout = options.timeout_seconds or _LONGEST
        self._faults = faults
        self._store = cluster.store(definition)

    async def lines(self) -> AsyncGenerator[bytes | Cut]:
        """The lines of the watch, each one event."""
        if break_off := self._faults.take(BreakOff, "watch", self._definition.name):
            if break_off.first:
                yield break_off.first
            if break_off.error:
                yield error_line(break_off.error)
            yield break_off.how
            return
        if self._faults.take(Stall, "watch", self._definition.name):
            await asyncio.Event().wait()
        watcher = Watcher()
        self._store.watchers.add(watcher)
        try:
            version = self._cluster.resource_version
            try:
                for line in self._beginning():
                    yield line
            except errors.StatusError as expired:
                yield error_line(expired)
                return
            start = max(version, self._version)
            async for item in self._following(watcher, start):
                yield item
        finally:
            self._store.watchers.discard(watcher)

    def _beginning(self) -> Iterator[bytes]:
        """The present state as ADDED events, or the events since the version asked for."""
        if not self._initial_events:
            for event in self._store.since(self._version):
                if line := self._line(event):
                    yield line
            return
        version = self._cluster.resource_version
        if self._version > version:
            raise errors.too_large_resource_version(self._version, version)
        for entry in self._store.snapshot():
            if self._selects(entry):
                yield self._encoded("ADDED", entry)
        if self._wants_bookmarks and self._streamed:
            yield self._bookmark(version, _INITIAL_EVENTS_END)

    async def _following(self, watcher: Watcher, start: int) -> AsyncIterator[bytes | Cut]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        due = self._next_bookmark(deadline)
        while True:
            try:
                async with asyncio.timeout_at(min(due, deadline)):
                    order = await watcher.queue.get()
            except TimeoutError:
                # Behind all that has happened while this was waking up: it says that there is nothing else to tell.
                watcher.queue.put_nowait(Bookmark(self._cluster.resource_version))
                due = self._next_bookmark(deadline)
                continue
            if isinstance(order, Cut):
                yield order
                return
            line = self._line_for(order, start)
            if line and not self._faults.take(Swallow, "watch", self._definition.name):
                yield line
            if loop.time() >= deadline:
                return

    def _next_bookmark(self, deadline: float) -> float:
        """When it is due: after the interval, and once more before the end, as kube-apiserver does it."""
        now = asyncio.get_running_loop().time()
        last = deadline - self._bookmarks.lead
        due = now + self._bookmarks.interval
        return min(due, last) if last > now else due

    def _line_for(self, order: Event | Repeat | Bookmark, start: int) -> bytes | None:
        """The line for an order. A watch from the future says nothing until that is reached."""
        if isinstance(order, Repeat):
            return self._line(order.event)
        if isinstance(order, Event):
            return self._line(order) if order.version > start else None
        wanted = self._wants_bookmarks and order.version >= start
        if not wanted or self._faults.applies(NoBookmarks, "watch", self._definition.name):
            return None
        return self._bookmark(order.version)

    def _line(self, event: Event) -> bytes | None:
        """An event as this watch sees it: what leaves its selection is DELETED, what enters it ADDED."""
        now = event.type != "DELETED" and self._selects(event.entry)
        before = event.previous is not None and self._selects(event.previous)
        if not now and not before:
            return None
        kind: EventType = "DELETED" if not now else "MODIFIED" if before else "ADDED"
        line = event.lines.get((self._form.key, kind))
        if line is None:
            entry = event.entry
            if kind == "DELETED" and event.type == "MODIFIED" and event.previous is not None:
                entry = restamped(event.previous, self._cluster.format_version(event.version))
            key = self._form.key
            line = event.lines[key, kind] = self._encoded(kind, entry)
        else:
            self._form = self._form.following
        return line

    def _encoded(self, kind: EventType | Literal["BOOKMARK"], entry: Entry) -> bytes:
        line = b'{"type":"' + kind.encode() + b'","object":' + self._form.single(entry) + b"}\n"
        self._form = self._form.following
        return line

    def _selects(self, entry: Entry) -> bool:
        if self._namespace and entry.namespace != self._namespace:
            return False
        return self._selected is None or self._selected(entry)

    def _bookmark(self, version: int, annotations: Mapping[str, str] = MappingProxyType({})) -> bytes:
        return self._encoded("BOOKMARK", bookmark_of(self._cluster.format_version(version), annotations))


def _version(cluster: Cluster, options: ListOptions) -> int:
    try:
        return cluster.version_of(options)
    except errors.StatusError as problem:  # kube-apiserver does not expect it here
        message = problem.message.removeprefix("invalid resource version: ")
        raise errors.StatusError(failure(500, "", message)) from problem


def error_line(error: errors.StatusError) -> bytes:
    """An ERROR event."""
    return b'{"type":"ERROR","object":' + error.object.encode() + b"}\n"
