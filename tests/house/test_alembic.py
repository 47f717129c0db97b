"""`alembic` in a checkout and `presenter migrate` are two ways to the same schema, and exclude each other."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from presenter.cache import migration
from presenter.cache.pool import Address
from presenter.cache.schema import HEAD

COMMANDS = Path(sys.executable).parent
PATIENCE = 60.0


def variables(address: Address) -> dict[str, str]:
    """The DB_* variables that name a database."""
    parts = urlsplit(address.dsn)
    host = parts.hostname or parse_qs(parts.query)["host"][0]
    found = {"DB_HOST": host, "DB_NAME": parts.path.removeprefix("/"), "DB_USER": address.user or "postgres"}
    if parts.port is not None:
        found["DB_PORT"] = str(parts.port)
    if address.password:
        found["DB_PASS"] = address.password
    return found


async def run(command: str, *words: str, cwd: Path, environment: Mapping[str, str]) -> tuple[int | None, str, str]:
    """Run one of our commands with nothing but these variables; its exit code, output and errors."""
    process = await asyncio.create_subprocess_exec(
        COMMANDS / command,
        *words,
        cwd=cwd,
        env={"PATH": os.defpath, "HOME": str(cwd), "PYTHONDONTWRITEBYTECODE": "1", **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def schema_of(address: Address) -> list[tuple[str, ...]]:
    """Columns, indexes and functions, as PostgreSQL describes them."""
    connection = await address.connect()
    try:
        rows = await connection.fetch(
            "SELECT table_name || '.' || column_name, data_type, coalesce(column_default, '') "
            "FROM information_schema.columns WHERE table_schema = 'public' "
            "UNION ALL SELECT indexname, indexdef, '' FROM pg_indexes WHERE schemaname = 'public' "
            "UNION ALL SELECT proname, pg_get_functiondef(oid), '' FROM pg_proc "
            "WHERE pronamespace = 'public'::regnamespace ORDER BY 1, 2"
        )
        return [tuple(row) for row in rows]
    finally:
        await connection.close()


async def test_alembic_and_presenter_started_together_make_one_schema(
    checkout: Path, database: Address, empty_database: Address
) -> None:
    there = variables(empty_database)
    ended = await asyncio.gather(
        run("alembic", "upgrade", "head", cwd=checkout, environment=there),
        run("presenter", "migrate", cwd=checkout, environment=there),
        run("alembic", "upgrade", "head", cwd=checkout, environment=there),
    )
    assert [code for code, _, _ in ended] == [0, 0, 0], ended
    assert await schema_of(empty_database) == await schema_of(database)


async def test_alembic_finds_nothing_to_change(checkout: Path, database: Address) -> None:
    code, out, err = await run("alembic", "check", cwd=checkout, environment=variables(database))
    assert code == 0, err
    assert "No new upgrade operations detected" in out


async def test_the_printed_script_makes_the_schema_under_the_lock(
    checkout: Path, database: Address, empty_database: Address
) -> None:
    code, script, err = await run("alembic", "upgrade", "head", "--sql", cwd=checkout, environment={})
    assert code == 0, err
    assert script.index(migration.LOCK[0]) < script.index("CREATE TABLE clusters")
    connection = await empty_database.connect()
    try:
        for statement in filter(str.strip, script.split(";\n\n")):  # one at a time, as psql sends them
            await connection.execute(statement)
    finally:
        await connection.close()
    assert await schema_of(empty_database) == await schema_of(database)
    assert await migration.migrate(empty_database) == (HEAD, HEAD)


async def test_a_new_revision_gets_the_next_number(checkout: Path, tmp_path: Path, database: Address) -> None:
    shutil.copytree(checkout / "migrations", tmp_path / "migrations")
    shutil.copy(checkout / "alembic.ini", tmp_path)
    words = ("revision", "-m", "add something")
    code, _, err = await run("alembic", *words, cwd=tmp_path, environment=variables(database))
    assert code == 0, err
    assert (tmp_path / "migrations" / "versions" / f"{int(HEAD) + 1:04}_add_something.py").is_file()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "FAILED: DB_HOST is not set"),
        ({"DB_HOST": "127.0.0.1", "DB_PORT": "0"}, "FAILED: DB_PORT is '0'"),
        ({"DB_HOST": "127.0.0.1", "DB_PORT": "1"}, "FAILED: PostgreSQL cannot be used"),
    ],
)
async def test_what_is_wrong_with_the_database_is_one_line(
    checkout: Path, environment: dict[str, str], said: str
) -> None:
    code, out, err = await run("alembic", "upgrade", "head", cwd=checkout, environment=environment)
    assert code not in (0, None)
    (line,) = out.strip().splitlines()
    assert said in line
    assert "Traceback" not in err
