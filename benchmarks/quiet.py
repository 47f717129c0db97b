"""How long it takes in a quiet cluster from a change until an answer shows it, beside an earlier commit.

One object is changed again and again, with pauses. Each side has a sandbox cluster, a PostgreSQL and a service of its
own, and they take turns. From the moment when the API server has acknowledged the change, a caller asks for the newest
object, again and again; it counts until the end of the first answer that has the change. What of this the API server
takes is told by a watch beside the service's (`told`): nobody can know of the change before.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from benchmarks.against_base import BASE, checked_out
from benchmarks.system import running, write_json
from tests.e2e.system import token

GROUP, VERSION, RESOURCE = "widgets.templates.krateo.io", "v1beta1", "panels"
PATH = f"/apis/{GROUP}/{VERSION}"
NEWEST = "/resources?" + urlencode(
    {"group": GROUP, "resource": RESOURCE, "namespace": "*", "sort_by": "updated_at", "limit": 1, "raw": "true"}
)
PAUSE = 0.001
"""Seconds between an answer and the next question: no figure is finer than this and an answer."""
QUIET = (0.03, 0.13)
"""Seconds between changes, a random time between these, so that nothing keeps in step with them."""
PATIENCE = 10.0
WARMING = 20
"""Changes before those that count."""
_HEAD = re.compile(rb"HTTP/1.1 (\d+) .*?\r\nContent-Length: (\d+)\r\n.*?\r\n\r\n", re.IGNORECASE | re.DOTALL)
_LABEL = re.compile(rb'"benchmark": ?"n(-?\d+)"')


@dataclass
class Side:
    """One service, and seconds: for each change until it was told and until it was visible, and what answers took."""

    name: str
    cluster: str
    service: str
    told: list[float] = field(default_factory=list)
    visible: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)

    def forget(self, changes: int) -> None:
        """Those before it was warm."""
        del self.told[:changes], self.visible[:changes], self.answers[:changes]

    def figures(self) -> dict[str, float]:
        """Milliseconds."""
        return {
            "changes": len(self.visible),
            "p50": milliseconds(self.visible, 50),
            "p95": milliseconds(self.visible, 95),
            "slowest": milliseconds(self.visible, 100),
            "told_p50": milliseconds(self.told, 50),
            "told_p95": milliseconds(self.told, 95),
            "answer_p50": milliseconds(self.answers, 50),
        }

    def line(self) -> str:
        """For people."""
        return f"{self.name:24}" + "".join(f"{figure:10}" for figure in self.figures().values())


HEADER = " " * 24 + "".join(f"{name:>10}" for name in ("changes", "p50", "p95", "slowest", "told p50", "p95", "answer"))


def milliseconds(seconds: Sequence[float], percent: int) -> float:
    """The percentile; 100 is the slowest."""
    ordered = sorted(seconds)
    return round(1000 * ordered[(len(ordered) - 1) * percent // 100], 2)


async def measure(objects: int, changes: int, pause: float = PAUSE) -> list[tuple[Side, Side]]:
    """The base and this commit, in pairs: one process that does both, and one that watches beside one that serves."""
    pairs = []
    async with checked_out() as base:
        for apart in (False, True):
            async with AsyncExitStack() as stack:
                before = await stack.enter_async_context(_side(BASE, objects, {"PYTHONPATH": f"{base}"}, apart=apart))
                pair = before, await stack.enter_async_context(_side("here", objects, {}, apart=apart))
                await asyncio.to_thread(take_turns, pair, changes, pause)
            print(*(side.line() for side in pair), sep="\n", flush=True)
            pairs.append(pair)
    return pairs


@asynccontextmanager
async def _side(name: str, objects: int, variables: Mapping[str, str], *, apart: bool) -> AsyncIterator[Side]:
    command = "watch" if apart else "run"
    async with running(objects, command=command, variables=variables) as system, AsyncExitStack() as stack:
        await system.until_ready()
        url = await stack.enter_async_context(system.beside("serve")) if apart else system.service
        yield Side(f"{name}, {'watch and serve' if apart else 'run'}", system.cluster, url)


def take_turns(sides: Sequence[Side], changes: int, pause: float) -> None:
    """Make so many changes on each side, and note what became of them."""
    with ExitStack() as stack:
        callers = [stack.enter_context(closing(_Caller(side, pause))) for side in sides]
        for number in range(-WARMING, changes):
            for caller in callers:
                time.sleep(random.uniform(*QUIET))
                caller.change(number)
        for side in sides:
            side.forget(WARMING)


class _Caller:
    """Who changes an object and looks for it, on connections of its own; it blocks, which takes the least time."""

    def __init__(self, side: Side, pause: float) -> None:
        self._side = side
        self._pause = pause
        self._cluster, self._service, self._watch = map(_Connection, (side.cluster, side.service, side.cluster))
        self._login = f"Bearer {token('benchmark')}"
        panels = json.loads(self._cluster.ask(f"{PATH}/{RESOURCE}?limit=1"))
        meta = panels["items"][0]["metadata"]
        self._panel = f"{PATH}/namespaces/{meta['namespace']}/{RESOURCE}/{meta['name']}"
        self._told: dict[int, float] = {}
        since = panels["metadata"]["resourceVersion"]
        self._watch.send(f"{PATH}/{RESOURCE}?watch=true&resourceVersion={since}")
        threading.Thread(target=self._listen, daemon=True).start()

    def change(self, number: int) -> None:
        """Make the change of this number, and look until it is seen."""
        patch = json.dumps({"metadata": {"labels": {"benchmark": f"n{number}"}}})
        self._cluster.ask(self._panel, "PATCH", patch.encode(), Content_Type="application/merge-patch+json")
        acknowledged = time.monotonic()
        shows = re.compile(rb'"benchmark": ?"n%d"' % number)  # JSONB has a space there
        while True:
            asked = time.monotonic()
            found = shows.search(self._service.ask(NEWEST, Authorization=self._login))
            answered = time.monotonic()
            if found:
                break
            if answered > acknowledged + PATIENCE:
                raise TimeoutError(f"the change {number} is not seen after {PATIENCE} s")
            self._side.answers.append(answered - asked)
            time.sleep(self._pause)
        self._side.visible.append(answered - acknowledged)
        self._side.told.append(self._told.get(number, answered) - acknowledged)

    def close(self) -> None:
        """Hang up."""
        for connection in (self._cluster, self._service, self._watch):
            connection.close()

    def _listen(self) -> None:
        pending = b""
        with suppress(RuntimeError, OSError):  # it ends when it is closed
            while True:
                pending += self._watch.receive(None)
                for label in _LABEL.finditer(pending):
                    self._told.setdefault(int(label[1]), time.monotonic())
                pending = pending[-100:]


class _Connection:
    """A connection to an HTTP server, and as little between as will do: what a caller takes is in every figure."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        self._host = where.netloc
        self._socket = socket.create_connection((where.hostname, where.port), timeout=PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> bytes:
        """The body of the answer."""
        self.send(path, method, body, **headers)
        answer = b""
        while not (head := _HEAD.match(answer)) or len(answer) < head.end() + int(head[2]):
            answer += self.receive()
        if head[1] != b"200":
            raise RuntimeError(f"{method} {path} was answered with {answer.decode()}")
        return answer[head.end() :]

    def send(self, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> None:
        """Begin a request."""
        lines = "".join(f"\r\n{name.replace('_', '-')}: {value}" for name, value in headers.items())
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Length: {len(body)}{lines}\r\n\r\n"
        self._socket.sendall(head.encode() + body)

    def receive(self, timeout: float | None = PATIENCE) -> bytes:
        """The next bytes."""
        self._socket.settimeout(timeout)
        received = self._socket.recv(2**20)
        if not received:
            raise RuntimeError(f"{self._host} hung up")
        return received

    def close(self) -> None:
        """End it, and whoever waits for it."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quiet", description=__doc__)
    parser.add_argument("--objects", type=int, default=5_000, help="in the cluster; default: 5000")
    parser.add_argument("--changes", type=int, default=300, help="on each side; default: 300")
    parser.add_argument("--pause", type=float, default=PAUSE, help="seconds from answer to question; default: 0.001")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file, too")
    arguments = parser.parse_args()
    print(HEADER)
    pairs = asyncio.run(measure(arguments.objects, arguments.changes, arguments.pause))
    write_json(arguments.json, [{"name": side.name, **side.figures()} for pair in pairs for side in pair])


if __name__ == "__main__":
    main()
