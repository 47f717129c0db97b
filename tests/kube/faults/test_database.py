"""Faults of the database, and of the process that writes to it: the cache ends equal to the cluster."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import structlog

from presenter.cache import migration
from presenter.cache.lease import Lease, LeaseTimings, Recoveries
from presenter.cache.pool import Address, Pool
from presenter.cache.watch_patterns import WatchPatterns
from presenter.cache.writer import Writer
from presenter.commands.embedded import EmbeddedPostgres
from presenter.config import ClusterSettings
from presenter.errors import DatabaseUnavailable
from presenter.kube.client import KubeClient
from presenter.kube.timings import BackoffTimings
from presenter.sandbox import Sandbox
from tests.e2e.processes import Process
from tests.e2e.system import KEY, variables_of
from tests.eventually import eventually
from tests.kube.world import CONFIG_MAPS, FAST, World
from tests.servers import Postgres

Logs = list[structlog.typing.EventDict]

_WAIT = """
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN coalesce(NEW, OLD); END $$
"""
_WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
_FAIL = """
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN IF nextval('failures') <= {times} THEN RAISE SQLSTATE '{code}'; END IF; RETURN NEW; END $$
"""
_END_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"


@pytest.fixture
def logs() -> Iterator[Logs]:
    """Everything that is logged."""
    with structlog.testing.capture_logs() as logs:
        yield logs


async def told(world: World, logs: Logs, error: str) -> None:
    """Wait until a watch has met this error."""
    await world.sees(lambda: any(error in str(log.get("error")) for log in logs))


# -- crashes of the process ----------------------------------------------------------------------------------


@asynccontextmanager
async def stops_at(world: World, trigger: str) -> AsyncIterator[None]:
    """Until the end of this, whoever writes as `trigger` says waits."""
    await world.execute(_WAIT, f"CREATE TRIGGER wait BEFORE {trigger} EXECUTE FUNCTION wait()")
    async with world.pool.connection() as connection:
        await connection.execute("SELECT pg_advisory_lock(1)")
        yield
        await connection.execute("SELECT pg_advisory_unlock(1)")
    await world.execute("DROP FUNCTION wait() CASCADE")


async def killed_while_it_waits(world: World, database: Address, home: Path) -> None:
    """Start `presenter watch`, and kill it once it waits in the database."""
    kubeconfig = home / "kubeconfig"
    world.sandbox.write_kubeconfig(kubeconfig)
    variables = {"KUBECONFIG": str(kubeconfig), "CLUSTER_NAME": "test", "WATCH": CONFIG_MAPS, "SIGN_KEY": KEY}
    process = await Process.start("watch", home=home, PORT="0", **variables, **variables_of(database))
    try:
        async with world.pool.connection() as connection:
            await eventually(lambda: connection.fetchval(_WAITING), bool, 60)
    finally:
        await process.kill()


async def far_behind(world: World) -> None:
    """Let the cache be out of date in so many ways that only a list of several pages can help."""
    for number in range(700):
        world.put(f"many-{number:03}", a="1")
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await world.state(CONFIG_MAPS, "live")
    world.change()
    for number in range(0, 700, 7):
        world.drop(f"many-{number:03}")
    world.put("many-601", a="2")
    world.sandbox.cluster.compact()


async def test_fault_20_crash_between_page_and_sweep(world: World, database: Address, tmp_path: Path) -> None:
    await far_behind(world)
    async with stops_at(world, "DELETE ON listed FOR EACH ROW"):
        await killed_while_it_waits(world, database, tmp_path)
    assert len(await world.cached(CONFIG_MAPS)) > len(world.served(CONFIG_MAPS))  # nothing was swept
    world.drop("untouched")
    async with world.following(CONFIG_MAPS):
        await world.equal()
        assert (await world.state(CONFIG_MAPS, "live")).lists == 2


async def test_fault_20_crash_between_page_and_sweep_of_postgresql(world: World, logs: Logs) -> None:
    """Its sessions end, and what it does not log is gone, so that nothing says any more what the list has named."""
    await far_behind(world)
    async with world.following(CONFIG_MAPS):
        async with stops_at(world, "UPDATE ON resources FOR EACH ROW WHEN (NEW.name = 'many-601')"):
            async with world.pool.connection() as connection:
                await eventually(lambda: connection.fetchval(_WAITING), bool)
            await world.execute("DELETE FROM listed")
        await world.equal()


async def test_fault_38_leader_killed_in_mid_list(world: World, database: Address, tmp_path: Path) -> None:
    await far_behind(world)

    async def lead(epoch: int) -> None:
        await world.supervisor(CONFIG_MAPS, writer=Writer(world.pool, "test", epoch)).run()

    async with stops_at(world, "UPDATE ON resources FOR EACH ROW WHEN (NEW.name = 'many-601')"):
        await killed_while_it_waits(world, database, tmp_path)
    standby = asyncio.create_task(Lease(world.pool, "test", "standby").lead(lead))
    world.drop("untouched")
    await eventually(world.all_cached, lambda cached: cached == world.all_served(), 60)
    world.change()
    await world.equal()
    standby.cancel()
    await asyncio.wait([standby])


async def test_fault_37_zombie_leader_writes(world: World, tmp_path: Path, logs: Logs) -> None:
    """It watches another cluster, so that whatever it wrote would show."""
    async with Sandbox() as elsewhere:
        elsewhere.write_kubeconfig(tmp_path / "elsewhere")
        client = await KubeClient.connect(ClusterSettings(kubeconfig=str(tmp_path / "elsewhere")))
        world.selected = WatchPatterns([CONFIG_MAPS])
        other = dataclasses.replace(world, sandbox=elsewhere, client=client)

        def leading(world: World, holder: str, timings: LeaseTimings) -> asyncio.Task[None]:
            async def work(epoch: int) -> None:
                await world.supervisor(CONFIG_MAPS, writer=Writer(world.pool, "test", epoch)).run()

            return asyncio.create_task(Lease(world.pool, "test", holder, timings).lead(work))

        other.put("zombie")
        zombie = leading(other, "zombie", LeaseTimings(duration=1.0, renewal=3600, poll=0.1))  # it never renews
        await other.equal()
        leader = leading(world, "leader", LeaseTimings(duration=5.0, renewal=0.2, poll=0.1))
        await world.equal()
        other.change()
        other.drop("zombie")
        await told(world, logs, "has taken over the lease")
        world.change()
        await world.equal()
        zombie.cancel()
        await asyncio.wait([zombie])
        world.put("after")
        await world.equal()
        assert not leader.done()
        leader.cancel()
        await asyncio.wait([leader])
        await client.close()


# -- the connection to the database --------------------------------------------------------------------------


_APPLY = re.compile(rb"(__asyncpg_stmt_\w+__)\0[^\0]*moved AS \(")


class Proxy:
    """Stands before PostgreSQL. While `every` is not 0, after every so many commits the client is not told of it."""

    def __init__(self, address: Address) -> None:
        self._url = urlsplit(address.dsn)
        self.every = 0
        self.cuts = 0
        self._commits = 0
        self._applies: set[bytes] = set()
        """The names under which what stores events was prepared: a statement that is a transaction by itself."""

    @asynccontextmanager
    async def address(self, of: Address) -> AsyncIterator[Address]:
        """Where it listens."""
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            yield dataclasses.replace(of, dsn=f"postgresql://127.0.0.1:{port}{self._url.path}?sslmode=disable")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        socket_dir = parse_qs(self._url.query).get("host")
        if socket_dir:
            upstream = await asyncio.open_unix_connection(f"{socket_dir[0]}/.s.PGSQL.5432")
        else:
            upstream = await asyncio.open_connection(self._url.hostname, self._url.port)
        applying = asyncio.Event()
        pumps = [
            asyncio.create_task(self._ask(reader, upstream[1], applying)),
            asyncio.create_task(self._answer(upstream[0], writer, applying)),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        for end in (writer, upstream[1]):
            end.close()

    async def _ask(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, applying: asyncio.Event) -> None:
        with suppress(ConnectionError):
            while data := await source.read(2**16):
                self._applies.update(_APPLY.findall(data))
                if any(b"\0" + name + b"\0" in data for name in self._applies):
                    applying.set()
                sink.write(data)
                await sink.drain()

    async def _answer(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, applying: asyncio.Event) -> None:
        with suppress(ConnectionError):
            while data := await source.read(2**16):
                applied = applying.is_set() and b"C\0\0\0\rSELECT 1\0Z\0\0\0\5I" in data
                if applied:
                    applying.clear()
                if self.every and (applied or b"COMMIT\0" in data):
                    self._commits += 1
                    if self._commits % self.every == 0:
                        self.cuts += 1
                        return
                sink.write(data)
                await sink.drain()


async def test_fault_21_crash_between_commit_and_acknowledgement(world: World, database: Address) -> None:
    proxy = Proxy(database)
    async with proxy.address(database) as address:
        pool = await Pool.open(address, size=4, command_timeout=30)
        writer = Writer(pool, "test")
        proxy.every = 3
        direct = dataclasses.replace(world, writer=writer)
        async with direct.following(CONFIG_MAPS):
            await direct.equal()
            before = proxy.cuts
            for number in range(10):
                direct.change()
                direct.put(f"also-{number}")
                await direct.equal()
            await world.sees(lambda: proxy.cuts > before)
            proxy.every = 1
            direct.put("last")
            await world.sees(lambda: proxy.cuts > before + 3)
            proxy.every = 0
            direct.change()
            await direct.equal()
            assert (await direct.state(CONFIG_MAPS, "live")).error == ""
        await pool.close()


@pytest.mark.parametrize("history", ["kept", "forgotten"])
async def test_fault_22_database_down(world: World, logs: Logs, history: str) -> None:
    with tempfile.TemporaryDirectory(prefix="presenter-test-", ignore_cleanup_errors=True) as directory:
        server = await EmbeddedPostgres.start(Path(directory) / "postgresql")
        address = server.address()
        await migration.migrate(address)
        pool = await Pool.open(address, size=4, command_timeout=30)
        world = dataclasses.replace(world, pool=pool, writer=Writer(pool, "test"))
        async with world.following(CONFIG_MAPS):
            await world.equal()
            await world.watching()
            await server.stop()
            with pytest.raises(DatabaseUnavailable):
                await address.connect()
            world.change()
            await told(world, logs, "PostgreSQL cannot be used")
            if history == "forgotten":
                world.sandbox.faults.cut("abort")
                world.sandbox.cluster.compact()
            world.put("changed", b="meanwhile")
            world.drop("untouched")
            server = await EmbeddedPostgres.start(Path(directory) / "postgresql")
            await world.equal()
            assert (await world.state(CONFIG_MAPS, "live")).lists == (1 if history == "kept" else 2)
        await pool.close()
        await server.stop()


async def test_fault_22_database_down_for_longer_than_anybody_wants_to_wait(world: World, logs: Logs) -> None:
    """Whoever waits for it goes on as soon as the lease can be renewed, however long it was about to wait."""
    patient = dataclasses.replace(FAST, backoff=BackoffTimings(60, 60))
    with tempfile.TemporaryDirectory(prefix="presenter-test-", ignore_cleanup_errors=True) as directory:
        server = await EmbeddedPostgres.start(Path(directory) / "postgresql")
        await migration.migrate(server.address())
        async with Pool.opened(server.address(), size=4, command_timeout=30) as pool:
            recoveries = Recoveries()
            world = dataclasses.replace(world, pool=pool)

            async def work(epoch: int) -> None:
                writer = Writer(pool, "test", epoch)
                await world.supervisor(CONFIG_MAPS, timings=patient, writer=writer, recoveries=recoveries).run()

            timings = LeaseTimings(renewal=0.2, retry=0.2)
            leading = asyncio.create_task(Lease(pool, "test", "x", timings, recoveries=recoveries).lead(work))

            async def equal() -> None:
                following = asyncio.create_task(world.equal())
                await asyncio.wait((leading, following), return_when=asyncio.FIRST_COMPLETED)
                assert not leading.done(), leading
                await following

            await world.watching()
            await equal()
            await world.state(CONFIG_MAPS, "live")
            await server.stop()
            world.change()
            for event in ("watch interrupted", "the lease cannot be renewed"):
                await world.sees(partial(_is_told, logs, event))
            server = await EmbeddedPostgres.start(Path(directory) / "postgresql")
            answers = time.monotonic()
            await equal()
            assert time.monotonic() - answers < 5
            world.change()
            await equal()
            leading.cancel()
            await asyncio.wait([leading])
        await server.stop()
    events = [log["event"] for log in logs if "lease" in log["event"]]
    assert events == ["the lease cannot be renewed", "the lease is renewed again"]


def _is_told(logs: Logs, event: str) -> bool:
    return any(log["event"] == event for log in logs)


async def test_fault_22_database_down_at_the_start(world: World, postgres: Postgres, database: Address) -> None:
    name = urlsplit(database.dsn).path.strip("/")
    await asyncio.to_thread(postgres.execute, f"ALTER DATABASE {name} RENAME TO {name}_away")
    with structlog.testing.capture_logs() as logs:
        async with world.following(CONFIG_MAPS):
            await told(world, logs, "PostgreSQL")
            await asyncio.to_thread(postgres.execute, f"ALTER DATABASE {name}_away RENAME TO {name}")
            await world.equal()
    assert [entry["event"] for entry in logs].count("cluster cannot be followed") == 1


async def test_fault_22_database_down_for_moments(world: World, postgres: Postgres, database: Address) -> None:
    end_sessions = _END_SESSIONS.format(database=urlsplit(database.dsn).path.strip("/"))
    async with world.following(CONFIG_MAPS):
        await world.equal()
        for number in range(5):
            await asyncio.to_thread(postgres.execute, end_sessions)
            world.change()
            world.put(f"also-{number}")
            await world.equal()


# -- what the database refuses -------------------------------------------------------------------------------


async def fails(world: World, code: str, times: int) -> None:
    """Let so many writes of rows fail with this SQLSTATE."""
    await world.execute(
        "CREATE SEQUENCE failures",
        _FAIL.format(times=times, code=code),
        "CREATE TRIGGER fail BEFORE INSERT OR UPDATE ON resources FOR EACH ROW EXECUTE FUNCTION fail()",
    )


async def failed(world: World) -> int:
    """How many writes were tried since `fails`, those that failed among them."""
    async with world.pool.connection() as connection:
        return int(await connection.fetchval("SELECT last_value FROM failures"))


async def fails_for_a_while(world: World, code: str) -> None:
    await fails(world, code, 4)
    async with world.following(CONFIG_MAPS):
        await eventually(lambda: failed(world), lambda count: count > 4)
        await world.equal()
        await world.execute("ALTER SEQUENCE failures RESTART")
        world.change()
        await eventually(lambda: failed(world), lambda count: count > 4)
        await world.equal()
        assert (await world.state(CONFIG_MAPS, "live")).lists == 1


@pytest.mark.parametrize("code", ["40001", "40P01"])
async def test_fault_23_deadlock_and_serialisation_failure(world: World, code: str) -> None:
    await fails_for_a_while(world, code)


async def test_fault_23_deadlock_and_serialisation_failure_in_earnest(world: World, logs: Logs) -> None:
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await world.execute(
            _WAIT, "CREATE TRIGGER wait BEFORE UPDATE ON resources FOR EACH ROW EXECUTE FUNCTION wait()"
        )
        async with world.pool.connection() as connection, connection.transaction():
            await connection.execute("SET LOCAL deadlock_timeout = '1min'")  # the writer is to be the victim
            await connection.execute("SELECT pg_advisory_xact_lock(1)")
            world.change()
            await eventually(lambda: connection.fetchval(_WAITING), bool)
            await connection.execute("SELECT FROM resources WHERE name = 'changed' FOR UPDATE")
        await told(world, logs, "deadlock detected")
        await world.equal()


async def test_fault_41_disk_full_or_read_only(world: World) -> None:
    await fails_for_a_while(world, "53100")


async def test_fault_41_disk_full_or_read_only_as_a_whole(
    world: World, postgres: Postgres, database: Address, logs: Logs
) -> None:
    name = urlsplit(database.dsn).path.strip("/")

    async def be_read_only(value: str) -> None:
        statement = f"ALTER DATABASE {name} SET default_transaction_read_only = {value}"
        await asyncio.to_thread(postgres.execute, statement, _END_SESSIONS.format(database=name))

    async with world.following(CONFIG_MAPS):
        await world.equal()
        before = await world.cached(CONFIG_MAPS)
        await be_read_only("on")
        world.change()
        await told(world, logs, "read-only transaction")
        assert await world.cached(CONFIG_MAPS) == before
        world.put("changed", b="meanwhile")
        await be_read_only("off")
        await world.equal()
        assert (await world.state(CONFIG_MAPS, "live")).lists == 1
