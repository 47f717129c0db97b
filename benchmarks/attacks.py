"""What callers who mean harm can do to the memory of `presenter serve`: its peak under each attack, alone.

It listens, and is attacked, on this machine's loopback only; every attack ends by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import random
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import psutil

from benchmarks import memory
from presenter import logs
from presenter.access.identity import sign
from presenter.cache import migration
from presenter.cache.pool import Address, Pool
from presenter.cache.writer import Writer
from presenter.commands.embedded import EmbeddedPostgres
from presenter.resource import Object, ResourceType
from tests.attackers import Attacker, Read, together
from tests.e2e.processes import AFRESH, Process
from tests.e2e.system import KEY, variables_of
from tests.objects import make_object
from tests.rules import Rules

GROUP = "widgets.templates.krateo.io"
PAGE = f"/resources?group={GROUP}&namespace=*&raw=true&limit=5000&resource="
MIB = 2**20

Attack = Callable[[Attacker], Awaitable[str]]


async def _headers(size: int, count: int, attacker: Attacker) -> str:
    return _kinds(await together(count, lambda: attacker.headers_without_end(size)))


async def _one_header(attacker: Attacker) -> str:
    return _kinds([await attacker.pour(b"GET /livez HTTP/1.1\r\nx: ", b"y" * 60_000, 45 * MIB)])


async def _request_line(attacker: Attacker) -> str:
    return _kinds([await attacker.pour(b"GET /livez?", b"y" * 60_000, 45 * MIB)])


async def _trailers(attacker: Attacker) -> str:
    head = b"POST /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    return _kinds([await attacker.pour(head, b"x: y\r\n" * 2_000, 45 * MIB)])


async def _many_headers(attacker: Attacker) -> str:
    request = attacker.request("/livez", *(f"x{number}: y" for number in range(100_000)))
    return _kinds(await together(10, lambda: attacker.whole(request)))


async def _pipelined(attacker: Attacker) -> str:
    requests = attacker.request("/livez") * 20_000
    return _kinds(await together(50, lambda: attacker.whole(requests)))


async def _idle(attacker: Attacker) -> str:
    streams = [await asyncio.open_connection("127.0.0.1", attacker.port) for _ in range(5_000)]
    for _, writer in streams:
        writer.write(attacker.request("/livez"))
    await asyncio.sleep(5)  # in which they are answered, and those too many closed
    open_still = sum(not reader.at_eof() for reader, _ in streams)
    for _, writer in streams:
        writer.transport.abort()
    return f"{open_still} of 5000 still open"


async def _slow(count: int, resource: str, attacker: Attacker) -> str:
    """One after the other, so that each finds the page of the one before read."""
    readers: list[asyncio.Task[Read]] = []
    for _ in range(count):
        readers.append(asyncio.create_task(attacker.read(PAGE + resource, 1_000, 25)))
        await asyncio.sleep(0.5)
    return _kinds(list(await asyncio.gather(*readers)))


async def _large(attacker: Attacker) -> str:
    return _kinds(await together(4, lambda: attacker.read(PAGE + "panels", 200 * MIB, 60)))


async def _all(attacker: Attacker) -> str:
    found = await asyncio.gather(_slow(30, "buttons", attacker), _large(attacker))
    return "; ".join(found)


ATTACKS: dict[str, tuple[dict[str, str], Attack]] = {
    "headers: one connection, 45 MB": ({}, lambda attacker: _headers(45 * MIB, 1, attacker)),
    "headers: ten connections, 20 MB each": ({}, lambda attacker: _headers(20 * MIB, 10, attacker)),
    "one header of 45 MB": ({}, _one_header),
    "a request line of 45 MB": ({}, _request_line),
    "trailers of 45 MB": ({}, _trailers),
    "ten whole requests of 100,000 headers": ({}, _many_headers),
    "50 connections, 20,000 requests at once on each": ({}, _pipelined),
    "5,000 connections that were used once": ({}, _idle),
    "30 readers of 5,000 objects at 1 kB/s, MAX_INFLIGHT=2": (
        {"MAX_INFLIGHT": "2"},
        lambda attacker: _slow(30, "buttons", attacker),
    ),
    "64 readers of 5,000 objects at 1 kB/s": ({}, lambda attacker: _slow(64, "buttons", attacker)),
    "one page of 150 objects of 1 MB": ({}, lambda attacker: _one(attacker)),
    "four pages of 150 objects of 1 MB": ({}, _large),
    "both, MAX_INFLIGHT=2": ({"MAX_INFLIGHT": "2"}, _all),
    "both": ({}, _all),
}


async def _one(attacker: Attacker) -> str:
    return _kinds([await attacker.read(PAGE + "panels", 200 * MIB, 60)])


def _kinds(outcomes: list[object]) -> str:
    """How many fared how."""
    return ", ".join(f"{count} × {kind}" for kind, count in collections.Counter(map(_kind, outcomes)).items())


def _kind(outcome: object) -> str:
    if isinstance(outcome, Read):
        return (outcome.head.decode() or "nothing") + (" (ended)" if outcome.cut_off else "")
    if isinstance(outcome, bytes):
        return outcome[:12].decode("latin-1") or "nothing"
    return type(outcome).__name__


@asynccontextmanager
async def _database(directory: Path) -> AsyncIterator[Address]:
    """Everybody may see 5,000 buttons of 4.7 kB, and 150 panels of 1 MB that hardly compress."""
    postgres = await EmbeddedPostgres.start(directory / "postgresql")
    try:
        await migration.migrate(postgres.address())
        pool = await Pool.open(postgres.address(), size=1, command_timeout=60)
        writer = Writer(pool, "test")
        await writer.open_cluster("uid", ["*.*.krateo.io"])
        await Rules(writer).open_to_everybody()
        for resource, count, size in (("buttons", 5_000, 4_500), ("panels", 150, 1_000_000)):
            kind = resource.capitalize()[:-1]
            [watch] = await writer.declare(ResourceType(GROUP, "v1beta1", resource, kind, True, ("v1beta1",)))
            await writer.begin_list(watch)
            for start in range(0, count, 100):
                await writer.list_page(
                    watch, [_object(kind, number, size) for number in range(start, min(count, start + 100))]
                )
            await writer.finish_list(watch, "999")
        await writer.discovered()
        await pool.close()
        yield postgres.address()
    finally:
        await postgres.stop()


def _object(kind: str, number: int, size: int) -> Object:
    name = f"{kind.lower()}-{number}"
    text = random.Random(number).randbytes(size // 2).hex()
    return make_object(name, kind=kind, raw={"metadata": {"name": name}, "spec": {"text": text}})


async def run(chosen: str) -> None:
    """Each attack on a process of its own."""
    with tempfile.TemporaryDirectory(prefix="attack-", ignore_cleanup_errors=True) as directory:
        async with _database(Path(directory)) as address:
            for name, (variables, attack) in ATTACKS.items():
                if chosen in name:
                    print(await _attacked(Path(directory), address, name, variables, attack), flush=True)


async def _attacked(home: Path, address: Address, name: str, variables: dict[str, str], attack: Attack) -> str:
    variables = {"PORT": "0", "SIGN_KEY": KEY, "RBAC_MAX_STALENESS": "1000h", **variables_of(address), **variables}
    process = await Process.start("serve", home=home, **AFRESH, **variables)
    try:
        port = int((await process.line(r'"port": (\d+).*"event": "listening"'))[1])
        token = sign(KEY.encode(), "attacker", [], timedelta(hours=1))
        attacker = Attacker(port, token)
        await attacker.whole(attacker.request(PAGE.replace("5000", "5") + "buttons", "Connection: close"))
        before = memory.peak(process.pid)
        outcome = await attack(attacker)
        peak = memory.peak(process.pid)
        alive = await attacker.whole(attacker.request("/livez", "Connection: close"))
        now = psutil.Process(process.pid).memory_info().rss / MIB
        return f"{name:56} {before:6.0f} → {peak:6.0f} MiB (after: {now:4.0f})  {alive[9:12].decode():4} {outcome}"
    finally:
        await process.kill()


def main() -> None:
    """Run the attacks."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attacks", description=__doc__)
    parser.add_argument("chosen", nargs="?", default="", help="part of the names of those to run; default: all")
    arguments = parser.parse_args()
    logs.configure(debug=False, quiet=True)
    asyncio.run(run(arguments.chosen))


if __name__ == "__main__":
    main()
