"""Callers who mean harm, or act as if: raw sockets on loopback, each with an end of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

BOUND = 65_536


@dataclass(frozen=True)
class Attacker:
    """Whoever knows a port, and perhaps a token."""

    port: int
    token: str = ""

    def request(self, path: str, *headers: str) -> bytes:
        """A GET, with a token if there is one."""
        own = (f"Authorization: Bearer {self.token}",) if self.token else ()
        return "\r\n".join([f"GET {path} HTTP/1.1", "Host: presenter", *own, *headers, "", ""]).encode()

    async def pour(self, first: bytes, piece: bytes, size: int) -> bytes:
        """Send something, and then pieces, up to so many bytes or until it is cut off. Returns what came back."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        answered = asyncio.create_task(reader.read())
        try:
            with suppress(ConnectionError):
                writer.write(first)
                for _ in range(size // len(piece)):
                    if answered.done():
                        break
                    writer.write(piece)
                    await writer.drain()
            with suppress(TimeoutError, ConnectionError):
                return await asyncio.wait_for(answered, 5)
            return b""
        finally:
            answered.cancel()
            writer.close()

    async def headers_without_end(self, size: int) -> bytes:
        """Small headers, and no end of them."""
        return await self.pour(b"GET /livez HTTP/1.1\r\n", b"x: y\r\n" * 2_000, size)

    async def whole(self, request: bytes) -> bytes:
        """A request as it is; the answer as far as it came within a second of the last byte."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        got = bytearray()
        try:
            with suppress(ConnectionError, TimeoutError):
                writer.write(request)
                await writer.drain()
                while piece := await asyncio.wait_for(reader.read(BOUND), 5 if not got else 0.5):
                    got += piece
        finally:
            writer.close()
        return bytes(got)

    async def read(self, path: str, rate: float, seconds: float) -> Read:
        """Ask, and read so many bytes a second, for so long."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=4096)
        until = time.monotonic() + seconds
        head, size = b"", 0
        try:
            writer.write(self.request(path))
            with suppress(ConnectionError, TimeoutError):
                while time.monotonic() < until:
                    piece = await asyncio.wait_for(reader.read(min(BOUND, int(rate))), until - time.monotonic())
                    if not piece:
                        return Read(head, size, cut_off=True)
                    head = head or piece[:12]
                    size += len(piece)
                    await asyncio.sleep(len(piece) / rate)
                return Read(head, size, cut_off=False)
            return Read(head, size, cut_off=True)
        finally:
            writer.transport.abort()


@dataclass(frozen=True)
class Read:
    """How a reader fared: the status line's beginning, bytes, and whether the connection ended before its time."""

    head: bytes
    size: int
    cut_off: bool


async def together(count: int, attack: Callable[[], Awaitable[object]]) -> list[object]:
    """So many at once. What failed is among what comes back."""
    return list(await asyncio.gather(*(attack() for _ in range(count)), return_exceptions=True))
