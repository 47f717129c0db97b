"""Callers who mean harm, in small: a process with little memory to spare lives, and answers others.

`python -m benchmarks.attacks` does the same in full, and tells how much memory each attack takes.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from presenter.cache.pool import Address, Pool
from presenter.cache.writer import Writer
from tests.api.world import BUTTONS, PANELS, WIDGETS, first_list
from tests.attackers import Attacker, Read, together
from tests.e2e.system import KEY, Launch, token, variables_of
from tests.objects import make_object
from tests.rules import Rules

MIB = 2**20
SPARE = 48
"""MiB of data that a process may take beyond what it has at the start."""
LIMITS = {"MAX_INFLIGHT_BYTES": "12Mi", "MAX_PAGE_BYTES": "4Mi", "MAX_INFLIGHT": "4"}
PAGE = f"/resources?group={WIDGETS}&namespace=*&raw=true&limit=1000&resource="


@dataclass(frozen=True)
class Victim:
    """A process that serves, and its size when it had nothing to do."""

    attacker: Attacker
    process: psutil.Process
    size: int

    async def lives(self) -> None:
        """It still answers; not more than it has to spare was ever needed, or it would not."""
        livez, *pages = await asyncio.gather(
            self.attacker.whole(self.attacker.request("/livez", "Connection: close")),
            self.attacker.whole(self.attacker.request(f"{PAGE}buttons".replace("1000", "1"), "Connection: close")),
        )
        assert livez.startswith(b"HTTP/1.1 200")
        assert [page[:12] for page in pages] == [b"HTTP/1.1 200"]
        assert self.process.memory_info().rss < self.size + SPARE * MIB


@pytest.fixture
async def victim(database: Address, presenter: Launch) -> AsyncIterator[Victim]:
    """`presenter serve` on a database with large objects and many, which ends where it needs more than it may have."""
    async with Pool.opened(database, size=1) as pool:
        writer = Writer(pool, "test")
        await writer.open_cluster("uid", ["*.*.krateo.io"])
        await Rules(writer).open_to_everybody()
        [panels] = await writer.declare(PANELS)
        large = [
            make_object(f"large-{number}", raw={"metadata": {"name": str(number)}, "spec": {"text": "x" * MIB}})
            for number in range(60)
        ]
        await first_list(writer, panels, *large)
        [buttons] = await writer.declare(BUTTONS)
        raw = {"metadata": {"name": "many"}, "spec": {"text": "x" * 3_500}}
        await first_list(writer, buttons, *(make_object(f"b{each}", kind="Button", raw=raw) for each in range(1_000)))
        await writer.discovered()
    variables = {"PORT": "0", "SIGN_KEY": KEY, "RBAC_MAX_STALENESS": "1000h", **variables_of(database), **LIMITS}
    started = await presenter("serve", **variables)
    port = int((await started.line(r'"port": (\d+).*"event": "listening"'))[1])
    attacker = Attacker(port, token("attacker"))
    process = psutil.Process(started.pid)
    await attacker.whole(attacker.request(f"{PAGE}buttons".replace("1000", "1"), "Connection: close"))
    size = process.memory_info().rss
    most = _data(process) + SPARE * MIB
    process.rlimit(resource.RLIMIT_DATA, (most, most))
    yield Victim(attacker, process, size)
    assert started.running
    assert await started.stop() == 0
    assert "MemoryError" not in started.log()


def _data(process: psutil.Process) -> int:
    """What RLIMIT_DATA counts, in bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmData:")]
    return int(line.split()[1]) * 1024


async def test_headers_without_end(victim: Victim) -> None:
    answers = await together(8, lambda: victim.attacker.headers_without_end(5 * MIB))
    assert {answer[:12] for answer in answers if isinstance(answer, bytes)} <= {b"HTTP/1.1 431", b""}
    await victim.lives()


async def test_headers_that_are_too_many(victim: Victim) -> None:
    request = victim.attacker.request("/livez", *(f"x{number}: y" for number in range(20_000)))
    await together(8, lambda: victim.attacker.whole(request))
    await victim.lives()


async def test_connections_that_wait_with_half_a_head(victim: Victim) -> None:
    streams = [await asyncio.open_connection("127.0.0.1", victim.attacker.port) for _ in range(900)]
    for _, writer in streams:
        writer.write(b"GET /livez HTTP/1.1\r\nx: " + b"y" * 60_000)
    await victim.lives()
    for _, writer in streams:
        writer.transport.abort()


async def test_many_requests_at_once_on_one_connection(victim: Victim) -> None:
    requests = victim.attacker.request("/livez") * 5_000
    await together(8, lambda: victim.attacker.whole(requests))
    await victim.lives()


async def test_readers_who_read_next_to_nothing(victim: Victim) -> None:
    outcomes = await together(30, lambda: victim.attacker.read(f"{PAGE}buttons", 1_000, 5))
    answers = [outcome.head for outcome in outcomes if isinstance(outcome, Read)]
    assert set(answers) <= {b"HTTP/1.1 200", b"HTTP/1.1 429", b""}, "or nothing yet, on a busy machine"
    assert 1 <= answers.count(b"HTTP/1.1 200") <= 4, "MAX_INFLIGHT"
    await victim.lives()


async def test_objects_that_are_large_and_many(victim: Victim) -> None:
    outcomes = await together(4, lambda: victim.attacker.read(f"{PAGE}panels", 100 * MIB, 20))
    assert [outcome.head for outcome in outcomes if isinstance(outcome, Read)] == [b"HTTP/1.1 200"] * 4
    await victim.lives()
