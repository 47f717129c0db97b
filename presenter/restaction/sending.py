"""One request, sent just as it is written, and its answer."""

from __future__ import annotations

import asyncio
import http.client
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import aiohttp
import msgspec
import yarl

from presenter.errors import ConfigError, PresenterError

SECONDS = 60.0
LARGEST_ANSWER = 256 << 20
_CHUNK = 1 << 16
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_URL = re.compile(r"(?P<server>[^?#]*?//[^/?#]*|)(?P<path>[^?#]*)(?P<query>(?:\?[^#]*)?)")
_ESCAPED = re.compile(r"(?:[-\w.~$&+,/:;=@!'()*\[\]]|%[0-9A-Fa-f]{2})*", re.ASCII)
_NO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2}).{0,2}")


class SendError(PresenterError):
    """No whole answer came; the message says why."""


class Unreachable(SendError):
    """The connection was refused or ended: the next one may not be."""


class _Verb(str):
    """A method that is sent as it is written: aiohttp would send it in capitals."""

    __slots__ = ()

    def upper(self) -> str:
        return self


async def _nobody() -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests go. `authorization` gives the header of those that bring none; `options` are aiohttp's."""

    url: str
    session: aiohttp.ClientSession
    authorization: Callable[[], Awaitable[str | None]] = field(default=_nobody, repr=False)  # it holds secrets
    options: Mapping[str, Any] = field(default_factory=dict)

    def at(self, path: str) -> str:
        """The URL of a path, as Go makes it: joined by one slash, the path escaped, the query as it is.

        Raises SendError.
        """
        url = f"{self.url.removesuffix('/')}/{path.removeprefix('/')}" if path else self.url.removesuffix("/")
        found = _URL.match(url)
        assert found
        return f"{found['server']}{_escaped(found['path'])}{found['query']}"


def _escaped(path: str) -> str:
    """A path in which nothing has to be escaped, as it is; else all of it escaped anew."""
    if wrong := _NO_ESCAPE.search(path):
        raise SendError(f"the path has {wrong[0]!r} in it, which is no escape")
    return path if _ESCAPED.fullmatch(path) else quote(unquote_to_bytes(path), safe="$&+,/:;=@")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, read to its end. `retry_after`: in how many seconds to ask again, None: it does not say."""

    status: int
    content_type: str
    body: bytes
    milliseconds: float
    retry_after: float | None = None

    @property
    def ok(self) -> bool:
        """Whether it is a success."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def message(self) -> str:
        """What a refusal says: the message of its Status, else how it begins, else what its status means."""
        try:
            return msgspec.json.decode(self.body, type=_Message).message
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            said = self.body[:200].decode(errors="replace").strip()
            return said or http.client.responses.get(self.status, "no more than that")


class _Message(msgspec.Struct):
    message: str


async def send(
    endpoint: Endpoint,
    method: str,
    path: str,
    headers: Mapping[str, str],
    payload: str = "",
    *,
    seconds: float = SECONDS,
    largest: int = LARGEST_ANSWER,
) -> Reply:
    """Send it, and read the answer. Raises SendError: unreachable, not trusted, too slow, too large, malformed."""
    if _CONTROL.search(path):
        raise SendError("the URL has a line break or another control character in it")
    url = endpoint.at(path)
    sent = {name: value for name, value in headers.items() if not _CONTROL.search(name + value)}
    if len(sent) < len(headers):
        raise SendError(f"a control character in the header {min(headers.keys() - sent.keys())!r}")
    started = time.monotonic()
    try:
        if "authorization" not in map(str.lower, sent) and (authorization := await endpoint.authorization()):
            sent["Authorization"] = authorization
        async with (
            asyncio.timeout(seconds),
            endpoint.session.request(
                _Verb(method),
                yarl.URL(url, encoded=True),
                headers=sent,
                data=payload.encode() or None,
                skip_auto_headers=("Accept", "Content-Type"),  # what they are, only the RESTAction knows
                **{name: value for name, value in endpoint.options.items() if value is not None},
            ) as response,
        ):
            body = await _read(response, largest)
            return Reply(
                response.status,
                response.headers.get("Content-Type", ""),
                body,
                (time.monotonic() - started) * 1000,
                _retry_after(response.headers.get("Retry-After", "")),
            )
    except TimeoutError as error:
        raise SendError(f"no answer within {seconds:g} seconds") from error
    except ConfigError as error:
        raise SendError(error.message) from error
    except aiohttp.ClientSSLError as error:
        raise SendError(_reason(error)) from error
    except aiohttp.ClientConnectionError as error:
        raise Unreachable(_reason(error)) from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise SendError(_reason(error)) from error


def _retry_after(header: str) -> float | None:
    """A number of seconds, or a date; None for anything else."""
    try:
        until = float(header) if header.isdigit() else parsedate_to_datetime(header).timestamp() - time.time()
    except ValueError:
        return None
    return max(until, 0)


def _reason(error: Exception) -> str:
    """Why there is no answer, in one line."""
    match error:
        case aiohttp.TooManyRedirects():
            return "redirected again and again"
        case aiohttp.InvalidUrlRedirectClientError() | aiohttp.NonHttpUrlRedirectClientError():
            return "redirected to what is no HTTP URL"
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return "the URL is malformed"  # it is in the error, and may have a password in it
        case aiohttp.ClientResponseError():
            return f"the answer is not HTTP: {' '.join(error.message.split())}"
        case aiohttp.ClientPayloadError():
            return "the answer ends before it is whole, or is not compressed as it says"
    return str(error) or type(error).__name__


async def _read(response: aiohttp.ClientResponse, largest: int) -> bytes:
    chunks, size = [], 0
    async for chunk in response.content.iter_chunked(_CHUNK):
        chunks.append(chunk)
        size += len(chunk)
        if size > largest:
            raise SendError(f"the answer has more than {largest} bytes")
    return b"".join(chunks)
