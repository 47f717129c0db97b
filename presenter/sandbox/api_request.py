"""Requests: what they ask for, read from method, path and query, and bring; their answers; the log of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from presenter.apimachinery import golang, list_options, validation
from presenter.apimachinery.errors import StatusError

_METHODS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "GET": "get", "HEAD": "get"}


@dataclass
class ApiRequest:
    """A request to a resource, or to another path: then `resource` is empty.

    `user` is the name of who asks, once that is known; `status` is None until the answer begins.
    """

    method: str
    path: str
    verb: str
    query: dict[str, str]
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    name: str = ""
    subresource: str = ""
    user: str = ""
    status: int | None = None

    @property
    def type_name(self) -> str:
        """`panels.widgets.templates.krateo.io`, `pods`, or empty."""
        return f"{self.resource}.{self.group}" if self.group else self.resource

    @property
    def selected_name(self) -> str:
        """The name that is decided on: its own or, of a list or watch, the one that its field selector requires."""
        if self.name or self.verb not in ("list", "watch"):
            return self.name
        try:
            name = list_options.parse(self.query).field_selector.requires_exact_match("metadata.name") or ""
        except StatusError:
            return ""
        return "" if validation.path_segment(name) else name


def parse(method: str, path: str, query: Mapping[str, str]) -> ApiRequest:
    """Read a request as kube-apiserver's RequestInfo does."""
    parts = [part for part in path.split("/") if part]
    verb = _METHODS.get(method, method.lower())
    if len(parts) > 2 and parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    elif len(parts) > 3 and parts[0] == "apis":
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return ApiRequest(method, path, verb, dict(query))
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in ("status", "finalize"):
            rest = rest[2:]
    resource, name, subresource = (*rest, "", "")[:3]
    if verb == "get" and not name:
        verb = "watch" if golang.parse_bool(query.get("watch", "false")) else "list"
    elif verb == "delete" and not name:
        verb = "deletecollection"
    return ApiRequest(method, path, verb, dict(query), group, version, namespace, resource, name, subresource)


@dataclass(frozen=True)
class Answer:
    """A complete HTTP response."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] | None = None


@dataclass(frozen=True)
class Incoming:
    """The parts of an HTTP request that carry the object."""

    body: bytes
    content_type: str
    accept: str
    user_agent: str
    known_tag: str


class Requests:
    """The last requests that arrived, oldest first; `clear()` forgets them."""

    def __init__(self, kept: int = 10_000) -> None:
        self._arrived: deque[ApiRequest] = deque(maxlen=kept)
        self._arrival = asyncio.Event()

    def __iter__(self) -> Iterator[ApiRequest]:
        return iter(list(self._arrived))

    def __len__(self) -> int:
        return len(self._arrived)

    def add(self, request: ApiRequest) -> None:
        """Note a request."""
        self._arrived.append(request)
        self.changed()

    def changed(self) -> None:
        """Wake those who wait in `seen`: a request has come or was answered."""
        self._arrival.set()

    def clear(self) -> None:
        """Forget all."""
        self._arrived.clear()

    def matching(self, **wanted: object) -> list[ApiRequest]:
        """The requests whose attributes are as given, as in `matching(verb="list", resource="panels")`."""
        return [r for r in self._arrived if all(getattr(r, name) == value for name, value in wanted.items())]

    def count(self, **wanted: object) -> int:
        """How many requests have attributes as given."""
        return len(self.matching(**wanted))

    async def seen(self, times: int = 1, timeout: float = 10, **wanted: object) -> list[ApiRequest]:
        """Wait until so many such requests have come. Raises TimeoutError after `timeout` seconds."""
        async with asyncio.timeout(timeout):
            while len(found := self.matching(**wanted)) < times:
                self._arrival.clear()
                await self._arrival.wait()
        return found
