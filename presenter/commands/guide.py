"""What the demo shows: how the loading comes along, what there is then, and what to try."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from presenter.cache.catalog import CachedType, Catalog, read_catalog
from presenter.cache.pages import read_page
from presenter.cache.pool import Pool
from presenter.cache.query import Query, Row, Sort
from presenter.cache.scope import ScanRange
from presenter.resource import RBAC_GROUP, ResourceType

SHOWN_TYPE = "panels.widgets.templates.krateo.io"
_READS_PER_SECOND = 5


@dataclass(frozen=True, slots=True)
class Login:
    """A user, and a token of it that lies in a file."""

    user: str
    group: str
    token: str
    file: Path

    @property
    def curl(self) -> str:
        """A curl that sends the token, in any shell it is pasted into."""
        return f'curl -gsS -H "Authorization: Bearer $(cat {self.file})"'


@dataclass(frozen=True, slots=True)
class Guide:
    """Where things are: the service, who may ask it for how many hours, and the cluster.

    `developer` is somebody who sees less, and `cluster_url` an API that takes no login: the sandbox has both.
    `environment` is a file to source.
    """

    url: str
    admin: Login
    developer: Login | None
    hours: float
    kubeconfig: Path
    cluster_url: str | None
    environment: Path


def progress_bar(console: Console) -> Progress:
    """A bar that shows how far something is."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )


async def show_progress(console: Console, pool: Pool) -> None:
    """Show how the first lists come along, until all are complete."""
    with progress_bar(console) as progress:
        bar = progress.add_task("Listing the cluster", total=None)
        while not (catalog := await read_catalog(pool)).complete:
            progress.update(
                bar,
                description=f"Listing the cluster: {_objects(catalog):,} objects; types",
                total=len(catalog.types) or None,
                completed=sum(cached.synced for cached in catalog.types),
            )
            await asyncio.sleep(1 / _READS_PER_SECOND)
        types = len(catalog.types)
        progress.update(bar, description="Listing the cluster", total=types, completed=types)


async def show(console: Console, pool: Pool, guide: Guide) -> None:
    """Say what there is and what to try, with an object that exists."""
    catalog = await read_catalog(pool)
    clusters = ", ".join(cluster.name for cluster in catalog.clusters)
    _print(console, f"Watching cluster {clusters}: {len(catalog.types)} types, {_objects(catalog):,} objects")
    console.print(_table(catalog))
    who = f"user {guide.admin.user}, group {guide.admin.group}"
    lines = [
        f"Listening on {guide.url} (API documentation: {guide.url}/docs)",
        "",
        f"Token of {who}, good for {guide.hours:.0f} h (also in {guide.admin.file}):",
        guide.admin.token,
        "",
        "In another terminal, so that the examples of README.md and docs/ run as they stand there:",
        f". {guide.environment}",
    ]
    example = _example(catalog)
    if example is not None:
        page = await read_page(
            pool, Query((ScanRange(example.cluster, example.id),), Sort.CREATED_AT, descending=True, limit=1)
        )
        lines += _pages_to_ask_for(guide, example.type)
        lines += _change_to_make(guide, example.type, page.rows[0])
    _print(console, *lines, "", "Ctrl-C stops everything.")


def _print(console: Console, *lines: str) -> None:
    """As they are: a line to paste must not be broken at the terminal's edge."""
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)


def _objects(catalog: Catalog) -> int:
    return sum(cached.objects for cached in catalog.types)


def _table(catalog: Catalog) -> Table:
    table = Table()
    table.add_column("type")
    table.add_column("version")
    table.add_column("objects", justify="right")
    for cached in catalog.types:
        table.add_row(cached.type.name, cached.type.version, f"{cached.objects:,}")
    return table


def _example(catalog: Catalog) -> CachedType | None:
    """The type to try things with: panels, or else whatever there is most of. A change of RBAC is nothing to try."""
    filled = [cached for cached in catalog.types if cached.objects]

    def preference(cached: CachedType) -> tuple[bool, bool, int]:
        return cached.type.name == SHOWN_TYPE, cached.type.group != RBAC_GROUP, cached.objects

    return max(filled, key=preference, default=None)


def _pages_to_ask_for(guide: Guide, type: ResourceType) -> list[str]:
    of_type = f"{guide.url}/resources?group={type.group or 'core'}&resource={type.resource}&namespace=*"
    labels = '&labels={"krateo.io/portal-page":"compositions"}' if type.name == SHOWN_TYPE else ""
    body = msgspec.json.encode({"group": type.group, "namespace": "*", "sort_by": "name", "limit": 3}).decode()
    curl = guide.admin.curl
    lines = [
        "",
        "The five newest; `cursor` leads to the next page:",
        f"{curl} '{of_type}&limit=5'",
        "",
        "One, whole, with a label:" if labels else "One, whole:",
        f"{curl} '{of_type}&limit=1&raw=true{labels}'",
        "",
        "All types of the group, by name, asked in JSON:",
        f"{curl} {guide.url}/resources -d '{body}'",
    ]
    if guide.developer is not None:
        who = guide.developer
        lines += [
            "",
            f"What RBAC lets user {who.user}, group {who.group}, see of it:",
            f"{who.curl} '{of_type}&limit=5'",
        ]
    return lines


def _change_to_make(guide: Guide, type: ResourceType, row: Row) -> list[str]:
    flag = f"-n {row.namespace} " if row.namespace else ""
    kubectl = f"kubectl --kubeconfig {guide.kubeconfig} {flag}label {type.name} {row.name} demo=changed"
    commands = [kubectl]
    if guide.cluster_url is not None:
        api = f"apis/{type.group}/{type.version}" if type.group else f"api/{type.version}"
        within = f"namespaces/{row.namespace}/" if row.namespace else ""
        patch = '{"metadata":{"labels":{"demo":"changed"}}}'
        curl = f"curl -sS -X PATCH -H 'Content-Type: application/merge-patch+json' -d '{patch}'"
        commands = [
            f"{curl} {guide.cluster_url}/{api}/{within}{type.resource}/{row.name}",
            f"(the same with kubectl: {kubectl})",
        ]
    found = f'group={type.group or "core"}&resource={type.resource}&namespace=*&labels={{"demo":"changed"}}'
    return [
        "",
        "Change an object in the cluster:",
        *commands,
        "",
        "And find it changed:",
        f"{guide.admin.curl} '{guide.url}/resources?{found}'",
    ]
