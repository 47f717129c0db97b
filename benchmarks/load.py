"""A caller that costs little beside what it calls: HTTP/1.1 on raw sockets, in a process of its own."""

from __future__ import annotations

import asyncio
import multiprocessing
import re
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
_CURSOR = re.compile(rb'"cursor":"([\w-]+)"\}$')
_CHUNKED = b"\r\ntransfer-encoding: chunked\r\n"
_END, _LAST_CHUNK = b"\r\n\r\n", b"\r\n0\r\n\r\n"


_ENDLESS = sys.maxsize


@dataclass(frozen=True)
class Load:
    """What is asked: the path (with parameters) again and again or, if `walking`, page after page from there on.

    `encoding` is what is accepted, if anything is. With the `tag` of what the caller has, a 304 is expected.
    """

    port: int
    path: str
    token: str
    connections: int
    seconds: float
    walking: bool = False
    encoding: str = ""
    tag: str = ""


@dataclass(frozen=True)
class Answered:
    """Seconds each answer took, in the order in which they came; and the share of a core the caller used itself."""

    seconds: float
    answers: Sequence[float]
    body_bytes: int
    own_cpu: float

    @property
    def per_second(self) -> float:
        """Answers."""
        return len(self.answers) / self.seconds

    def milliseconds(self, share: float) -> float:
        """What this share of the answers took at most."""
        ordered = sorted(self.answers)
        return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)


async def call(load: Load) -> Answered:
    """Put the load on the service. Raises RuntimeError when an answer is not a 200, or a 304 to a tag."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return await asyncio.get_running_loop().run_in_executor(process, _call, load)


def _call(load: Load) -> Answered:
    return asyncio.run(_together(load))


async def _together(load: Load) -> Answered:
    connect = partial(asyncio.get_running_loop().create_connection, partial(_Caller, load), "127.0.0.1", load.port)
    callers = [caller for _, caller in [await connect() for _ in range(load.connections)]]
    started, used = time.perf_counter(), time.process_time()
    for caller in callers:
        caller.begin(started + load.seconds)
    await asyncio.gather(*(caller.done for caller in callers))
    elapsed = time.perf_counter() - started
    answers = [seconds for caller in callers for seconds in caller.answers]
    return Answered(elapsed, answers, callers[0].body_bytes, (time.process_time() - used) / elapsed)


@dataclass
class _Caller(asyncio.Protocol):
    """One connection: asks, waits for the whole answer, asks again."""

    load: Load
    answers: list[float] = field(default_factory=list)
    body_bytes: int = 0

    def __post_init__(self) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._received = bytearray()
        self._head = self._whole = 0
        self._until = 0.0
        self._request = self._get("")

    def _get(self, cursor: str) -> bytes:
        path = f"{self.load.path}&cursor={cursor}" if cursor else self.load.path
        accepted = f"Accept-Encoding: {self.load.encoding}\r\n" if self.load.encoding else ""
        known = f"If-None-Match: {self.load.tag}\r\n" if self.load.tag else ""
        head = f"Host: benchmark\r\nAuthorization: Bearer {self.load.token}\r\n{accepted}{known}"
        return f"GET {path} HTTP/1.1\r\n{head}\r\n".encode()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def begin(self, until: float) -> None:
        """Ask from now on, until then."""
        self._until = until
        self._ask()

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """asyncio's."""
        self._received += data
        if not self._whole:
            head = self._received.find(_END)
            if head < 0:
                return
            length = _LENGTH.search(self._received, 0, head + 2)
            chunked = self._received.find(_CHUNKED, 0, head + 2) > 0
            wanted = b"HTTP/1.1 304 " if self.load.tag else b"HTTP/1.1 200 "
            if not self._received.startswith(wanted) or not (length or chunked or self.load.tag):
                self._end(RuntimeError(bytes(self._received[:500]).decode(errors="replace")))
                return
            self._head = head + len(_END)
            self._whole = self._head + int(length[1]) if length else self._head if self.load.tag else _ENDLESS
        if len(self._received) >= self._whole or (self._whole == _ENDLESS and self._received.endswith(_LAST_CHUNK)):
            self.body_bytes = len(self._received) - self._head
            self._answered()

    def _answered(self) -> None:
        now = time.perf_counter()
        self.answers.append(now - self._asked)
        if self.load.walking:
            cursor = _CURSOR.search(self._received, max(0, self._whole - 5000))
            self._request = self._get(cursor[1].decode() if cursor else "")
        self._received.clear()
        self._whole = 0
        if now < self._until:
            self._ask()
        else:
            self._end()

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio's."""
        self._end(error or RuntimeError("the service hung up"))

    def _end(self, error: Exception | None = None) -> None:
        if not self.done.done():
            self.done.set_result(None) if error is None else self.done.set_exception(error)
        self._transport.close()
