"""Pages are walked while the cache changes: whatever was not touched appears exactly once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from presenter.cache.pool import Pool
from presenter.cache.writer import Writer
from presenter.resource import Event, Object, Watch
from tests.api.service import Json, Service, serving
from tests.api.test_order import DEFAULT_ORDERS
from tests.api.world import BUTTONS, COMPOSITIONS, NAMES, NAMESPACES, PANELS, WIDGETS, moment
from tests.objects import make_object
from tests.rules import Rules
from tests.servers import Postgres

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Few values for many objects: ties everywhere, so that a page may end in the middle of them.
things = st.tuples(
    st.integers(0, 1),
    st.integers(0, 9),
    st.sampled_from(NAMESPACES[:2]),
    st.sampled_from(NAMES[:3]),
    st.integers(0, 2),
    st.sampled_from(COMPOSITIONS),
)
actions = st.tuples(st.sampled_from(["upsert", "delete"]), things)
plans = st.lists(st.lists(actions, max_size=3), max_size=8)
given_at_first = st.lists(things, min_size=1, max_size=14, unique_by=lambda thing: thing[:2])

# Each is read by another statement; the filter is one that everything matches.
ANYTHING = "2020-01-01T00:00:00Z"
VIEWS = [
    {"namespace": "*"},
    {"namespace": "*", "resource": "panels"},
    {"namespace": "default", "resource": "panels"},
    {"namespace": "*", "since": ANYTHING},
    {"namespace": "*", "since": ANYTHING, "resource": "panels"},
    {"namespace": "default", "since": ANYTHING},
]


@dataclass
class Herd:
    """The objects of two types, as they come and go."""

    service: Service
    writer: Writer
    pool: Pool
    watches: list[Watch]
    version: int = 0
    touched: set[tuple[str, str]] = field(default_factory=set)

    async def start_with(self, first: list[tuple[Any, ...]]) -> None:
        """Begin anew with these objects only."""
        async with self.pool.connection() as connection:
            await connection.execute(
                "DELETE FROM resources WHERE type_id = ANY ($1::integer[])", [watch.type_id for watch in self.watches]
            )
        for number, watch in enumerate(self.watches):
            events = [Event("upsert", self._object(thing)) for thing in first if thing[0] == number]
            await self.writer.apply(watch, events, None)
        self.touched.clear()

    async def act(self, change: Any, thing: tuple[Any, ...]) -> None:
        """Create or change an object, or delete it if it is there."""
        object = self._object(thing)
        self.touched.add((self.watches[thing[0]].type.resource, object.uid))
        await self.writer.apply(self.watches[thing[0]], [Event(change, object)], None)

    def _object(self, thing: tuple[Any, ...]) -> Object:
        _, number, namespace, name, hours, composition_id = thing
        self.version += 1
        return make_object(
            name,
            namespace,
            uid=f"uid-{number}",  # of both types, as a cluster may serve one object as two
            resource_version=self.version,
            created_at=moment(hours),
            composition_id=composition_id,
        )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def herd(postgres: Postgres) -> AsyncIterator[Herd]:
    address = await asyncio.to_thread(postgres.create, "herd", "template")
    pool = await Pool.open(address, size=2, command_timeout=30)
    writer = Writer(pool, "test")
    await writer.open_cluster("uid", ["*.*.krateo.io"])
    await Rules(writer).open_to_everybody()
    watches = [watch for type in (PANELS, BUTTONS) for watch in await writer.declare(type)]
    for watch in watches:
        await writer.begin_list(watch)
        await writer.finish_list(watch, "1")
    await writer.discovered()
    async with serving(address) as service:
        yield Herd(service, writer, pool, watches)
    await pool.close()
    await asyncio.to_thread(postgres.drop, "herd")


@pytest.mark.parametrize("size", range(1, 8))
@pytest.mark.parametrize("sort_order", ["asc", "desc"])
@pytest.mark.parametrize("sort_by", DEFAULT_ORDERS)
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(first=given_at_first, plan=plans, view=st.sampled_from(VIEWS))
async def test_what_was_not_touched_appears_exactly_once(
    herd: Herd,
    sort_by: str,
    sort_order: str,
    size: int,
    first: list[tuple[Any, ...]],
    plan: list[list[tuple[Any, tuple[Any, ...]]]],
    view: dict[str, str],
) -> None:
    await herd.start_with(first)
    at_first = {_identity(item) for item in (await herd.service.page(group=WIDGETS, **view)).items}
    asked = {"group": WIDGETS, "sort_by": sort_by, "sort_order": sort_order, "limit": size, **view}
    seen: Counter[tuple[str, str]] = Counter()
    steps = iter(plan)
    page = await herd.service.page(**asked)
    while True:
        seen.update(map(_identity, page.items))
        assert len(page.items) <= size
        if page.cursor is None:
            break
        assert len(page.items) == size
        for change, thing in next(steps, []):
            await herd.act(change, thing)
        page = await herd.service.page(**asked, cursor=page.cursor)
    untouched = at_first - herd.touched
    assert {each: seen[each] for each in untouched} == dict.fromkeys(untouched, 1)


@pytest.mark.parametrize("sort_by", DEFAULT_ORDERS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=given_at_first,
    plan=plans,
    view=st.sampled_from(VIEWS),
    sort_order=st.sampled_from(["asc", "desc"]),
    size=st.integers(1, 7),
)
async def test_what_was_not_touched_appears_exactly_once_on_the_way_back(
    herd: Herd,
    sort_by: str,
    sort_order: str,
    size: int,
    first: list[tuple[Any, ...]],
    plan: list[list[tuple[Any, tuple[Any, ...]]]],
    view: dict[str, str],
) -> None:
    await herd.start_with(first)
    at_first = {_identity(item) for item in (await herd.service.page(group=WIDGETS, **view)).items}
    asked = {"group": WIDGETS, "sort_by": sort_by, "sort_order": sort_order, "per_page": size, **view}
    page = (await herd.service.page(**asked, page=max(1, -(-len(at_first) // size)))).json
    assert not page["pagination"]["has_next"]
    seen = Counter(map(_identity, page["data"]))
    steps = iter(plan)
    while (cursor := page["pagination"]["prev_cursor"]) is not None:
        for change, thing in next(steps, []):
            await herd.act(change, thing)
        page = (await herd.service.page(**asked, cursor=cursor)).json
        seen.update(map(_identity, page["data"]))
        assert len(page["data"]) <= size
        assert len(page["data"]) == size or not page["pagination"]["has_prev"]
    untouched = at_first - herd.touched
    assert {each: seen[each] for each in untouched} == dict.fromkeys(untouched, 1)


def _identity(item: Json) -> tuple[str, str]:
    return item["resource"], item["uid"]
