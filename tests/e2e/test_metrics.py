"""What `/metrics` tells of a process is what it does."""

from __future__ import annotations

import asyncio
import random
import string
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import Any

import aiohttp
import asyncpg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from presenter.cache.pool import Address
from presenter.commands.workers import supervise
from presenter.errors import ConfigError
from presenter.http.server import listen
from tests.e2e.system import PANELS, Json, Service, System
from tests.eventually import eventually

QUERY: dict[str, str | int] = {"group": "widgets.templates.krateo.io", "resource": "panels", "namespace": "*"}

CLUSTER_ROLES = "clusterroles.rbac.authorization.k8s.io"

Value = Callable[..., float]


async def values(service: Service) -> Value:
    """The sum of a metric's series that have these labels, as told now, on a connection of its own."""
    async with aiohttp.ClientSession() as session, session.get(f"{service.url}/metrics") as response:
        families = list(text_string_to_metric_families(await response.text()))

    def value(name: str, **labels: str) -> float:
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    return value


def cluster_role(name: str) -> Json:
    api_version = "rbac.authorization.k8s.io/v1"
    return {"apiVersion": api_version, "kind": "ClusterRole", "metadata": {"name": name}, "rules": []}


async def until(service: Service, wanted: Callable[[Value], bool]) -> Value:
    """Wait until what is told is as wanted."""
    return await eventually(partial(values, service), wanted)


@asynccontextmanager
async def locked(database: Address) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """While inside, nobody reads or writes objects. Gives a connection on which to look."""
    connection, other = await database.connect(), await database.connect()
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE resources IN ACCESS EXCLUSIVE MODE")
            yield other
    finally:
        await connection.close()
        await other.close()


async def test_what_waits_to_be_written(system: System, database: Address) -> None:
    service = await (await system.start("watch")).ready()
    await until(service, lambda value: value("presenter_ingest_waiting_events") == 0)
    async with locked(database):
        for number in range(20):
            system.put(f"waiting-{number}", text=1000 * "x")
        told = await until(service, lambda value: value("presenter_ingest_waiting_events") == 20)
        assert told("presenter_ingest_waiting_bytes") > 20 * 1000
        events = told("presenter_write_objects_sum", kind="events")
    done = await until(service, lambda value: value("presenter_write_objects_sum", kind="events") == events + 20)
    assert done("presenter_write_seconds_count", kind="events") == done("presenter_write_objects_count", kind="events")
    assert done("presenter_write_objects_count", kind="list") > 0
    assert done("presenter_write_objects_sum", kind="list") >= len(system.served(PANELS)) - 20
    drained = await until(service, lambda value: value("presenter_ingest_waiting_events") == 0)
    assert drained("presenter_ingest_waiting_bytes") == 0


async def test_who_uses_connections_and_who_waits_for_them(system: System, database: Address) -> None:
    assert await (await (await system.start("watch")).ready()).process.stop() == 0
    service = await system.start("serve", PAGE_CACHE_BYTES="0")
    assert (await service.get("/resources", **QUERY)).status == 200
    before = await values(service)
    assert before("presenter_database_connections_max", pool="pages") == 6
    assert before("presenter_database_connections_max", pool="control") == 2
    async with asyncio.TaskGroup() as tasks, locked(database):
        asked = [tasks.create_task(service.get("/resources", **QUERY)) for _ in range(10)]
        await until(
            service,
            lambda value: (
                value("presenter_database_connections_in_use", pool="pages") == 6
                and value("presenter_database_waiting", pool="pages") == 4
            ),
        )
        for task in asked[-2:]:
            task.cancel()
        await until(service, lambda value: value("presenter_database_waiting", pool="pages") == 2)
    after = await until(service, lambda value: value("presenter_database_connections_in_use", pool="pages") == 0)
    assert after("presenter_database_waiting") == 0
    waited = after("presenter_database_wait_seconds_count", pool="pages")
    assert waited >= before("presenter_database_wait_seconds_count", pool="pages") + 8


async def test_who_leads_and_for_how_long(system: System) -> None:
    first = await (await system.start("watch")).ready()
    leading = await until(first, lambda value: value("presenter_leader") == 1)
    assert leading("presenter_lease_held") == leading("presenter_lease_epoch") == 1
    assert 0 < leading("presenter_lease_expires_seconds") <= 8
    second = await system.start("watch")
    await second.process.line("standing by")
    standing_by = await values(second)
    assert standing_by("presenter_leader") == 0
    assert standing_by("presenter_lease_transitions_total") == 1
    assert await first.process.stop() == 0
    taken_over = await until(second, lambda value: value("presenter_lease_transitions_total") == 2)
    assert taken_over("presenter_leader") == 1


@pytest.mark.parametrize(
    ("setting", "holds", "reason"),
    [
        ("default_transaction_read_only = on", nullcontext, "database_unavailable"),
        ("lock_timeout = '50ms'", locked, "database_busy"),
    ],
)
async def test_why_writes_fail(
    system: System,
    database: Address,
    setting: str,
    holds: Callable[[Address], AbstractAsyncContextManager[Any]],
    reason: str,
) -> None:
    connection = await database.connect()
    name = await connection.fetchval("SELECT current_database()")
    service = await (await system.start("watch")).ready()
    assert (await values(service))("presenter_write_failures_total") == 0
    await connection.execute(f"ALTER DATABASE {name} SET {setting}")
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await connection.close()
    async with holds(database):
        system.put("news")
        await until(service, lambda value: value("presenter_write_failures_total", reason=reason) > 0)


async def test_what_postgresql_refuses_is_counted(system: System) -> None:
    service = await (await system.start("watch", WATCH=CLUSTER_ROLES)).ready()
    endless = "".join(random.Random(0).choices(string.ascii_lowercase, k=5000))  # fits in no index
    system.sandbox.cluster.apply(cluster_role(endless))
    told = await until(service, lambda value: value("presenter_cache_sanitised_total", resource="clusterroles") > 0)
    assert told("presenter_write_failures_total", reason="object_refused") == 1


async def test_the_rules_that_are_decided_by(system: System) -> None:
    service = await (await system.start(WATCH="*.rbac.authorization.k8s.io")).ready()
    assert (await service.get("/resources", group="rbac.authorization.k8s.io")).status == 200
    roles = len(system.served(CLUSTER_ROLES))
    told = await until(service, lambda value: value("presenter_rbac_objects", kind="ClusterRole") == roles)
    compiled = told("presenter_rbac_compile_seconds_count")
    assert compiled >= 1
    assert told("presenter_rbac_lag_seconds") < 60
    system.sandbox.cluster.apply(cluster_role("one-more"))

    async def asked() -> Value:
        await service.get("/resources", group="rbac.authorization.k8s.io")
        return await values(service)

    more = await eventually(asked, lambda value: value("presenter_rbac_objects", kind="ClusterRole") == roles + 1)
    assert more("presenter_rbac_compile_seconds_count") > compiled


async def test_what_the_api_server_was_asked(system: System) -> None:
    assert await (await (await system.start("watch")).ready()).process.stop() == 0
    service = await system.start("serve", AUTHORIZER="sar")
    assert (await service.get("/resources", **QUERY)).status == 200
    told = await values(service)
    assert told("presenter_access_review_seconds_count", answer="allowed") >= 1
    system.sandbox.faults.refuse(500, verb="create")
    assert (await service.get("/resources", **QUERY | {"resource": "buttons"})).status == 503
    assert (await values(service))("presenter_access_review_seconds_count", answer="none") >= 1


async def test_each_worker_tells_of_all(system: System) -> None:
    assert await (await (await system.start("watch")).ready()).process.stop() == 0
    service = await system.start("serve --workers 3")
    process = service.process

    async def all_listen(count: int) -> None:
        async def listening() -> int:
            return process.log().count('"event": "listening"')

        await eventually(listening, lambda seen: seen == count)

    def agreed(value: Value) -> bool:
        counted = value("presenter_http_requests_total", path="/resources", code="200")
        return counted == 30 and value("presenter_database_connections_max", pool="pages") == 18

    await all_listen(3)
    for _ in range(30):
        async with aiohttp.ClientSession() as session:
            own = Service(process, service.url, session, service.token)
            assert (await own.get("/resources", limit=1, **QUERY)).status == 200
    for _ in range(12):  # whichever of them answers
        await until(service, agreed)
    process.descendants()[0].kill()
    await all_listen(4)
    for _ in range(12):
        await until(service, agreed)


async def test_workers_say_so_where_they_cannot_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with listen(0) as listener, pytest.raises(ConfigError, match="set TMPDIR"):
        await supervise([listener])
