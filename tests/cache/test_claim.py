"""The name of a cluster: who finds another cluster under it neither leads nor stands by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import structlog

from presenter.cache.forgetting import forget_cluster
from presenter.cache.lease import UNKNOWN, Claim, Lease, LeaseTimings
from presenter.cache.pool import Pool
from presenter.cache.writer import Writer
from presenter.errors import ClusterForbidden, ConfigError
from tests.eventually import eventually

TIMINGS = LeaseTimings(duration=600, renewal=0.05, poll=0.05)
LONG_AGO = "UPDATE leases SET expires_at = clock_timestamp() - interval '11 minutes'"


@dataclass
class Watcher:
    """A process that watches the cluster with this uid ("": the API server does not tell), and stores that."""

    pool: Pool
    uid: str
    holder: str = "watcher"
    timings: LeaseTimings = TIMINGS
    leads: bool = False
    asked: int = 0

    async def identify(self) -> str:
        self.asked += 1
        if self.uid == UNKNOWN:
            raise ClusterForbidden("kube-system is forbidden", code=403)
        return self.uid

    async def work(self, epoch: int) -> None:
        """As the supervisor does: record the cluster, and whatever it becomes."""
        writer, recorded = Writer(self.pool, "test", epoch), None
        try:
            while True:
                if self.uid != recorded:
                    await writer.open_cluster(self.uid, ["*.*"])
                    recorded = self.uid
                self.leads = True
                await asyncio.sleep(0.02)
        finally:
            self.leads = False

    async def lead(self) -> None:
        await Lease(self.pool, "test", self.holder, self.timings, claim=Claim("test", self.identify)).lead(self.work)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.lead())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait((task,))

    async def elected(self) -> None:
        await eventually(lambda: asyncio.sleep(0, self.leads), bool)

    async def has_asked(self, times: int = 1) -> None:
        """Wait until it has, so many times in all."""
        await eventually(lambda: asyncio.sleep(0, self.asked), lambda asked: asked >= times)

    async def refused(self) -> str:
        """What is said when it starts, or stands by."""
        with pytest.raises(ConfigError) as caught:
            await asyncio.wait_for(self.lead(), 20)
        assert not self.leads
        return str(caught.value)


async def recorded(pool: Pool) -> str | None:
    async with pool.connection() as connection:
        uid: str | None = await connection.fetchval("SELECT uid FROM clusters")
    return uid


async def execute(pool: Pool, statement: str) -> None:
    async with pool.connection() as connection:
        await connection.execute(statement)


async def test_who_finds_another_cluster_watched_under_its_name_does_not_start(pool: Pool) -> None:
    first = Watcher(pool, "one", "first")
    async with first.running():
        await first.elected()
        said = await Watcher(pool, "two").refused()
        assert first.leads
    assert "set CLUSTER_NAME" in said
    assert "the uid one there, and two here; first watches that one" in said
    assert await recorded(pool) == "one"


async def test_who_stands_by_ends_when_the_leader_turns_out_to_watch_another_cluster(pool: Pool) -> None:
    """As when both start at once on an empty database."""
    await execute(pool, "INSERT INTO leases VALUES ('test', 1, 'first', clock_timestamp() + interval '5 minutes')")
    second = Watcher(pool, "two")
    async with second.running() as standing_by:
        await Writer(pool, "test", 1).open_cluster("one", ["*.*"])
        with pytest.raises(ConfigError, match="set CLUSTER_NAME"):
            await asyncio.wait_for(standing_by, 20)
    assert await recorded(pool) == "one"


async def test_a_name_that_was_in_use_a_moment_ago_is_not_taken(pool: Pool) -> None:
    first = Watcher(pool, "one", "first")
    async with first.running():
        await first.elected()
    said = await Watcher(pool, "two").refused()
    assert "run `presenter forget test`" in said
    assert await recorded(pool) == "one"
    async with first.running():  # nothing has changed for whom it belongs to
        await first.elected()


@pytest.mark.parametrize("way", ["long ago", "forgotten", "a clock that was set back"])
async def test_a_name_that_nobody_uses_any_more_is_taken(pool: Pool, way: str) -> None:
    first = Watcher(pool, "one", "first")
    async with first.running():
        await first.elected()
    if way == "forgotten":
        await forget_cluster(pool, "test")
    else:
        await execute(pool, LONG_AGO.replace("- interval '11", "+ interval '90") if "clock" in way else LONG_AGO)
    second = Watcher(pool, "two", timings=LeaseTimings(duration=0.5, renewal=600, poll=0.05))
    async with second.running():
        await second.elected()
        assert await recorded(pool) == "two"


async def test_a_cluster_that_is_made_anew_while_it_is_watched_keeps_its_name(pool: Pool) -> None:
    first, second = Watcher(pool, "one", "first"), Watcher(pool, "one", "second")
    async with first.running() as leading:
        await first.elected()
        async with second.running():
            await second.has_asked()
            first.uid = second.uid = "two"
            await eventually(lambda: recorded(pool), lambda uid: uid == "two")
            await second.has_asked(2)
            leading.cancel()
            await second.elected()


async def test_a_cluster_that_is_made_anew_as_its_leader_ends_keeps_its_name(pool: Pool) -> None:
    first, second = Watcher(pool, "one", "first"), Watcher(pool, "one", "second")
    async with first.running() as leading:
        await first.elected()
        async with second.running():
            await second.has_asked()
            second.uid = "two"
            leading.cancel()
            await second.elected()
            assert await recorded(pool) == "two"


async def test_who_cannot_identify_its_cluster_does_not_lead_a_known_one(pool: Pool) -> None:
    first, second = Watcher(pool, "one", "first"), Watcher(pool, UNKNOWN, "second")
    async with first.running():
        await first.elected()
    with structlog.testing.capture_logs() as logs:
        async with second.running():
            await second.has_asked(3)
            assert not second.leads
            async with first.running() as leading:  # it is in nobody's way
                await first.elected()
                leading.cancel()
            second.uid = "one"
            await second.elected()
    [told] = [log for log in logs if log["event"] == "waiting to learn which cluster this is"]
    assert told["error"] == "kube-system is forbidden"


async def test_a_cluster_that_nobody_could_identify_is_led_by_whoever_comes(pool: Pool) -> None:
    for uid in (UNKNOWN, UNKNOWN, "one"):
        watcher = Watcher(pool, uid)
        async with watcher.running():
            await watcher.elected()
            assert await recorded(pool) == uid
