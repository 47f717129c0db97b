"""A long way to PostgreSQL: a proxy that passes everything on, a while later."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, urlsplit

from presenter.cache.pool import Address


@asynccontextmanager
async def distant(address: Address, round_trip: float) -> AsyncIterator[Address]:
    """The same database at a distance: that takes so many seconds to and fro."""
    url = urlsplit(address.dsn)
    directory = parse_qs(url.query).get("host")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if directory:
            upstream = await asyncio.open_unix_connection(f"{directory[0]}/.s.PGSQL.5432")
        else:
            upstream = await asyncio.open_connection(url.hostname, url.port)
        pumps = [
            asyncio.create_task(_pump(reader, upstream[1], round_trip / 2)),
            asyncio.create_task(_pump(upstream[0], writer, round_trip / 2)),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        for end in (writer, upstream[1]):
            end.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield dataclasses.replace(address, dsn=f"postgresql://127.0.0.1:{port}{url.path}?sslmode=disable")


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, delay: float) -> None:
    loop = asyncio.get_running_loop()
    with suppress(ConnectionError):
        while data := await source.read(2**16):
            loop.call_later(delay, _write, sink, data)


def _write(sink: asyncio.StreamWriter, data: bytes) -> None:
    if not sink.is_closing():
        sink.write(data)
