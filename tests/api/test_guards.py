"""What one caller does to the others: nothing, by asking much, by being slow, or by leaving."""

from __future__ import annotations

import asyncio
import gc
import itertools
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from urllib.parse import urlsplit

import psutil
import pytest

from presenter.cache import memory
from presenter.cache.pool import Address, Pool
from presenter.cache.writer import Writer
from presenter.config import PAGE_CONNECTIONS
from presenter.errors import DatabaseBusy
from presenter.http import connection
from tests.api.service import Reply, Service, serving
from tests.api.world import PANELS, WIDGETS, first_list
from tests.eventually import eventually
from tests.objects import make_object
from tests.rules import Rules

MINUTE = timedelta(minutes=1)
LARGE = 20_000_000
"""More than all buffers between a server and a client take."""
LARGE_PAGE = f"/resources?group={WIDGETS}&name=large&raw=true"
AS_IT_IS = {"Accept-Encoding": "identity"}
"""What it has to be to be large: its text is one letter."""


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
    most = PAGE_CONNECTIONS + 2  # of whom two wait for a connection
    async with serving(filled, max_inflight=most, query_timeout=MINUTE, PAGE_CACHE_BYTES="0") as service:
        assert (await small(service)).names == ["small"]
        uid = (await small(service)).items[0]["global_uid"]
        async with locked(pool):
            taken_on = [asyncio.create_task(small(service)) for _ in range(most)]
            await eventually(partial(waiting, pool), PAGE_CONNECTIONS.__eq__)
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
    async with serving(filled, query_timeout=timedelta(milliseconds=300), PAGE_CACHE_BYTES="0") as service:
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
    async with serving(filled, query_timeout=MINUTE, PAGE_CACHE_BYTES="0") as service:
        assert (await small(service)).code == 200
        async with locked(pool):
            async with connected(service) as caller:
                await ask(service, caller)
                await eventually(partial(waiting, pool), bool)
            await eventually(partial(waiting, pool), lambda count: count == 0)
        assert (await small(service)).code == 200


async def test_a_caller_who_leaves_the_queue_makes_room(filled: Address, pool: Pool) -> None:
    async with serving(
        filled, max_inflight=PAGE_CONNECTIONS + 1, query_timeout=MINUTE, PAGE_CACHE_BYTES="0"
    ) as service:
        assert (await small(service)).code == 200
        async with locked(pool):
            taken_on = [asyncio.create_task(small(service)) for _ in range(PAGE_CONNECTIONS)]
            await eventually(partial(waiting, pool), PAGE_CONNECTIONS.__eq__)
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


async def test_callers_who_leave_in_the_middle_leave_nothing_behind(filled: Address) -> None:
    async with serving(filled) as service:
        assert (await service.get(LARGE_PAGE)).code == 200
        before = psutil.Process().memory_info().rss
        gc.disable()
        try:
            for _ in range(10):
                async with connected(service) as caller:
                    await ask(service, caller, LARGE_PAGE)
                    assert await received(caller) == b"HTTP/1.1 200"
            await eventually(partial(service.get, "/metrics"), _tells_of_ten_who_left)
            assert psutil.Process().memory_info().rss < before + 5 * LARGE
        finally:
            gc.enable()


def _tells_of_ten_who_left(metrics: Reply) -> bool:
    return b'presenter_http_errors_total{reason="ClientClosedRequest"} 10.0' in metrics.body


# -- callers who are slow ----------------------------------------------------------------------------------------------


async def test_callers_who_read_slowly_hold_no_connection_to_the_database(filled: Address, pool: Pool) -> None:
    busy = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND state <> 'idle' AND pid <> pg_backend_pid()"
    )
    async with serving(filled, MAX_INFLIGHT_BYTES="1Gi") as service, many(service, PAGE_CONNECTIONS + 2) as callers:
        for caller in callers:  # one after the other: the page has been read when its first byte comes
            await ask(service, caller, LARGE_PAGE)
            assert await received(caller) == b"HTTP/1.1 200"
        async with pool.connection() as connection:
            assert await connection.fetchval(busy) == 0
        assert (await small(service)).names == ["small"]


async def test_what_is_taken_on_is_held_until_it_is_sent(filled: Address) -> None:
    async with serving(filled, max_inflight=1) as service, connected(service) as caller:
        await ask(service, caller, LARGE_PAGE)
        assert await received(caller) == b"HTTP/1.1 200"
        (await small(service)).failure(429)
        size = 0
        while size < LARGE:
            size += len(await received(caller, 2**20))
        assert (await eventually(partial(small, service), lambda reply: reply.code == 200)).names == ["small"]


async def test_answers_that_are_not_taken_hold_no_more_than_they_may(
    filled: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_PATIENCE", 0.2)
    async with serving(filled, MAX_INFLIGHT_BYTES="30Mi", MAX_PAGE_BYTES="20Mi") as service:
        async with connected(service) as caller:
            await ask(service, caller, LARGE_PAGE)
            assert await received(caller) == b"HTTP/1.1 200"
            assert (await small(service)).names == ["small"]
            refusal = await service.get(LARGE_PAGE, **AS_IT_IS)
            assert "MAX_INFLIGHT_BYTES" in refusal.failure(429)
            assert int(refusal.headers["Retry-After"]) > 0
        again = await eventually(partial(service.get, LARGE_PAGE, **AS_IT_IS), lambda reply: reply.code == 200)
        assert again.names == ["large"]


@asynccontextmanager
async def many(service: Service, count: int) -> AsyncIterator[list[socket.socket]]:
    async with connected(service) as caller:
        if count == 1:
            yield [caller]
        else:
            async with many(service, count - 1) as others:
                yield [caller, *others]


@pytest.mark.parametrize("rate", [0, 10_000])
async def test_a_caller_who_takes_too_little_is_cut_off(
    filled: Address, monkeypatch: pytest.MonkeyPatch, rate: int
) -> None:
    monkeypatch.setattr(connection, "RATE_WINDOW", 0.5)
    async with serving(filled) as service, connected(service) as caller:
        await ask(service, caller, LARGE_PAGE)
        assert await received(caller) == b"HTTP/1.1 200"
        while await _is_held(caller.getsockname()[1]):
            if rate:
                await received(caller, rate // 100)
            await asyncio.sleep(0.01)
        metrics = await service.get("/metrics")
        assert b'presenter_http_errors_total{reason="ReadTooSlowly"} 1.0' in metrics.body


async def test_a_caller_who_reads_as_fast_as_must_be_is_not_cut_off(
    filled: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "RATE_WINDOW", 0.2)
    monkeypatch.setattr(connection, "MIN_RATE", 10_000)
    size = 0
    async with serving(filled) as service, connected(service) as caller:
        await ask(service, caller, LARGE_PAGE)
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            size += len(await received(caller, 65_536))
            await asyncio.sleep(0.01)
        while size < LARGE:
            size += len(piece := await received(caller, 2**20))
            assert piece


async def test_when_others_wait_an_answer_must_be_read_faster(filled: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "RATE_WINDOW", 0.5)
    monkeypatch.setattr(connection, "MIN_RATE", 0)
    few = serving(filled, MAX_INFLIGHT_BYTES="30Mi", MAX_PAGE_BYTES="20Mi")
    async with few as service, connected(service) as caller:
        await ask(service, caller, LARGE_PAGE)
        assert await received(caller) == b"HTTP/1.1 200"
        assert await _is_held(caller.getsockname()[1])
        assert (await service.get(LARGE_PAGE, **AS_IT_IS)).names == ["large"]
        assert not await _is_held(caller.getsockname()[1])


async def _is_held(port: int) -> bool:
    """Whether this process, in which the service runs, has a connection to a caller's port."""
    connections = psutil.Process().net_connections("tcp")
    return any(port in connection.raddr[1:] for connection in connections)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"", b""),
        (b"\r\n" * 9, b""),
        (b"GET /livez HTTP/1.1\r\nHost: ", b"HTTP/1.1 408"),
        (b"POST /resources HTTP/1.1\r\nHost: presenter\r\nTOKEN\r\nContent-Length: 9\r\n\r\n{", b"HTTP/1.1 408"),
        (b"POST /resources HTTP/1.1\r\nHost: presenter\r\nContent-Length: 9\r\n\r\n{", b"HTTP/1.1 401"),
    ],
    ids=["nothing", "empty lines", "half a head", "half a body", "half a body that nobody reads"],
)
async def test_a_request_that_does_not_come_in_time_is_not_waited_for(
    service: Service, monkeypatch: pytest.MonkeyPatch, said: bytes, answer: bytes
) -> None:
    monkeypatch.setattr(connection, "REQUEST_TIMEOUT", 0.3)
    token = f"Authorization: {service.authorization['Authorization']}".encode()
    async with connected(service) as caller:
        await asyncio.get_running_loop().sock_sendall(caller, said.replace(b"TOKEN", token))
        got = b""
        while piece := await received(caller, 4096):
            got += piece
        assert got[:12] == answer


async def test_a_connection_is_kept_between_requests(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "REQUEST_TIMEOUT", 0.3)
    async with connected(service) as watched, connected(service) as caller:
        await ask(service, caller, "/livez")
        assert await received(caller, 4096)
        assert await received(watched) == b"", "so that this much time has gone by"
        await ask(service, caller, "/livez")
        assert await received(caller, 4096)
