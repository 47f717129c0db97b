"""A small HTTP service that answers what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

from presenter.sandbox import Tls


@dataclass(frozen=True)
class Asked:
    """A request as it came; `path` is the request line's, with its query."""

    method: str
    path: str
    headers: CIMultiDict[str]
    body: str


class Foreign:
    """Answers by path, without the query; anything else with 404. Each answer is `(status, type, body)`."""

    def __init__(self, tls: Tls | None = None) -> None:
        self.asked: list[Asked] = []
        self.answers: dict[str, tuple[int, str, bytes]] = {}
        self.silent = asyncio.Event()
        self.url = ""
        self._tls = tls
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Foreign:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        context = self._tls.context if self._tls else None
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context).start()
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.silent.set()
        assert self._runner is not None
        await self._runner.cleanup()

    def answer(self, path: str, value: Any, status: int = 200, content_type: str = "application/json") -> None:
        """Answer a path with JSON, or with bytes as they are."""
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.answers[path] = (status, content_type, body)

    @property
    def paths(self) -> list[str]:
        """What was asked for."""
        return [asked.path for asked in self.asked]

    async def _handle(self, request: web.Request) -> web.Response:
        self.asked.append(Asked(request.method, request.raw_path, request.headers.copy(), await request.text()))
        path = request.raw_path.partition("?")[0]
        if path == "/silence":
            await self.silent.wait()
        status, content_type, body = self.answers.get(path, (404, "text/plain", b"no such path"))
        response = web.Response(status=status, body=body, headers={"Content-Type": content_type})
        response.enable_compression()
        return response
