"""Failures on demand: what tests switch on to see a client survive it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from presenter.apimachinery import errors
from presenter.apimachinery.status import StatusDetails, failure
from presenter.sandbox.cluster import Cluster
from presenter.sandbox.store import Cut

_A = TypeVar("_A")


@dataclass(frozen=True)
class Refuse:
    """Answer with an error instead; without a body it is a Status."""

    status: int
    body: str | None
    content_type: str
    retry_after: int | None


@dataclass(frozen=True)
class Gate:
    """Keep requests waiting until `release()`; `reached` is set once the first one waits."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    _open: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        """Let all go on, those that come later too."""
        self._open.set()

    async def passed(self) -> None:
        """Wait at the gate."""
        self.reached.set()
        await self._open.wait()


@dataclass(frozen=True)
class BreakOff:
    """Break a watch off as soon as it is open, before any event; `first` and an `error` are sent before, if any."""

    how: Cut
    error: errors.StatusError | None = None
    first: bytes = b""


@dataclass(frozen=True)
class Fragment:
    """Send a watch in pieces of so many bytes, cut without regard to lines and characters."""

    size: int


@dataclass(frozen=True)
class Lag:
    """Answer lists as of a past version."""

    version: int


@dataclass(frozen=True)
class NoStreamingLists:
    """Do not send initial events as a list: 422, or as if that had not been asked for."""

    refused: bool


class ExpirePage:
    """Answer a page with 410 and the token of an inconsistent continuation."""


class Stall:
    """Open the watch and never send a byte of it."""


class Swallow:
    """Send no events and no bookmarks: what happens meanwhile is lost on the watch."""


class NoBookmarks:
    """Send no bookmarks."""


class StaleDiscovery:
    """Mark a group's versions as `freshness: Stale` in aggregated discovery."""


_REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


def refusal(code: int, retry_after: int | None = None) -> errors.StatusError:
    """Any error on demand."""
    reason = _REASONS.get(code, "Unknown")
    details = StatusDetails(retry_after_seconds=retry_after) if retry_after else None
    return errors.StatusError(failure(code, reason, f"the sandbox was told to answer {code} {reason}", details))


@dataclass
class Fault:
    """An action, one of the classes above, and what it befalls.

    None matches every verb and resource. `times` counts down, None never runs out. `page`: of lists, from which on.
    """

    action: object
    verb: str | None
    resource: str | None
    times: int | None
    page: int = 1


class Faults:
    """The faults that are switched on.

    Every method takes `resource`, a type as in `panels.widgets.templates.krateo.io` (None: all types and all other
    paths), and those that act on requests take `times`, how many of the next requests they befall (None: all until
    `clear()`). Of several faults of one kind the one switched on first acts.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._active: list[Fault] = []

    def refuse(
        self,
        status: int,
        *,
        verb: str | None = None,
        resource: str | None = None,
        times: int | None = None,
        page: int = 1,
        body: str | None = None,
        content_type: str = "text/html",
        retry_after: int | None = None,
    ) -> Fault:
        """Answer requests with an error, lists from `page` on; `body`, of `content_type`, in place of a Status."""
        return self._add(Refuse(status, body, content_type, retry_after), verb, resource, times, page)

    def expire(self, *, resource: str | None = None, times: int | None = 1, in_stream: bool = True) -> Fault:
        """410 on the next watch: as an ERROR event under HTTP 200, or as HTTP 410."""
        if not in_stream:
            return self._add(Refuse(410, None, "", None), "watch", resource, times)
        error = errors.expired("too old resource version: 1 (2)")
        return self._add(BreakOff(Cut.END, error), "watch", resource, times)

    def expire_page(self, *, page: int = 2, resource: str | None = None, times: int | None = 1) -> Fault:
        """410 on a page of a list from `page` on, with the token of an inconsistent continuation."""
        return self._add(ExpirePage(), "list", resource, times, page)

    def hold(self, *, verb: str = "list", resource: str | None = None, times: int | None = None, page: int = 1) -> Gate:
        """Keep requests waiting until the gate is released."""
        gate = Gate()
        self._add(gate, verb, resource, times, page)
        return gate

    def stall(self, *, verb: str = "watch", resource: str | None = None, times: int | None = None) -> Fault:
        """Never answer; a watch opens but stays empty."""
        return self._add(Stall() if verb == "watch" else Gate(), verb, resource, times)

    def cut(self, how: str = "end", *, resource: str | None = None) -> int:
        """Break off the watches that run now; returns how many. `how` is a Cut: `abort` resets the connection."""
        types = [d for d in self._cluster.registry if resource in (None, d.name)]
        return sum(self._cluster.store(definition).tell(Cut(how)) for definition in types)

    def repeat(self, events: int = 1, *, resource: str | None = None, gone: bool = False) -> None:
        """Send the last events, of each type, once more on the watches that run now.

        `gone`: only those that tell of objects which have been deleted since, as if they were there.
        """
        for definition in self._cluster.registry:
            if resource in (None, definition.name):
                self._cluster.store(definition).repeat(events, gone=gone)

    def break_off(
        self, how: str = "end", *, resource: str | None = None, times: int | None = 1, first: bytes = b""
    ) -> Fault:
        """Break watches off as soon as they are open, after a line that comes `first`."""
        return self._add(BreakOff(Cut(how), first=first), "watch", resource, times)

    def stream_error(
        self,
        code: int = 500,
        reason: str = "InternalError",
        message: str = "an error on the server has prevented the request from succeeding",
        *,
        resource: str | None = None,
        times: int | None = 1,
    ) -> Fault:
        """An ERROR event as the first and last of a watch."""
        error = errors.StatusError(failure(code, reason, message))
        return self._add(BreakOff(Cut.END, error), "watch", resource, times)

    def drop_events(self, *, resource: str | None = None) -> Fault:
        """Let events happen but not be sent, nor bookmarks, on running watches too."""
        return self._add(Swallow(), "watch", resource, None)

    def no_bookmarks(self, *, resource: str | None = None) -> Fault:
        """Send no bookmarks."""
        return self._add(NoBookmarks(), "watch", resource, None)

    def fragment(self, size: int = 1, *, resource: str | None = None) -> Fault:
        """Send watches opened from now on in pieces of `size` bytes."""
        return self._add(Fragment(size), "watch", resource, None)

    def lagging(self, version: int, *, resource: str | None = None, times: int | None = None) -> Fault:
        """Answer lists, and so probes, as a replica that has not caught up: as of a version that history reaches to.

        Later pages, single objects and watches are those of the present.
        """
        return self._add(Lag(version), "list", resource, times)

    def no_streaming_lists(
        self, how: Literal["refuse", "ignore"] = "refuse", *, resource: str | None = None, times: int | None = None
    ) -> Fault:
        """Have no streaming lists: watches with sendInitialEvents get 422, as where they are switched off (`refuse`).

        Or objects without the bookmark that ends them, as from a server that is too old (`ignore`).
        """
        return self._add(NoStreamingLists(how == "refuse"), "watch", resource, times)

    def stale_discovery(self, group: str) -> Fault:
        """Serve the discovery of an API group as stale."""
        return self._add(StaleDiscovery(), None, group, None)

    def opaque_versions(self, prefix: str = "opaque-") -> None:
        """Make resourceVersions, past ones too, non-numeric; watches from before get 410.

        `clear()` does not take this back; `opaque_versions("")` does.
        """
        self._cluster.use_version_prefix(prefix)

    def remove(self, fault: Fault) -> None:
        """Switch one fault off."""
        self._active.remove(fault)

    def clear(self) -> None:
        """Switch all off, and let go what waits at gates."""
        for fault in self._active:
            if isinstance(fault.action, Gate):
                fault.action.release()
        self._active.clear()

    def take(self, kind: type[_A], verb: str, resource: str, page: int = 1) -> _A | None:
        """The action of this kind that befalls a request, if any; it counts as having acted once."""
        for fault in self._active:
            action = fault.action
            if not isinstance(action, kind) or fault.times == 0 or page < fault.page:
                continue
            if fault.verb in (None, verb) and fault.resource in (None, resource):
                if fault.times is not None:
                    fault.times -= 1
                return action
        return None

    def applies(self, kind: type, verb: str, resource: str) -> bool:
        """Whether a fault of this kind befalls a request."""
        return self.take(kind, verb, resource) is not None

    def _add(self, action: object, verb: str | None, resource: str | None, times: int | None, page: int = 1) -> Fault:
        fault = Fault(action, verb, resource, times, page)
        self._active.append(fault)
        return fault
