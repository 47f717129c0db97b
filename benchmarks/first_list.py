"""How fast a first list is stored: by the writer, from objects that are ready, and by COPY into such a table."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from benchmarks.database import as_object
from benchmarks.population import CLUSTER, COLUMNS, TYPES, Population, Record
from presenter.cache import migration
from presenter.cache.pool import Pool
from presenter.cache.writer import Writer
from presenter.commands.embedded import EmbeddedPostgres
from presenter.resource import Watch

_PAGE = 500

T = TypeVar("T")


@dataclass(frozen=True)
class Figures:
    """Rows a second, one transaction after the other in both cases, _PAGE rows in each."""

    objects: int
    writer: float
    copy: float


async def measure(objects: int) -> Figures:
    """Store the population twice, in a PostgreSQL of its own."""
    with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as directory:
        postgres = await EmbeddedPostgres.start(Path(directory) / "postgresql")
        try:
            await migration.migrate(postgres.address())
            async with Pool.opened(postgres.address(), size=2, command_timeout=600) as pool:
                writer = Writer(pool, CLUSTER)
                await writer.open_cluster(CLUSTER, ["*.*"])
                watches = [watch for type in TYPES for watch in await writer.declare(type)]
                rows = [
                    row
                    for batch in Population(objects, [watch.type_id for watch in watches]).batches()
                    for row in batch
                ]
                rows.sort(key=lambda row: row[1])  # type after type, as lists come
                return Figures(
                    objects, objects / await _listed(writer, watches, rows), objects / await _copied(pool, rows)
                )
        finally:
            await postgres.stop()


async def _copied(pool: Pool, rows: list[Record]) -> float:
    """Seconds for the rows, page by page."""
    async with pool.connection() as connection:
        await connection.execute("CREATE TABLE copied (LIKE resources INCLUDING ALL)")
        start = time.perf_counter()
        for page in _pages(rows):
            await connection.copy_records_to_table("copied", records=page, columns=COLUMNS)
        return time.perf_counter() - start


async def _listed(writer: Writer, watches: list[Watch], rows: list[Record]) -> float:
    """Seconds for the same as one list of each type."""
    pages = {watch: list(_pages([as_object(row) for row in rows if row[1] == watch.type_id])) for watch in watches}
    start = time.perf_counter()
    for watch, objects in pages.items():
        await writer.begin_list(watch)
        for page in objects:
            await writer.list_page(watch, page)
        await writer.finish_list(watch, "1000000000")
    return time.perf_counter() - start


def _pages(rows: list[T]) -> Iterator[list[T]]:
    for first in range(0, len(rows), _PAGE):
        yield rows[first : first + _PAGE]
