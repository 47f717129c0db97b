"""The commands. Each turns its options into settings and calls one thing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
import uvloop

from presenter import logs
from presenter.cache import schema
from presenter.cache.pool import Address, Pool, wait_until_ready
from presenter.config import DatabaseSettings, Settings, parse_duration, variables
from presenter.errors import ConfigError, PresenterError
from presenter.restaction.cli import restaction

cli = typer.Typer(
    name="presenter",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Watch a Kubernetes cluster into PostgreSQL and serve it over HTTP as sorted, filtered pages.

New here? `presenter demo` brings everything up with a sandbox cluster and tells what to try.

Settings are environment variables: `presenter settings` lists them.""",
)
cli.add_typer(restaction)


def main() -> None:
    """Run the command line; what goes wrong is said in one line."""
    try:
        cli(prog_name="presenter")
    except PresenterError as error:
        sys.stderr.write(f"presenter: {' '.join(str(error).split())}\n")
        raise SystemExit(2 if isinstance(error, ConfigError) else 1) from None


@cli.command()
def run() -> None:
    """Watch the cluster and serve its cache, in one process.

    The cluster is the one of KUBECONFIG, or the one this pod runs in. The database is DB_HOST's; without it, an
    embedded PostgreSQL under DATA_DIR. Needs SIGN_KEY.
    """
    _run_service(watch=True, serve=True)


@cli.command()
def watch() -> None:
    """Watch the cluster into the database, without serving it; only /livez, /readyz and /metrics answer on PORT."""
    _run_service(watch=True, serve=False)


@cli.command()
def serve(
    workers: Annotated[int, typer.Option(min=1, help="Number of processes that share the port.")] = 1,
    listener: Annotated[int | None, typer.Option(hidden=True)] = None,
    metrics: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Serve what is in the database, without watching: needs no cluster. Start as many as you like."""
    if workers > 1:
        _run_workers(workers)
    else:
        _run_service(watch=False, serve=True, listener=listener, metrics=metrics)


@cli.command()
def migrate(
    reader: Annotated[
        str | None,
        typer.Option(metavar="ROLE", help="PostgreSQL role of those who only serve: let it read, and no more."),
    ] = None,
) -> None:
    """Bring the database's schema to the one this version works with. Safe to repeat, and to run twice at once.

    The role of `--reader` has to exist. It may read what there is and what later migrations add. It gets the settings
    that pages want, which a pooler does not pass on, too: these only from somebody who may alter that role.
    """
    from presenter.cache import migration  # Alembic takes 27 MB, which those who only watch or serve need not give
    from presenter.cache.reader import grant_reading

    settings = _settings()

    async def action() -> None:
        async with _database(settings) as address:
            await wait_until_ready(address, settings.database.ready_timeout.total_seconds())
            before, after = await migration.migrate(address)
            typer.echo(
                f"schema is at {after}" if before == after else f"schema migrated from {before or 'nothing'} to {after}"
            )
            if reader is not None:
                refused = await grant_reading(address, reader, settings.database.query_timeout)
                typer.echo(f"role {reader} may read it")
                if refused:
                    sys.stderr.write(
                        f"presenter: DB_USER may not give role {reader} the settings that it needs behind a pooler: "
                        f"let an administrator, or that role itself, run {'; '.join(refused)}\n"
                    )

    _until_done(action())


@cli.command()
def token(
    user: Annotated[str, typer.Option(help="Name of the user.")],
    group: Annotated[list[str] | None, typer.Option(help="Group of the user; may be repeated.")] = None,
    ttl: Annotated[str, typer.Option(help="How long the token holds: 90s, 4m, 1h30m.")] = "1h",
) -> None:
    """Print a token (JWT) signed with SIGN_KEY, to try the service with.

    curl -H "Authorization: Bearer $(presenter token --user alice --group devs)" …
    """
    from presenter.access.identity import token_for

    auth = _settings().auth
    try:
        lifetime = parse_duration(ttl)
    except ValueError as error:
        raise ConfigError(f"--ttl is {ttl!r}: {error}") from error
    if not user:
        raise ConfigError("--user is empty: name a user")
    typer.echo(token_for(auth, user, group or [], lifetime))


@cli.command(name="can-i")
def can_i(
    verb: Annotated[Literal["list", "get"], typer.Argument(help="What to do.")],
    resource: Annotated[str, typer.Argument(help="Resource type: panels.widgets.templates.krateo.io, pods.")],
    user: Annotated[str, typer.Option(help="Name of the user.")],
    name: Annotated[str, typer.Argument(help="Name of one object.")] = "",
    group: Annotated[list[str] | None, typer.Option(help="Group of the user; may be repeated.")] = None,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Namespace.")] = "default",
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="In all namespaces at once.")] = False,
    cluster: Annotated[str | None, typer.Option(help="Name of the cluster. Default: each that has the type.")] = None,
) -> None:
    """Tell whether a user may see something, by the RBAC rules in the database, and which binding grants it.

    Ends with 0 when it is allowed, with 1 when it is not.
    """
    from presenter.access.identity import Identity
    from presenter.commands import can_i as question

    if not user:
        raise ConfigError("--user is empty: name a user")
    settings = _settings(quiet=True)
    identity = Identity.of(user, group or ())
    granted = False

    async def action() -> None:
        nonlocal granted
        async with (
            _database(settings) as address,
            Pool.reading(address, "other", 1, timedelta(minutes=1)) as pool,
        ):
            answers = await question.ask(
                pool,
                identity,
                settings.access.list_verb if verb == "list" else verb,
                resource,
                namespace="" if all_namespaces else namespace,
                name=name,
                cluster=cluster,
                max_staleness=settings.access.rbac_max_staleness,
            )
        for answer in answers:
            for line in answer.granted_by or ["no"]:
                typer.echo(f"{answer.cluster}: {line if line == 'no' else f'yes, by {line}'}")
        granted = any(answer.granted_by for answer in answers)

    _until_done(action())
    if not granted:
        raise typer.Exit(1)


@cli.command()
def explain(
    query: Annotated[
        str, typer.Argument(help="Query string, as for GET /resources: 'group=apps&namespace=*&limit=5'.")
    ],
    analyze: Annotated[bool, typer.Option("--analyze", help="Show PostgreSQL's plans: EXPLAIN (ANALYZE).")] = False,
    user: Annotated[str, typer.Option(help="Name of the user. Default: somebody who may see everything.")] = "",
    group: Annotated[list[str] | None, typer.Option(help="Group of the user; may be repeated.")] = None,
) -> None:
    """Tell how a page is read: which indexes are scanned, how far, and why; and the statements, with their values.

    The page is read for that, from the database that pages are served from. A query string with a cursor needs the key
    that signed it.
    """
    if group and not user:
        raise ConfigError("--group is given without --user: name the user, too")
    settings = _settings(quiet=True)
    if user and settings.access.authorizer != "rbac":
        raise ConfigError("AUTHORIZER is sar: who may see what is not in the database, so that --user tells nothing")
    from presenter.access.identity import AUTHENTICATED, Identity
    from presenter.cache.pages import PLANNING
    from presenter.commands import explain as explanation  # takes a second, which the other commands need not wait for

    identity = Identity(user, frozenset(group or ()) | {AUTHENTICATED}) if user else None
    reading = Address.for_reading(settings.database)

    async def action() -> None:
        async with (
            _database(settings) as address,
            Pool.opened(reading or address, size=1, command_timeout=600, **PLANNING) as pool,
        ):
            await schema.check(pool)
            for line in await explanation.explain(pool, settings, query, identity, analyze=analyze):
                typer.echo(line)

    _until_done(action())


@cli.command()
def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look every second, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: one line for each look.")] = False,
) -> None:
    """Tell how the cache stands: who watches which cluster, and how far behind each type is.

    Reads the database, and nothing else. Without DB_HOST that is the embedded PostgreSQL under DATA_DIR, if it runs: it
    is not started. Ends with 0 when the database could be read, whatever it says, and with 1 when not; --watch goes on.
    """
    from presenter.commands import status as standing

    database = _settings(quiet=True).database
    _until_done((standing.follow if watch else standing.show)(partial(_existing_database, database), as_json=as_json))


@cli.command()
def forget(cluster: Annotated[str, typer.Argument(help="Name of the cluster.")]) -> None:
    """Remove a cluster that is no longer watched under this name from the database, with all its objects.

    Refused, with 1, while somebody watches it.
    """
    from presenter.cache.forgetting import forget_cluster

    settings = _settings(quiet=True)

    async def action() -> None:
        async with _database(settings) as address, Pool.opened(address, size=1, command_timeout=3600) as pool:
            await schema.check(pool)
            objects = await forget_cluster(pool, cluster)
        typer.echo(f"cluster {cluster} is forgotten, with {objects} objects")

    _until_done(action())


@cli.command()
def settings(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables of docs/configuration.md.")] = False,
) -> None:
    """List the environment variables this program reads, with their defaults."""
    if markdown:
        from presenter.commands.settings_reference import settings_reference

        typer.echo(settings_reference(), nl=False)
        return
    for name, (default, description) in variables().items():
        typer.echo(f"{name:18} {description}" + (f" [default: {default}]" if default else ""))


@cli.command()
def demo(
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port of the service. Default: PORT, or a free one if it is taken."),
    ] = None,
    objects: Annotated[int, typer.Option(min=0, help="Number of objects in the sandbox cluster.")] = 500,
    data_dir: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Where to keep the database. Default: nowhere, it goes with the demo."),
    ] = None,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            resolve_path=True,
            help="Watch the cluster of this kubeconfig instead of a sandbox.",
        ),
    ] = None,
) -> None:
    """Bring up the whole system on this machine: sandbox cluster, PostgreSQL, watchers and service. Ctrl-C ends it.

    Prints a token, lines to paste, and how to see a change of the cluster arrive.
    """
    from presenter.commands import demo as demonstration

    settings = _settings(quiet=True)
    _until_done(demonstration.run(settings, port=port, objects=objects, data_dir=data_dir, kubeconfig=kubeconfig))


@cli.command()
def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the sandbox API; 0: a free one.")] = 8001,
    load: Annotated[
        list[Path] | None,
        typer.Option(exists=True, help="Directory of manifests to load (YAML or JSON); may be repeated."),
    ] = None,
    objects: Annotated[
        int | None, typer.Option(min=0, help="Number of sample objects. Default: 200, or 0 with --load.")
    ] = None,
    kubeconfig_out: Annotated[
        Path | None, typer.Option(resolve_path=True, help="Write a kubeconfig for it to this file.")
    ] = None,
) -> None:
    """Run the sandbox alone: a Kubernetes API in memory, for a real kubectl. Ctrl-C ends it, and forgets everything."""
    from presenter.commands import demo as demonstration

    _settings()
    count = objects if objects is not None else 0 if load else 200
    _until_done(
        demonstration.run_sandbox(port=port, directories=load or [], objects=count, kubeconfig_out=kubeconfig_out)
    )


def _run_service(*, watch: bool, serve: bool, listener: int | None = None, metrics: str | None = None) -> None:
    from presenter import app as service  # takes a second, which the other commands need not wait for
    from presenter.commands.workers import Together, inherited

    settings = _settings()
    if serve:
        settings.auth.require_token_keys()
        settings.auth.require_cursor_key()
    reading = Address.for_reading(settings.database) if serve else None
    socket = None if listener is None else inherited(listener)
    registry = None if metrics is None else Together(metrics)

    async def action() -> None:
        async with _database(settings) as address:
            if settings.database.host is None:
                from presenter.cache import migration

                await migration.migrate(address)
            await service.run(
                settings, address, watch=watch, serve=serve, reading=reading, listener=socket, registry=registry
            )

    _until_done(action(), settings.http.shutdown_grace.total_seconds())


def _run_workers(count: int) -> None:
    from presenter.commands.workers import supervise
    from presenter.http.server import listen_together

    _until_done(supervise(listen_together(_settings().http.port, count)))


def _existing_database(settings: DatabaseSettings) -> Address:
    """The configured PostgreSQL, or the embedded one that runs."""
    if settings.host is not None:
        return Address.of(settings)
    from presenter.commands.embedded import EmbeddedPostgres

    return EmbeddedPostgres.running(settings.data_dir)


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[Address]:
    """The configured PostgreSQL, or an embedded one for as long as the command runs."""
    if settings.database.host is not None:
        yield Address.of(settings.database)
        return
    from presenter.commands.embedded import EmbeddedPostgres

    postgres = await EmbeddedPostgres.start(settings.database.data_dir)
    try:
        yield postgres.address()
    finally:
        await postgres.stop()


def _settings(*, quiet: bool = False) -> Settings:
    """The settings of this process, whose logging is set up by the way: before anything can go wrong."""
    settings = Settings.from_environment()
    logs.configure(debug=settings.log.debug, quiet=quiet)
    return settings


def _until_done(action: Coroutine[Any, Any, None], grace: float | None = None) -> None:
    """Run it to its end, or until Ctrl-C or SIGTERM, which cancel it: it then finishes what it began.

    Where that takes longer than `grace` seconds, as when the database does not even refuse, the process ends with 1.
    """

    async def guarded() -> None:
        task = asyncio.ensure_future(action)
        loop = asyncio.get_running_loop()

        def stop() -> None:
            task.cancel()
            if grace is not None:
                loop.call_later(grace, _abandon)

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(guarded())
    except BaseExceptionGroup as group:
        raise _first(group) from None


def _abandon() -> None:
    sys.stderr.write("presenter: SHUTDOWN_GRACE is over, what is under way is abandoned\n")
    sys.stderr.flush()
    os._exit(1)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
