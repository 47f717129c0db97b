"""`presenter status`: who watches which cluster, and how far behind each type is, as a table or as JSON.

It only reads, and starts nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import Annotated

import msgspec
import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from presenter.cache import schema
from presenter.cache.catalog import Catalog, Cluster, read_catalog
from presenter.cache.pool import Address, Pool
from presenter.cache.report import report, report_of_failure
from presenter.commands.database import existing_database
from presenter.commands.process import read_settings, run_until_done
from presenter.errors import Unavailable
from presenter.resource import ALL_NAMESPACES

_INTERVAL = 1.0
"""Seconds between two reads of `--watch`."""

_PATIENCE = timedelta(seconds=10)
"""How long the database may take to answer."""

_UNBOUNDED = 100_000
"""Columns of output that is no terminal: as many as a line may need."""
_WIDE = 120
"""Columns of a terminal that has room for every figure."""
_DETAILS = ("CHECKPOINT", "EVENTS", "LISTS", "REPAIRS", "SANITISED")
_COLOURS = {
    "live": "green",
    "syncing": "cyan",
    "pending": "yellow",
    "stalled": "magenta",
    "unknown": "magenta",
    "forbidden": "red",
    "error": "red",
}
_UNITS = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))


def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again every second, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, on one line.")] = False,
) -> None:
    """Tell the status of the cache: who watches which cluster, and how far behind each type is.

    Reads the database, and nothing else. Without DB_HOST that is the embedded PostgreSQL under DATA_DIR, if it runs: it
    is not started. Ends with 0 when the database could be read, whatever it says, and with 1 when not; --watch goes on.
    """
    find = partial(existing_database, read_settings(quiet=True).database)
    run_until_done((_follow if watch else _show)(find, as_json=as_json))


async def _show(find: Callable[[], Address], *, as_json: bool) -> None:
    """Print the status of the cache in the database that `find` gives.

    Raises DatabaseUnavailable, SchemaOutdated, ConfigError.
    """
    console = _console()
    catalog = await _read(find)
    console.print(_json(report(catalog)) if as_json else _tables(catalog, console), soft_wrap=as_json)


async def _follow(find: Callable[[], Address], *, as_json: bool) -> None:
    """Print it again and again, until cancelled, and on a terminal in place. While the database fails, the error.

    Raises ConfigError.
    """
    console = _console()
    with ExitStack() as stack:
        if console.is_terminal and not as_json:
            live = stack.enter_context(Live(console=console, auto_refresh=False))
            put = partial(live.update, refresh=True)
        else:
            put = partial(console.print, soft_wrap=as_json)
        while True:
            try:
                catalog = await _read(find)
                put(_json(report(catalog)) if as_json else _tables(catalog, console))
            except Unavailable as error:
                put(_json(report_of_failure(error)) if as_json else Text(error.message, style="red"))
            await asyncio.sleep(_INTERVAL)


# -- reading ---------------------------------------------------------------------------------------------------------


async def _read(find: Callable[[], Address]) -> Catalog:
    address = find()
    async with Pool.reading(address, "other", 1, _PATIENCE, default_transaction_read_only="on") as pool:
        await schema.check(pool)
        return await read_catalog(pool)


# -- showing ---------------------------------------------------------------------------------------------------------


def _console() -> Console:
    """As wide as the terminal; into a file or a pipe, as wide as it takes."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_UNBOUNDED)


def _json(document: object) -> Text:
    return Text(msgspec.json.encode(document).decode())


def _tables(catalog: Catalog, console: Console) -> Group:
    if not catalog.clusters:
        return Group(Text("No cluster has been watched yet."))
    return Group(*(part for cluster in catalog.clusters for part in _cluster(cluster, catalog, console)))


def _cluster(cluster: Cluster, catalog: Catalog, console: Console) -> Iterator[RenderableType]:
    watches = [(cached, watch) for cached, watch in catalog.watches if cached.cluster == cluster.name]
    restricted = any(watch.namespace != ALL_NAMESPACES for _, watch in watches)
    detailed = console.width >= _WIDE
    table = Table(box=None, pad_edge=False)
    table.add_column("TYPE", overflow="fold")
    if restricted:
        table.add_column("NAMESPACE", overflow="fold")
    table.add_column("STATE", no_wrap=True)
    for figure in ("OBJECTS", "LAG", *(_DETAILS if detailed else ())):
        table.add_column(figure, justify="right", no_wrap=True)
    table.add_column("MESSAGE", overflow="fold")
    for cached, watch in watches:
        figures = (watch.checkpoint or "-", watch.events, watch.lists, watch.repairs, watch.sanitised)
        table.add_row(
            Text(cached.type.name),
            *([Text(watch.namespace)] if restricted else []),
            Text(watch.state, style=_COLOURS[watch.state]),
            str(watch.objects),
            _lag(watch.lag_seconds),
            *(map(str, figures) if detailed else ()),
            Text(watch.error),
        )
    discovering = "" if cluster.discovered else "; its types are being discovered"
    yield Text(f"cluster {cluster.name}: {_leader(cluster)}{discovering}")
    yield table
    for words, names in _left_out(cluster, catalog).items():
        if names:
            yield Text(f"{words}: {', '.join(names)}", style="yellow")


def _left_out(cluster: Cluster, catalog: Catalog) -> dict[str, list[str]]:
    types = catalog.of_cluster(cluster.name)
    return {
        "Left out, since the API server refuses to list them": [
            cached.type.name for cached in types if catalog.refuses(cached)
        ],
        "Not cached, since they cannot be listed and watched": [
            cached.type.name for cached in catalog.unwatched if cached.cluster == cluster.name
        ],
        "Groups whose types the API server does not tell": sorted(
            group for name, group in catalog.undiscovered if name == cluster.name
        ),
    }


def _leader(cluster: Cluster) -> str:
    lease = cluster.lease
    if lease is None:
        return "nobody has ever led it"
    if not lease.held:
        return f"nobody leads; the last was {lease.holder} (epoch {lease.epoch})"
    return f"{lease.holder} leads (epoch {lease.epoch}, lease for {_lag(lease.expires_in.total_seconds())})"


def _lag(seconds: float | None) -> str:
    """A lag in its largest unit, as kubectl prints an age: `3s`, `4m`."""
    if seconds is None:
        return "-"
    unit, size = next(((unit, size) for unit, size in _UNITS if seconds >= size), _UNITS[-1])
    return f"{seconds // size:.0f}{unit}"
