"""A PostgreSQL that holds the population; kept in a directory of its own it is filled once and used many times."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks.population import CLUSTER, COLUMNS, GROUP, START, TYPES, Population, Record
from presenter.cache import items, migration
from presenter.cache.pages import PLANNING
from presenter.cache.pool import Address, Pool
from presenter.cache.writer import Writer
from presenter.commands.embedded import EmbeddedPostgres
from presenter.resource import RBAC_GROUP, Object, ResourceType

if TYPE_CHECKING:
    from presenter.cache.pool import Connection

_INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'resources' AND indexname <> 'resources_pkey'"

_COPYING = 2

USER = "benchmark"
"""May list every type of the population, by a cluster role that is bound to it."""

_LIVE = """
UPDATE watches SET state = 'live', synced_at = now(), last_event_at = now(), checkpoint = '1000000000',
    objects = (SELECT count(*) FROM resources WHERE resources.type_id = watches.type_id)
"""


@dataclass(frozen=True)
class Filled:
    """The database, what it holds, and a few connections to it."""

    address: Address
    pool: Pool
    population: Population


@asynccontextmanager
async def filled(objects: int, directory: Path) -> AsyncIterator[Filled]:
    """The population in a PostgreSQL under `directory`, which is filled where it does not hold it yet."""
    postgres = await started(directory / f"{objects}")
    try:
        address = postgres.address()
        await migration.migrate(address)
        pool = await Pool.open(address, size=4, command_timeout=3600, **PLANNING)
        try:
            start = time.monotonic()
            population = await fill(pool, objects)
            print(f"{objects:,} objects after {time.monotonic() - start:.0f} s")
            yield Filled(address, pool, population)
        finally:
            await pool.close()
    finally:
        await postgres.stop()


async def started(directory: Path) -> EmbeddedPostgres:
    """With a quarter of the machine's memory as its cache, as PostgreSQL's manual has it for a server of its own."""
    postgres = await EmbeddedPostgres.start(directory)
    connection = await postgres.address().connect()
    try:
        await connection.execute(f"ALTER SYSTEM SET shared_buffers = '{psutil.virtual_memory().total // 4 // 2**20}MB'")
    finally:
        await connection.close()
    await postgres.stop()
    return await EmbeddedPostgres.start(directory)


async def fill(pool: Pool, objects: int, *, documents: bool = True) -> Population:
    """Put the population into a database at head, unless it is there already."""
    writer = Writer(pool, CLUSTER)
    await writer.open_cluster(CLUSTER, ["*.*"])
    watches = [watch for type in TYPES for watch in await writer.declare(type)]
    population = Population(objects, [watch.type_id for watch in watches], documents)
    counted = "SELECT count(*) FROM resources WHERE type_id = ANY ($1)"
    async with pool.connection() as connection:
        if await connection.fetchval(counted, population.type_ids) != objects:
            await _fill(pool, connection, population)
    await _allow(writer)
    async with pool.connection() as connection:
        await connection.execute(_LIVE)
    await writer.discovered()
    return population


async def _fill(pool: Pool, connection: Connection, population: Population) -> None:
    """COPY every row, then make the indexes: both much faster than the other way round."""
    indexes = await connection.fetch(_INDEXES)
    await connection.execute("TRUNCATE resources")
    for index in indexes:
        await connection.execute(f"DROP INDEX {index['indexname']}")
    batches, types = population.batches(), dict(zip(population.type_ids, TYPES, strict=True))
    async with asyncio.TaskGroup() as tasks:
        for _ in range(_COPYING):
            tasks.create_task(_copy(pool, batches, types))
    await connection.execute("SET maintenance_work_mem = '1GB'")
    for index in indexes:
        await connection.execute(index["indexdef"])
    await _finish(connection)


async def _copy(pool: Pool, batches: Iterator[list[Record]], types: Mapping[int, ResourceType]) -> None:
    async with pool.connection() as connection:
        for batch in batches:
            records = [_with_piece(record, types) for record in batch]
            await connection.copy_records_to_table(
                "resources", records=records, columns=(*COLUMNS, "piece_of", "piece")
            )


def _with_piece(record: Record, types: Mapping[int, ResourceType]) -> Record:
    """With what the writer stores beside it."""
    values = dict(zip(COLUMNS, record, strict=True))
    type = types[values["type_id"]]
    item = items.item(as_object(record), CLUSTER, type, values["updated_at"], values["raw"])
    return (*record, values["updated_at"], items.piece(item))


def as_object(record: Record) -> Object:
    """As the writer gets it."""
    values = dict(zip(COLUMNS, record, strict=True))
    composition = values["composition_id"]
    return Object(
        uid=values["uid"],
        namespace=values["namespace"],
        name=values["name"],
        version=values["version"],
        resource_version=values["resource_version"],
        created_at=values["created_at"],
        composition_id=None if composition is None else str(composition),
        labels=values["labels"],
        raw=values["raw"],
    )


async def _finish(connection: Connection) -> None:
    await connection.execute("VACUUM (ANALYZE, FREEZE) resources")
    await connection.execute("CHECKPOINT")


async def _allow(writer: Writer) -> None:
    """The rules by which USER may list: one cluster role, and its binding."""
    rule = {"apiGroups": [GROUP], "resources": ["*"], "verbs": ["list"]}
    to = {"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": "reader"}
    who = {"apiGroup": RBAC_GROUP, "kind": "User", "name": USER}
    await _list(writer, "Role", {})
    await _list(writer, "RoleBinding", {})
    await _list(writer, "ClusterRole", {"reader": {"rules": [rule]}})
    await _list(writer, "ClusterRoleBinding", {"readers": {"roleRef": to, "subjects": [who]}})


async def _list(writer: Writer, kind: str, bodies: Mapping[str, Mapping[str, object]]) -> None:
    """All objects of one kind of RBAC's, by their names."""
    namespaced = not kind.startswith("Cluster")
    [watch] = await writer.declare(ResourceType(RBAC_GROUP, "v1", f"{kind.lower()}s", kind, namespaced, ("v1",)))
    await writer.begin_list(watch)
    await writer.list_page(watch, [_object(kind, name, body) for name, body in bodies.items()])
    await writer.finish_list(watch, "1")


def _object(kind: str, name: str, body: Mapping[str, object]) -> Object:
    metadata = {"name": name, "uid": f"{kind}-{name}", "resourceVersion": "1"}
    manifest = {"apiVersion": f"{RBAC_GROUP}/v1", "kind": kind, "metadata": metadata, **body}
    return Object(
        uid=metadata["uid"],
        namespace="",
        name=name,
        version="v1",
        resource_version=1,
        created_at=START,
        composition_id=None,
        labels=b"{}",
        raw=json.dumps(manifest).encode(),
    )
