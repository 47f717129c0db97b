"""More objects than a page holds, and than a search looks at in one go."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from presenter.api.answers import AT_ONCE
from presenter.cache.pool import Address
from presenter.cache.writer import Writer
from tests.api.service import Service, serving
from tests.api.test_order import DEFAULT_ORDERS
from tests.api.world import PANELS, WIDGETS, first_list
from tests.objects import make_object
from tests.rules import Rules

MANY = 5001
RARE = {"panel-0", "panel-2500", "panel-5000"}


@pytest.fixture
async def crowded(writer: Writer, database: Address) -> AsyncIterator[Service]:
    """A service on many panels, three of which have the label `rare`."""
    await writer.open_cluster("uid", ["*.*.krateo.io"])
    await Rules(writer).open_to_everybody()
    [watch] = await writer.declare(PANELS)
    names = [f"panel-{number}" for number in range(MANY)]
    await first_list(
        writer, watch, *(make_object(name, labels={"rare": "yes"} if name in RARE else None) for name in names)
    )
    await writer.discovered()
    async with serving(database) as service:
        yield service


async def test_a_page_is_a_hundred_by_default_and_five_thousand_at_most(crowded: Service) -> None:
    for spelled, size in (("", 100), ("&limit=", 100), ("&limit=null", 5000), ("&limit=NULL&cursor=", 5000)):
        page = await crowded.query(f"group={WIDGETS}{spelled}")
        assert len(page.items) == size
        assert page.cursor is not None
    by_body = await crowded.post({"group": WIDGETS, "limit": None, "cursor": None})
    assert len(by_body.items) == 5000
    last = await crowded.page(group=WIDGETS, limit=5000, cursor=by_body.cursor)
    assert len(last.items) == 1
    assert last.cursor is None
    assert last.names[0] not in by_body.names


async def test_a_page_that_is_sent_in_pieces_is_whole(crowded: Service) -> None:
    names = sorted(f"panel-{number}" for number in range(MANY))
    for size in (AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 2 * AT_ONCE, 2 * AT_ONCE + 1):
        page = await crowded.page(group=WIDGETS, sort_by="name", limit=size, raw=True)
        assert page.names == names[:size]
        assert page.cursor is not None
        assert ("Content-Length" in page.headers) is (size <= AT_ONCE)


async def test_what_is_rare_is_found_however_far_apart_it_lies(crowded: Service) -> None:
    for sort_by in DEFAULT_ORDERS:
        for namespace in ("default", "*"):
            asked = {"group": WIDGETS, "namespace": namespace, "sort_by": sort_by, "limit": 1}
            for rare in ({"labels": {"rare": "yes"}}, {"name_contains": "L-2500"}):
                names = [item["name"] for item in await crowded.walk(**asked, **rare)]
                assert sorted(names) == sorted(RARE if "labels" in rare else {"panel-2500"})
