"""`presenter can-i`: may this user do this, and which binding says so? Decided as the service decides it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal

import typer

from presenter.access.identity import Identity
from presenter.access.rules import RulesOfClusters
from presenter.cache.catalog import CachedType, Catalog, read_catalog
from presenter.cache.pool import Pool
from presenter.commands.database import database
from presenter.commands.process import read_settings, run_until_done
from presenter.config import Settings
from presenter.errors import ConfigError, NotFound

_PATIENCE = timedelta(minutes=1)
"""How long the database may take to answer."""


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
    if not user:
        raise ConfigError("--user is empty: name a user")
    settings = read_settings(quiet=True)
    question = _Question(
        Identity.of(user, group or ()),
        settings.access.list_verb if verb == "list" else verb,
        resource,
        "" if all_namespaces else namespace,
        name,
    )
    answers = run_until_done(_ask(settings, question, cluster)) or []
    for answer in answers:
        for line in answer.granted_by or ["no"]:
            typer.echo(f"{answer.cluster}: {line if line == 'no' else f'yes, by {line}'}")
    if not any(answer.granted_by for answer in answers):
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Question:
    """May `identity` do this to the object `name`, or to all objects (''), in a namespace, or in all of them ('')?

    The resource is named as its CustomResourceDefinition would be: `panels.widgets.templates.krateo.io`, `pods`.
    """

    identity: Identity
    verb: str
    resource: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class _Answer:
    """What grants it in a cluster, in words; nothing grants what is denied."""

    cluster: str
    granted_by: list[str]


async def _ask(settings: Settings, question: _Question, cluster: str | None) -> list[_Answer]:
    """The answer of each cluster that has the type, or of one.

    Raises NotFound when no such type is cached, Unavailable when the rules or the database are not.
    """
    async with database(settings.database) as address, Pool.reading(address, "other", 1, _PATIENCE) as pool:
        catalog = await read_catalog(pool)
        rules = RulesOfClusters(pool, settings.access.rbac_max_staleness)
        return [await _answer(rules, catalog, cached, question) for cached in _types(catalog, question, cluster)]


async def _answer(rules: RulesOfClusters, catalog: Catalog, cached: CachedType, question: _Question) -> _Answer:
    type = cached.type
    granted_by = (await rules.current(cached.cluster, catalog)).explain(
        question.identity,
        question.verb,
        type.group,
        type.resource,
        question.namespace if type.namespaced else "",
        question.name,
        namespaced=type.namespaced,
    )
    return _Answer(cached.cluster, granted_by)


def _types(catalog: Catalog, question: _Question, cluster: str | None) -> list[CachedType]:
    cached = [each for each in catalog.types if cluster in (None, each.cluster)]
    types = [each for each in cached if each.type.name == question.resource]
    if not types:
        known = ", ".join(sorted({each.type.name for each in cached}))
        of_cluster = f" of cluster {cluster}" if cluster else ""
        raise NotFound(f"{question.resource} is not cached{of_cluster}: there are {known}")
    return types
