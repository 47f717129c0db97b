"""One request, sent just as it is written, and its answer."""

from __future__ import annotations

import asyncio
import http.client
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import aiohttp
import msgspec
import yarl

from presenter.errors import ConfigError, PresenterError

SECONDS = 60.0
LARGEST_ANSWER = 256 << 20
_CHUNK = 1 << 16
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class SendError(PresenterError):
    """No whole answer came; the message says why."""


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
        """The URL of a path: the two joined by one slash, and nothing else done to them."""
        return f"{self.url.removesuffix('/')}/{path.removeprefix('/')}" if path else self.url.removesuffix("/")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, read to its end."""

    status: int
    content_type: str
    body: bytes
    milliseconds: float

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
    url = endpoint.at(path)
    if _CONTROL.search(url):
        raise SendError("the URL has a line break or another control character in it")
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
                method,
                yarl.URL(url, encoded=True),
                headers=sent,
                data=payload.encode() or None,
                skip_auto_headers=("Content-Type",),  # what it is, only the RESTAction knows
                **{name: value for name, value in endpoint.options.items() if value is not None},
            ) as response,
        ):
            body = await _read(response, largest)
            return Reply(
                response.status,
                response.headers.get("Content-Type", ""),
                body,
                (time.monotonic() - started) * 1000,
            )
    except TimeoutError as error:
        raise SendError(f"no answer within {seconds:g} seconds") from error
    except ConfigError as error:
        raise SendError(error.message) from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise SendError(_reason(error)) from error


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
