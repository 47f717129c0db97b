"""Where the time of a request goes, and what it came to: in its answer and in the metrics."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from presenter.cache.pool import Address, Pool
from presenter.config import PAGE_CONNECTIONS
from presenter.observability import PHASES
from tests.api.service import Reply, Service, serving
from tests.api.test_guards import filled, locked, waiting
from tests.api.test_health import samples
from tests.api.world import WIDGETS, World
from tests.eventually import eventually

__all__ = ["filled"]  # a fixture

HTTP = "presenter_http_"
PHASE = f"{HTTP}request_phase_seconds_"
on_the_world = pytest.mark.asyncio(loop_scope="session")


def timing(reply: Reply) -> dict[str, float]:
    """The milliseconds of each phase, as the answer tells them."""
    pieces = [piece.split(";dur=") for piece in reply.headers["Server-Timing"].split(", ")]
    return {name: float(milliseconds) for name, milliseconds in pieces}


@on_the_world
async def test_an_answer_tells_where_its_time_went(world: World) -> None:
    one = world.matching(group=WIDGETS)[0]
    for reply in (
        await world.service.page(group=WIDGETS, namespace="*", limit=93),  # which nobody else asks for: it is read
        await world.service.post({"group": WIDGETS, "limit": 93}),
        await world.service.detail(one.global_uid),
    ):
        assert reply.code == 200
        told = timing(reply)
        assert told.keys() == {*PHASES, "total"}
        assert sum(told[phase] for phase in PHASES) <= told["total"] + 0.1, "rounded to hundredths"


@on_the_world
async def test_a_refusal_does_not_tell_how_long_it_took_to_find_out(world: World) -> None:
    for reply in (
        await world.service.page(group="apps"),
        await world.service.detail("test:nothing"),
        await world.service.page(group=WIDGETS, limit=0),
        await world.service.send("GET", "/resources"),
    ):
        assert reply.code >= 400
        assert "Server-Timing" not in reply.headers


async def test_the_wait_for_a_connection_is_told_apart_from_the_query(filled: Address, pool: Pool) -> None:
    async def queued(service: Service) -> float:
        return (await samples(service, "presenter_database_waiting"))[("pages",)]

    async with serving(filled, PAGE_CACHE_BYTES="0") as service:
        small = partial(service.page, group=WIDGETS, name="small")
        await small()
        async with locked(pool):
            first = [asyncio.create_task(small()) for _ in range(PAGE_CONNECTIONS)]
            await eventually(partial(waiting, pool), PAGE_CONNECTIONS.__eq__)
            last = asyncio.create_task(small())
            await eventually(partial(queued, service), bool)
            async with pool.connection() as connection:
                await connection.execute("SELECT pg_sleep(0.3)")
        for reply in await asyncio.gather(*first):
            assert timing(reply)["query"] >= 300
            assert timing(reply)["wait"] < timing(reply)["query"]
        assert timing(await last)["wait"] >= 300
        assert (await samples(service, f"{PHASE}sum"))[("wait",)] >= 0.3
        assert (await samples(service, f"{PHASE}sum"))[("query",)] >= 0.3 * PAGE_CONNECTIONS


async def test_phases_rows_bytes_and_errors_are_counted(filled: Address) -> None:
    async with serving(filled) as service:
        one = await service.page(group=WIDGETS, name="small")
        both = await service.page(group=WIDGETS)
        refused = await service.page(group=WIDGETS, limit=0)
        unknown = await service.send("GET", "/resources")
        for path in ("/readyz", "/metrics"):  # which ask the database, too
            assert "Server-Timing" not in (await service.send("GET", path)).headers
        counted = await samples(service, f"{PHASE}count")
        assert {phase: counted[(phase,)] for phase in PHASES} == {
            "auth": 4,
            "scope": 2,
            "wait": 2,
            "query": 2,
            "serialise": 2,
        }
        assert await samples(service, f"{HTTP}rows_total") == {(): len(one.items) + len(both.items)}
        bodies = sum(len(reply.body) for reply in (one, both, refused, unknown))
        assert (await samples(service, f"{HTTP}response_bytes_total"))[()] > bodies, "and those of the scrapes"
        assert await samples(service, f"{HTTP}errors_total") == {("BadRequest",): 1, ("Unauthorized",): 1}


async def test_what_callers_make_up_makes_no_series(service: Service) -> None:
    async def series() -> set[str]:
        lines = (await service.send("GET", "/metrics")).body.decode().splitlines()
        return {line.rpartition(" ")[0] for line in lines if line.startswith(HTTP)}

    async def ask(number: int) -> None:
        await service.get(f"/path-{number}")
        await service.detail(f"test:{number}")
        await service.page(group=f"group-{number}", resource=f"resource-{number}", **{f"parameter-{number}": 1})
        await service.send(("PROPFIND", "SEARCH", "PURGE", "REPORT")[number], "/resources")
        await service.send(
            "GET", "/resources", headers={"Authorization": f"Bearer {number}", "X-Krateo-TraceId": f"{number}"}
        )

    await ask(0)
    await series()
    before = await series()
    for number in range(1, 4):
        await ask(number)
    assert await series() == before
    assert any('method="other"' in name for name in before)
