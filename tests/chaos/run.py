"""One run: everything is brought up, the schedule is carried out, and in the end the cache must equal the cluster."""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from presenter.cache.pool import Pool
from presenter.sandbox import Sandbox
from tests.chaos.api_server import ApiServer
from tests.chaos.consumers import Consumers
from tests.chaos.database import Database
from tests.chaos.followers import Follower, followers
from tests.chaos.journal import Journal
from tests.chaos.plan import Step, plan
from tests.chaos.processes import Processes
from tests.chaos.readers import Readers
from tests.chaos.world import TYPES, World
from tests.e2e.processes import Process, working_in
from tests.e2e.system import KEY, Json, Launch, Reply, Service, System, variables_of
from tests.eventually import eventually

WATCHERS, SERVERS = 2, 2
READERS = 3
CONSUMERS = 50
CONVERGENCE = 150.0
"""Seconds to become equal once nothing fails: a backoff of up to 30 s, the lease, and lists on a busy machine."""

_ROWS = """
SELECT uid, resource || CASE api_group WHEN '' THEN '' ELSE '.' || api_group END AS type
FROM resources r JOIN resource_types t ON t.id = r.type_id
"""
_LEASES = "SELECT epoch, holder, expires_at > clock_timestamp() AS held FROM leases"


@dataclass(frozen=True)
class Summary:
    """What there was to survive. `befallen` counts faults by kind; times are in seconds."""

    seed: int
    seconds: float
    writes: int
    befallen: Counter[str]
    pages: int
    unchanged: int
    unavailable: int
    events: int
    resumed: int
    leader_changes: int
    convergence: float


@dataclass(frozen=True)
class Chaos:
    """All parts of a run."""

    seed: int
    journal: Journal
    world: World
    database: Database
    api_server: ApiServer
    watchers: Processes
    servers: Processes
    readers: Readers
    consumers: Consumers
    followers: list[Follower]
    system: System
    services: Sequence[Service]

    async def carry_out(self, seconds: float, kinds: Collection[str]) -> None:
        """Do what the seed says; what each part of the system is to suffer, at the same time."""
        async with asyncio.TaskGroup() as lanes:
            for lane, steps in plan(self.seed, seconds, kinds, WATCHERS, SERVERS).items():
                lanes.create_task(self._follow(lane, steps, seconds), name=lane)

    async def _follow(self, lane: str, steps: list[Step], seconds: float) -> None:
        """What comes too late, because faults before it took their time, is left out."""
        started = self.journal.elapsed()
        for step in steps:
            await asyncio.sleep(max(0, started + step.at - self.journal.elapsed()))
            if self.journal.elapsed() > started + seconds:
                return
            if lane != "cluster" or step.kind != "write":
                self.journal.note(lane, f"{step.kind} ({step.seconds:.1f} s, {step.number})")
            match lane:
                case "cluster":
                    self._write(step)
                case "api server":
                    await self.api_server.befall(step)
                case "database":
                    await self.database.befall(step)
                case _:
                    name, number = lane.split()
                    await {"watcher": self.watchers, "server": self.servers}[name].befall(int(number), step)

    def _write(self, step: Step) -> None:
        rng = random.Random(step.seed)
        if step.kind == "clear":
            self.world.clear(rng)
            return
        for _ in range(step.number):
            self.world.write(rng)

    async def converge(self) -> float:
        """Clear all faults and wait until the cache equals the cluster; returns the seconds it took."""
        self.journal.note("everything", "faults are cleared")
        await self.api_server.recover()
        await self.watchers.start()
        await self.servers.start()
        started = self.journal.elapsed()
        for name in TYPES:
            await eventually(partial(self._differences, name), lambda found: not found, CONVERGENCE)
        self.journal.note("everything", "the cache equals the cluster")
        served = {name: self.system.served(name) for name in TYPES}
        await eventually(partial(self.consumers.differences, served), lambda found: not found, CONVERGENCE)
        self.journal.note("everything", "what consumers know equals the cluster")
        return self.journal.elapsed() - started

    async def _differences(self, name: str) -> str:
        try:
            found = [_compared(name, self.system.served(name), await service.cached(name)) for service in self.services]
        except aiohttp.ClientError as error:  # one has yet to listen again
            return repr(error)
        return "\n".join(filter(None, found))

    async def check_rows(self) -> int:
        """The database has these rows and no others, and its lease one holder. Returns how often that changed.

        Who goes on after a pause renews the lease at its next turn, not before it writes.
        """
        connection = await self.database.address.connect()
        try:
            rows = sorted((row["type"], row["uid"]) for row in await connection.fetch(_ROWS))
            leases = await eventually(
                lambda: connection.fetch(_LEASES), lambda leases: [lease["held"] for lease in leases] == [True]
            )
        finally:
            await connection.close()
        assert rows == sorted((name, uid) for name in TYPES for uid in self.system.served(name))
        return int(leases[0]["epoch"]) - 1


async def run(
    seed: int, seconds: float, kinds: Collection[str], tell: Callable[[str], None] = lambda _note: None
) -> Summary:
    """Bring everything up, carry out the schedule of a seed, and check.

    A failure has the story in its notes. Its causes are told once more, below what the processes printed.
    """
    journal = Journal(tell)
    try:
        async with _brought_up(seed, journal) as chaos:
            return await _survive(chaos, seconds, kinds)
    except BaseException as error:
        error.add_note(f"What happened with seed {seed}, {seconds:g} s, {','.join(sorted(kinds))}:\n{journal.text()}")
        sys.stderr.writelines(f"seed {seed}, {journal.elapsed():.3f} s: {cause!r}\n" for cause in _causes(error))
        raise


def _causes(error: BaseException) -> Iterator[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    for each in error.exceptions:
        yield from _causes(each)


async def _survive(chaos: Chaos, seconds: float, kinds: Collection[str]) -> Summary:
    async with asyncio.TaskGroup() as tasks:
        background = [
            tasks.create_task(chaos.watchers.look_after(), name="look after the watchers"),
            tasks.create_task(chaos.servers.look_after(), name="look after the servers"),
            *(tasks.create_task(chaos.readers.read(chaos.seed + number)) for number in range(READERS)),
            *(tasks.create_task(follower.follow(chaos.seed)) for follower in chaos.followers),
            *(tasks.create_task(chaos.consumers.follow(number)) for number in range(CONSUMERS)),
        ]
        await chaos.carry_out(seconds, kinds)
        convergence = await chaos.converge()
        for task in background:
            task.cancel()
    changes = await chaos.check_rows()
    for follower in chaos.followers:
        await follower.check()
    await chaos.watchers.stop()
    await chaos.servers.stop()
    for process in [*chaos.watchers.ended, *chaos.servers.ended]:
        complaints = [line for line in process.err if '"level": "error"' in line or "Traceback" in line]
        assert not complaints, "\n".join(complaints)
    return Summary(
        chaos.seed,
        seconds,
        chaos.world.writes,
        chaos.journal.counts,
        chaos.readers.pages,
        chaos.readers.unchanged,
        chaos.readers.unavailable,
        chaos.consumers.events,
        chaos.consumers.resumed,
        changes,
        convergence,
    )


@asynccontextmanager
async def _brought_up(seed: int, journal: Journal) -> AsyncIterator[Chaos]:
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True)))
        stack.callback(_end_all, home)
        world = World(seed)
        sandbox = await stack.enter_async_context(Sandbox(cluster=world.cluster, bookmark_interval=1))
        database = await Database.create(home / "postgresql", journal)
        stack.push_async_callback(database.stop)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=90)))
        launch = await stack.enter_async_context(_launching(home))
        kubeconfig = home / "kubeconfig"
        sandbox.write_kubeconfig(kubeconfig)
        variables = {"PORT": "0", "SIGN_KEY": KEY, "WATCH": ",".join(TYPES), **variables_of(database.address)}
        system = System(sandbox, launch, session, variables)
        of_watchers = [variables | {"KUBECONFIG": str(kubeconfig)}] * WATCHERS
        watchers = Processes(launch, "watch", "watcher", of_watchers, journal)
        services = [await system.start("serve") for _ in range(SERVERS)]
        ports = [str(urlsplit(service.url).port) for service in services]
        servers = Processes(launch, "serve", "server", [variables | {"PORT": port} for port in ports], journal)
        servers.adopt([service.process for service in services])
        await watchers.start()
        for service in services:
            await service.ready()
        readers = Readers(services, servers, world, journal)
        pool = await stack.enter_async_context(Pool.opened(database.address, size=2))
        yield Chaos(
            seed,
            journal,
            world,
            database,
            ApiServer(sandbox, journal),
            watchers,
            servers,
            readers,
            Consumers(services, servers, world, journal),
            followers(pool, world),
            system,
            services,
        )


@asynccontextmanager
async def _launching(home: Path) -> AsyncIterator[Launch]:
    """Starts processes; kills what is left of them, and after a failure shows what the last ones printed."""
    started: list[Process] = []

    async def launch(*arguments: str, **variables: str) -> Process:
        process = await Process.start(*arguments, home=home, **variables)
        started.append(process)
        return process

    try:
        yield launch
    except BaseException:
        for process in started:
            lines = [line for line in process.log().splitlines() if '"event": "request"' not in line]
            sys.stderr.write("\n".join([lines[0], *lines[1:][-40:], ""]))
        raise
    finally:
        for process in started:
            await process.kill()


def _end_all(home: Path) -> None:
    """Whatever was being started when the run was broken off."""
    for left in working_in(home):
        left.kill()


def _compared(name: str, wanted: dict[str, Json], cached: dict[str, Json] | Reply) -> str:
    """How the cache differs from the cluster; empty when it does not."""
    if isinstance(cached, Reply):
        return f"{name}: answered {cached.status}: {cached.json}"
    missing = [_named(wanted[uid]) for uid in wanted.keys() - cached.keys()]
    ghosts = [_named(cached[uid]) for uid in cached.keys() - wanted.keys()]
    stale = [
        f"{_named(cached[uid])}, should be {wanted[uid]['metadata']['resourceVersion']}"
        for uid in wanted.keys() & cached.keys()
        if wanted[uid] != cached[uid]
    ]
    different = {"missing": missing, "ghosts": ghosts, "stale": stale}
    return "\n".join(f"{name}: {len(found)} {what}: {found[:5]}" for what, found in different.items() if found)


def _named(manifest: Json) -> str:
    metadata = manifest["metadata"]
    name = f"{metadata.get('namespace', '')}/{metadata['name']}"
    return f"{name} ({metadata['uid']}) at {metadata['resourceVersion']}"
