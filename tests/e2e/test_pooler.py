"""Pages through a real PgBouncer, as docs/scaling.md sets it up, and through one that does not do."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from presenter.cache.pages import PLANNING
from presenter.cache.pool import Address, Pool
from tests.e2e.system import PANELS, Service, System, variables_of
from tests.eventually import eventually
from tests.pgbouncer import pgbouncer, require_pgbouncer
from tests.servers import Postgres

PAGE = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text()
RECIPE = "\n".join(
    re.findall(r"^    (\w+ = .*)$", PAGE.partition("## PgBouncer\n")[2].partition("\n## ")[0], re.MULTILINE)
)
BY_HAND = re.findall(r"^    ((?:GRANT|ALTER DEFAULT) .*);$", PAGE, re.MULTILINE)
[CREATE] = re.findall(r"^    (CREATE ROLE .*);$", PAGE, re.MULTILINE)
[GIVE] = re.findall(r"^    presenter (migrate --reader \w+)$", PAGE, re.MULTILINE)
ROLE = GIVE.split()[-1]
FEW = "default_pool_size = 2"
QUERY: dict[str, str | int] = {"group": "widgets.templates.krateo.io", "namespace": "*"}


@pytest.fixture(autouse=True)
def role(postgres: Postgres) -> Iterator[str]:
    """Made as the page says. There before a test's database, and after it."""
    postgres.execute(CREATE)
    yield ROLE
    postgres.execute(f"DROP ROLE {ROLE}")


def by(way: Address, user: str = ROLE) -> dict[str, str]:
    """The variables of who serves by this way."""
    host, port = way.hosts.split(":")
    return {"DB_READ_HOST": host, "DB_READ_PORT": port, "DB_USER": user}


async def refused(system: System, command: str, **variables: str) -> str:
    """What a command says that does not start: one line."""
    process = await system.launch(*command.split(), **(system.variables | {"DB_READY_TIMEOUT": "0"} | variables))
    assert await process.ended() in (1, 2), process.log()
    said = [line for line in process.err if '"level": "info"' not in line]
    assert len(said) == 1, process.log()
    return said[0]


async def ask_much(service: Service) -> None:
    """More callers than the pooler has connections, and more kinds of pages than one."""
    queries = [
        {"sort_by": sort, "limit": limit} for sort in ("name", "created_at", "updated_at") for limit in (1, 7, 50)
    ]
    query = {"group": "widgets.templates.krateo.io", "namespace": "*"}
    replies = await asyncio.gather(*(service.get("/resources", **query, **more) for more in queries * 4))
    assert {reply.status for reply in replies} == {200}, [reply.json for reply in replies if reply.status != 200]


async def test_the_recipe_serves_pages(system: System, database: Address, home: Path) -> None:
    require_pgbouncer()
    assert "pool_mode = transaction" in RECIPE
    given = await system.launch(*GIVE.split(), **system.variables)
    assert await given.ended() == 0, given.log()
    await system.start("watch")
    by_session = RECIPE.replace("transaction", "session")
    async with (
        pgbouncer(database, home / "transaction", f"{RECIPE}\n{FEW}") as way,
        pgbouncer(database, home / "session", by_session) as other_way,
    ):
        service, other = [await system.start("serve", **by(each)) for each in (way, other_way)]
        await system.in_sync(await service.ready(), PANELS)
        await ask_much(service)
        await ask_much(await other.ready())
        assert "slow" not in service.process.log() + other.process.log()
        connection = await replace(way, user=ROLE).connect({})
        for name, value in (PLANNING | {"statement_timeout": "10s"}).items():
            assert await connection.fetchval(f"SHOW {name}") == value
        await connection.close()
        assert [await each.process.stop() for each in (service, other)] == [0, 0]


async def test_what_is_granted_by_hand_is_enough(system: System, database: Address, postgres: Postgres) -> None:
    name = variables_of(database)["DB_NAME"]
    connection = await database.connect()
    for grant in BY_HAND:
        await connection.execute(grant.replace("DATABASE resources", f"DATABASE {name}"))
    await connection.close()
    await system.start("watch")
    await system.in_sync(await (await system.start("serve", DB_USER=ROLE)).ready(), PANELS)


async def test_a_process_whose_pages_get_no_connection_is_not_ready(
    system: System, database: Address, postgres: Postgres
) -> None:
    """Though what it needs to tell how it stands has one."""
    name = variables_of(database)["DB_NAME"]
    given = await system.launch(*GIVE.split(), **system.variables)
    assert await given.ended() == 0, given.log()
    await system.start("watch")
    service = await (await system.start("serve", DB_USER=ROLE)).ready()
    await asyncio.to_thread(
        postgres.execute,
        f"ALTER ROLE {ROLE} CONNECTION LIMIT 2",
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}' AND datname = '{name}'",
    )
    async with Pool.opened(database, size=1) as pool, pool.connection() as connection:
        count = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1"
        await eventually(partial(connection.fetchval, count, ROLE), lambda connections: connections == 2)
    await eventually(partial(service.get, "/resources", **QUERY), lambda reply: reply.status == 503)
    await eventually(
        partial(service.get, "/readyz"), lambda reply: (reply.status, reply.json["reason"]) == (503, "database")
    )
    await asyncio.to_thread(postgres.execute, f"ALTER ROLE {ROLE} CONNECTION LIMIT -1")
    await service.ready()  # by itself
    assert (await service.get("/resources", **QUERY)).status == 200


async def test_a_role_without_its_settings_is_told_how_to_get_them(
    system: System, database: Address, home: Path
) -> None:
    require_pgbouncer()
    connection = await database.connect()
    await connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {ROLE}")
    await connection.close()
    # Whether it refuses them or leaves them out in silence.
    for settings in (RECIPE, f"{RECIPE}\nignore_startup_parameters = {', '.join(PLANNING)}, statement_timeout"):
        async with pgbouncer(database, home, settings) as way:
            service = await system.start("serve", **by(way))
            assert (await service.get("/resources", group="core")).status == 503, "no cluster yet, but a database"
            warning = await service.process.line("pages may be slow.*")
            assert "enable_sort = off" in warning.string
            assert f"presenter migrate --reader {ROLE}" in warning.string
            assert await service.process.stop() == 0


async def test_a_pooler_that_keeps_no_prepared_statements_is_refused_at_the_start(
    system: System, database: Address, home: Path
) -> None:
    require_pgbouncer()
    given = await system.launch(*GIVE.split(), **system.variables)
    assert await given.ended() == 0, given.log()
    async with pgbouncer(database, home, "pool_mode = transaction\nmax_prepared_statements = 0") as way:
        message = await refused(system, "serve", **by(way))
        assert message.startswith("presenter: PostgreSQL cannot be used: prepared statement ")
        assert f"the pooler at {way.hosts} (DB_READ_HOST) keeps no prepared statements" in message


async def test_who_watches_or_migrates_is_told_that_this_is_a_pooler(
    system: System, database: Address, home: Path
) -> None:
    require_pgbouncer()
    async with pgbouncer(database, home, RECIPE) as way:
        host, port = way.hosts.split(":")
        there = {"DB_HOST": host, "DB_PORT": port}
        looked = await system.launch("status", **(system.variables | there))
        for message in await asyncio.gather(*(refused(system, command, **there) for command in ("watch", "migrate"))):
            assert (
                f"unsupported startup parameter: jit: {way.hosts} (DB_HOST) is a pooler. Who migrates or watc"
                in message
            )
        assert await looked.ended() == 0, "that only reads"


async def test_a_pooler_is_told_apart_when_it_knows_no_such_database(
    system: System, database: Address, home: Path
) -> None:
    require_pgbouncer()
    async with pgbouncer(database, home, RECIPE) as way:
        message = await refused(system, "serve", **by(way, user="unknown"))
        assert "DB_USER" in message
        assert f"{way.hosts} (DB_READ_HOST)" in message
