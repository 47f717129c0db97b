"""Variables that are not of this program, which its documentation names: what they change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from presenter.sandbox import Cluster, Sandbox, fill
from tests.e2e.system import System
from tests.sandbox.authority import Authority


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A cluster that is reached by TLS."""
    cluster = Cluster()
    fill(cluster, 20)
    async with Sandbox(cluster=cluster, tls=Authority().tls()) as running:
        yield running


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(2**16):
        writer.write(chunk)
    writer.close()


@asynccontextmanager
async def proxy() -> AsyncIterator[tuple[str, list[str]]]:
    """A proxy for TLS: where it is, and to where it was asked to connect."""
    asked: list[str] = []

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, target, *_ = (await reader.readuntil(b"\r\n\r\n")).decode().split()
        assert method == "CONNECT"
        asked.append(target)
        host, _, port = target.partition(":")
        there_reader, there_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        try:
            await asyncio.gather(_pass_on(reader, there_writer), _pass_on(there_reader, writer), return_exceptions=True)
        finally:
            for end in (writer, there_writer):
                end.close()

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    finally:
        server.close()


async def test_the_api_server_is_reached_by_the_proxy(system: System) -> None:
    async with proxy() as (url, asked):
        service = await (await system.start("watch", HTTPS_PROXY=url)).ready()
        assert set(asked) == {system.sandbox.url.removeprefix("https://")}
        assert await service.process.stop() == 0


async def test_but_not_where_no_proxy_names_it(system: System) -> None:
    async with proxy() as (url, asked):
        service = await (await system.start("watch", HTTPS_PROXY=url, NO_PROXY="127.0.0.1")).ready()
        assert asked == []
        assert await service.process.stop() == 0
