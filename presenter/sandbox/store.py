"""The objects of one resource type, what happened to them, and who watches."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

import msgspec

from presenter.apimachinery import errors
from presenter.sandbox.objects import Entry

EventType = Literal["ADDED", "MODIFIED", "DELETED"]


class Event(msgspec.Struct, frozen=True, gc=False):
    """One change. `entry` is the state after it, for DELETED the last one; `previous` the state before.

    `lines` keeps what was encoded for one watcher for all others that want the same.
    """

    type: EventType
    version: int
    entry: Entry
    previous: Entry | None
    lines: dict[tuple[str, EventType], bytes] = msgspec.field(default_factory=dict)


class Bookmark(msgspec.Struct, frozen=True):
    """An order to tell a watcher how far it has come."""

    version: int


class Repeat(msgspec.Struct, frozen=True):
    """An order to tell a watcher of an event that it has been told of before."""

    event: Event


class Cut(StrEnum):
    """An order to break a watch off, and how."""

    END = "end"
    MID_LINE = "mid-line"
    ABORT = "abort"
    ERROR = "error"


class Watcher:
    """What one watch has yet to be told, in order."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Event | Repeat | Bookmark | Cut] = asyncio.Queue()


class Store:
    """One resource type's objects by key, and its last `history` events: those after the version `floor`."""

    def __init__(self, history: int, floor: int) -> None:
        self.entries: dict[str, Entry] = {}
        self.watchers: set[Watcher] = set()
        self._events: deque[Event] = deque()
        self._history = history
        self.floor = floor
        self._sorted: list[Entry] | None = None

    def record(self, event: Event) -> None:
        """Let a change happen, and tell all watchers."""
        if event.type == "DELETED":
            del self.entries[event.entry.key]
        else:
            self.entries[event.entry.key] = event.entry
        self._sorted = None
        self._events.append(event)
        if len(self._events) > self._history:
            self.floor = self._events.popleft().version
        for watcher in self.watchers:
            watcher.queue.put_nowait(event)

    def load(self, entries: Iterable[Entry], version: int) -> None:
        """Hold these objects and no others, with no history: what was before `version` is forgotten."""
        self.entries = {entry.key: entry for entry in entries}
        self._sorted = None
        self.compact(version)

    def snapshot(self) -> list[Entry]:
        """All objects in the order of their keys. Not to be changed: it is shared until the next change."""
        if self._sorted is None:
            self._sorted = [self.entries[key] for key in sorted(self.entries)]
        return self._sorted

    def since(self, version: int) -> list[Event]:
        """The events after a resourceVersion. Raises StatusError 410 when they are no longer all kept."""
        if version < self.floor:
            raise errors.expired(f"too old resource version: {version} ({self.floor})")
        return [event for event in self._events if event.version > version]

    def at(self, version: int) -> list[Entry]:
        """All objects as they were at a resourceVersion, in the order of their keys. Raises StatusError 410."""
        undone = self.since(version)
        if not undone:
            return self.snapshot()
        entries = dict(self.entries)
        for event in reversed(undone):
            if event.previous is None:
                del entries[event.entry.key]
            else:
                entries[event.entry.key] = event.previous
        return [entries[key] for key in sorted(entries)]

    def compact(self, version: int) -> None:
        """Forget all events up to now, which is `version`."""
        self._events.clear()
        self.floor = version

    def repeat(self, events: int, *, gone: bool = False) -> None:
        """Tell every watcher of the last so many events once more; `gone`: of those about objects that went since."""
        for event in list(self._events)[-events:]:
            if not gone or (event.type != "DELETED" and event.entry.key not in self.entries):
                self.tell(Repeat(event))

    def tell(self, order: Repeat | Bookmark | Cut) -> int:
        """Give an order to every watcher; returns to how many."""
        for watcher in self.watchers:
            watcher.queue.put_nowait(order)
        return len(self.watchers)
