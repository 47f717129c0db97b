"""The PostgreSQL servers tests run on."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar
from unittest.mock import patch

from presenter.cache.pool import Address
from presenter.commands.embedded import EmbeddedPostgres

T = TypeVar("T")

FAST = ("fsync = off", "synchronous_commit = off", "full_page_writes = off")


class Postgres:
    """A server on which tests make databases. Its methods are synchronous: they work in any fixture."""

    def __init__(self, admin: Address) -> None:
        self.admin = admin

    def run(self, action: Callable[[Address], Awaitable[T]], address: Address) -> T:
        """Run an asynchronous action on a loop of its own."""

        async def main() -> T:
            return await action(address)

        with asyncio.Runner() as runner:
            return runner.run(main())

    def execute(self, *statements: str) -> None:
        """Run statements outside any transaction."""

        async def action(address: Address) -> None:
            connection = await address.connect()
            try:
                for statement in statements:
                    await connection.execute(statement)
            finally:
                await connection.close()

        self.run(action, self.admin)

    def address(self, database: str) -> Address:
        """Where a database of this server is."""
        return dataclasses.replace(self.admin, dsn=self.admin.dsn.replace("/postgres", f"/{database}", 1))

    def create(self, database: str, template: str | None = None) -> Address:
        """Make a database, empty or as a copy."""
        self.execute(f"CREATE DATABASE {database}" + (f" TEMPLATE {template}" if template else ""))
        return self.address(database)

    def drop(self, database: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.execute(f"DROP DATABASE {database} WITH (FORCE)")


@contextmanager
def postgres_embedded(variables: Mapping[str, str] = MappingProxyType({})) -> Iterator[Postgres]:
    """The server that ships with the `demo` extra; it runs with further environment variables."""
    with tempfile.TemporaryDirectory(prefix="presenter-test-", ignore_cleanup_errors=True) as directory:
        with asyncio.Runner() as runner, patch.dict(os.environ, variables):
            embedded = runner.run(EmbeddedPostgres.start(Path(directory) / "postgresql"))
        server = Postgres(embedded.address())
        server.execute(*(f"ALTER SYSTEM SET {setting}" for setting in FAST), "SELECT pg_reload_conf()")
        try:
            yield server
        finally:
            with asyncio.Runner() as runner:
                runner.run(embedded.stop())


@contextmanager
def postgres_container() -> Iterator[Postgres]:
    """A PostgreSQL in Docker."""
    from testcontainers.community.postgres import PostgresContainer

    with PostgresContainer("postgres:18-alpine", username="postgres", dbname="postgres", driver=None) as container:
        server = Postgres(
            Address(
                dsn=f"postgresql://{container.get_container_host_ip()}:{container.get_exposed_port(5432)}/postgres",
                user="postgres",
                password=container.password,
            )
        )
        yield server
