"""What pages by number take beside their rows: how many objects there are, and where a page begins.

Both are cheap where an index tells them alone, and bounded where not; `plan` chooses how.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, TypeVar

from presenter.cache.plan import Record, Step, Total, offset, total
from presenter.cache.query import Position, Query
from presenter.cache.sql import statement

if TYPE_CHECKING:
    from presenter.cache.pool import Pool

T = TypeVar("T")


async def position_behind(pool: Pool, query: Query, rows: int) -> Position | None:
    """The position behind so many rows of a query; None where there are not so many.

    Raises DatabaseUnavailable and SchemaOutdated.
    """
    return await _read(pool, offset(query, rows)) if query.ranges else None


async def count(pool: Pool, query: Query) -> Total:
    """How many objects match. Raises DatabaseUnavailable and SchemaOutdated."""
    return await _read(pool, total(query)) if query.ranges else Total(0)


async def _read(pool: Pool, steps: Generator[Step, Sequence[Record], T]) -> T:
    step = next(steps)
    async with pool.connection() as connection:
        while True:
            text, parameters = statement(step.scan)
            records = await connection.fetch(text, *[step.values[name] for name in parameters])
            try:
                step = steps.send(records)
            except StopIteration as end:
                result: T = end.value
                return result
