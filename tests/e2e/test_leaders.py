"""Several processes that watch one cluster: one writes, and whatever becomes of it, another goes on where it ended."""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest

from presenter.cache.pool import Address, Pool
from tests.e2e.system import PANELS, Json, Service, System
from tests.eventually import eventually

TAKEOVER = 15.0
"""Seconds until another process leads when the leader was killed: the lease lasts 8, and is looked at every second."""
HANDOVER = 5.0
"""Seconds until another process leads when the leader has ended: one, and what a busy machine takes."""

_AUDIT = """
CREATE TABLE writes (process text, epoch bigint, UNIQUE (process, epoch));
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO writes SELECT current_setting('test.process', true), max(epoch) FROM leases ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON resources FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON watches FOR EACH ROW EXECUTE FUNCTION note();
"""


@pytest.fixture
async def pool(database: Address) -> AsyncIterator[Pool]:
    """The database, in which every process notes the epochs in which it writes."""
    async with Pool.opened(database, size=4) as pool:
        async with pool.connection() as connection:
            await connection.execute(_AUDIT)
        yield pool


@dataclass(frozen=True)
class Lease:
    """The lease as it stands; `holder` is the process id."""

    epoch: int
    holder: int
    held: bool


async def lease(pool: Pool) -> Lease:
    async with pool.connection() as connection:
        row = await connection.fetchrow("SELECT epoch, holder, expires_at > clock_timestamp() AS held FROM leases")
    return (
        Lease(0, 0, False) if row is None else Lease(row["epoch"], int(row["holder"].rpartition("/")[2]), row["held"])
    )


async def writes(pool: Pool) -> set[tuple[str, int]]:
    """Who has written, and in what epochs."""
    async with pool.connection() as connection:
        return {(row["process"], row["epoch"]) for row in await connection.fetch("SELECT process, epoch FROM writes")}


async def watcher(system: System, name: str) -> Service:
    """Start a process that watches, whose writes are noted under the name."""
    return await system.start("watch", DB_PARAMS=f"test.process={name}")


async def leads(pool: Pool, service: Service, seconds: float = 40.0) -> Lease:
    """Wait until the process leads."""
    return await eventually(
        partial(lease, pool), lambda lease: lease.held and lease.holder == service.process.pid, seconds
    )


@dataclass
class Reader:
    """A caller that asks again and again for a panel that counts up, and what it was told."""

    service: Service
    told: list[int] = field(default_factory=list)

    async def read(self) -> int:
        """One more answer: it is good, and no older than the one before."""
        reply = await self.service.get(
            "/resources",
            group="widgets.templates.krateo.io",
            resource="panels",
            namespace="demo-system",
            name="counter",
            raw="true",
        )
        assert reply.status == 200, reply.json
        [item] = reply.json["items"]
        number: int = item["raw"]["spec"]["number"]
        assert not self.told or number >= self.told[-1]
        self.told.append(number)
        return number

    async def catches_up(self, number: int) -> None:
        """Wait until it has been told of this number, or of a later one."""

        async def told() -> int:
            return self.told[-1]

        await eventually(told, lambda told: told >= number)


@asynccontextmanager
async def reading(system: System, counter: Counter) -> AsyncIterator[Reader]:
    """While inside, a `serve` is asked all the time, and nothing is ever wrong with its answers."""
    reader = Reader(await (await system.start("serve")).ready())

    async def has_counter() -> list[Json]:
        return await reader.service.items(
            group="widgets.templates.krateo.io", resource="panels", name="counter", namespace="*"
        )

    await eventually(has_counter, bool)

    async def read() -> None:
        while True:
            await reader.read()
            await asyncio.sleep(0.02)

    task = asyncio.create_task(read())
    try:
        yield reader
        await reader.catches_up(counter.number)
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.wait((task,))


@dataclass
class Counter:
    """A panel that changes all the time."""

    number: int = 0

    async def count(self, system: System) -> None:
        for self.number in itertools.count(1):
            system.put("counter", number=self.number)
            system.put(f"other-{self.number % 20}", number=self.number)
            if self.number % 3 == 0:
                system.drop(f"other-{(self.number - 1) % 20}")
            await asyncio.sleep(0.02)


@pytest.fixture
async def counter(system: System) -> AsyncIterator[Counter]:
    counter = Counter()
    system.put("counter", number=0)
    counting = asyncio.create_task(counter.count(system))
    yield counter
    counting.cancel()
    await asyncio.wait((counting,))


async def answers(service: Service) -> None:
    """A process that stands by is alive, ready and measured."""
    ready = await service.get("/readyz")
    assert (ready.status, ready.json["ready"]) == (200, True)
    async with service.session.get(f"{service.url}/metrics") as response:
        text = await response.text()
    assert response.status == 200
    assert "presenter_lease_held{" in text
    async with service.session.get(f"{service.url}/livez") as response:
        assert response.status == 200


Ending = Callable[[Service], Awaitable[object]]
ENDINGS: dict[str, tuple[Ending, float]] = {
    "killed": (lambda service: service.process.kill(), TAKEOVER),
    "stopped": (lambda service: service.process.stop(), HANDOVER),
}


@pytest.mark.parametrize(("end", "within"), ENDINGS.values(), ids=ENDINGS)
async def test_another_goes_on_where_the_leader_ended(
    system: System, pool: Pool, counter: Counter, end: Ending, within: float
) -> None:
    leader = await (await watcher(system, "first")).ready()
    assert (await leads(pool, leader)).epoch == 1
    standing_by = await watcher(system, "second")
    await standing_by.process.line("standing by")
    async with reading(system, counter) as reader:
        await answers(standing_by)
        for epoch, name in ((2, "third"), (3, "fourth")):
            system.sandbox.requests.clear()
            await end(leader)
            ended = time.monotonic()
            assert (await leads(pool, standing_by)).epoch == epoch
            assert time.monotonic() - ended < within
            await reader.catches_up(counter.number)
            assert system.lists() == [], "the checkpoint is where it goes on"
            leader, standing_by = standing_by, await watcher(system, name)
    assert await writes(pool) == {("first", 1), ("second", 2), ("third", 3)}


async def test_the_leader_that_was_stopped_ends_well(system: System, pool: Pool) -> None:
    first = await (await watcher(system, "first")).ready()
    await leads(pool, first)
    assert await first.process.stop() == 0
    assert await lease(pool) == Lease(1, first.process.pid, held=False)


async def test_a_leader_that_was_paused_writes_nothing_of_what_it_missed(
    system: System, pool: Pool, counter: Counter
) -> None:
    first = await (await watcher(system, "first")).ready()
    await leads(pool, first)
    second = await watcher(system, "second")
    async with reading(system, counter) as reader:
        first.process.send(signal.SIGSTOP)
        await leads(pool, second)
        await reader.catches_up(counter.number)

        first.process.send(signal.SIGCONT)
        await first.process.line("another process leads")
        await first.process.line("standing by")
        await answers(first)
        await reader.catches_up(counter.number)
        assert await lease(pool) == Lease(2, second.process.pid, held=True)
        assert await writes(pool) == {("first", 1), ("second", 2)}

        await second.process.kill()
        assert (await leads(pool, first)).epoch == 3
        await reader.catches_up(counter.number)
    assert await writes(pool) == {("first", 1), ("second", 2), ("first", 3)}


async def test_a_leader_that_was_paused_in_the_middle_of_a_write_is_followed_by_another(
    system: System, pool: Pool
) -> None:
    first = await (await watcher(system, "first")).ready()
    await leads(pool, first)
    second = await watcher(system, "second")
    await second.process.line("standing by")
    async with pool.connection() as connection, connection.transaction():
        await connection.execute("LOCK TABLE resources IN SHARE MODE")
        system.put("begun", title="begun")
        await eventually(partial(_waiting, pool), bool)
        first.process.send(signal.SIGSTOP)
    assert (await leads(pool, second)).epoch == 2
    serving = await system.start("serve")
    await system.in_sync(serving, PANELS)

    first.process.send(signal.SIGCONT)
    await first.process.line("another process leads")
    system.put("later", title="later")
    await system.in_sync(serving, PANELS)
    assert (await lease(pool)).holder == second.process.pid
    assert await writes(pool) == {("first", 1), ("second", 2)}
    assert await first.process.stop() == 0


async def _waiting(pool: Pool) -> int:
    """How many wait for somebody's lock."""
    async with pool.connection() as connection:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
    return count


async def test_of_several_that_start_at_once_one_leads(system: System, pool: Pool) -> None:
    names = ("first", "second", "third")
    services = await asyncio.gather(*(watcher(system, name) for name in names))
    for service in services:
        await service.ready()
    leading = await lease(pool)
    assert leading.epoch == 1
    [leader] = [name for name, service in zip(names, services, strict=True) if service.process.pid == leading.holder]
    assert await writes(pool) == {(leader, 1)}
    assert sorted(system.lists()) == sorted(set(system.lists())), "one has listed, each type once"
    for service in services:
        await answers(service)
        assert await service.process.stop() == 0
