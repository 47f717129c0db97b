"""Pages that are answered from memory: as long as nothing changes, to whom they are due, and within their bounds."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenter.api.hot_pages import OVERHEAD, HotPage, HotPages
from presenter.cache import memory
from presenter.cache.pool import Address, Pool
from presenter.cache.writer import Writer
from presenter.resource import Event, Watch
from tests.access_control.world import PANELS as ANY_PANELS
from tests.access_control.world import Source, caller, thing
from tests.api.service import Reply, Service, serving
from tests.api.test_guards import ask, locked, many, received
from tests.api.test_health import samples
from tests.api.world import BUTTONS, PANELS, WIDGETS, first_list
from tests.eventually import eventually
from tests.objects import make_object
from tests.rbac.objects import cluster_role, cluster_role_binding, ref, role_binding, rule, user
from tests.rules import Rules

KIB = 1024


@pytest.fixture
async def watches(writer: Writer) -> list[Watch]:
    """Some panels and a button that everybody may see."""
    await writer.open_cluster("uid", ["*.*.krateo.io"])
    await Rules(writer).open_to_everybody()
    watches = [(await writer.declare(type))[0] for type in (PANELS, BUTTONS)]
    await first_list(writer, watches[0], *(make_object(f"panel-{n}", raw={"spec": "x" * KIB}) for n in range(40)))
    await first_list(writer, watches[1], make_object("button"))
    await writer.discovered()
    return watches


@pytest.fixture
async def served(database: Address, watches: list[Watch]) -> AsyncIterator[Service]:
    async with serving(database) as service:
        yield service


async def counted(service: Service) -> dict[str, float]:
    """How many pages were hits and misses, and the bytes that are kept."""
    names = {"hits": "hits_total", "misses": "misses_total", "bytes": "bytes"}
    return {name: (await samples(service, f"presenter_page_cache_{told}"))[()] for name, told in names.items()}


async def panels(service: Service, **parameters: object) -> Reply:
    return await service.page(group=WIDGETS, resource="panels", raw=True, **parameters)


async def change(writer: Writer, watch: Watch, version: int) -> None:
    changed = make_object("panel-0", resource_version=version, raw={"spec": version})
    await writer.apply(watch, [Event("upsert", changed)], str(version))


async def test_a_page_that_was_read_is_answered_from_memory(served: Service, pool: Pool) -> None:
    before = await counted(served)
    read = await panels(served)
    async with locked(pool):
        for again in (await panels(served), await served.post({"group": WIDGETS, "resource": "panels", "raw": True})):
            assert (again.code, again.body) == (200, read.body)
        assert (await panels(served)).headers["ETag"] == read.headers["ETag"]
    after = await counted(served)
    assert (after["hits"] - before["hits"], after["misses"] - before["misses"]) == (3, 1)
    assert after["bytes"] > 0
    assert (await samples(served, "presenter_http_rows_total"))[()] >= 4 * 40, "which tells of rows that were sent"


async def test_each_form_of_a_page_is_a_page_of_its_own(served: Service, pool: Pool) -> None:
    forms = [
        f"/resources?group={WIDGETS}&resource={resource}&raw={raw}"
        for resource, raw in itertools.product(("panels", "buttons"), ("true", "false"))
    ]
    asked = [partial(served.get, form, **{"Accept-Encoding": how}) for form in forms for how in ("gzip", "identity")]
    read = [await ask() for ask in asked]
    async with locked(pool):
        for ask, before in zip(asked, read, strict=True):
            again = await ask()
            assert again.body == before.body
            for name in ("ETag", "Content-Encoding", "Content-Length", "Vary"):
                assert again.headers.get(name) == before.headers.get(name)


async def test_it_is_read_again_when_its_types_have_changed(
    served: Service, writer: Writer, watches: list[Watch]
) -> None:
    async def version() -> object:
        return next(item["raw"]["spec"] for item in (await panels(served)).items if item["name"] == "panel-0")

    for number in range(1000, 1010):
        await change(writer, watches[0], number)
        assert [await version() for _ in range(3)] == [number] * 3


async def test_what_changes_all_the_time_is_not_asked_for_first(
    served: Service, writer: Writer, pool: Pool, watches: list[Watch]
) -> None:
    """Once it has changed between two readings it is read at once, until it is the same again."""
    await panels(served)
    for number in (1000, 1001, 1002):
        await change(writer, watches[0], number)
        await panels(served)
    async with locked(pool):
        reading = asyncio.create_task(panels(served))
        await eventually(partial(_waiting_for_rows, pool), bool)
    assert (await reading).code == 200
    async with locked(pool):
        assert (await panels(served)).code == 200, "it was the same twice"


async def _waiting_for_rows(pool: Pool) -> bool:
    async with pool.connection() as connection:
        found: bool = await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'resources'::regclass AND NOT granted)"
        )
    return found


async def test_it_is_for_callers_of_equal_scope(database: Address, pool: Pool) -> None:
    source = await Source.open(pool)
    await source.put(
        *(thing(ANY_PANELS, place, "one") for place in ("prod", "dev")),
        cluster_role("reader", rule("list", "panels", WIDGETS)),
        cluster_role_binding("all", ref("ClusterRole", "reader"), user("root")),
        cluster_role_binding("everything", ref("ClusterRole", "reader"), user("admin")),
        role_binding("dev", "some", ref("ClusterRole", "reader"), user("alice")),
    )
    query = f"group={WIDGETS}&resource=panels&namespace=*"
    async with serving(database) as service:
        await source.settle(service)
        whole = await caller(service, "root").query(query)
        own = await service.query(query)
        assert [len(reply.items) for reply in (whole, own)] == [2, 1]
        before = await counted(service)
        assert (await caller(service, "admin").query(query)).body == whole.body
        assert (await service.query(query)).body == own.body
        (await caller(service, "nobody").query(query)).failure(403)
        after = await counted(service)
        assert (after["hits"] - before["hits"], after["misses"] - before["misses"]) == (2, 0)

        await source.delete(cluster_role_binding("everything", ref("ClusterRole", "reader"), user("admin")))
        await source.settle(service)
        (await caller(service, "admin").query(query)).failure(403)


# -- bounds ------------------------------------------------------------------------------------------------------------


async def test_no_more_is_kept_than_may_be(database: Address, watches: list[Watch]) -> None:
    async with serving(database, PAGE_CACHE_BYTES="64Ki") as service:
        for limit in range(1, 30):
            await panels(service, limit=limit)
            assert (await counted(service))["bytes"] <= 64 * KIB
        assert (await counted(service))["bytes"] > 0


async def test_with_no_memory_every_page_is_read(database: Address, watches: list[Watch]) -> None:
    async with serving(database, PAGE_CACHE_BYTES="0") as service:
        before = await counted(service)
        for _ in range(3):
            assert len((await panels(service)).items) == 40
        after = await counted(service)
    assert after["hits"] == before["hits"]
    assert after["bytes"] == 0


async def test_a_page_of_several_parts_is_not_kept(database: Address, writer: Writer, watches: list[Watch]) -> None:
    objects = [make_object(f"more-{number}") for number in range(300)]
    await writer.apply(watches[0], [Event("upsert", object) for object in objects], "500")
    async with serving(database) as service:
        before = await counted(service)
        for _ in range(2):
            page = await panels(service, limit=300)
            assert len(page.items) == 300
            assert "Content-Length" not in page.headers
        assert await counted(service) == before


async def test_what_is_sent_slowly_is_held_within_the_memory_of_answers(
    database: Address, writer: Writer, watches: list[Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it has been forgotten meanwhile: each caller's answer counts until it is sent."""
    monkeypatch.setattr(memory, "_PATIENCE", 0.2)
    large = make_object("large", raw={"spec": "x" * 7_000_000})
    await writer.apply(watches[0], [Event("upsert", large)], "500")
    path = f"/resources?group={WIDGETS}&name=large&raw=true"
    few = serving(database, PAGE_CACHE_BYTES="64Mi", MAX_INFLIGHT_BYTES="18Mi", MAX_PAGE_BYTES="10Mi")
    async with few as service:
        assert (await service.get(path, **{"Accept-Encoding": "identity"})).code == 200
        before = await counted(service)
        async with many(service, 2) as slow:
            for each in slow:
                await ask(service, each, path)
                assert await received(each) == b"HTTP/1.1 200"
            refused = await service.get(path, **{"Accept-Encoding": "identity"})
            assert "MAX_INFLIGHT_BYTES" in refused.failure(429)
        after = await counted(service)
        assert (after["hits"] - before["hits"], after["misses"] - before["misses"]) == (3, 0)


keys = st.integers(0, 5).map(lambda number: bytes([number]))


@given(st.lists(st.tuples(keys, st.integers(0, 3000)), max_size=40), st.sampled_from((0, 600, 5000, 20_000)))
def test_whatever_is_kept_is_bounded_and_is_what_was_kept_last(pages: list[tuple[bytes, int]], most: int) -> None:
    kept, last = HotPages(most), dict[bytes, HotPage]()
    for key, size in pages:
        last[key] = HotPage(bytes(size), '"tag"', 1, (), steady=True)
        kept.keep(key, last[key])
        found = {key: page for key in last if (page := kept.get(key)) is not None}
        assert all(found[key] is last[key] for key in found)
        assert sum(len(page.body) + OVERHEAD for page in found.values()) <= most
        assert (key in found) == (8 * (size + OVERHEAD) <= most)
