"""Objects of any size: a page ends before it takes too much memory, and a walk meets every object all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping

import pytest
import pytest_asyncio

from presenter.cache import memory
from presenter.cache.memory import Memory, Share
from presenter.cache.pool import Address, Pool
from presenter.cache.writer import Writer
from presenter.resource import Object
from tests.api.service import Json, Service, serving
from tests.api.world import BUTTONS, PANELS, WIDGETS, first_list
from tests.objects import make_object
from tests.rules import Rules
from tests.servers import Postgres

pytestmark = pytest.mark.asyncio(loop_scope="session")

MIB = 2**20
SIZES = [200_000, 900_000, 100, 3_000_000, 400_000, 100, 100, 1_900_000, 2_000_000, 100, 5_000_000, 700_000, 2_000_000]
"""Of the panels, in the order of their names, which is not that of their other keys."""
ALL = {"group": WIDGETS, "resource": "panels", "raw": "true", "limit": "5000"}


@pytest.fixture(scope="module")
def large_database(postgres: Postgres) -> Iterator[Address]:
    yield postgres.create("large", template="template")
    postgres.drop("large")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def filled(large_database: Address) -> Address:
    """Panels of these sizes that compress to nearly nothing, in one namespace, and many small buttons."""
    pool = await Pool.open(large_database, size=1, command_timeout=60)
    writer = Writer(pool, "test")
    await writer.open_cluster("uid", ["*.*.krateo.io"])
    await Rules(writer).open_to_everybody()
    [panels] = await writer.declare(PANELS)
    await first_list(writer, panels, *(_panel(number, size) for number, size in enumerate(SIZES)))
    [buttons] = await writer.declare(BUTTONS)
    await first_list(writer, buttons, *(make_object(f"b{number:04}", kind="Button") for number in range(1_000)))
    await writer.discovered()
    await pool.close()
    return large_database


def _panel(number: int, size: int) -> Object:
    name = f"p{number:02}"
    status = {"text": "y" * (size // 2)} if number % 2 else None
    raw = {"metadata": {"name": name, "labels": {"a": "b"}}, "spec": {"text": "x" * size}}
    return make_object(name, labels={"a": "b"}, raw=raw | ({"status": status} if status else {}))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service(filled: Address) -> AsyncIterator[Service]:
    """A page has at most two MiB of objects."""
    async with serving(filled, MAX_PAGE_BYTES="2Mi", MAX_INFLIGHT_BYTES="30Mi") as service:
        yield service


async def pages(service: Service, query: Mapping[str, str], most: int = 2 * MIB) -> list[list[Json]]:
    """All pages, by their cursors; of each it is checked that it holds no more than it may, unless it holds one."""
    found: list[list[Json]] = []
    cursor: dict[str, str] = {}
    while True:
        reply = await service.page(**ALL | dict(query) | cursor)
        found.append(reply.items)
        assert len(reply.items) == 1 or len(reply.body) < most + 1_000 * len(reply.items)
        assert reply.items
        if reply.cursor is None:
            return found
        cursor = {"cursor": reply.cursor}


@pytest.mark.parametrize("sort_by", ["name", "created_at", "updated_at", "global_uid", "resource", "composition_id"])
@pytest.mark.parametrize("sort_order", ["asc", "desc"])
async def test_a_walk_meets_every_object_once(service: Service, sort_by: str, sort_order: str) -> None:
    walked = await pages(service, {"sort_by": sort_by, "sort_order": sort_order})
    bare = (await service.page(**ALL | {"raw": "", "sort_by": sort_by, "sort_order": sort_order})).items
    assert [item["name"] for page in walked for item in page] == [item["name"] for item in bare]
    assert {item["name"]: len(item["raw"]["spec"]["text"]) for page in walked for item in page} == {
        f"p{number:02}": size for number, size in enumerate(SIZES)
    }
    assert 4 < len(walked) <= len(SIZES)


@pytest.mark.parametrize(
    "query",
    [
        {"status_raw": "true"},
        {"raw": "", "status_raw": "true"},
        {"labels": '{"a":"b"}'},
        {"name_contains": "p"},
        {"namespace": "*"},
        {"limit": "3"},
        {"version": "v1beta1"},
        {"resource": ""},
    ],
    ids=str,
)
async def test_whatever_is_asked_for(service: Service, query: dict[str, str]) -> None:
    walked = [item["name"] for page in await pages(service, query) for item in page if item["kind"] == "Panel"]
    assert sorted(walked) == [f"p{number:02}" for number in range(len(SIZES))]


async def test_a_page_without_documents_has_as_many_objects_as_are_asked_for(service: Service) -> None:
    reply = await service.page(**ALL | {"resource": "buttons", "raw": ""})
    assert len(reply.items) == 1_000
    assert reply.cursor is None


async def test_an_object_larger_than_a_page_is_served_alone(service: Service) -> None:
    [only] = (await service.page(**ALL | {"name": "p10"})).items
    assert len(only["raw"]["spec"]["text"]) == 5_000_000
    detail = await service.detail(only["global_uid"])
    [one] = detail.items
    assert one["raw"] == only["raw"]


async def test_pages_at_once_take_turns(filled: Address) -> None:
    async with serving(filled, MAX_PAGE_BYTES="3Mi", MAX_INFLIGHT_BYTES="12Mi") as narrow:
        walks = await asyncio.gather(*(pages(narrow, {"sort_by": "name", "limit": "2"}, 3 * MIB) for _ in range(8)))
    assert all(walk == walks[0] for walk in walks)


async def test_what_is_held_is_given_back_while_it_is_sent(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []

    class Noting(Share):
        def give_back(self, size: int) -> None:
            super().give_back(size)
            held.append(self.held)

    monkeypatch.setattr("presenter.api.inflight.Share", Noting)
    reply = await service.page(**ALL | {"resource": "buttons"})
    assert len(reply.items) == 1_000
    assert held == sorted(held, reverse=True)
    assert held[0] > 1.5 * held[-1] > 0


async def test_who_waits_for_memory_gets_it_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_PATIENCE", 30)
    room = Memory(100, 10)
    first, *others = (Share(room) for _ in range(4))
    await first.hold(90)
    got: list[int] = []

    async def wait(number: int, share: Share, size: int) -> None:
        await share.hold(size)
        got.append(number)

    sizes = [40, 5, 60]
    waiting = [asyncio.create_task(wait(*each)) for each in zip(range(3), others, sizes, strict=True)]
    await asyncio.sleep(0)  # upon which all of them wait
    assert not others[1].grow(20), "more than there is"
    waiting[0].cancel()
    await asyncio.wait(waiting[:2])
    assert got == [1], "nobody waits for somebody who has left"
    first.give_back(50)
    first.release()
    await waiting[2]
    assert got == [1, 2]
    for share in others:
        share.release()
    assert room.taken == 0
