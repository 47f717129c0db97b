"""Numbered pages: numbers, cursors and links lead to the same pages, and totals tell how many objects there are."""

from __future__ import annotations

import json
import re
from ipaddress import ip_network

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from presenter.cache import plan
from presenter.cache.pool import Address
from presenter.config import AccessSettings, PaginationSettings
from tests.api.service import HOUR, Json, Reply, Service, serving
from tests.api.world import LABELS, NAMES, NAMESPACES, WIDGETS, World, in_order

pytestmark = pytest.mark.asyncio(loop_scope="session")

FOR_LONG = AccessSettings(RBAC_MAX_STALENESS=24 * HOUR)
TRUSTED = (ip_network("127.0.0.0/8"),)

filters = st.fixed_dictionaries(
    {"namespace": st.sampled_from(("*", "*", *NAMESPACES))},
    optional={
        "resource": st.sampled_from(("panels", "buttons", "themes")),
        "cluster": st.just("test"),
        "labels": st.sampled_from([labels for labels in LABELS if labels]),
        "name": st.sampled_from(NAMES[:3]),
    },
)
orders = st.tuples(
    st.sampled_from(("created_at", "name", "resource", "global_uid", "composition_id")),
    st.sampled_from(("asc", "desc")),
)


def data_of(reply: Reply) -> list[Json]:
    assert reply.code == 200, reply.body
    data: list[Json] = reply.json["data"]
    return data


def uids(reply: Reply) -> list[str]:
    return [item["global_uid"] for item in data_of(reply)]


async def walk(service: Service, page: Reply, rel: str, *, by: str = "links") -> list[Reply]:
    """The pages from one on, by its links or its cursors."""
    pages = [page]
    while True:
        if by == "links":
            to = pages[-1].json["links"][rel]
            if to is None:
                return pages
            pages.append(await service.get(to))
        else:
            cursor = pages[-1].json["pagination"][f"{rel}_cursor"]
            if cursor is None:
                return pages
            pages.append(
                await service.get(re.sub(r"\b(page|cursor)=[^&]+", f"cursor={cursor}", pages[0].json["links"]["self"]))
            )


@pytest.mark.timeout(300)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_filters=filters, order=orders, per_page=st.integers(4, 15), data=st.data())
async def test_numbers_cursors_and_links_lead_to_the_same_pages(
    world: World, given_filters: Json, order: tuple[str, str], per_page: int, data: st.DataObject
) -> None:
    asked = {"group": WIDGETS, **given_filters, "sort_by": order[0], "sort_order": order[1], "per_page": per_page}
    there = [stored.global_uid for stored in in_order(world.matching(group=WIDGETS, **given_filters), *order)]
    first = await world.service.page(**asked, page=1)
    by_links = await walk(world.service, first, "next")
    pages = [there[start : start + per_page] for start in range(0, len(there), per_page)] or [[]]
    assert [uids(page) for page in by_links] == pages
    assert [uids(page) for page in await walk(world.service, first, "next", by="cursors")] == pages
    assert [uids(page) for page in await walk(world.service, by_links[-1], "prev")][::-1] == pages
    if there:
        turned = await walk(world.service, by_links[-1], "prev", by="cursors")
        assert [uids(page) for page in turned][::-1] == pages
        on_again = await walk(world.service, turned[-1], "next", by="cursors") if len(turned) > 1 else by_links
        assert [uids(page) for page in on_again] == pages

    number = data.draw(st.integers(1, len(pages)))
    reply = await world.service.page(**asked, page=number)
    assert uids(reply) == pages[number - 1]
    told = reply.json["pagination"]
    assert (told["page"], told["per_page"]) == (number, per_page)
    assert (told["total_items"], told["total_pages"]) == (len(there), len(pages))
    assert (told["has_next"], told["has_prev"]) == (number < len(pages), number > 1)
    assert "total_items_estimated" not in told
    links = reply.json["links"]
    assert uids(await world.service.get(links["first"])) == pages[0]
    assert uids(await world.service.get(links["last"])) == pages[-1]
    assert uids(await world.service.get(links["self"])) == pages[number - 1]


async def test_items_are_those_of_the_other_dialect(world: World) -> None:
    for more in ({}, {"raw": True}, {"status_raw": True}):
        asked = {"group": WIDGETS, "namespace": "*", "sort_by": "name", "sort_order": "asc", **more}
        items = (await world.service.page(**asked, limit=5)).items
        assert data_of(await world.service.page(**asked, per_page=5)) == items
        compressed = await world.service.query(f"group={WIDGETS}&namespace=*&per_page=5", **{"Accept-Encoding": "gzip"})
        assert compressed.headers["Content-Encoding"] == "gzip"
        assert len(data_of(compressed)) == 5


async def test_a_page_behind_the_last_is_empty_and_leads_back(world: World) -> None:
    reply = await world.service.page(group=WIDGETS, namespace="*", per_page=10, page=99)
    assert data_of(reply) == []
    told, links = reply.json["pagination"], reply.json["links"]
    assert (told["page"], told["has_next"], told["has_prev"], told["total_pages"]) == (99, False, True, 5)
    assert links["next"] is None
    assert uids(await world.service.get(links["prev"])) == uids(await world.service.get(links["last"]))


async def test_who_wants_no_total_gets_none(world: World) -> None:
    reply = await world.service.page(group=WIDGETS, namespace="*", per_page=10, page=2, total="none")
    told = reply.json["pagination"]
    assert (told["page"], told["total_items"], told["total_pages"], told["has_next"]) == (2, None, None, True)
    assert reply.json["links"]["last"] is None
    assert "page=3" in reply.json["links"]["next"]


async def test_filters_are_in_links_exactly_as_they_came(world: World) -> None:
    raw = 'labels={"krateo.io/portal-page":"compositions"}&namespace=%2A&name_contains=a+'
    reply = await world.service.query(f"group={WIDGETS}&page=2&{raw}&per_page=1&x=".removesuffix("&x="))
    links = reply.json["links"]
    assert links["self"] == f"/resources?group={WIDGETS}&page=2&{raw}&per_page=1"
    assert links["first"] == f"/resources?page=1&per_page=1&group={WIDGETS}&{raw}"
    header = {rel: url for url, rel in re.findall(r'<([^>]*)>; rel="(\w+)"', reply.headers["Link"])}
    escaped = links["first"].replace("{", "%7B").replace("}", "%7D").replace('"', "%22")
    assert header["first"] == escaped
    assert header.keys() == {rel for rel, url in links.items() if url is not None and rel != "self"}


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("page=0", "page is '0': allowed is a whole number from 1"),
        ("page=-1", "page is '-1'"),
        ("per_page=0", "per_page is '0': allowed is a whole number from 1 to 500"),
        ("per_page=501", "per_page is '501': allowed is a whole number from 1 to 500"),
        ("page=1&per_page=many", "per_page is 'many'"),
        ("page=1&limit=5", "limit is '5' and page is '1': allowed is one of the two"),
        ("per_page=1&limit=null", "limit is 'null' and per_page is '1'"),
        ("page=1&cursor=abc", "page is 1 and cursor is 'abc': allowed is one of the two"),
        ("per_page=5&cursor=abc", "is not one this service gave out"),
        ("page=1&total=perhaps", "total is 'perhaps': allowed is count or none"),
        (
            "page=2002&per_page=50",
            "before which are 100050 items: allowed is a page with at most 100000 before it; go on",
        ),
        ("page=1&colour=red", "there is no parameter 'colour'"),
        ("page=1&page=2", "page is given twice"),
        ("total=none", "there is no parameter 'total'"),
    ],
)
async def test_what_is_malformed_or_mixed_is_refused(world: World, query: str, says: str) -> None:
    assert says in (await world.service.query(f"group={WIDGETS}&{query}")).failure(400)


async def test_a_cursor_that_leads_back_is_not_taken_for_one_that_leads_on(world: World) -> None:
    asked = {"group": WIDGETS, "namespace": "*", "sort_by": "name", "sort_order": "asc"}
    told = (await world.service.page(**asked, per_page=5, page=2)).json["pagination"]
    assert "leads back" in await world.service.bad(**asked, limit=5, cursor=told["prev_cursor"])
    on = await world.service.page(**asked, limit=5, cursor=told["next_cursor"])
    assert [item["global_uid"] for item in on.items] == uids(await world.service.page(**asked, per_page=5, page=3))


async def test_above_the_threshold_links_lead_by_cursor(shared_database: Address, world: World) -> None:
    few = PaginationSettings(PAGINATION_CURSOR_THRESHOLD=10)
    async with serving(shared_database, access=FOR_LONG, pagination=few) as service:
        asked = {"group": WIDGETS, "namespace": "*", "sort_by": "name", "sort_order": "asc", "per_page": 7}
        there = [uids(page) for page in await walk(world.service, await world.service.page(**asked, page=1), "next")]
        reply = await service.page(**asked, page=2)
        told, links = reply.json["pagination"], reply.json["links"]
        assert uids(reply) == there[1]
        assert (told["page"], told["total_pages"], links["last"], told["total_items"]) == (None, None, None, 42)
        assert links["first"].startswith(f"/resources?per_page=7&group={WIDGETS}")
        assert all("cursor=" in links[rel] and "&page=" not in links[rel] for rel in ("next", "prev"))
        assert [uids(page) for page in await walk(service, reply, "next")] == there[1:]
        assert [uids(page) for page in await walk(service, reply, "prev")] == there[1::-1]
        narrow = await service.page(**asked, resource="themes", page=1)
        assert (narrow.json["pagination"]["page"], narrow.json["pagination"]["total_pages"]) == (1, 1)


async def test_what_cannot_be_counted_cheaply_is_estimated_and_says_so(
    shared_database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "COUNTED_ROWS", 4)
    async with serving(shared_database, access=FOR_LONG) as service:
        reply = await service.page(group=WIDGETS, namespace="*", labels={"tier": "gold"}, page=1)
        told = reply.json["pagination"]
        assert told["total_items_estimated"] is True
        assert told["total_items"] == len(data_of(reply)), "the sample is all there is"


async def test_where_unknown_parameters_are_ignored_a_limit_is_answered_as_ever(shared_database: Address) -> None:
    async with serving(shared_database, access=FOR_LONG, UNKNOWN_PARAMETERS="ignore") as service:
        assert len((await service.page(group=WIDGETS, namespace="*", limit=5, page=2)).items) == 5
        assert len(data_of(await service.page(group=WIDGETS, namespace="*", per_page=5, colour="red"))) == 5


# -- where links lead --------------------------------------------------------------------------------------------------

FORWARDED = {
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "portal.example:8443, inner",
    "X-Forwarded-Prefix": "/api/presenter/",
}


@pytest.mark.parametrize(
    ("headers", "start"),
    [
        (FORWARDED, "https://portal.example:8443/api/presenter/resources?"),
        ({"X-Forwarded-Prefix": "/api"}, "/api/resources?"),
        ({"X-Forwarded-Host": "portal.example"}, "http://portal.example/resources?"),
        ({"X-Forwarded-Host": "evil.example/path?"}, "/resources?"),
        ({"X-Forwarded-Host": "[::1]:80", "X-Forwarded-Proto": "javascript"}, "http://[::1]:80/resources?"),
        ({"X-Forwarded-Prefix": "//evil.example"}, "/resources?"),
        ({}, "/resources?"),
    ],
)
async def test_links_lead_where_a_trusted_proxy_says(
    shared_database: Address, headers: dict[str, str], start: str
) -> None:
    trusting = PaginationSettings(trusted_proxies=TRUSTED)
    async with serving(shared_database, access=FOR_LONG, pagination=trusting) as service:
        links = (await service.query(f"group={WIDGETS}&page=1", **headers)).json["links"]
        assert links["self"] == f"{start}group={WIDGETS}&page=1"
        assert links["first"].startswith(start)


async def test_nobody_else_says_where_links_lead(world: World, shared_database: Address) -> None:
    links = (await world.service.query(f"group={WIDGETS}&page=1", **FORWARDED)).json["links"]
    assert links["self"] == f"/resources?group={WIDGETS}&page=1"
    others = PaginationSettings(trusted_proxies=(ip_network("10.0.0.0/8"),))
    async with serving(shared_database, access=FOR_LONG, pagination=others) as service:
        links = (await service.query(f"group={WIDGETS}&page=1", **FORWARDED)).json["links"]
        assert links["self"] == f"/resources?group={WIDGETS}&page=1"


async def test_a_header_that_would_be_too_long_is_left_out(world: World) -> None:
    labels = json.dumps({"krateo.io/portal-page": "x" * 4050})
    reply = await world.service.query(f"group={WIDGETS}&page=1&labels={labels}")
    assert reply.json["links"]["first"]
    assert "Link" not in reply.headers
