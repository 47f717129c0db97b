"""What a page costs in PostgreSQL, to hold other figures against it."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

from presenter.cache import migration
from presenter.cache.catalog import read_catalog
from presenter.cache.pages import read_page
from presenter.cache.pool import Pool
from presenter.cache.query import Query, Sort
from presenter.cache.scope import Grant, scan_ranges
from presenter.cache.writer import Writer
from presenter.commands.embedded import EmbeddedPostgres
from presenter.resource import Object, ResourceType

PANELS = ResourceType("apps", "v1", "panels", "Panel", True, ("v1",))
_BODY = b'{"spec": "' + b"x" * 2900 + b'"}'
_PAGE = 500


def page_of(grant: Grant, *, objects: int = 20_000, namespaces: int = 5_000, limit: int = 50) -> float:
    """Seconds (the median) for the newest `limit` of so many objects, whole, as far as the grant lets see them."""
    return asyncio.run(_measure(grant, objects, namespaces, limit))


async def _measure(grant: Grant, objects: int, namespaces: int, limit: int) -> float:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        postgres = await EmbeddedPostgres.start(Path(directory) / "postgresql")
        try:
            await migration.migrate(postgres.address())
            pool = await Pool.open(postgres.address(), size=2, command_timeout=60)
            try:
                type_id = await _fill(pool, objects, namespaces)
                types = (await read_catalog(pool)).types
                within = tuple(scan_ranges({type_id: grant}, types, None))
                query = Query(within, Sort.CREATED_AT, descending=True, limit=limit, raw=True)
                return statistics.median([await _timed(pool, query) for _ in range(50)])
            finally:
                await pool.close()
        finally:
            await postgres.stop()


async def _fill(pool: Pool, objects: int, namespaces: int) -> int:
    writer = Writer(pool, "benchmark")
    await writer.open_cluster("benchmark", ["*.*"])
    [watch] = await writer.declare(PANELS)
    await writer.begin_list(watch)
    for first in range(0, objects, _PAGE):
        await writer.list_page(watch, [_object(number, namespaces) for number in range(first, first + _PAGE)])
    await writer.finish_list(watch, str(objects + 1))
    async with pool.connection() as connection:
        await connection.execute("VACUUM ANALYZE resources")
    return watch.type_id


def _object(number: int, namespaces: int) -> Object:
    return Object(
        uid=str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))),
        namespace=f"ns-{number * 7919 % namespaces}",  # scattered: the newest are not all in the same few
        name=f"panel-{number}",
        version="v1",
        resource_version=number + 1,
        created_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number),
        composition_id=None,
        labels=b"{}",
        raw=_BODY,
    )


async def _timed(pool: Pool, query: Query) -> float:
    start = time.perf_counter()
    await read_page(pool, query)
    return time.perf_counter() - start
