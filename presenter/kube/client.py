"""Requests to the API server: list pages and watch events as bytes, failures as ClusterErrors."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec

from presenter import raw_json
from presenter.config import ClusterSettings
from presenter.errors import ClusterUnavailable
from presenter.kube.cluster_errors import refusal, stream_error
from presenter.kube.library import ConfigException
from presenter.kube.login import Login
from presenter.resource import ALL_NAMESPACES, ResourceType

CONNECT_SECONDS = 10.0
_UNREACHABLE = (aiohttp.ClientError, TimeoutError, OSError, ConfigException)
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of a list; `size` is that of its body in bytes. The last page has no `continue_token`."""

    resource_version: str
    continue_token: str
    items: list[msgspec.Raw]
    size: int


class WatchEvent(msgspec.Struct):
    """One event of a watch. `object` is JSON; that of a BOOKMARK says nothing but a resourceVersion."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]
    object: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Answer:
    """The body of a GET and its ETag; the body is None where it has not changed (304)."""

    body: bytes | None
    etag: str


class _ListMeta(msgspec.Struct):
    resource_version: str = msgspec.field(default="", name="resourceVersion")
    continue_token: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct):
    kind: str
    metadata: _ListMeta
    items: list[msgspec.Raw] | None


class _NamespaceMeta(msgspec.Struct):
    uid: str


class _Namespace(msgspec.Struct):
    metadata: _NamespaceMeta


_list_of = msgspec.json.Decoder(_List).decode
_NULL = msgspec.Raw(b"null")
_event_of = msgspec.json.Decoder(WatchEvent).decode


class KubeClient:
    """A connection to one API server.

    Every request raises ClusterUnavailable when no whole answer comes, else the ClusterError that fits.
    """

    def __init__(self, login: Login, read_timeout: float) -> None:
        self._login = login
        self._read_timeout = read_timeout

    @classmethod
    async def connect(cls, settings: ClusterSettings, *, read_timeout: float = 60.0) -> KubeClient:
        """A client for the cluster the settings name. Nothing is requested yet.

        `read_timeout`: seconds without a byte after which an answer is given up; a watch may be silent for as
        long as it was asked to last. Raises ConfigError when the settings name no cluster that can be used.
        """
        return cls(await Login.open(settings.kubeconfig), read_timeout)

    async def close(self) -> None:
        """Close all connections."""
        await self._login.close()

    @property
    def host(self) -> str:
        """The API server's host; with its port where that is unusual."""
        url = urlsplit(self._login.server)
        return url.netloc.lower().rpartition("@")[2].removesuffix(f":{_DEFAULT_PORTS.get(url.scheme)}")

    @property
    def name(self) -> str:
        """The cluster's name by default: the host, and the path, by which one host tells several clusters apart.

        `_` stands for `/`, which no name may contain: it has a place of its own in URLs.
        """
        return "_".join([self.host, *filter(None, urlsplit(self._login.server).path.split("/"))])

    async def list_page(
        self,
        resource_type: ResourceType,
        namespace: str = ALL_NAMESPACES,
        *,
        limit: int,
        continue_token: str = "",
        exact: str = "",
        metadata_only: bool = False,
    ) -> ListPage:
        """One page of a consistent list, or of the list as it was at the resourceVersion `exact`.

        With `metadata_only` the items have nothing but their metadata, if the server can do that.
        Raises ResourceExpired when the continue token, or `exact`, is too old.
        """
        query = [("limit", str(limit))]
        if continue_token:
            query.append(("continue", continue_token))  # which says what version the list has
        elif exact:
            query += [("resourceVersion", exact), ("resourceVersionMatch", "Exact")]
        path = _path(resource_type, namespace)
        headers = {"Accept": _METADATA_ONLY} if metadata_only else None
        async with self._request("GET", path, query, headers=headers) as response:
            body = await self._read(response)
        try:
            page = _decode_list(body)
        except msgspec.DecodeError as error:
            raise ClusterUnavailable(f"GET {path} was answered with something that is no list: {error}") from error
        if not page.kind.endswith("List") or not page.metadata.resource_version:
            raise ClusterUnavailable(
                f"GET {path} was answered with a {page.kind} without a resourceVersion, not a list"
            )
        return ListPage(page.metadata.resource_version, page.metadata.continue_token, page.items or [], len(body))

    @asynccontextmanager
    async def watch(
        self,
        resource_type: ResourceType,
        namespace: str,
        resource_version: str,
        *,
        timeout_seconds: int,
        initial_events: bool = False,
    ) -> AsyncIterator[AsyncGenerator[WatchEvent, None]]:
        """The events after `resource_version`, until the server ends the watch after `timeout_seconds`.

        With `initial_events`, whatever `resource_version`: first the present state, an ADDED event for every object
        and a bookmark for which `ends_initial_events` is true (a streaming list). A server that knows of
        streaming lists and has none refuses with a code of 422; one that does not know of them never sends
        that bookmark.

        Entering raises when the server refuses. The events end cleanly or raise: ResourceExpired when the
        version is too old, InStreamError when the server gives up, ClusterUnavailable when the connection
        breaks.
        """
        query = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", str(timeout_seconds)),
        ]
        if initial_events:
            query += [("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan")]
        else:
            query.append(("resourceVersion", resource_version))
        path = _path(resource_type, namespace)
        async with self._request("GET", path, query, silence=timeout_seconds + self._read_timeout) as response:
            yield _events(response, f"the watch of {path}")

    async def cluster_uid(self) -> str:
        """The uid of the kube-system namespace, which identifies the cluster."""
        path = "/api/v1/namespaces/kube-system"
        async with self._request("GET", path) as response:
            body = await self._read(response)
        try:
            return msgspec.json.decode(body, type=_Namespace).metadata.uid
        except msgspec.DecodeError as error:
            raise ClusterUnavailable(f"GET {path} was answered with something that is no namespace: {error}") from error

    async def get(self, path: str, *, accept: str, etag: str = "") -> Answer:
        """The body of any path; with `etag`, only when it has changed."""
        headers = {"Accept": accept} | ({"If-None-Match": etag} if etag else {})
        async with self._request("GET", path, headers=headers) as response:
            if response.status == HTTPStatus.NOT_MODIFIED:
                return Answer(None, etag)
            return Answer(await self._read(response), response.headers.get("ETag", ""))

    async def post(self, path: str, document: object) -> bytes:
        """The body of the answer to a JSON document."""
        async with self._request("POST", path, document=document) as response:
            return await self._read(response)

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]] | None = None,
        *,
        document: object = None,
        headers: dict[str, str] | None = None,
        silence: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, sock_read=silence or self._read_timeout
        )
        async with self._login.api() as api:
            try:
                async with asyncio.timeout(CONNECT_SECONDS + self._read_timeout):
                    response: aiohttp.ClientResponse = await api.call_api(
                        path,
                        method,
                        query_params=query,
                        body=document,
                        header_params={"Accept": "application/json"} | (headers or {}),
                        auth_settings=["BearerToken"],
                        _preload_content=False,
                        _request_timeout=timeout,
                    )
            except _UNREACHABLE as error:
                if _may_be_certificate_error(error):
                    await self._login.renew(api)
                raise ClusterUnavailable(f"the API server at {self.host} cannot be reached: {_text(error)}") from error
            try:
                if response.status == HTTPStatus.UNAUTHORIZED:
                    await self._login.renew(api)
                if response.status >= HTTPStatus.BAD_REQUEST:
                    raise refusal(f"{method} {path}", response.status, response.headers, await self._read(response))
                yield response
            finally:
                response.close()  # a connection whose answer was read to its end is back in the pool already

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        try:
            return await response.read()
        except _UNREACHABLE as error:
            raise ClusterUnavailable(
                f"the answer of the API server at {self.host} broke off: {_text(error)}"
            ) from error


def _path(resource_type: ResourceType, namespace: str) -> str:
    root = (
        f"/apis/{resource_type.group}/{resource_type.version}"
        if resource_type.group
        else f"/api/{resource_type.version}"
    )
    if namespace:
        root += f"/namespaces/{quote(namespace, safe='')}"
    return f"{root}/{resource_type.resource}"


class LineSplitter:
    """Cuts chunks into lines of any length.

    Works on bytes, so a character split across two chunks is whole again in its line.
    """

    def __init__(self) -> None:
        self._pending: list[bytes] = []

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that this chunk completes, without their ends; empty lines are left out."""
        first, *rest = chunk.split(b"\n")
        self._pending.append(first)
        complete = []
        for piece in rest:
            # Joined once per line, so that a long line costs its length and not its square.
            complete.append(b"".join(self._pending))
            self._pending = [piece]
        return [line for line in complete if line]

    @property
    def unterminated(self) -> bool:
        """Whether a line has begun that has not ended."""
        return any(self._pending)


async def _events(response: aiohttp.ClientResponse, request: str) -> AsyncGenerator[WatchEvent, None]:
    splitter = LineSplitter()
    try:
        async for chunk in response.content.iter_any():
            for line in splitter.feed(chunk):
                yield _event(line, request)
    except _UNREACHABLE as error:
        raise ClusterUnavailable(f"{request} broke: {_text(error)}") from error
    if splitter.unterminated:
        raise ClusterUnavailable(f"{request} broke in the middle of an event")


def _decode_list(body: bytes) -> _List:
    try:
        return _list_of(body)
    except (RecursionError, msgspec.DecodeError):
        members = raw_json.members(body)
        items = raw_json.elements(members.get("items", _NULL))
        page = _list_of(msgspec.json.encode({**members, "items": []}))
        page.items = items
        return page


def _decode_event(line: bytes) -> WatchEvent:
    try:
        return _event_of(line)
    except (RecursionError, msgspec.DecodeError):
        members = raw_json.members(line)
        event = _event_of(msgspec.json.encode({**members, "object": None}))
        event.object = members.get("object", _NULL)
        return event


def _event(line: bytes, request: str) -> WatchEvent:
    try:
        event = _decode_event(line)
    except msgspec.DecodeError as error:
        raise ClusterUnavailable(f"{request} sent something that is no event: {error}") from error
    if event.type == "ERROR":
        raise stream_error(request, event.object)
    return event


def _may_be_certificate_error(error: BaseException) -> bool:
    """Whether a certificate may have been refused: the server's by the client, or the client's by the server.

    The client's is sent last: a server that refuses it sends an alert, or hangs up.
    """
    refused = (ssl.SSLError, aiohttp.ServerDisconnectedError)
    return isinstance(error, refused) or isinstance(error.__cause__, ssl.SSLError)


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
