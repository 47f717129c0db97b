"""The whole system on one machine, with real data flowing through every real part of it: `presenter demo`."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shlex
import socket
import sysconfig
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from pydantic import SecretStr
from rich.console import Console

from presenter import app
from presenter.access.identity import token_for
from presenter.cache.pool import Pool
from presenter.cache.writer import Writer
from presenter.commands.database import migrated_database
from presenter.commands.guide import Guide, Login, progress_bar, show, show_progress
from presenter.commands.process import blaming
from presenter.config import ClusterSettings, DatabaseSettings, Settings
from presenter.errors import ConfigError
from presenter.http.server import listen
from presenter.sandbox import Sandbox, fill

ADMIN = ("admin", "system:masters")
DEVELOPER = ("alice", "devs")
TOKEN_TTL = timedelta(hours=12)


async def bring_up(
    settings: Settings, *, port: int | None, objects: int, data_dir: Path | None, kubeconfig: Path | None
) -> None:
    """Bring everything up, tell what to try, and go on until cancelled; then take everything down.

    Raises ConfigError when something it was told to use is not there.
    """
    console = Console(highlight=False)
    key = settings.auth.token_key or SecretStr(secrets.token_hex(32))
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(_listen(console, port, settings.http.port))
        directory = stack.enter_context(_directory(data_dir))
        settings = replace(
            settings,
            auth=settings.auth.model_copy(update={"sign_key": key}),
            database=_private(settings.database, directory / "postgresql"),
        )
        with console.status("Starting PostgreSQL …"):
            address = await stack.enter_async_context(migrated_database(settings.database))
        pool = await stack.enter_async_context(Pool.opened(address, size=2))
        sandbox = None
        if kubeconfig is None:
            sandbox = await stack.enter_async_context(_sandbox(console, directory / "kubeconfig", objects))
            kubeconfig = directory / "kubeconfig"
        cluster = _cluster(settings.cluster, kubeconfig, named="sandbox" if sandbox else None)
        if sandbox is not None:
            await _open_cluster(pool, cluster, sandbox)
        guide = Guide(
            url=f"http://127.0.0.1:{listener.getsockname()[1]}",
            admin=_login(settings, *ADMIN, directory / "token"),
            developer=_login(settings, *DEVELOPER, directory / "token-developer") if sandbox else None,
            hours=TOKEN_TTL.total_seconds() / 3600,
            kubeconfig=kubeconfig,
            cluster_url=sandbox.url if sandbox else None,
            environment=directory / "environment",
        )
        _write_secret(guide.environment, _environment(guide, key, directory))
        async with asyncio.TaskGroup() as tasks:
            settings = replace(settings, cluster=cluster)
            tasks.create_task(
                app.run(settings, contextlib.nullcontext(address), watch=True, serve=True, listener=listener)
            )
            await show_progress(console, pool)
            await show(console, pool, guide)


# -- the parts -------------------------------------------------------------------------------------------------------


def _listen(console: Console, asked: int | None, usual: int) -> socket.socket:
    """A socket on the port of `--port`; without one on PORT, or on a free port where that is taken."""
    if asked is not None:
        return listen(asked, named="--port")
    try:
        return listen(usual)
    except ConfigError:
        console.print(f"Port {usual} is taken: another one is used.")
        return listen(0)


@contextlib.contextmanager
def _directory(data_dir: Path | None) -> Iterator[Path]:
    """The directory for the files of the demo; without one that is named, a temporary one."""
    if data_dir is not None:
        with blaming("--data-dir", data_dir):
            data_dir.mkdir(parents=True, exist_ok=True)
        yield data_dir.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="presenter-demo-", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


def _private(settings: DatabaseSettings, directory: Path) -> DatabaseSettings:
    """The same, with an embedded PostgreSQL in this directory, whatever is configured."""
    return settings.model_copy(update={"host": None, "read_host": (), "read_port": None, "data_dir": directory})


@asynccontextmanager
async def _sandbox(console: Console, kubeconfig: Path, objects: int) -> AsyncIterator[Sandbox]:
    sandbox = Sandbox()
    with progress_bar(console) as progress:
        bar = progress.add_task("Filling the sandbox cluster", total=objects)
        await asyncio.to_thread(
            fill, sandbox.cluster, objects, on_progress=lambda done: progress.update(bar, completed=done)
        )
    async with sandbox:
        sandbox.write_kubeconfig(kubeconfig)
        yield sandbox


def _cluster(settings: ClusterSettings, kubeconfig: Path, named: str | None) -> ClusterSettings:
    return settings.model_copy(update={"kubeconfig": str(kubeconfig), "name": settings.name or named})


async def _open_cluster(pool: Pool, cluster: ClusterSettings, sandbox: Sandbox) -> None:
    """Record whose objects these are: what a kept database has of an earlier sandbox then counts as not listed yet."""
    assert cluster.name is not None  # a sandbox always gets one
    await Writer(pool, cluster.name).open_cluster(sandbox.cluster.uid, cluster.watch)


def _login(settings: Settings, user: str, group: str, file: Path) -> Login:
    """Sign a token and keep it in a file."""
    token = token_for(settings.auth, user, [group], TOKEN_TTL)
    _write_secret(file, token)
    return Login(user, group, token, file)


def _environment(guide: Guide, key: SecretStr, directory: Path) -> str:
    """A file to source in a shell, in which the examples of the documentation then run as they are written."""
    variables = {
        "PRESENTER": guide.url,
        "TOKEN": guide.admin.token,
        "SIGN_KEY": key.get_secret_value(),
        "KUBECONFIG": str(guide.kubeconfig),
        "DATA_DIR": str(directory / "postgresql"),
    }
    lines = [f'export PATH={shlex.quote(sysconfig.get_path("scripts"))}:"$PATH"', "unset DB_HOST"]
    return "\n".join([*lines, *(f"export {name}={shlex.quote(value)}" for name, value in variables.items()), ""])


def _write_secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
