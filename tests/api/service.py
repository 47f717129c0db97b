"""The service under test, and what its callers do: real HTTP, on a port of its own."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from multidict import CIMultiDictProxy
from pydantic import SecretStr
from yarl import URL

from presenter import app
from presenter.access.identity import sign
from presenter.cache.pool import Address
from presenter.config import (
    AccessSettings,
    AuthSettings,
    ClusterSettings,
    DatabaseSettings,
    HttpSettings,
    LogSettings,
    MetricsSettings,
    PaginationSettings,
    Settings,
)

KEY = b"a key for these tests only, of 256 bits or more"
HOUR = timedelta(hours=1)
STATUS_FIELDS = {"kind", "apiVersion", "metadata", "status", "message", "reason", "code"}

Json = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What came back."""

    code: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def items(self) -> list[Json]:
        """The items of a page that arrived."""
        assert self.code == 200, self.body
        page = self.json
        assert page["count"] == len(page["items"])
        items: list[Json] = page["items"]
        return items

    @property
    def names(self) -> list[str]:
        return [item["name"] for item in self.items]

    @property
    def cursor(self) -> str | None:
        cursor: str | None = self.json.get("cursor")
        return cursor

    def failure(self, code: int) -> str:
        """The message of a failure, which has to be a whole Status."""
        assert self.code == code, self.body
        assert self.headers["Content-Type"] == "application/json"
        status = self.json
        assert status.keys() == STATUS_FIELDS
        assert (status["kind"], status["apiVersion"], status["metadata"]) == ("Status", "v1", {})
        assert (status["status"], status["code"]) == ("Failure", code)
        assert status["reason"]
        message: str = status["message"]
        assert message
        return message


class Service:
    """A running service and a client that is somebody."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.authorization = {"Authorization": f"Bearer {sign(KEY, 'alice', ['devs'], HOUR)}"}
        self._session = session

    async def send(
        self, method: str, path: str, *, headers: Sequence[tuple[str, str]] | Mapping[str, str] = (), body: Any = None
    ) -> Reply:
        """Send exactly this: the path is not escaped, nobody is authorized."""
        url = URL(self.url + path, encoded=True)
        async with self._session.request(method, url, headers=headers, data=body, allow_redirects=False) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    def open(self, path: str, headers: Mapping[str, str]) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """An answer to be read as it comes."""
        return self._session.get(URL(self.url + path, encoded=True), headers=headers)

    async def get(self, path: str, **headers: str) -> Reply:
        """GET, with a token."""
        return await self.send("GET", path, headers=self.authorization | headers)

    async def query(self, query_string: str, **headers: str) -> Reply:
        """GET a page, with a query string that is sent as it is."""
        return await self.get(f"/resources?{query_string}", **headers)

    async def page(self, **parameters: object) -> Reply:
        """GET a page, with parameters escaped as a careful client does."""
        return await self.query(urlencode({name: as_text(value) for name, value in parameters.items()}))

    async def post(self, body: object) -> Reply:
        """POST a page's parameters; bytes are sent as they are."""
        data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())  # of a file any size will do
        headers = {**self.authorization, "Content-Type": "application/json"}
        return await self.send("POST", "/resources", headers=headers, body=data)

    async def bad(self, **parameters: object) -> str:
        """The message of a page that was refused as malformed."""
        return (await self.page(**parameters)).failure(400)

    async def detail(self, global_uid: str, query_string: str = "") -> Reply:
        return await self.get(f"/resources/{quote(global_uid, safe=':')}?{query_string}")

    async def walk(self, **parameters: object) -> list[Json]:
        """All items, by following the cursor to the end."""
        page = await self.page(**parameters)
        items = page.items
        while page.cursor is not None:
            page = await self.page(**parameters, cursor=page.cursor)
            items += page.items
        return items


def as_text(value: object) -> str:
    """A parameter's value in a query string."""
    if isinstance(value, str):
        return value
    return json.dumps(value)  # true, 5, {"a":"b"}


@asynccontextmanager
async def serving(
    address: Address,
    *,
    serve: bool = True,
    issuer: str | None = None,
    access: AccessSettings | None = None,
    cluster: ClusterSettings | None = None,
    metrics: MetricsSettings | None = None,
    pagination: PaginationSettings | None = None,
    max_inflight: int = 256,
    query_timeout: timedelta = timedelta(seconds=10),
    **http: str,
) -> AsyncIterator[Service]:
    """Serve a database while inside, and watch a cluster into it if one is given.

    `http` are more variables of that group.
    """
    settings = Settings(
        HttpSettings.model_validate({"PORT": 0, "MAX_INFLIGHT": max_inflight, **http}),
        pagination or PaginationSettings(),
        LogSettings(),
        metrics or MetricsSettings(ANONYMOUS_METRICS=True),
        DatabaseSettings(QUERY_TIMEOUT=query_timeout),
        cluster or ClusterSettings(),
        AuthSettings(SIGN_KEY=SecretStr(KEY.decode()), JWT_ISSUER=issuer),
        access or AccessSettings(),
    )
    listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(
        app.run(
            settings,
            nullcontext(address),
            watch=cluster is not None,
            serve=serve,
            on_listening=listening.set_result,
        )
    )
    either: list[asyncio.Future[Any]] = [listening, running]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()  # it could not start, and says why
    try:
        # Cookies would be state between tests.
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            yield Service(session, await listening)
    finally:
        running.cancel()
        await asyncio.wait([running])
