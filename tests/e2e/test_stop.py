"""A clean stop: what was received is stored, what was asked is answered, and it does not take long."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from presenter.cache.pool import Address, Pool
from tests.e2e.system import PANELS, Reply, Service, System, Variables
from tests.eventually import eventually


@pytest.fixture
async def pool(database: Address) -> AsyncIterator[Pool]:
    async with Pool.opened(database, size=4) as pool:
        yield pool


@asynccontextmanager
async def locked(pool: Pool, mode: str) -> AsyncIterator[None]:
    """While inside, nobody may change the objects (`SHARE`), or even read them (`ACCESS EXCLUSIVE`)."""
    async with pool.connection() as connection, connection.transaction():
        await connection.execute(f"LOCK TABLE resources IN {mode} MODE")
        yield


async def waiting(pool: Pool, command: str) -> int:
    """How many statements of a kind wait for somebody's lock."""
    async with pool.connection() as connection:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
            "AND query ~* $1",
            command,
        )
    return count


async def stored(pool: Pool, prefix: str) -> dict[str, int]:
    """The resourceVersions of the panels whose name begins so."""
    async with pool.connection() as connection:
        rows = await connection.fetch(
            "SELECT name, resource_version FROM resources WHERE starts_with(name, $1) AND raw ->> 'kind' = 'Panel'",
            prefix,
        )
    return {row["name"]: int(row["resource_version"]) for row in rows}


async def held(pool: Pool) -> list[bool]:
    """Whether the lease is held."""
    async with pool.connection() as connection:
        return [row[0] for row in await connection.fetch("SELECT expires_at > clock_timestamp() FROM leases")]


async def _unread(system: System) -> int:
    """Bytes that are under way between the API server and who watches it."""
    port = f":{urlsplit(system.sandbox.url).port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(
        int(queue, 16) for row in rows if row[1].endswith(port) or row[2].endswith(port) for queue in row[4].split(":")
    )


async def _everything_is_received(system: System) -> None:
    """Wait until nothing has been under way for a while: the API server sends what it has without a break."""
    quiet = 0

    async def look() -> int:
        nonlocal quiet
        quiet = 0 if await _unread(system) else quiet + 1
        return quiet

    await eventually(look, lambda quiet: quiet >= 10)


async def _is_ending(service: Service) -> bool:
    """Whether it accepts no new connection any more."""
    url = urlsplit(service.url)
    try:
        _, writer = await asyncio.open_connection(url.hostname, url.port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


async def _stop(service: Service) -> float:
    """Have it end, by SIGTERM and well; returns the seconds that took."""
    begun = time.monotonic()
    assert await service.process.stop() == 0
    return time.monotonic() - begun


async def test_what_was_received_is_stored_before_it_ends(system: System, pool: Pool) -> None:
    service = await (await system.start("watch")).ready()
    async with locked(pool, "SHARE"):
        for number in range(2000):
            system.put(f"received-{number}", number=number)
        await eventually(partial(waiting, pool, "with lease as"), bool)
        await _everything_is_received(system)
        service.process.send(signal.SIGTERM)
        await eventually(partial(_is_ending, service), bool)
        assert len(await stored(pool, "received-")) < 2000
        assert await held(pool) == [True], "it still writes"
    assert await service.process.ended() == 0
    assert await stored(pool, "received-") == {
        panel["metadata"]["name"]: int(panel["metadata"]["resourceVersion"])
        for panel in system.served(PANELS).values()
        if panel["metadata"]["name"].startswith("received-")
    }
    assert await held(pool) == [False]

    system.sandbox.requests.clear()
    await system.in_sync(await (await system.start()).ready(), PANELS)
    assert system.lists() == []


async def test_what_cannot_be_stored_in_time_is_received_again(system: System, pool: Pool) -> None:
    service = await (await system.start("watch", SHUTDOWN_GRACE="6s")).ready()
    async with locked(pool, "SHARE"):
        for number in range(20):
            system.put(f"received-{number}", number=number)
        await eventually(partial(waiting, pool, "with lease as"), bool)
        assert await _stop(service) < 6
        assert await stored(pool, "received-") == {}
        assert await held(pool) == [False]
    system.sandbox.requests.clear()
    await system.in_sync(await (await system.start()).ready(), PANELS)
    assert system.lists() == []


async def test_a_request_under_way_is_answered(system: System, pool: Pool) -> None:
    service = await (await system.start()).ready()
    async with locked(pool, "ACCESS EXCLUSIVE"):
        asking = asyncio.create_task(service.cached(PANELS))
        await eventually(partial(waiting, pool, "from resources"), bool)
        service.process.send(signal.SIGTERM)
        await eventually(partial(_is_ending, service), bool)
        assert not asking.done()
    assert await service.process.ended() == 0
    first_page = await asking
    assert not isinstance(first_page, Reply)
    assert await held(pool) == [False]


async def test_a_request_that_takes_too_long_is_cut_off(system: System, pool: Pool) -> None:
    service = await (await system.start("run", SHUTDOWN_GRACE="6s")).ready()
    async with locked(pool, "ACCESS EXCLUSIVE"):
        asking = asyncio.create_task(service.cached(PANELS))
        await eventually(partial(waiting, pool, "from resources"), bool)
        assert await _stop(service) < 6
        [outcome] = await asyncio.gather(asking, return_exceptions=True)
        assert isinstance(outcome, aiohttp.ClientError | Reply), outcome
        assert not isinstance(outcome, Reply) or outcome.status >= 500
        assert await held(pool) == [False]
        await eventually(partial(waiting, pool, "."), lambda count: count == 0)


class Network:
    """The way to the database, which may be cut in such a way that nobody notices: nothing arrives any more."""

    def __init__(self, variables: Variables) -> None:
        self._host, self._port = variables["DB_HOST"], variables["DB_PORT"]
        self._connections: list[asyncio.Task[None]] = []
        self._whole = asyncio.Event()
        self._held_back = 0
        self._whole.set()

    def cut(self) -> None:
        self._whole.clear()

    async def holds_back(self) -> int:
        """How many connections have something to say."""
        return self._held_back

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Variables]:
        """While inside, the variables lead to the database by this way."""
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        yield {"DB_HOST": host, "DB_PORT": str(port)}
        server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._host.startswith("/"):
            there = await asyncio.open_unix_connection(f"{self._host}/.s.PGSQL.{self._port}")
        else:
            there = await asyncio.open_connection(self._host, int(self._port))
        self._connections += [
            asyncio.create_task(self._pass_on(reader, there[1])),
            asyncio.create_task(self._pass_on(there[0], writer)),
        ]

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(2**16):
                self._held_back += not self._whole.is_set()
                await self._whole.wait()
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


async def test_a_database_that_does_not_answer_any_more_is_no_reason_to_stay(system: System) -> None:
    network = Network(system.variables)
    async with network.open() as way:
        service = await (await system.start(SHUTDOWN_GRACE="6s", **way)).ready()
        network.cut()
        asking = asyncio.create_task(service.cached(PANELS))
        system.put("unheard", title="of")
        await eventually(network.holds_back, lambda held: held >= 2)
        begun = time.monotonic()
        assert await service.process.stop() == 1
        assert time.monotonic() - begun < 15
        assert service.process.err[-1].startswith("presenter: SHUTDOWN_GRACE is over")
        await asyncio.gather(asking, return_exceptions=True)
