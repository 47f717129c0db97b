"""Each alert fires on metrics that were recorded of a real process in the state it is for, and on no others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import asyncpg
import pytest

from presenter.cache.pool import Address
from tests.chart.helm import NAME, Manifests, Values, example
from tests.chart.promtool import Promtool, Recording, input_series
from tests.e2e.conftest import home, presenter, session, system
from tests.e2e.system import PANELS, Reply, Service, System
from tests.eventually import eventually
from tests.servers import Postgres

__all__ = ["home", "presenter", "session", "system"]

Render = Callable[[Values], Manifests]
QUERY: dict[str, str | int] = {"group": "widgets.templates.krateo.io", "resource": "panels", "namespace": "*"}
PREFIX = "ResourcesPresenter"
LATER = """
UPDATE clusters SET discovered_at = discovered_at - interval '61 s' WHERE discovered_at IS NOT NULL RETURNING true
"""
AGED = "UPDATE watches SET last_event_at = clock_timestamp() - interval '10 minutes'"


@pytest.fixture
def rules(render: Render) -> Any:
    """The rules as the chart installs them."""
    return render(example("everything"))["PrometheusRule", NAME]["spec"]


@dataclass
class Scene:
    """A system, and what was recorded of it."""

    system: System
    postgres: Postgres
    database: Address
    recordings: list[Recording] = field(default_factory=list)

    @asynccontextmanager
    async def sql(self) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        """A connection to the database."""
        connection = await self.database.connect()
        try:
            yield connection
        finally:
            await connection.close()

    async def record(self, service: Service) -> Recording:
        """What `/metrics` says now."""
        async with self.system.session.get(f"{service.url}/metrics") as response:
            assert response.status == 200
            self.recordings.append(Recording.of(await response.text()))
        return self.recordings[-1]

    async def running(self, command: str = "run", **variables: str) -> Service:
        """A service that is ready and was asked, so that all that is ever counted is; recorded once."""
        service = await (await self.system.start(command, **variables)).ready()
        await self.asked(service)
        await self.record(service)
        return service

    async def asked(self, service: Service, times: int = 5) -> list[Reply]:
        """Ask for pages, one after the other."""
        return [await service.get("/resources", limit=1, **QUERY) for _ in range(times)]

    async def until(self, service: Service, metric: str, **labels: str) -> None:
        """Record until the sum of a metric's series with such labels is above zero."""

        async def total() -> float:
            recorded = await self.record(service)
            return sum(
                value
                for (name, have), value in recorded.values.items()
                if name == metric and labels.items() <= set(have)
            )

        await eventually(total, lambda value: value > 0)

    async def aged(self, service: Service) -> None:
        """Record until the panels have not been heard of for long."""

        async def lag() -> float:
            recorded = await self.record(service)
            return sum(
                value
                for (name, have), value in recorded.values.items()
                if name == "presenter_cache_lag_seconds" and ("resource", "panels") in have
            )

        await eventually(lag, lambda seconds: seconds > 300)


@pytest.fixture
def scene(system: System, postgres: Postgres, database: Address) -> Scene:
    """Before anything has started."""
    return Scene(system, postgres, database)


Play = Callable[[Scene], Awaitable[None]]
SCENES: dict[str, tuple[Play, set[str], set[str]]] = {}
"""What leads to a state, the alerts that it makes fire, and those that it may."""


def fires(*alerts: str, perhaps: Collection[str] = ()) -> Callable[[Play], Play]:
    """Register a scene."""

    def register(play: Play) -> Play:
        SCENES[play.__name__] = (play, set(map(PREFIX.__add__, alerts)), set(map(PREFIX.__add__, perhaps)))
        return play

    return register


@fires()
async def all_is_well(scene: Scene) -> None:
    service = await scene.running()
    scene.system.put("news")
    await scene.system.in_sync(service, PANELS)
    await scene.asked(service, times=200)
    await scene.record(service)


@fires("Absent")
async def nothing_runs(scene: Scene) -> None:
    scene.recordings += [Recording.of(""), Recording.of("")]


@fires("WithoutDatabase", "WritesFail", "Errors")
async def the_database_is_gone(scene: Scene) -> None:
    service = await scene.running()
    async with scene.sql() as sql:
        name = await sql.fetchval("SELECT current_database()")
    ends = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    await asyncio.to_thread(scene.postgres.execute, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false", ends)
    scene.system.put("news")
    await scene.until(service, "presenter_write_failures_total", reason="database_unavailable")
    assert {reply.status for reply in await scene.asked(service)} == {503}
    await scene.record(service)


@fires("NotReady", "TypeFails")
async def the_rules_are_forbidden(scene: Scene) -> None:
    scene.system.sandbox.faults.refuse(403, resource="roles.rbac.authorization.k8s.io")
    service = await scene.system.start()
    await scene.until(service, "presenter_lease_held")
    del scene.recordings[:-1]  # that somebody began to lead is no change of leaders
    await scene.until(service, "presenter_cache_state", resource="roles", state="forbidden")


@fires("TypeFails")
async def a_type_is_refused(scene: Scene) -> None:
    scene.system.sandbox.faults.refuse(500, resource=PANELS)
    service = await scene.system.start()
    await scene.until(service, "presenter_lease_held")
    del scene.recordings[:-1]
    await scene.until(service, "presenter_cache_state", resource="panels", state="error")
    async with scene.sql() as sql:
        await eventually(partial(sql.fetchval, LATER), bool)
    await scene.until(service, "presenter_ready")


@fires("ClusterNotReady", "WithoutLeader")
async def another_cluster_joins_and_nobody_watches_it(scene: Scene) -> None:
    service = await scene.running()
    async with scene.sql() as sql:
        await sql.execute(
            "INSERT INTO clusters (name, uid, watch, secret_data) VALUES ('west', 'uid', '{pods}', false)"
        )
    west = ("presenter_cluster_ready", (("cluster", "west"),))
    await eventually(partial(scene.record, service), lambda recorded: west in recorded.values)


@fires("WithoutLeader", "TypeStale", "TypeFails", "RulesStale")
async def nobody_watches(scene: Scene) -> None:
    watching = await (await scene.system.start("watch")).ready()
    serving = await scene.running("serve")
    assert await watching.process.stop() == 0
    async with scene.sql() as sql:
        await sql.execute(AGED)  # instead of waiting so long
    await scene.aged(serving)


@fires("LeaderChanges")
async def the_lease_moves(scene: Scene) -> None:
    service = await scene.running()
    async with scene.sql() as sql:
        await sql.execute("UPDATE leases SET epoch = epoch + 1, expires_at = clock_timestamp()")
    await service.process.line('another process leads"')
    await scene.until(service, "presenter_leader")
    await scene.until(service, "presenter_lease_held")


@fires("TypeStale", "TypeFails")
async def one_watch_hangs(scene: Scene) -> None:
    service = await scene.running()
    scene.system.put("news")
    await scene.system.in_sync(service, PANELS)  # that it has gone over from its list to the watch is news as well
    scene.system.sandbox.faults.drop_events(resource=PANELS)
    async with scene.sql() as sql:
        await sql.execute(f"{AGED} WHERE type_id = (SELECT id FROM resource_types WHERE resource = 'panels')")
    await scene.aged(service)


@fires("Repairs")
async def an_event_is_lost(scene: Scene) -> None:
    service = await scene.running(RECONCILE_INTERVAL="1s")
    async with scene.sql() as sql:
        await sql.execute("DELETE FROM resources WHERE raw ->> 'kind' = 'Panel'")
    await scene.until(service, "presenter_cache_repairs_total")


@fires("Sanitised")
async def an_object_cannot_be_stored(scene: Scene) -> None:
    service = await scene.running()
    scene.system.put("poison", title="\0")
    await scene.until(service, "presenter_cache_sanitised_total")


@fires("WritesFail", perhaps=["WithoutLeader"])  # whose lease it cannot renew
async def the_database_is_read_only(scene: Scene) -> None:
    service = await scene.running()
    async with scene.sql() as sql:
        name = await sql.fetchval("SELECT current_database()")
        await sql.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await sql.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    scene.system.put("news")
    await scene.until(service, "presenter_write_failures_total", reason="database_unavailable")
    await scene.until(service, "presenter_database_up")  # on a new connection, as the others were ended


@fires("Slow", "WaitsForConnections")
async def queries_take_long(scene: Scene) -> None:
    service = await scene.running(PAGE_CACHE_BYTES="0")
    waiting = """
        SELECT count(*) FROM pg_stat_activity
        WHERE wait_event_type = 'Lock' AND datname = current_database() AND clock_timestamp() - query_start > '1.5 s'
    """
    async with scene.sql() as sql, scene.sql() as other, asyncio.TaskGroup() as tasks, sql.transaction():
        await sql.execute("LOCK TABLE resources IN ACCESS EXCLUSIVE MODE")
        for _ in range(12):
            tasks.create_task(scene.asked(service, times=1))
        await eventually(partial(other.fetchval, waiting), lambda count: count >= 6)
    await scene.record(service)


@pytest.mark.parametrize("name", SCENES)
async def test_the_alerts_that_fire_are_those_of_the_state(
    scene: Scene, promtool: Promtool, rules: Any, name: str
) -> None:
    play, expected, perhaps = SCENES[name]
    await play(scene)
    series = list(input_series(scene.recordings[0], scene.recordings[-1]))
    promtool.assert_firing(rules, series, expected, perhaps)
    rendered = promtool.rendered(rules, series, expected) if expected else {}
    assert rendered.keys() == expected
    for told in rendered.values():
        assert told.keys() == {"summary", "description", "runbook_url"}
        for text in told.values():
            assert "<" not in text, "what a template cannot render"


def test_every_alert_has_a_scene(rules: Any) -> None:
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    assert alerts == set().union(*(expected for _, expected, _ in SCENES.values()))
