"""The lease: one process leads at a time, and only who leads writes."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from presenter.cache.lease import Lease, LeaseTimings, fence
from presenter.cache.pool import Address, Pool
from presenter.cache.writer import Writer
from presenter.errors import LeaseLost
from presenter.resource import Event
from tests.cache.objects import PANELS, make_object
from tests.eventually import eventually
from tests.servers import Postgres

LASTING = LeaseTimings(duration=600, renewal=0.05, poll=0.05)
"""A lease that nobody loses for being slow: what is taken over meanwhile was given back."""
GIVEN_BACK = "UPDATE leases SET expires_at = clock_timestamp() - interval '3 minutes'"
NEVER_RENEWED = LeaseTimings(duration=0.5, renewal=600, poll=0.05)


@dataclass
class Contender:
    """Somebody who wants to lead, and the epochs in which that came true."""

    pool: Pool
    name: str = "first"
    timings: LeaseTimings = LASTING
    cluster: str = "test"
    epochs: list[int] = field(default_factory=list)
    leads: bool = False

    async def work(self, epoch: int) -> None:
        """Nothing, until cancelled."""
        self.epochs.append(epoch)
        self.leads = True
        try:
            await asyncio.Event().wait()
        finally:
            self.leads = False

    @asynccontextmanager
    async def contending(self) -> AsyncIterator[Contender]:
        """While inside, it leads whenever it can."""
        leading = asyncio.create_task(self.lead(self.work))
        try:
            yield self
            assert not leading.done(), leading
        finally:
            leading.cancel()
            await asyncio.wait((leading,))

    async def lead(self, work: Callable[[int], Awaitable[None]]) -> None:
        await Lease(self.pool, self.cluster, self.name, self.timings).lead(work)

    async def elected(self) -> int:
        """Wait until it leads; returns the epoch."""

        async def leads() -> bool:
            return self.leads

        await eventually(leads, bool)
        return self.epochs[-1]

    async def deposed(self) -> None:
        """Wait until it leads no more."""

        async def leads() -> bool:
            return self.leads

        await eventually(leads, lambda leads: not leads)


@dataclass(frozen=True)
class LeaseRow:
    epoch: int
    holder: str
    expires_at: datetime
    held: bool


async def lease_of(pool: Pool, cluster: str = "test") -> LeaseRow:
    async with pool.connection() as connection:
        row = await connection.fetchrow(
            "SELECT epoch, holder, expires_at, expires_at > clock_timestamp() AS held FROM leases WHERE cluster = $1",
            cluster,
        )
    assert row is not None
    return LeaseRow(**row)


async def execute(pool: Pool, statement: str) -> None:
    async with pool.connection() as connection:
        await connection.execute(statement)


# -- who leads -----------------------------------------------------------------------------------------------------


async def test_who_is_alone_leads_and_keeps_the_lease(pool: Pool) -> None:
    async with Contender(pool).contending() as first:
        assert await first.elected() == 1
        taken = await lease_of(pool)
        assert (taken.epoch, taken.holder, taken.held) == (1, "first", True)
        await eventually(partial(lease_of, pool), lambda lease: lease.expires_at > taken.expires_at)
        assert first.epochs == [1]


async def test_what_is_given_back_is_taken_at_once(pool: Pool) -> None:
    async with AsyncExitStack() as leading:
        first = await leading.enter_async_context(Contender(pool, "first").contending())
        await first.elected()
        async with Contender(pool, "second").contending() as second:
            await leading.aclose()
            assert await second.elected() == 2, "long before 600 seconds were over"
    lease = await lease_of(pool)
    assert (lease.epoch, lease.holder, lease.held) == (2, "second", False)


async def test_who_stops_renewing_is_followed_by_another(pool: Pool) -> None:
    async with Contender(pool, "first", NEVER_RENEWED).contending() as first:
        await first.elected()
        async with Contender(pool, "second", NEVER_RENEWED).contending() as second:
            assert await second.elected() == 2
            assert first.leads, "it does not know yet"


async def test_who_finds_the_lease_taken_stops_and_stands_by(pool: Pool) -> None:
    async with Contender(pool).contending() as first:
        await first.elected()
        await execute(pool, "UPDATE leases SET epoch = 5, holder = 'other'")
        await first.deposed()
        lease = await lease_of(pool)
        assert (lease.epoch, lease.holder, lease.held) == (5, "other", True), "it gives back only what is its own"
        await execute(pool, GIVEN_BACK)
        assert await first.elected() == 6
    assert first.epochs == [1, 6]


@pytest.mark.parametrize("expired", ["- interval '2 minutes'", "+ interval '1 year'"])
async def test_what_is_not_renewed_is_taken_whatever_the_databases_clock_says(pool: Pool, expired: str) -> None:
    await execute(pool, f"INSERT INTO leases VALUES ('test', 3, 'gone', now() {expired})")
    began = time.monotonic()
    async with Contender(pool, timings=NEVER_RENEWED).contending() as first:
        assert await first.elected() == 4
    assert time.monotonic() - began >= NEVER_RENEWED.duration


async def test_what_is_renewed_is_not_taken_whatever_the_databases_clock_says(pool: Pool) -> None:
    timings = LeaseTimings(duration=1, renewal=600, poll=0.05)
    await execute(pool, "INSERT INTO leases VALUES ('test', 3, 'first', now())")
    async with Contender(pool, timings=timings).contending() as second:
        for step in range(60):  # for three times as long as it lasts
            jumped = random.Random(step).choice((-120, 0, 120))
            await execute(pool, f"UPDATE leases SET expires_at = clock_timestamp() + interval '{jumped + step / 60} s'")
            await asyncio.sleep(0.05)  # the pace of the renewals
        assert not second.epochs
        assert await second.elected() == 4, "once they have ended"


async def test_clusters_have_leases_of_their_own(pool: Pool) -> None:
    async with (
        Contender(pool, "first", cluster="north").contending() as north,
        Contender(pool, "first", cluster="south").contending() as south,
    ):
        assert (await north.elected(), await south.elected()) == (1, 1)
        await execute(pool, "UPDATE leases SET epoch = 2, holder = 'other' WHERE cluster = 'south'")
        await south.deposed()
        assert north.leads
        async with pool.connection() as connection, connection.transaction():
            await fence(connection, "north", 1)


async def test_work_that_fails_ends_it_and_gives_the_lease_back(pool: Pool) -> None:
    async def fail(_epoch: int) -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await Contender(pool).lead(fail)
    lease = await lease_of(pool)
    assert (lease.epoch, lease.held) == (1, False)


async def test_the_lease_is_kept_until_the_work_has_ended(pool: Pool) -> None:
    working, ending, end = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work(_epoch: int) -> None:
        working.set()
        try:
            await asyncio.Event().wait()
        finally:
            ending.set()
            await end.wait()

    first = asyncio.create_task(Contender(pool).lead(work))
    await working.wait()
    first.cancel()
    await ending.wait()
    before = await lease_of(pool)
    await eventually(partial(lease_of, pool), lambda lease: lease.expires_at > before.expires_at)
    end.set()
    await asyncio.wait((first,))
    assert not (await lease_of(pool)).held


async def test_a_database_that_is_away_does_not_end_the_lease(
    pool: Pool, database: Address, postgres: Postgres
) -> None:
    name = database.dsn.partition("?")[0].rpartition("/")[2]
    async with Contender(pool).contending() as first:
        await first.elected()
        await execute(pool, "UPDATE leases SET expires_at = clock_timestamp() - interval '1 s'")
        await _rename(postgres, name, f"{name}_away")
        standing_by = Contender(pool, "second")
        async with standing_by.contending():
            await asyncio.sleep(10 * LASTING.renewal)  # nothing comes of it, which is what is to be seen
            assert (first.leads, standing_by.leads) == (True, False)
        await _rename(postgres, f"{name}_away", name)
        await eventually(partial(lease_of, pool), lambda lease: lease.held)
        assert first.leads
        assert (await lease_of(pool)).epoch == 1


async def _rename(postgres: Postgres, before: str, after: str) -> None:
    """Rename a database, for which everybody has to leave it; nobody new comes in meanwhile."""
    leave = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{before}'"
    renaming = asyncio.create_task(asyncio.to_thread(postgres.execute, f"ALTER DATABASE {before} RENAME TO {after}"))

    async def renamed() -> bool:
        await asyncio.to_thread(postgres.execute, leave)
        return renaming.done()

    await eventually(renamed, bool)
    await renaming


# -- who writes ----------------------------------------------------------------------------------------------------


async def test_who_was_followed_by_another_writes_nothing(pool: Pool) -> None:
    async with Contender(pool, "first", NEVER_RENEWED).contending() as first:
        former = Writer(pool, "test", await first.elected())
        await former.open_cluster("cluster-uid", ["*.*"])
        [watch] = await former.declare(PANELS)
        async with Contender(pool, "second", LASTING).contending() as second:
            await execute(pool, GIVEN_BACK)
            await second.elected()
            with pytest.raises(LeaseLost):
                await former.apply(watch, [Event("upsert", make_object(1))], "10")
            async with pool.connection() as connection:
                assert await connection.fetchval("SELECT count(*) FROM resources") == 0
            assert first.leads, "it was not told"


async def test_a_takeover_waits_for_a_write_that_was_begun_before(pool: Pool, database: Address) -> None:
    await execute(pool, "INSERT INTO leases VALUES ('test', 1, 'first', now() - interval '1 hour')")
    own = await Pool.open(database, size=2, command_timeout=30)
    second = Contender(own, "second")
    try:
        async with pool.connection() as connection, connection.transaction():
            await fence(connection, "test", 1)
            contending = asyncio.create_task(second.lead(second.work))
            await eventually(partial(_waiting, pool), lambda waiting: waiting == 1)
            assert not second.leads
            await connection.execute("INSERT INTO listed VALUES (1, 'written')")
        assert await second.elected() == 2
        contending.cancel()
        await asyncio.wait((contending,))
    finally:
        await own.close()
    async with pool.connection() as connection:
        assert await connection.fetchval("SELECT uid FROM listed") == "written"


async def _waiting(pool: Pool) -> int:
    """How many wait for somebody's lock."""
    async with pool.connection() as connection:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
    return count


async def test_a_renewal_does_not_wait_for_a_write(pool: Pool) -> None:
    async with Contender(pool).contending() as first, pool.connection() as connection, connection.transaction():
        await fence(connection, "test", await first.elected())
        before = await lease_of(pool)
        await eventually(partial(lease_of, pool), lambda lease: lease.expires_at > before.expires_at)


async def test_writes_and_renewals_do_not_wait_for_each_other(pool: Pool) -> None:
    async with Contender(pool).contending() as first:
        epoch = await first.elected()
        async with pool.connection() as renewing, renewing.transaction():
            await renewing.execute("UPDATE leases SET expires_at = clock_timestamp() + interval '1 minute'")
            async with pool.connection() as connection, connection.transaction():
                await connection.execute("SET LOCAL lock_timeout = '5s'")
                await fence(connection, "test", epoch)


# -- all at once ---------------------------------------------------------------------------------------------------


class Crowd:
    """Contenders that write, forget to renew, break off and come back; the journal says who wrote, and under what."""

    def __init__(self, address: Address, seed: int) -> None:
        self._address = address
        self._random = random.Random(seed)

    async def contend(self, name: str) -> None:
        """Lead again and again, with a pool of one's own as a process has it."""
        pool = await Pool.open(self._address, size=2, command_timeout=30)
        try:
            while True:
                renewal = self._random.choice((0.05, 600.0))
                timings = LeaseTimings(duration=0.3, renewal=renewal, poll=0.02)
                leading = asyncio.create_task(Lease(pool, "test", name, timings).lead(partial(self._write, pool, name)))
                await asyncio.wait((leading,), timeout=self._random.uniform(0.1, 1.5))
                leading.cancel()
                [outcome] = await asyncio.gather(leading, return_exceptions=True)
                assert isinstance(outcome, LeaseLost | asyncio.CancelledError), outcome
        finally:
            await pool.close()

    async def _write(self, pool: Pool, name: str, epoch: int) -> None:
        while True:
            async with pool.connection() as connection, connection.transaction():
                await fence(connection, "test", epoch)
                for _ in range(self._random.randint(1, 3)):
                    await connection.execute("INSERT INTO journal (epoch, name) VALUES ($1, $2)", epoch, name)
                    await asyncio.sleep(self._random.uniform(0, 0.02))


@pytest.mark.parametrize("seed", range(3))
async def test_however_many_contend_one_at_a_time_writes(pool: Pool, database: Address, seed: int) -> None:
    await execute(pool, "CREATE TABLE journal (id serial, epoch bigint, name text)")

    async def journal() -> list[Any]:
        async with pool.connection() as connection:
            return await connection.fetch("SELECT epoch, name FROM journal ORDER BY id")

    crowd = Crowd(database, seed)
    async with asyncio.TaskGroup() as contenders:
        running = [contenders.create_task(crowd.contend(f"contender-{number}")) for number in range(5)]
        await eventually(journal, lambda rows: len({row["epoch"] for row in rows}) >= 15, seconds=60)
        for task in running:
            task.cancel()
    rows = await journal()
    epochs = [row["epoch"] for row in rows]
    assert epochs == sorted(epochs), "nobody wrote after a later leader had begun to"
    names = {(row["epoch"], row["name"]) for row in rows}
    assert len(names) == len(set(epochs)), "one name for each epoch"
    assert len({name for _, name in names}) > 1
