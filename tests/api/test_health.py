"""Whether the process lives, whether it can be asked, and what it counts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from presenter.cache.pool import Address, Pool
from presenter.cache.writer import Writer
from tests.api.service import Reply, Service, serving
from tests.api.world import BUTTONS, PANELS, THEMES, WIDGETS, first_list
from tests.rules import Rules
from tests.servers import Postgres


def report(answer: Reply, code: int) -> Any:
    assert answer.code == code
    assert answer.headers["Content-Type"] == "application/json"
    assert ("Retry-After" in answer.headers) is (code == 503)
    assert answer.json["ready"] is (code == 200)
    return answer.json


async def ready(service: Service, code: int) -> Any:
    """What /readyz says, to anybody."""
    return report(await service.send("GET", "/readyz"), code)


async def test_it_is_ready_once_every_first_list_is_complete(service: Service, writer: Writer) -> None:
    assert (await service.send("GET", "/livez")).code == 200
    nothing = await ready(service, 503)
    assert (nothing["clusters"], nothing["waiting"]) == ([], [])

    await writer.open_cluster("uid", ["*.*.krateo.io"])
    [panels] = await writer.declare(PANELS)
    teams = await writer.declare(BUTTONS, ["team-a", "team-b"])
    waiting = (await ready(service, 503))["waiting"]
    assert [(each["type"], each["namespace"], each["state"]) for each in waiting] == [
        (f"buttons.{WIDGETS}", "team-a", "pending"),
        (f"buttons.{WIDGETS}", "team-b", "pending"),
        (f"panels.{WIDGETS}", "", "pending"),
    ]

    await first_list(writer, panels)
    await first_list(writer, teams[0])
    await writer.set_state(teams[1], "forbidden", "may not list buttons")
    assert (await ready(service, 503))["waiting"] == [
        {
            "cluster": "test",
            "type": f"buttons.{WIDGETS}",
            "namespace": "team-b",
            "state": "forbidden",
            "error": "may not list buttons",
        }
    ]

    await first_list(writer, teams[1])
    undiscovered = await ready(service, 503)
    assert undiscovered["clusters"] == [{"name": "test", "discovered": False, "types": 2}]

    await writer.discovered()
    done = await ready(service, 200)
    assert done == {
        "ready": True,
        "database": "ok",
        "clusters": [{"name": "test", "discovered": True, "types": 2}],
        "waiting": [],
    }

    await writer.begin_list(panels)  # a list that is read again takes nothing away
    await ready(service, 200)
    await writer.declare(THEMES)
    [late] = (await ready(service, 503))["waiting"]
    assert late["type"] == f"themes.{WIDGETS}"


async def test_a_schema_that_is_behind(service: Service, pool: Pool) -> None:
    async with pool.connection() as connection:
        await connection.execute("UPDATE alembic_version SET version_num = '0000'")
    assert "run `presenter migrate`" in (await ready(service, 503))["database"]


async def test_a_database_that_is_away(postgres: Postgres) -> None:
    address = await asyncio.to_thread(postgres.create, "away", "template")
    async with serving(address) as service:
        assert (await ready(service, 503))["database"] == "ok"
        await asyncio.to_thread(postgres.drop, "away")
        assert "PostgreSQL cannot be used" in (await ready(service, 503))["database"]
        assert (await service.send("GET", "/livez")).code == 200


async def test_a_process_that_does_not_serve_still_tells_its_health(database: Address, writer: Writer) -> None:
    await writer.open_cluster("uid", ["*.*.krateo.io"])
    await writer.discovered()
    async with serving(database, serve=False) as service:
        for path in ("/livez", "/readyz", "/metrics"):
            assert (await service.send("GET", path)).code == 200
        for path in ("/resources", "/resources/test:uid"):
            (await service.get(path)).failure(404)
        (await service.post({"group": WIDGETS})).failure(404)


async def samples(service: Service, name: str) -> dict[tuple[str, ...], float]:
    """The values of a metric by the values of its labels: code, method, path."""
    answer = await service.send("GET", "/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    return {
        tuple(sample.labels[label] for label in sorted(sample.labels)): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
        if sample.name == name
    }


async def test_requests_are_counted_by_route(service: Service, writer: Writer) -> None:
    await writer.open_cluster("uid", ["*.*.krateo.io"])
    await Rules(writer).open_to_everybody()
    await service.page(group="apps")
    await service.page(group="apps", limit=0)
    await service.page(group="apps", limit=1)
    await service.post({})
    await service.detail("test:one")
    await service.detail("test:two")
    await service.get("/one-of-many-paths")
    await service.send("DELETE", "/resources")
    counted = await samples(service, "presenter_http_requests_total")
    assert counted == {
        ("404", "GET", "/resources"): 2,
        ("400", "GET", "/resources"): 1,
        ("400", "POST", "/resources"): 1,
        ("404", "GET", "/resources/{global_uid}"): 2,
        ("404", "GET", "other"): 1,
        ("405", "DELETE", "/resources"): 1,
    }
    timed = await samples(service, "presenter_http_request_duration_seconds_count")
    assert timed[("GET", "/resources")] == 3


async def test_the_process_measures_itself(service: Service) -> None:
    assert (await samples(service, "process_resident_memory_bytes"))[()] > 1_000_000


@pytest.mark.parametrize("name", ["presenter_http_requests_total", "presenter_http_request_duration_seconds_count"])
async def test_two_services_in_one_process_count_for_themselves(database: Address, name: str) -> None:
    async with serving(database) as one, serving(database) as other:
        await one.get("/livez")
        assert await samples(one, name)
        assert await samples(other, name) == {}
