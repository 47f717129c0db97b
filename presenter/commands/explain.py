"""`presenter explain`: how the page behind a query string is read, with the statements that read it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from enum import Enum
from typing import Annotated, Any

import typer

from presenter.access.authorizer import Decision, RbacAuthorizer, decide
from presenter.access.identity import AUTHENTICATED, Identity
from presenter.access.rules import RulesOfClusters
from presenter.cache import schema
from presenter.cache.catalog_reader import CatalogReader
from presenter.cache.cursor import CursorCodec
from presenter.cache.explain import Explained, explain_page
from presenter.cache.pages import PLANNING
from presenter.cache.pool import Address, Pool
from presenter.cache.query import Query
from presenter.cache.scope import EVERYTHING
from presenter.commands.database import database
from presenter.commands.process import read_settings, run_until_done
from presenter.config import Settings
from presenter.errors import ConfigError

_LONGEST_VALUE = 200
"""Characters of a value that are shown."""
_LONGEST_STATEMENT = 600.0
"""Seconds that a statement may take."""


def explain(
    query: Annotated[
        str, typer.Argument(help="Query string, as for GET /resources: 'group=apps&namespace=*&limit=5'.")
    ],
    analyze: Annotated[bool, typer.Option("--analyze", help="Show PostgreSQL's plans: EXPLAIN (ANALYZE).")] = False,
    user: Annotated[str, typer.Option(help="Name of the user. Default: somebody who may see everything.")] = "",
    group: Annotated[list[str] | None, typer.Option(help="Group of the user; may be repeated.")] = None,
) -> None:
    """Tell how a page is read: which indexes are scanned, how far, and why; and the statements.

    These are shown with their values. The page is read for that, from the database that pages are served from. A query
    string with a cursor needs the key that signed it.
    """
    if group and not user:
        raise ConfigError("--group is given without --user: name the user, too")
    settings = read_settings(quiet=True)
    if user and settings.access.authorizer != "rbac":
        raise ConfigError("AUTHORIZER is sar: who may see what is not in the database, so that --user tells nothing")
    identity = Identity(user, frozenset(group or ()) | {AUTHENTICATED}) if user else None
    run_until_done(_print_explanation(settings, query, identity, analyze=analyze))


async def _print_explanation(
    settings: Settings, query_string: str, identity: Identity | None, *, analyze: bool
) -> None:
    reading = Address.for_reading(settings.database)
    async with (
        database(settings.database) as address,
        Pool.opened(reading or address, size=1, command_timeout=_LONGEST_STATEMENT, **PLANNING) as pool,
    ):
        await schema.check(pool)
        for line in await _explain(pool, settings, query_string, identity, analyze=analyze):
            typer.echo(line)


async def _explain(
    pool: Pool, settings: Settings, query_string: str, identity: Identity | None, *, analyze: bool
) -> Iterator[str]:
    """The lines to print. Without an identity: for somebody who may see everything.

    Raises what the service would answer with: BadRequest, Forbidden, NotFound, Unavailable.
    """
    # Half a second's worth, which --help need not wait for.
    from presenter.api.asking import forbidden, page_query
    from presenter.api.parameters import parse_list_query
    from presenter.api.selection import select

    before, _, after = query_string.partition("?")
    parameters = parse_list_query((query_string if "=" in before else after or before).encode(errors="surrogateescape"))
    reader = CatalogReader(pool)
    catalog = await reader.current()
    selection = select(
        catalog,
        group=parameters.group,
        resource=parameters.resource,
        version=parameters.version,
        cluster=parameters.cluster,
    )
    namespace = parameters.one_namespace
    seen = Decision({cached.id: EVERYTHING for cached in selection.types}, {})
    if identity is not None:
        rules = RulesOfClusters(pool, settings.access.rbac_max_staleness)
        authorizer = RbacAuthorizer(reader, rules, settings.access.list_verb)
        seen = await decide(authorizer, identity, "list", selection.types, namespace=namespace, name=parameters.name)
    cursors = CursorCodec(b"" if parameters.cursor is None else settings.auth.require_cursor_key())
    query, _ = page_query(cursors, parameters, selection, seen.scope)
    if selection.types and not query.ranges and identity is not None:
        raise next(iter(seen.undecided.values()), forbidden(identity, parameters, selection))
    steps = await explain_page(pool, query, analyze=analyze) if query.ranges else []
    return _lines(query, selection.warnings, steps)


def _lines(query: Query, warnings: tuple[str, ...], steps: list[Explained]) -> Iterator[str]:
    yield from (f"warning: {warning}" for warning in warnings)
    yield f"types to scan: {len(query.ranges)}, ranges of their indexes: {query.index_ranges}"
    for number, (step, sql, values, seconds, found, analyzed) in enumerate(steps, start=1):
        scan = {name: value for name, value in step.scan._asdict().items() if value}
        yield f"\n{number}. {scan.pop('kind')}: {step.why}\n"
        yield from (f"   {name}: {_shown(value)}" for name, value in scan.items())
        yield "\n" + textwrap.indent(sql, "   ") + "\n"
        yield from (f"   ${n} {name} = {_shown(value)}" for n, (name, value) in enumerate(values.items(), start=1))
        if analyzed is not None:
            yield "\n" + textwrap.indent(analyzed, "   ")
        yield f"\n   {found}, in {1000 * seconds:.1f} ms"
    yield f"\nstatements: {len(steps)}, in {1000 * sum(step.seconds for step in steps):.1f} ms"


def _shown(value: Any) -> str:
    match value:
        case bytes():
            text = value.decode()
        case Enum():
            text = value.name.lower()
        case tuple() if hasattr(value, "_asdict"):
            text = ", ".join(f"{name} {_shown(each)}" for name, each in value._asdict().items() if each)
        case list() | tuple():
            text = f"[{', '.join(map(_shown, value))}]"
        case _:
            text = str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}… ({len(text)} characters)"
