"""An upgrade and the way back, as they happen in a cluster: two versions on one database, while others go on asking.

The later version is a copy of this one with a migration more and another version number.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import aiohttp
import pytest

import presenter as package
from presenter.cache.migration import configuration
from presenter.cache.pool import Address, Pool
from presenter.cache.schema import HEAD
from tests.e2e.system import Json, Service, System
from tests.eventually import eventually

NEXT = f"{int(HEAD) + 1:04}"
PODS = 2
CALLERS = 2
PATIENCE = 60.0
"""Seconds for what takes one or two when nobody else has work for the machine: there is much at once here."""
_MIGRATION = f'''"""What the rule of migrations allows: a column with a default, and a table."""

from alembic import op

revision = "{NEXT}"
down_revision = "{HEAD}"


def upgrade() -> None:
    op.execute("ALTER TABLE resources ADD COLUMN later text NOT NULL DEFAULT 'unknown'")
    op.execute("ALTER TABLE watches ADD COLUMN later integer")
    op.execute("CREATE TABLE later (name text PRIMARY KEY)")
'''


@dataclass(frozen=True)
class Version:
    """A version of the program: its number, and the variables by which its code is found when it is not this one."""

    number: str
    variables: dict[str, str]


OLD = Version(package.__version__, {})


@pytest.fixture
def new(home: Path) -> Version:
    """The version after this one."""
    copy = home / "later" / "presenter"
    shutil.copytree(Path(package.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    _replace(copy / "__init__.py", f'__version__ = "{OLD.number}"', '__version__ = "99.0.0"')
    _replace(copy / "cache" / "schema.py", f'HEAD = "{HEAD}"', f'HEAD = "{NEXT}"')
    migrations = copy.parent / "migrations"
    shutil.copytree(configuration().get_main_option("script_location") or "", migrations)
    (migrations / "versions" / f"{NEXT}_later.py").write_text(_MIGRATION)
    return Version("99.0.0", {"PYTHONPATH": str(copy.parent)})


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


@dataclass
class Balancer:
    """What a Service of Kubernetes is to callers: requests go to the pods that are ready and do not end, in turn."""

    pods: list[Service] = field(default_factory=list)
    under_way: Counter[str] = field(default_factory=Counter)
    answers: int = 0
    failures: list[object] = field(default_factory=list)
    _turns: itertools.count[int] = field(default_factory=itertools.count)

    async def get(self, path: str, **query: str | int) -> Json:
        """Ask one of them; what is not a good answer is noted."""
        pod = self.pods[next(self._turns) % len(self.pods)]
        self.under_way[pod.url] += 1
        try:
            reply = await pod.get(path, **query)
            if reply.status != 200:
                self.failures.append(reply)
            self.answers += 1
            return reply.json if isinstance(reply.json, dict) else {}
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.failures.append(error)
            return {}
        finally:
            self.under_way[pod.url] -= 1

    async def retire(self, pod: Service) -> None:
        """Send nothing more to a pod; what it was sent before is answered: that is what `preStopSeconds` are for."""
        self.pods.remove(pod)

        async def asked() -> int:
            return self.under_way[pod.url]

        await eventually(asked, lambda asked: asked == 0, PATIENCE)


@dataclass
class Load:
    """Callers who ask all the time, and a cluster that changes all the time."""

    system: System
    balancer: Balancer
    made: int = 0
    seen: int = -1

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """While inside, it does."""
        tasks = [asyncio.create_task(work()) for work in (self._change, self._count, *([self._page] * CALLERS))]
        try:
            yield
            assert [task for task in tasks if task.done()] == []
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _change(self) -> None:
        """Each change is an object more; some go again, and one counts them."""
        while True:
            self.system.put(f"made-{self.made}", number=self.made)
            if self.made % 5 == 4:
                self.system.drop(f"made-{self.made - 3}")
            self.system.put("counter", number=self.made)
            self.made += 1
            await asyncio.sleep(0.02)

    async def _page(self) -> None:
        while True:
            page = await self.balancer.get("/resources", group="widgets.templates.krateo.io", namespace="*", limit=10)
            assert not page or page["count"] == 10
            await asyncio.sleep(0.01)

    async def _count(self) -> None:
        """The counter never goes back, whichever pod answers."""
        while True:
            query = {"group": "widgets.templates.krateo.io", "resource": "panels", "namespace": "demo-system"}
            page = await self.balancer.get("/resources", **query, name="counter", raw="true")
            for item in page.get("items", ()):
                assert item["raw"]["spec"]["number"] >= self.seen
                self.seen = item["raw"]["spec"]["number"]
            await asyncio.sleep(0.01)

    async def catches_up(self) -> None:
        """Wait until a change of this moment has been seen."""
        made = self.made

        async def seen() -> int:
            return self.seen

        await eventually(seen, lambda seen: seen > made, PATIENCE)


@dataclass(frozen=True)
class Rollout:
    """What the chart and the cluster do to get from one version to another."""

    system: System
    balancer: Balancer

    async def migrate(self, version: Version) -> str:
        """The hook of the chart; returns what it printed."""
        process = await self.system.launch("migrate", **self.system.variables, **version.variables)
        assert await process.ended() == 0, process.log()
        return process.out[-1]

    async def roll(self, version: Version) -> None:
        """A new pod, and once it is ready an old one less, until none is left."""
        old = list(self.balancer.pods)
        for number in range(PODS):
            pod = await (await self.system.start("run", **version.variables)).ready()
            assert await self.number(pod) == version.number
            self.balancer.pods.append(pod)
            for ending in old[number : number + 1]:
                await self.balancer.retire(ending)
                assert await ending.process.stop() == 0, ending.process.log()

    async def number(self, pod: Service) -> str:
        """The version that a pod says it is."""
        number: str = (await pod.get("/openapi.json")).json["info"]["version"]
        return number


async def led_by(pool: Pool) -> int:
    """The process that watches the cluster."""
    async with pool.connection() as connection:
        holder = await connection.fetchval("SELECT holder FROM leases WHERE expires_at > clock_timestamp()")
    return int(re.sub(r".*/", "", holder or "0"))


@pytest.mark.timeout(400)
async def test_an_upgrade_and_the_way_back_under_load(system: System, pool: Pool, new: Version) -> None:
    balancer = Balancer()
    rollout, load = Rollout(system, balancer), Load(system, balancer)
    system.put("counter", number=-1)
    await rollout.roll(OLD)
    await system.in_sync(balancer.pods[0])
    listed = system.lists()

    async with load.going_on():
        await load.catches_up()
        early = await system.launch("run", **system.variables, **new.variables)
        assert await early.ended() == 1, "before the migration"
        assert "run `presenter migrate`" in early.err[-1]

        assert await rollout.migrate(new) == f"schema migrated from {HEAD} to {NEXT}"
        await load.catches_up()
        for version in (new, OLD):
            before = balancer.answers
            await rollout.roll(version)
            pids = {pod.process.pid for pod in balancer.pods}
            await eventually(partial(led_by, pool), pids.__contains__, PATIENCE)
            await load.catches_up()
            assert balancer.answers > before
            assert await rollout.migrate(version) == f"schema is at {NEXT}", "the way back undoes nothing"

    assert balancer.failures == []
    assert load.made > 100
    for pod in balancer.pods:
        await system.in_sync(pod)
    assert system.lists() == listed, "each leader goes on where the one before it ended"


async def test_a_migration_gives_way_to_those_who_work(system: System, database: Address, new: Version) -> None:
    """They would wait for each other for ever, and PostgreSQL would end one of them."""
    waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'watches'::regclass AND NOT granted"
    connection = await database.connect()
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE watches IN ROW EXCLUSIVE MODE")
            migrating = await system.launch("migrate", **system.variables, **new.variables)
            await eventually(partial(connection.fetchval, waiting), bool)
            assert await connection.fetchval("SELECT count(*) FROM resources") == 0, "which the migration holds"
        assert await migrating.ended() == 0, migrating.log()
        assert await connection.fetchval("SELECT version_num FROM alembic_version") == NEXT
    finally:
        await connection.close()
