"""More of it: pages read from a replica, and several processes on one port."""

from __future__ import annotations

import asyncio
import json
import operator
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import psutil
import pytest

from presenter.cache import migration
from presenter.cache.pool import Address, Pool
from presenter.commands.embedded import EmbeddedPostgres
from tests.e2e.processes import Process
from tests.e2e.system import PANELS, Reply, Service, System, variables_of
from tests.eventually import eventually

QUERY: dict[str, str | int] = {"group": "widgets.templates.krateo.io", "resource": "panels", "namespace": "*"}

# -- replicas ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Replicated:
    """A primary and a standby that streams from it."""

    primary: Address
    standby: Address
    directories: tuple[Path, Path]

    @property
    def variables(self) -> dict[str, str]:
        """What has a service write to the one and read from the other."""
        return variables_of(self.primary) | {"DB_READ_HOST": variables_of(self.standby)["DB_HOST"]}

    async def replay(self, action: str) -> None:
        """Let the standby `pause` or `resume`."""
        connection = await self.standby.connect()
        await connection.execute(f"SELECT pg_wal_replay_{action}()")
        await connection.close()

    def kill_primary(self) -> None:
        """In the middle of whatever it does."""
        pid = int((self.directories[0] / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        psutil.Process(pid).wait()


@pytest.fixture
async def replicated(home: Path) -> AsyncIterator[Replicated]:
    """Two servers with the schema at head."""
    directories = home / "primary", home / "standby"
    async with _postgres(directories[0]) as primary:
        await migration.migrate(primary)
    await asyncio.to_thread(_copy, *directories)
    async with _postgres(directories[0]) as primary, _postgres(directories[1]) as standby:
        yield Replicated(primary, standby, directories)


@asynccontextmanager
async def _postgres(directory: Path) -> AsyncIterator[Address]:
    server = await EmbeddedPostgres.start(directory)
    try:
        yield server.address()
    finally:
        await server.stop()


def _copy(primary: Path, standby: Path) -> None:
    """Copy a server that does not run, to stream from it."""
    shutil.copytree(primary, standby)
    (standby / "standby.signal").touch()
    with (standby / "postgresql.auto.conf").open("a") as configuration:
        configuration.write(f"primary_conninfo = 'host={primary} user=postgres'\n")
    owner = primary.stat()
    for path in (standby, *standby.rglob("*")):
        shutil.chown(path, owner.st_uid, owner.st_gid)


async def test_pages_are_read_from_the_replica(system: System, replicated: Replicated) -> None:
    through_replica = await (await system.start(**replicated.variables, DEBUG="true")).ready()
    usual = await system.start("serve", **variables_of(replicated.primary))
    await system.in_sync(through_replica, PANELS)
    await replicated.replay("pause")
    before = await through_replica.cached(PANELS)
    changes = 0

    async def behind() -> int:
        nonlocal changes
        changes += 1
        system.put("changing", number=changes)  # or the usual one would grow old as well
        lags = [int((await service.get("/resources", **QUERY)).headers["X-Cache-Lag-Seconds"]) for service in both]
        return lags[0] - lags[1]

    both = through_replica, usual
    await eventually(behind, lambda seconds: seconds >= 3)
    assert await through_replica.cached(PANELS) == before
    await system.in_sync(usual, PANELS)
    await replicated.replay("resume")
    await system.in_sync(through_replica, PANELS)
    await eventually(behind, lambda seconds: seconds <= 1)

    assert "announcements are not heard" not in through_replica.process.log()
    assert "LISTEN" not in (replicated.directories[1] / "log").read_text()


async def test_pages_are_read_while_the_primary_is_down(system: System, replicated: Replicated) -> None:
    service = await (await system.start(**replicated.variables)).ready()
    await system.in_sync(service, PANELS)
    replicated.kill_primary()
    before = await service.cached(PANELS)
    system.put("not-stored")
    await service.process.line("PostgreSQL cannot be used")
    assert await service.cached(PANELS) == before
    assert (await service.get("/readyz")).status == 200

    joined = await system.start("serve", **replicated.variables)
    assert await joined.cached(PANELS) == before, "serving needs the replica only"


# -- workers -----------------------------------------------------------------------------------------------------------


def workers(service: Service) -> dict[int, psutil.Process]:
    return {process.pid: process for process in service.process.descendants()}


def listening(service: Service) -> int:
    """How many workers have come up so far."""
    return service.process.log().count('"event": "listening"')


async def until_listening(service: Service, count: int) -> None:
    async def look() -> int:
        return listening(service)

    await eventually(look, lambda seen: seen == count)


@pytest.fixture
async def served(system: System) -> Service:
    """Three workers on a database that is in sync."""
    watching = await (await system.start("watch")).ready()
    service = await system.start("serve --workers 3")
    await until_listening(service, 3)
    await system.in_sync(service, PANELS)
    assert watching.process.running
    return service


@asynccontextmanager
async def asked_all_the_time(service: Service, askers: int) -> AsyncIterator[list[Reply | aiohttp.ClientError]]:
    """While inside, callers ask one time after the other; what they got is noted."""
    got: list[Reply | aiohttp.ClientError] = []

    async def ask() -> None:
        while True:
            try:
                got.append(await service.get("/resources", limit=1, **QUERY))
            except aiohttp.ClientError as error:
                got.append(error)

    tasks = [asyncio.create_task(ask()) for _ in range(askers)]
    try:
        yield got
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_a_worker_that_is_killed_is_replaced(served: Service) -> None:
    first = workers(served)
    assert len(first) == 3
    async with asked_all_the_time(served, askers=4) as got:
        victim = next(iter(first.values()))
        victim.kill()
        await until_listening(served, 4)
        asked = len(got)
        await eventually(partial(asyncio.sleep, 0, got), partial(operator.ne, got[:asked]))
    now = workers(served)
    assert len(now) == 3
    assert first.keys() - now.keys() == {victim.pid}
    failures = [each for each in got if isinstance(each, aiohttp.ClientError)]
    assert len(failures) <= 4, "what was under way in the one that was killed"
    assert {each.status for each in got if isinstance(each, Reply)} == {200}


async def test_workers_that_are_killed_again_and_again_are_replaced_ever_later_and_then_not(system: System) -> None:
    service = await system.start("serve --workers 2")
    await until_listening(service, 2)
    known = set(workers(service))
    [victim, other] = workers(service).values()
    for _ in range(4):
        victim.kill()
        [victim] = await eventually(partial(_newcomers, service, known), bool)
        known.add(victim.pid)
    victim.kill()
    assert await service.process.ended() == 1
    assert re.fullmatch(
        r"presenter: worker [12] has been ended 5 times within 60 seconds, at last by SIGKILL: .*memory.*",
        service.process.err[-1],
    )
    told = [json.loads(line) for line in service.process.err if "takes its place" in line]
    assert [line["seconds"] for line in told] == [0, 1, 2, 4]
    assert not other.is_running()


async def _newcomers(service: Service, known: set[int]) -> list[psutil.Process]:
    """The workers that were not known."""
    return [worker for pid, worker in workers(service).items() if pid not in known]


async def test_while_a_worker_is_not_replaced_the_others_have_its_connections(system: System) -> None:
    service = await system.start("serve --workers 2")
    await until_listening(service, 2)
    [victim, other] = workers(service).values()
    victim.kill()
    await until_listening(service, 3)
    [again] = [worker for pid, worker in workers(service).items() if pid not in (victim.pid, other.pid)]
    again.kill()
    await service.process.line('takes its place.*"seconds": 1|"seconds": 1.*takes its place')
    for _ in range(20):  # each of which would have been its with a probability of a half
        async with (
            asyncio.timeout(0.9),
            aiohttp.ClientSession() as session,
            session.get(f"{service.url}/livez") as answer,
        ):
            assert answer.status == 200
    await until_listening(service, 4)


async def test_connections_are_spread_over_the_workers(served: Service) -> None:
    url = urlsplit(served.url)
    # Which of three has one is up to the kernel: that of so many none is one's is as good as impossible.
    connections = [await asyncio.open_connection(url.hostname, url.port) for _ in range(100)]

    async def held() -> list[int]:
        return [len(worker.net_connections("tcp")) - 1 for worker in workers(served).values()]

    counts = await eventually(held, lambda counts: sum(counts) >= len(connections))
    assert len(counts) == 3
    assert min(counts) > len(connections) // 10
    for _, writer in connections:
        writer.close()


async def test_all_workers_end_together_and_answer_before(served: Service, database: Address) -> None:
    left = list(workers(served).values())
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with Pool.opened(database, size=2) as pool:
        async with pool.connection() as connection, connection.transaction():
            await connection.execute("LOCK TABLE resources IN ACCESS EXCLUSIVE MODE")
            asking = asyncio.create_task(served.get("/resources", **QUERY))
            async with pool.connection() as other:
                await eventually(partial(other.fetchval, waiting), bool)
            served.process.send(signal.SIGTERM)
            await eventually(partial(_refused, served), bool)
        assert (await asking).status == 200
    assert await served.process.ended() == 0
    assert not any(process.is_running() for process in left)


async def _refused(service: Service) -> bool:
    url = urlsplit(service.url)
    try:
        _, writer = await asyncio.open_connection(url.hostname, url.port)
    except OSError:
        return True
    writer.close()
    return False


async def test_workers_do_not_outlive_who_started_them(served: Service) -> None:
    left = list(workers(served).values())
    await served.process.kill()
    await asyncio.to_thread(psutil.wait_procs, left, timeout=20)
    assert not any(process.is_running() for process in left)


async def test_workers_that_cannot_start_are_not_started_again(system: System) -> None:
    nowhere = system.variables | {"DB_HOST": "/nowhere", "DB_READY_TIMEOUT": "0"}
    process: Process = await system.launch("serve", "--workers", "2", **nowhere)
    assert await process.ended() == 1
    assert re.fullmatch(r"presenter: worker [12] has ended with 1", process.err[-1])
