"""What a replica holds are the rows, whoever writes them, in whatever order, and whenever it looks."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from presenter.cache.pool import Address, Pool
from presenter.cache.replica import Changes, Replica
from presenter.cache.writer import Writer
from presenter.resource import Event, Watch
from tests.access_control.world import CLUSTER_ROLES, PODS, ROLES, sql
from tests.objects import make_object

_ROWS = "SELECT type_id, uid, namespace, name, raw::text FROM resources WHERE type_id = ANY ($1::integer[])"
_LATE = """
INSERT INTO resources
    (cluster, type_id, uid, namespace, name, version, epoch, created_at, updated_at, labels, raw)
VALUES ('test', $1, $2, '', $2, 'v1', 0, now(), clock_timestamp(), '{}', '{}')
"""

Held = dict[tuple[int, str], tuple[str, str, Any]]


def take(held: Held, changes: Changes) -> None:
    """Follow the changes as the replica's owner does."""
    for gone in changes.removed:
        del held[gone.type_id, gone.uid]
    for there, raw in changes.put:
        held[there.type_id, there.uid] = (there.namespace, there.name, json.loads(raw))


async def rows(database: Address, type_ids: list[int]) -> Held:
    found = await sql(database, _ROWS, type_ids)
    return {(row["type_id"], row["uid"]): (row["namespace"], row["name"], json.loads(row["raw"])) for row in found}


changes = st.tuples(
    st.sampled_from(["upsert", "upsert", "delete"]),
    st.integers(0, 2),  # the type
    st.integers(0, 4),  # the object
    st.integers(0, 1),  # its life: which uid it has
)
steps: st.SearchStrategy[tuple[str, list[Any]]] = st.one_of(
    st.tuples(st.just("apply"), st.lists(changes, min_size=1, max_size=4)),
    st.tuples(st.just("list"), st.lists(changes, max_size=4)),
    st.tuples(st.just("look"), st.just([])),
)


class Herd:
    """A writer of types of which the replica holds two."""

    def __init__(self, writer: Writer, watches: list[Watch]) -> None:
        self.writer = writer
        self.watches = watches
        self.version = 0

    async def act(self, step: str, plan: list[Any]) -> None:
        if step == "apply":
            await self._apply(plan)
        elif step == "list":
            await self._list(plan)

    async def _apply(self, plan: list[Any]) -> None:
        for number, watch in enumerate(self.watches):
            events = [Event(change, self._object(*thing)) for change, *thing in plan if thing[0] == number]
            if events:
                await self.writer.apply(watch, events, str(self.version))

    async def _list(self, plan: list[Any]) -> None:
        """A list of the first type that names only these."""
        watch = self.watches[0]
        await self.writer.begin_list(watch)
        for _, _, number, life in plan:
            await self.writer.list_page(watch, [self._object(0, number, life)])
        await self.writer.finish_list(watch, str(self.version))

    def _object(self, type: int, number: int, life: int) -> Any:
        self.version += 1
        watch = self.watches[type]
        return make_object(
            f"object-{number}",
            "default" if watch.type.namespaced else "",
            uid=f"{type}-{number}-{life}",
            resource_version=self.version,
            raw={"version": self.version},
        )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=st.lists(steps, min_size=3, max_size=12))
async def test_what_is_held_are_the_rows(database: Address, pool: Pool, plan: list[tuple[str, list[Any]]]) -> None:
    writer = Writer(pool, "test")
    await writer.open_cluster("uid", ["*.*"])
    for type in (ROLES, CLUSTER_ROLES, PODS):
        await writer.forget(type)
    watches = [(await writer.declare(type))[0] for type in (ROLES, CLUSTER_ROLES, PODS)]
    herd, type_ids = Herd(writer, watches), [watch.type_id for watch in watches[:2]]
    replica, held = Replica(pool, type_ids), Held()
    for step in [*plan, ("look", [])]:
        await herd.act(*step)
        if step[0] == "look":
            take(held, await replica.read_changes())
            assert held == await rows(database, type_ids)
    again = await replica.read_changes()
    assert (again.removed, again.put) == ([], []), "what did not change is not read as a change"


async def test_a_row_that_was_committed_late_is_not_missed(database: Address, pool: Pool, writer: Writer) -> None:
    """Nor is a deletion hidden by it: the number of rows is the same before and after."""
    await writer.open_cluster("uid", ["*.*"])
    [watch] = await writer.declare(CLUSTER_ROLES)
    replica, held = Replica(pool, [watch.type_id]), Held()
    slow = await database.connect()
    try:
        transaction = slow.transaction()
        await transaction.start()
        await slow.execute(_LATE, watch.type_id, "late")
        first = make_object("first", "", uid="first", resource_version=1)
        await writer.apply(watch, [Event("upsert", first)], "1")
        take(held, await replica.read_changes())
        assert [uid for _, uid in held] == ["first"]
        await transaction.commit()
    finally:
        await slow.close()
    await writer.apply(watch, [Event("delete", first)], "2")
    take(held, await replica.read_changes())
    assert [uid for _, uid in held] == ["late"]
