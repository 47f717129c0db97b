"""Times at the ends of the calendar: an API server may say that an object was created then."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product

import pytest

from presenter.cache.pool import Pool
from presenter.cache.writer import Writer
from presenter.kube.objects import read_object
from presenter.resource import Object
from tests.api.service import Service
from tests.api.world import PANELS, WIDGETS, first_list
from tests.rules import Rules

FIRST, LAST = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"
TIMES = {
    "first": FIRST,
    "second": "0001-01-01T00:00:01Z",
    "long-ago": "1601-01-01T00:00:00Z",
    "recent": "2026-03-01T10:00:00Z",
    "recent-by-a-fraction": "2026-03-01T10:00:00.000001Z",
    "far": "9999-12-31T23:59:59Z",
    "last": LAST,
}
"""By names in the order of the times."""


def panel(name: str, created_at: str) -> Object:
    metadata = f'{{"name":"{name}","namespace":"default","uid":"{name}","creationTimestamp":"{created_at}"}}'
    return read_object(f'{{"metadata":{metadata}}}'.encode(), PANELS)


@pytest.fixture
async def panels(service: Service, pool: Pool) -> Service:
    writer = Writer(pool, "test")
    await writer.open_cluster("uid", ["*.*"])
    await Rules(writer).open_to_everybody()
    [watch] = await writer.declare(PANELS)
    await first_list(writer, watch, *(panel(name, created_at) for name, created_at in TIMES.items()))
    await writer.discovered()
    return service


@pytest.mark.parametrize("sort_order", ["asc", "desc"])
async def test_they_sort_and_show_as_they_are(panels: Service, sort_order: str) -> None:
    expected = list(TIMES.items()) if sort_order == "asc" else list(TIMES.items())[::-1]
    for limit, narrower in product((1, 2, 100), ({}, {"name_contains": ""}, {"since": FIRST})):
        asked = {"group": WIDGETS, "limit": limit, "sort_order": sort_order, **narrower}
        items = await panels.walk(**asked, raw=True)
        assert [(item["name"], item["created_at"]) for item in items] == expected
        assert [item["raw"]["metadata"]["creationTimestamp"] for item in items] == [at for _, at in expected]
    for name, created_at in expected:
        [item] = (await panels.detail(f"test:{name}")).items
        assert item["created_at"] == created_at


@pytest.mark.parametrize(
    ("since", "found"),
    [
        (FIRST, len(TIMES)),
        ("0001-01-01T00:00:00-12:00", len(TIMES)),
        ("2020-01-01T00:00:00.123456789Z", len(TIMES)),
        (LAST, 0),
        ("9999-12-31T23:59:59.999999999Z", 0),
    ],
)
async def test_since_any_time(panels: Service, since: str, found: int) -> None:
    assert len((await panels.page(group=WIDGETS, since=since, sort_by="updated_at")).items) == found


@pytest.mark.parametrize(
    "since", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-00:01", "0000-01-01T00:00:00Z", "2016-12-31T23:59:60Z"]
)
async def test_since_a_time_that_there_is_not(panels: Service, since: str) -> None:
    assert (await panels.bad(group=WIDGETS, since=since)).startswith(f"since is {since!r}: allowed is an RFC 3339")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("0001-01-01T05:00:00+05:00", datetime(1, 1, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00+05:00", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59-05:00", datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
        ("2026-03-01T12:00:00+02:00", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("2026-03-01T10:00:00", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("2026-03-01T10:00:00.123456789Z", datetime(2026, 3, 1, 10, 0, 0, 123457, tzinfo=UTC)),
        ("0000-00-00T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(1970, 1, 1, tzinfo=UTC)),
        ("", datetime(1970, 1, 1, tzinfo=UTC)),
        ("yesterday", datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_no_time_hides_an_object(written: str, read: datetime) -> None:
    found = panel("odd", written)
    assert found.created_at == read
    assert found.created_at.utcoffset() is not None
    assert written.encode() in found.raw
