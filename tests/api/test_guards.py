"""What one caller does to the others: nothing, by asking much, by being slow, or by leaving."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from urllib.parse import urlsplit

import psutil
import pytest

from presenter import server
from presenter.cache.pool import Address, Pool
from presenter.cache.writer import Writer
from presenter.errors import DatabaseBusy
from presenter.serving import CONNECTIONS
from tests.api.service import Reply, Service, serving
from tests.api.world import PANELS, WIDGETS, first_list
from tests.eventually import eventually
from tests.objects import make_object
from tests.rules import Rules

MINUTE = timedelta(minutes=1)
LARGE = 20_000_000
"""More than all buffers between a server and a client take."""


@pytest.fixture
async def filled(database: Address, writer: Writer) -> Address:
    """A small database in which everybody may see a panel that is large and one that is not."""
    await writer.open_cluster("uid", ["*.*.krateo.io"])
    await Rules(writer).open_to_everybody()
    [panels] = await writer.declare(PANELS)
    large = {"metadata": {"name": "large"}, "spec": {"text": "x" * LARGE}}
    await first_list(writer, panels, make_object("small"), make_object("large", raw=large))
    await writer.discovered()
    return database


@asynccontextmanager
async def locked(pool: Pool) -> AsyncIterator[None]:
    """While inside, nobody can read an object."""
    async with pool.connection() as connection, connection.transaction():
        await connection.execute("LOCK TABLE resources IN ACCESS EXCLUSIVE MODE")
        yield


async def waiting(pool: Pool) -> int:
    """How many queries wait for the lock."""
    async with pool.connection() as connection:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
    return count


async def small(service: Service) -> Reply:
    return await service.page(group=WIDGETS, name="small")


@asynccontextmanager
async def connected(service: Service) -> AsyncIterator[socket.socket]:
    """A connection with small buffers."""
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller.setblocking(False)
        url = urlsplit(service.url)
        await asyncio.get_running_loop().sock_connect(caller, (url.hostname, url.port))
        yield caller


async def ask(service: Service, caller: socket.socket, path: str = f"/resources?group={WIDGETS}&name=small") -> None:
    """Send a request, and do not wait for its answer."""
    headers = f"Host: presenter\r\nAuthorization: {service.authorization['Authorization']}\r\n"
    await asyncio.get_running_loop().sock_sendall(caller, f"GET {path} HTTP/1.1\r\n{headers}\r\n".encode())


async def received(caller: socket.socket, size: int = 12) -> bytes:
    """What comes next; nothing at the end of the connection."""
    async with asyncio.timeout(20):
        try:
            return await asyncio.get_running_loop().sock_recv(caller, size)
        except ConnectionResetError:
            return b""


# -- too much at once --------------------------------------------------------------------------------------------------


async def test_more_than_is_taken_on_is_told_to_come_again(filled: Address, pool: Pool) -> None:
    most = CONNECTIONS + 2  # of whom two wait for a connection
    async with serving(filled, max_inflight=most, query_timeout=MINUTE) as service:
        assert (await small(service)).names == ["small"]
        uid = (await small(service)).items[0]["global_uid"]
        async with locked(pool):
            taken_on = [asyncio.create_task(small(service)) for _ in range(most)]
            await eventually(partial(waiting, pool), CONNECTIONS.__eq__)
            post = {"group": WIDGETS, "name": "small"}
            for reply in await asyncio.gather(small(service), service.post(post), service.detail(uid)):
                assert "MAX_INFLIGHT" in reply.failure(429)
                assert reply.json["reason"] == "TooManyRequests"
                assert int(reply.headers["Retry-After"]) > 0
            for path in ("/livez", "/readyz", "/metrics"):
                assert (await service.get(path)).code == 200, "health is told all the same"
            (await service.send("GET", f"/resources?group={WIDGETS}")).failure(401)
            assert not any(task.done() for task in taken_on)
        assert [reply.names for reply in await asyncio.gather(*taken_on)] == [["small"]] * most
        assert (await small(service)).names == ["small"]


async def test_a_query_that_takes_too_long_is_given_up(filled: Address, pool: Pool) -> None:
    async with serving(filled, query_timeout=timedelta(milliseconds=300)) as service:
        assert (await small(service)).code == 200
        async with locked(pool):
            reply = await small(service)
            assert "statement timeout" in reply.failure(503)
            assert int(reply.headers["Retry-After"]) > 0
            assert await waiting(pool) == 0
        assert (await small(service)).code == 200


async def test_who_asks_first_gets_a_connection_first(database: Address) -> None:
    got: list[int] = []

    async def use(number: int) -> None:
        async with pool.connection():
            got.append(number)

    async with Pool.opened(database, size=1) as pool, asyncio.TaskGroup() as tasks:
        for number in itertools.takewhile(lambda _: len(got) < 20, itertools.count()):
            tasks.create_task(use(number))
            await asyncio.sleep(0)  # so that some come just when the connection is given back
    assert got == sorted(got)


async def test_the_wait_for_a_connection_ends(database: Address) -> None:
    async with Pool.opened(database, size=1, command_timeout=0.2) as pool:
        async with pool.connection():
            with pytest.raises(DatabaseBusy, match=r"all connections to PostgreSQL were in use for 0\.2 s"):
                async with pool.connection():
                    pass
        async with pool.connection() as connection:
            assert await connection.fetchval("SELECT 1") == 1


# -- callers who leave -------------------------------------------------------------------------------------------------


async def test_the_query_of_a_caller_who_leaves_is_cancelled(filled: Address, pool: Pool) -> None:
    async with serving(filled, query_timeout=MINUTE) as service:
        assert (await small(service)).code == 200
        async with locked(pool):
            async with connected(service) as caller:
                await ask(service, caller)
                await eventually(partial(waiting, pool), bool)
            await eventually(partial(waiting, pool), lambda count: count == 0)
        assert (await small(service)).code == 200


async def test_a_caller_who_leaves_the_queue_makes_room(filled: Address, pool: Pool) -> None:
    async with serving(filled, max_inflight=CONNECTIONS + 1, query_timeout=MINUTE) as service:
        assert (await small(service)).code == 200
        async with locked(pool):
            taken_on = [asyncio.create_task(small(service)) for _ in range(CONNECTIONS)]
            await eventually(partial(waiting, pool), CONNECTIONS.__eq__)
            async with connected(service) as caller:
                await ask(service, caller)
                await eventually(partial(small, service), lambda reply: reply.code == 429)
            await eventually(partial(service.get, "/metrics"), lambda reply: b'code="499"' in reply.body)
            two = [asyncio.create_task(small(service)) for _ in range(2)]
            [refused], [queued] = await asyncio.wait(two, return_when=asyncio.FIRST_COMPLETED)
            assert (await refused).code == 429
            assert not any(task.done() for task in (*taken_on, queued))
        taken_on.append(queued)
        assert [reply.names for reply in await asyncio.gather(*taken_on)] == [["small"]] * len(taken_on)


# -- callers who are slow ----------------------------------------------------------------------------------------------


async def test_callers_who_read_slowly_hold_nothing(filled: Address, pool: Pool) -> None:
    busy = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND state <> 'idle' AND pid <> pg_backend_pid()"
    )
    async with serving(filled, max_inflight=1) as service, _many(service, CONNECTIONS + 2) as callers:
        for caller in callers:  # one after the other: the page has been read when its first byte comes
            await ask(service, caller, f"/resources?group={WIDGETS}&name=large&raw=true")
            assert await received(caller) == b"HTTP/1.1 200"
        async with pool.connection() as connection:
            assert await connection.fetchval(busy) == 0
        assert (await small(service)).names == ["small"]


@asynccontextmanager
async def _many(service: Service, count: int) -> AsyncIterator[list[socket.socket]]:
    async with connected(service) as caller:
        if count == 1:
            yield [caller]
        else:
            async with _many(service, count - 1) as others:
                yield [caller, *others]


async def test_a_caller_who_takes_nothing_is_cut_off(filled: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STALLED", 1)
    async with serving(filled) as service, connected(service) as caller:
        await ask(service, caller, f"/resources?group={WIDGETS}&name=large&raw=true")
        assert await received(caller) == b"HTTP/1.1 200"
        await eventually(partial(_is_held, caller.getsockname()[1]), lambda held: not held)


async def _is_held(port: int) -> bool:
    """Whether this process, in which the service runs, has a connection to a caller's port."""
    connections = psutil.Process().net_connections("tcp")
    return any(port in connection.raddr[1:] for connection in connections)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET /livez HTTP/1.1\r\nHost: ",
        b"POST /resources HTTP/1.1\r\nHost: presenter\r\nContent-Length: 9\r\n\r\n{",
    ],
    ids=["nothing", "half a head", "half a body"],
)
async def test_a_request_that_does_not_come_in_time_is_not_waited_for(
    service: Service, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(server, "ARRIVAL", 0.3)
    async with connected(service) as caller:
        await asyncio.get_running_loop().sock_sendall(caller, said)
        while await received(caller, 4096):
            pass


async def test_a_connection_is_kept_between_requests(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "ARRIVAL", 0.3)
    async with connected(service) as watched, connected(service) as caller:
        await ask(service, caller, "/livez")
        assert await received(caller, 4096)
        assert await received(watched) == b"", "so that this much time has gone by"
        await ask(service, caller, "/livez")
        assert await received(caller, 4096)
