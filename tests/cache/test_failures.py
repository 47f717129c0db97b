"""What is wrong with a database is told in a line: what PostgreSQL says, which variable to look at, where it leads."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from presenter.cache import migration
from presenter.cache.failures import translated
from presenter.cache.pool import Address
from presenter.config import DatabaseSettings
from presenter.errors import ConfigError, DatabaseUnavailable
from tests.servers import Postgres

HOSTS = (
    "local all guarded scram-sha-256",
    "host all guarded all scram-sha-256",
    "local all all trust",
    "host all all all trust",
)


@pytest.fixture
async def way(postgres: Postgres, database: Address) -> AsyncIterator[dict[str, str]]:
    """The variables of a database that is reached by TCP, whose role `guarded` has the password `right`."""

    def guard() -> None:
        lines = ", ".join(f"('{line}')" for line in HOSTS)
        path = postgres.run(_path_of_rules, postgres.admin)
        postgres.execute(
            f"COPY (VALUES {lines}) TO '{path}'",
            "SELECT pg_reload_conf()",
            "DROP ROLE IF EXISTS guarded",
            "CREATE ROLE guarded LOGIN PASSWORD 'right'",
        )

    await asyncio.to_thread(guard)
    url = urlsplit(database.dsn)
    socket_dir = parse_qs(url.query).get("host")

    passing: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if socket_dir:
            there = await asyncio.open_unix_connection(f"{socket_dir[0]}/.s.PGSQL.5432")
        else:
            there = await asyncio.open_connection(url.hostname, url.port)
        passing.append(asyncio.create_task(_pass_on(reader, there[1])))
        passing.append(asyncio.create_task(_pass_on(there[0], writer)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    name = url.path.removeprefix("/")
    yield {"DB_HOST": host, "DB_PORT": str(port), "DB_NAME": name, "DB_USER": "guarded", "DB_PASS": "right"}
    server.close()
    for task in passing:
        task.cancel()
    await asyncio.gather(*passing, return_exceptions=True)


async def _path_of_rules(address: Address) -> str:
    connection = await address.connect()
    try:
        return str(await connection.fetchval("SHOW hba_file"))
    finally:
        await connection.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


def address(variables: Mapping[str, Any]) -> Address:
    return Address.of(DatabaseSettings(**variables))


@pytest.mark.parametrize(
    ("change", "said", "remedy"),
    [
        ({"DB_HOST": "no-such-host.invalid"}, "", "set DB_HOST to a host whose name can be resolved, it is no-such-h"),
        (
            {"DB_PORT": "1"},
            "Connection refused",
            "set DB_HOST and DB_PORT to where PostgreSQL listens, nothing answers",
        ),
        ({"DB_HOST": "/nowhere"}, "No such file or directory", "set DB_HOST and DB_PORT to where PostgreSQL listens"),
        ({"DB_PASS": "wrong"}, "password authentication failed", "set DB_USER and DB_PASS to what {there} accepts"),
        (
            {"DB_USER": "nobody"},
            'role "nobody" does not exist',
            "set DB_USER, and sslmode in DB_PARAMS, to what {there}",
        ),
        ({"DB_NAME": "nowhere"}, 'database "nowhere" does not exist', "set DB_NAME to a database that {there} has"),
        ({"DB_PARAMS": "sslmode=require"}, "rejected SSL", "let {there} have TLS, or take sslmode out of DB_PARAMS"),
        (
            {"DB_PARAMS": "target_session_attrs=standby"},
            "None of the hosts",
            "set target_session_attrs in DB_PARAMS to",
        ),
    ],
    ids=lambda value: "&".join(value.values()) if isinstance(value, dict) else "",
)
async def test_an_address_that_is_wrong(way: dict[str, str], change: dict[str, str], said: str, remedy: str) -> None:
    with pytest.raises(DatabaseUnavailable) as refused:
        await (await address(way | change).connect()).close()
    where = f"{way['DB_HOST']}:{way['DB_PORT']}"
    told = str(refused.value)
    assert told.startswith("PostgreSQL cannot be used: ")
    assert said in told
    assert remedy.format(where=where, there=f"{where} (DB_HOST)") in told
    assert "\n" not in told
    assert told.startswith(refused.value.message), "who calls the service is told no more than what PostgreSQL said"
    assert "DB_" not in refused.value.message


async def test_an_address_that_is_right(way: dict[str, str]) -> None:
    connection = await address(way).connect()
    assert await connection.fetchval("SELECT current_user") == "guarded"
    await connection.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"DB_HOST": "db:5432"}, "DB_HOST is 'db:5432', which is no host: .* the port into DB_PORT"),
        ({"DB_HOST": "postgres://db/x"}, "DB_HOST is 'postgres://db/x', which is no host"),
        ({"DB_HOST": "a,b"}, "DB_HOST is 'a,b', which is no host"),
        ({"DB_PARAMS": "host=x"}, "DB_PARAMS is not usable: host is set by DB_HOST"),
        (
            {"DB_PARAMS": "sslrootcert=/nowhere/ca"},
            "DB_PARAMS is not usable: sslrootcert is '/nowhere/ca': No such file",
        ),
        ({"DB_PARAMS": "sslmode=sometimes"}, "DB_PARAMS is not usable: `sslmode` parameter must be one of"),
        ({"DB_PARAMS": "statement_timeout=soon"}, 'DB_PARAMS is not usable: .*"statement_timeout": "soon"'),
        ({"DB_PARAMS": "max_connections=3"}, "DB_PARAMS is not usable: .* cannot be changed"),
        ({"DB_PARAMS": "nonsense=1"}, "DB_PARAMS is not usable: .*nonsense"),
    ],
    ids=lambda value: "&".join(value.values()) if isinstance(value, dict) else "",
)
async def test_an_address_that_makes_no_sense(way: dict[str, str], change: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        await address(way | change).connect()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("host", ["::1", "fe80::1", "10.0.0.1", "db", "a_b.example.org", "/run/postgresql"])
def test_what_is_a_host(host: str) -> None:
    assert host in Address.of(DatabaseSettings(DB_HOST=host, DB_USER="somebody")).hosts.replace("[", "").replace(
        "]", ""
    )


def test_a_port_to_read_from_needs_a_host() -> None:
    with pytest.raises(ConfigError, match="DB_READ_PORT is set and DB_READ_HOST is not"):
        Address.for_reading(DatabaseSettings(DB_HOST="db", DB_READ_PORT=5433, DB_USER="somebody"))


async def test_what_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        wrong = {
            "DB_HOST": "127.0.0.1",
            "DB_PORT": str(port),
            "DB_PARAMS": "connect_timeout=0.2",
            "DB_USER": "somebody",
        }
        with pytest.raises(
            DatabaseUnavailable, match=rf"it does not answer in time: set DB_HOST .* 127\.0\.0\.1:{port}$"
        ):
            await address(wrong).connect()


async def test_what_is_no_postgresql() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        wrong = address({"DB_HOST": "127.0.0.1", "DB_PORT": str(port), "DB_USER": "somebody"})
        with pytest.raises(DatabaseUnavailable, match=rf"127\.0\.0\.1:{port}.*") as refused:
            await wrong.connect()
    assert "DB_HOST" in str(refused.value)


async def test_a_role_that_may_not_connect(way: dict[str, str], postgres: Postgres) -> None:
    await asyncio.to_thread(postgres.execute, f"REVOKE CONNECT ON DATABASE {way['DB_NAME']} FROM PUBLIC")
    with pytest.raises(
        DatabaseUnavailable, match=r"let DB_USER connect to DB_NAME at 127.*: GRANT CONNECT, or `presen"
    ):
        await address(way).connect()


async def test_a_role_that_may_not_migrate(way: dict[str, str]) -> None:
    with pytest.raises(DatabaseUnavailable, match=r"permission denied.*\(DB_HOST\) DB_USER has to own") as refused:
        await migration.migrate(address(way))
    assert "\n" not in str(refused.value)


async def test_a_database_of_another_program(empty_database: Address) -> None:
    connection = await empty_database.connect()
    await connection.execute("CREATE TABLE resources (of text)")
    await connection.close()
    with pytest.raises(
        ConfigError, match=r'holds what is not of this program .*"resources".*: set DB_NAME to one of its'
    ):
        await migration.migrate(empty_database)


async def test_a_hint_of_asyncpg_is_no_second_line() -> None:
    error = asyncpg.InvalidSQLStatementNameError('prepared statement "a" does not exist\nHINT:  \nNOTE: pgbouncer …')
    with pytest.raises(DatabaseUnavailable) as told, translated("there"):
        raise error
    assert "\n" not in str(told.value)
    assert "the pooler at there keeps no prepared statements" in str(told.value)
