"""The real PgBouncer in front of a test's PostgreSQL. Of a machine that lacks one, its tests are skipped."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from presenter.cache.pool import Address
from presenter.errors import DatabaseUnavailable
from tests.eventually import eventually

_OWN = Path(__file__).parents[1] / ".tools" / "bin" / "pgbouncer"


def require_pgbouncer() -> str:
    """Where it is."""
    found = str(_OWN) if _OWN.exists() else shutil.which("pgbouncer")
    if found is None:
        pytest.skip("no PgBouncer: scripts/tools could not get it, and none is on PATH")
    return found


@asynccontextmanager
async def pgbouncer(database: Address, home: Path, settings: str) -> AsyncIterator[Address]:
    """A PgBouncer before a database, with these lines in its configuration. Whoever says a name of a role is let in."""
    program = require_pgbouncer()
    url = urlsplit(database.dsn)
    host = url.hostname or parse_qs(url.query)["host"][0]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    home.mkdir(exist_ok=True)
    (home / "users.txt").write_text('"postgres" ""\n"resources_reader" ""\n"somebody" ""\n')
    (home / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={host} port={url.port or 5432}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {home / 'users.txt'}\n{settings}\n"
    )
    # It does not run as root. Who owns PostgreSQL's socket may look where it is.
    user = ("-u", pwd.getpwuid(Path(host).stat().st_uid).pw_name) if os.geteuid() == 0 and host[0] == "/" else ()
    for directory in (home, home.parent):
        directory.chmod(0o755)
    log = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(program, *user, str(home / "pgbouncer.ini"), stdout=log, stderr=log)
    try:
        name = urlsplit(database.dsn).path
        address = replace(database, dsn=f"postgresql://127.0.0.1:{port}{name}?sslmode=disable")
        await eventually(lambda: _answers(address), bool)
        yield address
    finally:
        process.terminate()
        await process.wait()


async def _answers(address: Address) -> bool:
    try:
        await (await address.connect({})).close()
    except DatabaseUnavailable as error:
        return "refused" not in str(error)
    return True
