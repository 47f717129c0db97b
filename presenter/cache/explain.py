"""How a page is read, for whoever looks into a slow one: its steps, and PostgreSQL's plan of each statement."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from presenter.cache.plan import Step, plan
from presenter.cache.query import Query
from presenter.cache.sql import statement

if TYPE_CHECKING:
    import asyncpg

    from presenter.cache.pool import Connection, Pool

_ANALYZE = "ANALYZE, BUFFERS, SETTINGS"


class Explained(NamedTuple):
    """A step: its statement, the values in it by their names, what it `found`, and in how many `seconds`.

    `analyzed` is the output of EXPLAIN ANALYZE, where that was asked for.
    """

    step: Step
    sql: str
    values: dict[str, Any]
    seconds: float
    found: str
    analyzed: str | None


async def explain_page(pool: Pool, query: Query, *, analyze: bool) -> list[Explained]:
    """Read a page as `read_page` does; returns every step. Raises DatabaseUnavailable and SchemaOutdated."""
    steps, explained = plan(query), list[Explained]()
    step = next(steps)
    async with pool.connection() as connection:
        while True:
            sql, names = statement(step.scan)
            values = {name: step.values[name] for name in names}
            analyzed = await explain(connection, sql, [*values.values()]) if analyze else None
            before = time.perf_counter()
            records = await connection.fetch(sql, *values.values())
            seconds = time.perf_counter() - before
            explained.append(Explained(step, sql.strip(), values, seconds, _found(step, records), analyzed))
            try:
                step = steps.send(records)
            except StopIteration:
                return explained


def _found(step: Step, records: Sequence[asyncpg.Record]) -> str:
    if step.scan.kind.startswith("sample"):
        return f"shares: {', '.join(f'{share:.3f}' for share in records[0]['shares'])}"
    matches = sum(record["found"] is True for record in records)
    gave_up = any(record["last"] for record in records) and matches < step.values["limit"]
    more = ", which are as many as fit on the page and one more" if matches == step.values["limit"] else ""
    return f"matches: {matches}{', and gave up before the end' if gave_up else more}"


async def explain(connection: Connection, sql: str, arguments: Sequence[Any], options: str = _ANALYZE) -> str:
    """The output of EXPLAIN for a prepared statement, as the service's are: else it would plan for these values."""
    values = f"({', '.join(map(_literal, arguments))})" if arguments else ""
    async with connection.transaction():  # behind a pooler the next statement may be another connection's
        await connection.execute(f"PREPARE explained AS {sql}")
        rows = await connection.fetch(f"EXPLAIN ({options}) EXECUTE explained {values}")
        await connection.execute("DEALLOCATE explained")
    return "\n".join(row[0] for row in rows)


def _literal(value: Any) -> str:
    return "NULL" if value is None else "'" + _text(value).replace("'", "''") + "'"


def _text(value: Any) -> str:
    match value:
        case list() | tuple():
            items = (None if item is None else json.dumps(_text(item), ensure_ascii=False) for item in value)
            return "{" + ",".join("NULL" if item is None else item for item in items) + "}"
        case bytes():
            return value.decode()
        case datetime():
            return value.isoformat()
        case _:
            return str(value)
