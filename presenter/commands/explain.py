"""`presenter explain`: how the page behind a query string is read, with the statements that read it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from enum import Enum
from typing import Any

from presenter.access.authorizer import Decision, RbacAuthorizer, decide
from presenter.access.identity import Identity
from presenter.access.rules import RulesOfClusters
from presenter.api.parameters import parse_list_query
from presenter.api.resources import forbidden, page_query
from presenter.api.selection import select
from presenter.cache.catalog_reader import CatalogReader
from presenter.cache.cursor import CursorCodec
from presenter.cache.explain import Explained, explain_page
from presenter.cache.pool import Pool
from presenter.cache.query import Query
from presenter.cache.scope import EVERYTHING
from presenter.config import Settings

_LONGEST_VALUE = 200


async def explain(
    pool: Pool, settings: Settings, query_string: str, identity: Identity | None, *, analyze: bool
) -> Iterator[str]:
    """The lines to print. Without an identity: for somebody who may see everything.

    Raises what the service would answer with: BadRequest, Forbidden, NotFound, Unavailable.
    """
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
