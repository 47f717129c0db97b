"""Whether the process lives, whether it can be asked, and what it counts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from presenter.api.health import AT_ONCE, HELD
from presenter.cache.catalog_reader import EXPIRES_AFTER
from presenter.cache.pool import Address, Pool
from presenter.cache.report import SHOWN
from presenter.cache.writer import Writer
from presenter.config import MetricsSettings
from presenter.resource import State
from tests.api.service import Reply, Service, serving
from tests.api.world import BUTTONS, PANELS, THEMES, WIDGETS, first_list
from tests.eventually import PATIENCE, eventually
from tests.rules import Rules
from tests.servers import Postgres


def report(answer: Reply, code: int) -> Any:
    assert answer.code == code
    assert answer.headers["Content-Type"] == "application/json"
    assert ("Retry-After" in answer.headers) is (code == 503)
    assert answer.json["ready"] is (code == 200)
    return answer.json


async def ready(service: Service, code: int, wanted: Callable[[Any], bool] = lambda _: True) -> Any:
    """What /readyz says, once that is as wanted."""
    answer = await eventually(
        partial(service.send, "GET", "/readyz"), lambda answer: answer.code == code and wanted(answer.json)
    )
    return report(answer, code)


def waits_for(*waiting: str) -> Callable[[Any], bool]:
    """Whether these are the first lists that are waited for."""
    return lambda told: told["waiting"] == list(waiting)


async def test_it_is_ready_once_every_first_list_is_complete(service: Service, writer: Writer) -> None:
    assert (await service.send("GET", "/livez")).code == 200
    nothing = await ready(service, 503)
    assert (nothing["reason"], nothing["clusters"], nothing["waiting"], nothing["types"]) == ("unwatched", [], [], [])

    await writer.open_cluster("uid", ["*.*.krateo.io"])
    [panels] = await writer.declare(PANELS)
    teams = await writer.declare(BUTTONS, ["team-a", "team-b"])
    two = (
        f"buttons.{WIDGETS} in cluster test is not complete yet: namespace team-a: pending; namespace team-b: pending",
        f"panels.{WIDGETS} in cluster test is not complete yet: pending",
    )
    assert (await ready(service, 503, waits_for(*two)))["reason"] == "listing"

    await first_list(writer, panels)
    await first_list(writer, teams[0])
    await writer.set_state(teams[1], "forbidden", "may not list buttons")
    refused = (
        f"buttons.{WIDGETS} in cluster test is not complete yet: namespace team-b: forbidden (may not list buttons)"
    )
    await ready(service, 503, waits_for(refused))

    await first_list(writer, teams[1])
    undiscovered = await ready(service, 503, waits_for())
    assert [(cluster["discovered"], cluster["types"]) for cluster in undiscovered["clusters"]] == [(False, 2)]

    await writer.discovered()
    done = await ready(service, 200)
    assert (done["reason"], done["database"], done["waiting"], done["omitted"]) == ("ok", "ok", [], 0)
    assert done["clusters"] == [
        {"name": "test", "ready": True, "discovered": True, "types": 2, "objects": 0, "lease": None}
    ]

    await writer.begin_list(panels)  # a list that is read again takes nothing away
    await ready(service, 200, lambda told: "syncing" in {type["state"] for type in told["types"]})
    await writer.declare(THEMES)
    # nor does a type that comes later: the others can be asked for
    [late] = (await ready(service, 200, lambda told: told["waiting"]))["waiting"]
    assert late.startswith(f"themes.{WIDGETS} ")

    await writer.open_cluster("another", ["*.*.krateo.io"])
    await ready(service, 503)


_FIGURES = """
UPDATE watches SET last_event_at = clock_timestamp() - $3 * interval '1 s',
    objects = $4, events = $5, lists = $6, repairs = $7, sanitised = $8
WHERE type_id = $1 AND namespace = $2
"""


def figures(number: int) -> dict[str, int]:
    return {name: number + more for more, name in enumerate(("objects", "events", "lists", "repairs", "sanitised"))}


async def watched(writer: Writer, pool: Pool) -> None:
    """Panels as one watch, and buttons as one for each of two namespaces, with figures that all differ."""
    await writer.open_cluster("uid", ["*.*.krateo.io"])
    [panels] = await writer.declare(PANELS)
    teams = await writer.declare(BUTTONS, ["team-a", "team-b"])
    for watch in (panels, *teams):
        await first_list(writer, watch, resource_version="77")
    await writer.discovered()
    await writer.set_state(teams[1], "error", "connection refused")
    async with pool.connection() as connection:
        for number, watch in zip((300, 200, 100), (panels, *teams), strict=True):
            await connection.execute(_FIGURES, watch.type_id, watch.namespace, number, *figures(number).values())
        await connection.execute(
            "INSERT INTO leases VALUES ('test', 7, 'presenter-0/1', clock_timestamp() + interval '1 hour')"
        )


async def test_it_tells_how_each_watch_stands_the_worst_first(service: Service, writer: Writer, pool: Pool) -> None:
    await watched(writer, pool)
    told = await ready(
        service, 200, lambda told: told["clusters"][0]["objects"] == 600 and told["clusters"][0]["lease"]
    )
    assert told["clusters"] == [
        {
            "name": "test",
            "ready": True,
            "discovered": True,
            "types": 2,
            "objects": 600,
            "lease": {"holder": "presenter-0/1", "epoch": 7, "held": True},
        }
    ]
    lags = [type.pop("lag_seconds") for type in told["types"]]
    assert [lag // 50 for lag in lags] == [2, 4, 6]
    failing = {"state": "error", "message": "connection refused"}
    stalled = {"state": "stalled", "message": ""}
    assert told["types"] == [
        {"cluster": "test", "checkpoint": "77", "synced": True, **type}
        for type in (
            {"type": BUTTONS.name, "namespace": "team-b", **failing, **figures(100)},
            {"type": BUTTONS.name, "namespace": "team-a", **stalled, **figures(200)},
            {"type": PANELS.name, **stalled, **figures(300)},
        )
    ]
    async with pool.connection() as connection:
        await connection.execute("UPDATE leases SET expires_at = clock_timestamp()")
    await ready(service, 200, lambda told: told["clusters"][0]["lease"]["held"] is False)


async def test_it_does_not_tell_of_very_many_watches(service: Service, writer: Writer) -> None:
    await writer.open_cluster("uid", ["*.*.krateo.io"])
    [panels] = await writer.declare(PANELS)
    await first_list(writer, panels)
    await writer.declare(BUTTONS, [f"team-{number}" for number in range(SHOWN + 7)])
    told = await ready(service, 503, lambda told: told["omitted"] == 8)
    assert len(told["types"]) == SHOWN
    assert {type["type"] for type in told["types"]} == {BUTTONS.name}, "what is waited for comes first"
    assert {type["lag_seconds"] for type in told["types"]} == {None}


async def test_a_schema_that_is_behind(service: Service, pool: Pool) -> None:
    async with pool.connection() as connection:
        await connection.execute("UPDATE alembic_version SET version_num = '0000'")
    told = await ready(service, 503, lambda told: told["reason"] == "schema")
    assert "run `presenter migrate`" in told["database"]


async def test_a_database_that_is_away(postgres: Postgres) -> None:
    address = await asyncio.to_thread(postgres.create, "away", "template")
    async with serving(address) as service:
        assert (await ready(service, 503))["database"] == "ok"
        await asyncio.to_thread(postgres.drop, "away")
        told = await ready(service, 503, lambda told: told["reason"] == "database")
        assert "PostgreSQL cannot be used" in told["database"]
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
    """The values of a metric by the values of its labels, which are in the order of their names."""
    answer = await service.send("GET", "/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    return {
        tuple(sample.labels[label] for label in sorted(sample.labels)): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
        if sample.name == name
    }


async def measured(
    service: Service, name: str, values: dict[tuple[str, ...], float], patience: float = PATIENCE
) -> None:
    """Wait until a metric has these values."""
    await eventually(partial(samples, service, name), values.__eq__, patience)


@pytest.mark.parametrize("serve", [True, False])
async def test_the_cache_is_measured(database: Address, writer: Writer, pool: Pool, serve: bool) -> None:
    await watched(writer, pool)
    panels, buttons_a, buttons_b = (
        ("test", WIDGETS, "", "panels"),
        ("test", WIDGETS, "team-a", "buttons"),
        ("test", WIDGETS, "team-b", "buttons"),
    )
    async with serving(database, serve=serve) as service:
        assert await samples(service, "presenter_database_up") == {(): 1}
        for figure, more in {"objects": 0, "events_total": 1, "lists_total": 2, "repairs_total": 3}.items():
            found = await samples(service, f"presenter_cache_{figure}")
            assert found == {panels: 300 + more, buttons_a: 200 + more, buttons_b: 100 + more}
        assert (await samples(service, "presenter_cache_sanitised_total"))[panels] == 304
        lags = await samples(service, "presenter_cache_lag_seconds")
        assert [lags[watch] // 50 for watch in (panels, buttons_a, buttons_b)] == [6, 4, 2]
        states = await samples(service, "presenter_cache_state")
        assert len(states) == 3 * len(get_args(State))
        assert {labels for labels, value in states.items() if value} == {
            (*panels, "stalled"),
            (*buttons_a, "stalled"),
            (*buttons_b, "error"),
        }
        assert await samples(service, "presenter_lease_held") == {("test",): 1}
        assert await samples(service, "presenter_lease_epoch") == {("test",): 7}


async def test_what_was_never_heard_of_has_no_lag(service: Service, writer: Writer) -> None:
    await writer.open_cluster("uid", ["*.*.krateo.io"])
    await writer.declare(PANELS)
    await measured(service, "presenter_cache_objects", {("test", WIDGETS, "", "panels"): 0})
    assert await samples(service, "presenter_cache_lag_seconds") == {}
    assert await samples(service, "presenter_lease_held") == {("test",): 0}


async def test_every_metric_is_described_and_none_is_given_twice(service: Service, writer: Writer, pool: Pool) -> None:
    await watched(writer, pool)
    text = (await service.send("GET", "/metrics")).body.decode()
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    assert all(family.documentation for family in families)


async def test_without_a_database_the_process_is_still_measured(postgres: Postgres) -> None:
    address = await asyncio.to_thread(postgres.create, "unmeasured", "template")
    async with serving(address) as service:
        assert await samples(service, "presenter_database_up") == {(): 1}
        await asyncio.to_thread(postgres.drop, "unmeasured")
        await measured(service, "presenter_database_up", {(): 0})
        assert await samples(service, "presenter_lease_held") == {}
        assert await samples(service, "process_resident_memory_bytes")


async def test_a_database_that_does_not_answer_holds_no_scrape_up(database: Address, pool: Pool) -> None:
    async with serving(database, query_timeout=timedelta(seconds=1)) as service:
        async with pool.connection() as connection, connection.transaction():
            await connection.execute("LOCK TABLE watches")
            await measured(service, "presenter_database_up", {(): 0})
            assert await samples(service, "process_resident_memory_bytes")
        await measured(service, "presenter_database_up", {(): 1})


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


# -- who is told -------------------------------------------------------------------------------------------------------

TOKEN = "a token for scrapes only"
SECRET = MetricsSettings(METRICS_TOKEN=SecretStr(TOKEN))
TOLD_TO_ANYBODY = {"presenter_database_up", "presenter_ready"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def metrics_of(reply: Reply) -> set[str]:
    return {family.name for family in text_string_to_metric_families(reply.body.decode())}


@pytest.mark.parametrize("metrics", [MetricsSettings(), SECRET], ids=["no token is set", "a token is set"])
async def test_anybody_is_told_yes_or_no(
    database: Address, writer: Writer, pool: Pool, metrics: MetricsSettings
) -> None:
    async with serving(database, metrics=metrics) as service:
        assert (await service.send("GET", "/readyz")).json == {"ready": False, "reason": "unwatched"}
        await watched(writer, pool)
        standing = await eventually(partial(service.send, "GET", "/readyz"), lambda reply: reply.code == 200)
        assert standing.json == {"ready": True, "reason": "ok"}
        scraped = await service.send("GET", "/metrics")
        assert metrics_of(scraped) == TOLD_TO_ANYBODY
        assert b"presenter_ready 1.0" in scraped.body
    async with serving(database, metrics=MetricsSettings(ANONYMOUS_METRICS=True)) as service:
        assert (await service.send("GET", "/readyz")).json["types"]
        assert metrics_of(await service.send("GET", "/metrics")) > TOLD_TO_ANYBODY


async def test_who_has_the_token_is_told_everything(database: Address, writer: Writer, pool: Pool) -> None:
    await watched(writer, pool)
    async with serving(database, metrics=SECRET) as service:
        assert (await service.send("GET", "/readyz", headers=bearer(TOKEN))).json["types"]
        assert metrics_of(await service.send("GET", "/metrics", headers=bearer(TOKEN))) > TOLD_TO_ANYBODY
        for wrong in (bearer(TOKEN + "x"), bearer(""), service.authorization, {"Authorization": f"Basic {TOKEN}"}):
            for path in ("/readyz", "/metrics"):
                assert "METRICS_TOKEN" in (await service.send("GET", path, headers=wrong)).failure(401)
    async with serving(database) as service:  # where none is set there is no wrong one
        assert (await service.get("/readyz")).code == 200


async def test_they_take_no_connection_from_those_who_ask_for_resources(
    service: Service, writer: Writer, pool: Pool
) -> None:
    await watched(writer, pool)
    await ready(service, 200)
    async with pool.connection() as connection, connection.transaction():
        await connection.execute("LOCK TABLE watches")
        async with asyncio.timeout(EXPIRES_AFTER):  # a statement may take longer
            replies = await asyncio.gather(*(service.send("GET", path) for path in 25 * ("/readyz", "/metrics")))
    assert {reply.code for reply in replies} == {200}


async def test_a_crowd_of_them_is_slowed_down_and_one_is_not(database: Address) -> None:
    seconds, crowd = 1.5, 40
    async with serving(database, metrics=SECRET) as service, asyncio.timeout(60):
        started = time.monotonic()
        assert (await service.send("GET", "/readyz")).code == 503
        assert time.monotonic() - started < HELD
        answered = 0

        async def ask() -> None:
            nonlocal answered
            while time.monotonic() < started + seconds:
                await service.send("GET", "/metrics")
                answered += 1

        async def scrape() -> None:
            while time.monotonic() < started + seconds:
                assert metrics_of(await service.send("GET", "/metrics", headers=bearer(TOKEN))) > TOLD_TO_ANYBODY

        await asyncio.gather(scrape(), *(ask() for _ in range(crowd)))
        elapsed = time.monotonic() - started
    assert answered <= AT_ONCE * (elapsed + 2) + crowd * (elapsed / HELD + 1), "at full speed it is thousands"
