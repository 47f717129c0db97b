"""`presenter status` tells how the cache stands and starts nothing; `presenter forget` removes what nobody watches."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from presenter.cache.lease import Lease
from presenter.cache.pool import Address, Pool
from presenter.cache.writer import Writer
from presenter.resource import Object, ResourceType, Watch
from tests.e2e.processes import PATIENCE, PRESENTER, Process, working_in
from tests.e2e.system import PANELS, Launch, System, Variables, variables_of
from tests.eventually import eventually
from tests.objects import make_object
from tests.servers import Postgres

GROUP = "widgets.templates.krateo.io"
PANEL_TYPE = ResourceType(GROUP, "v1beta1", "panels", "Panel", True, ("v1beta1",))
BUTTON_TYPE = ResourceType(GROUP, "v1beta1", "buttons", "Button", True, ("v1beta1",))
CTRL_C = signal.SIGINT


async def cached(pool: Pool, cluster: str = "test", namespaces: tuple[str, ...] = ("",)) -> list[Watch]:
    """Three panels of a cluster, in a cache that is complete."""
    writer = Writer(pool, cluster)
    await writer.open_cluster(f"uid-of-{cluster}", ["*.*.krateo.io"])
    watches = await writer.declare(PANEL_TYPE, namespaces)
    for watch in watches:
        await writer.begin_list(watch)
        await writer.list_page(watch, _panels(watch.namespace or "default"))
        await writer.finish_list(watch, "77")
    await writer.discovered()
    return watches


def _panels(namespace: str) -> list[Object]:
    return [make_object(f"panel-{number}", namespace) for number in range(3)]


async def ended(launch: Launch, *arguments: str, **variables: str) -> Process:
    """A command that ends by itself, and well."""
    process = await launch(*arguments, **variables)
    assert await process.ended() == 0, process.log()
    return process


async def refused(launch: Launch, *arguments: str, **variables: str) -> str:
    """What a command says that ends with 1: one line, and nothing else."""
    process = await launch(*arguments, **variables)
    assert await process.ended() == 1, process.log()
    assert process.out == []
    [line] = process.err
    return line.removeprefix("presenter: ")


def rows(lines: list[str]) -> list[list[str]]:
    """The words of a table's lines."""
    return [line.split() for line in lines]


# -- what it tells ---------------------------------------------------------------------------------------------------


async def test_it_tells_who_watches_what_and_how_far_it_is(system: System) -> None:
    watching = await system.start("watch", CLUSTER_NAME="prod")
    await watching.ready()
    system.put("mine", title="new")
    panels = len(system.served(PANELS))

    async def table() -> list[str]:
        return (await ended(system.launch, "status", **system.variables)).out

    def arrived(lines: list[str]) -> bool:
        return any(row[:3] == [PANELS, "live", str(panels)] for row in rows(lines))

    title, header, *lines = await eventually(table, arrived)
    assert re.fullmatch(r"cluster prod: \S+ leads \(epoch 1, lease for \d+s\)", title)
    assert " ".join(header.split()) == "TYPE STATE OBJECTS LAG CHECKPOINT EVENTS LISTS REPAIRS SANITISED MESSAGE"
    [panel] = [row for row in rows(lines) if row[0] == PANELS]
    assert re.fullmatch(r"\d+[sm]", panel[3])
    assert panel[5:] == ["1", "1", "0", "0"]
    assert {row[1] for row in rows(lines)} == {"live"}

    assert await watching.process.stop() == 0
    assert (await table())[0].startswith("cluster prod: nobody leads; the last was ")


async def test_as_json_it_tells_what_readyz_tells(system: System, pool: Pool) -> None:
    await cached(pool, namespaces=("team-a", "team-b"))
    [line] = (await ended(system.launch, "status", "--json", **system.variables)).out
    told = json.loads(line)
    serving = await system.start("serve")
    told_by_service = (await serving.get("/readyz")).json
    assert [type["namespace"] for type in told["types"]] == ["team-a", "team-b"]
    assert [type.pop("lag_seconds") >= 0 for type in told["types"] + told_by_service["types"]] == [True] * 4
    assert told == told_by_service


async def test_the_worst_comes_first_with_its_message(system: System, pool: Pool) -> None:
    panels, *_ = await cached(pool, namespaces=("team-a", "team-b"))
    writer = Writer(pool, "test")
    await writer.set_state(panels, "forbidden", "may not list panels")
    await writer.declare(BUTTON_TYPE)
    _, header, *lines = (await ended(system.launch, "status", **system.variables)).out
    assert header.split()[:2] == ["TYPE", "NAMESPACE"]
    buttons, denied, live = rows(lines)
    assert buttons == [BUTTON_TYPE.name, "pending", "0", "-", "-", "0", "0", "0", "0"]
    assert (denied[:4], denied[-4:]) == ([PANELS, "team-a", "forbidden", "3"], ["may", "not", "list", "panels"])
    assert live[:4] == [PANELS, "team-b", "live", "3"]


async def test_a_database_nobody_has_watched_into(presenter: Launch, database: Address) -> None:
    process = await ended(presenter, "status", **variables_of(database))
    assert process.out == ["No cluster has been watched yet."]


async def test_on_a_narrow_terminal_it_tells_less_and_in_colour(database: Address, pool: Pool, home: Path) -> None:
    await cached(pool)
    for columns, figures in ((80, 2), (160, 7)):
        shown = await _on_a_terminal("status", columns=columns, home=home, **variables_of(database))
        assert "\x1b[32mlive" in shown
        plain = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
        assert len(plain[1].split()) == 3 + figures
        assert plain[2].split()[:3] == [PANELS, "live", "3"]


async def _on_a_terminal(*arguments: str, columns: int, home: Path, **variables: str) -> str:
    ours, theirs = pty.openpty()
    environment = {"PATH": os.defpath, "HOME": str(home), "COLUMNS": str(columns), "TERM": "xterm", **variables}
    process = await asyncio.create_subprocess_exec(PRESENTER, *arguments, stdout=theirs, env=environment, cwd=home)
    os.close(theirs)
    assert await process.wait() == 0
    shown = await asyncio.to_thread(os.read, ours, 65_536)
    os.close(ours)
    return shown.decode()


# -- --watch ---------------------------------------------------------------------------------------------------------


async def test_watching_it_shows_what_changes_until_ctrl_c(presenter: Launch, database: Address, pool: Pool) -> None:
    [watch] = await cached(pool)
    process = await presenter("status", "--watch", **variables_of(database))
    await process.line(rf"^{PANELS} +live +3 ")
    await Writer(pool, "test").set_state(watch, "error", "connection refused")
    await process.line(rf"^{PANELS} +error +3 .*connection refused")
    assert await process.stop(CTRL_C) == 0
    assert process.err == []


@pytest.mark.parametrize("flag", ["--watch", "-w"])
async def test_watching_it_goes_on_when_the_database_is_away(presenter: Launch, postgres: Postgres, flag: str) -> None:
    address = await asyncio.to_thread(postgres.create, "away", "template")
    process = await presenter("status", flag, "--json", **variables_of(address))
    await process.line('^{"ready":false,"reason":"unwatched","database":"ok"')
    await asyncio.to_thread(postgres.drop, "away")
    await process.line('^{"ready":false,"reason":"database","database":"PostgreSQL cannot be used: ')
    await asyncio.to_thread(postgres.create, "away", "template")
    seen = len(process.out)
    async with asyncio.timeout(PATIENCE):
        await eventually(lambda: _later(process, seen), lambda later: '"database":"ok"' in "".join(later))
    assert await process.stop(CTRL_C) == 0
    await asyncio.to_thread(postgres.drop, "away")


async def _later(process: Process, seen: int) -> list[str]:
    return process.out[seen:]


# -- what it leaves alone --------------------------------------------------------------------------------------------


async def test_it_neither_migrates_nor_starts_anything(
    presenter: Launch, empty_database: Address, postgres: Postgres, home: Path
) -> None:
    assert "run `presenter migrate`" in await refused(presenter, "status", **variables_of(empty_database))
    pool = await Pool.open(empty_database, size=1, command_timeout=30)
    async with pool.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    await pool.close()

    nowhere = await refused(presenter, "status", DATA_DIR=str(home / "data"))
    assert nowhere == (
        f"DB_HOST is not set, and no embedded PostgreSQL runs under {home / 'data'} (DATA_DIR): "
        "set DB_HOST, or start it first"
    )
    assert "no embedded PostgreSQL runs under " in await refused(presenter, "status")
    assert not (home / "data").exists()
    assert not (home / ".local").exists()


async def test_it_asks_the_embedded_postgresql_that_runs(presenter: Launch, home: Path) -> None:
    data = home / "data"
    demo = await presenter("demo", "--port", "0", "--objects", "20", "--data-dir", str(data))
    await demo.line("Ctrl-C stops everything")
    embedded = {"DATA_DIR": str(data / "postgresql")}
    process = await ended(presenter, "status", **embedded)
    assert process.out[0].startswith("cluster sandbox: ")
    assert await demo.stop(CTRL_C) == 0
    assert "no embedded PostgreSQL runs" in await refused(presenter, "status", **embedded)
    assert working_in(data) == []


async def test_a_database_that_is_away_is_told_in_one_line(presenter: Launch) -> None:
    message = await refused(presenter, "status", DB_HOST="127.0.0.1", DB_PORT="1")
    assert message.startswith("PostgreSQL cannot be used: ")


# -- forget ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def led(pool: Pool, cluster: str) -> AsyncIterator[None]:
    """While somebody holds a cluster's lease, and then gives it back."""
    leading = asyncio.Event()

    async def work(epoch: int) -> None:
        assert epoch
        leading.set()
        await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(Lease(pool, cluster, "somebody/1").lead(work))
    await leading.wait()
    yield
    task.cancel()
    await asyncio.wait((task,))


async def rows_of(pool: Pool, cluster: str) -> dict[str, int]:
    """How many rows each table has of a cluster."""
    counts = {
        "resources": "SELECT count(*) FROM resources WHERE cluster = $1",
        "types": "SELECT count(*) FROM resource_types WHERE cluster = $1",
        "watches": "SELECT count(*) FROM watches w JOIN resource_types t ON t.id = w.type_id WHERE t.cluster = $1",
        "clusters": "SELECT count(*) FROM clusters WHERE name = $1",
    }
    async with pool.connection() as connection:
        return {name: await connection.fetchval(statement, cluster) for name, statement in counts.items()}


async def test_a_cluster_is_forgotten_when_nobody_watches_it(presenter: Launch, database: Address, pool: Pool) -> None:
    variables: Variables = variables_of(database)
    for cluster in ("old", "other"):
        await cached(pool, cluster)
    before = await rows_of(pool, "old")
    async with led(pool, "old"):
        message = await refused(presenter, "forget", "old", **variables)
        assert message == "cluster old is being watched by somebody/1: stop that first"
        assert await rows_of(pool, "old") == before
    kept = await rows_of(pool, "other")
    process = await ended(presenter, "forget", "old", **variables)
    assert process.out == ["cluster old is forgotten, with 3 objects"]
    assert set((await rows_of(pool, "old")).values()) == {0}
    assert await rows_of(pool, "other") == kept
    assert await refused(presenter, "forget", "old", **variables) == "there is no cluster old: the clusters are other"

    async with led(pool, "old"), pool.connection() as connection:  # it may come back, under an epoch of its own
        assert await connection.fetchval("SELECT epoch FROM leases WHERE cluster = 'old'") > 1
    await cached(pool, "old")
    assert (await rows_of(pool, "old"))["resources"] == 3
    assert (await ended(presenter, "forget", "old", **variables)).out == ["cluster old is forgotten, with 3 objects"]


async def test_who_serves_hears_of_it(system: System, pool: Pool) -> None:
    await cached(pool, "old")
    serving = await system.start("serve")
    names: list[Any] = [cluster["name"] for cluster in (await serving.get("/readyz")).json["clusters"]]
    assert names == ["old"]
    await ended(system.launch, "forget", "old", **system.variables)
    reply = await eventually(
        lambda: serving.get("/resources", group=GROUP, namespace="*"),
        lambda reply: "no cluster has been watched yet" in reply.json.get("message", ""),
    )
    assert reply.status == 503


async def test_what_cannot_be_forgotten_says_why(presenter: Launch, empty_database: Address) -> None:
    message = await refused(presenter, "forget", "any", DB_HOST="127.0.0.1", DB_PORT="1")
    assert message.startswith("PostgreSQL cannot be used: ")
    assert "run `presenter migrate`" in await refused(presenter, "forget", "any", **variables_of(empty_database))
