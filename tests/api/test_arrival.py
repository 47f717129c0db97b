"""What really arrives: query strings that jq concatenated without escaping, and the headers of Go's client."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta

import pytest

from presenter.api.declarations import parameters_of
from presenter.api.parameters import ListParameters
from presenter.cache.pool import Address
from presenter.config import AccessSettings
from tests.api.service import serving
from tests.api.world import LABELS, PAGE, TIER, WIDGETS, World

pytestmark = pytest.mark.asyncio(loop_scope="session")

PANELS = f"group={WIDGETS}&resource=panels&namespace=*"
GOLD = '{"krateo.io/portal-page":"compositions","tier":"gold"}'
TRACE = "X-Krateo-TraceId"


@pytest.mark.parametrize(
    "labels",
    [
        GOLD,
        GOLD.replace(":", ": "),
        GOLD.replace('"', "%22").replace("{", "%7B").replace("}", "%7D"),
        GOLD.replace(":", "%3A").replace("/", "%2F"),
    ],
    ids=["unescaped", "with spaces", "escaped", "half escaped"],
)
async def test_labels_arrive_as_jq_leaves_them(world: World, labels: str) -> None:
    answer = await world.service.query(f"{PANELS}&labels={labels.replace(' ', '+')}")
    expected = world.expected(group=WIDGETS, resource="panels", namespace="*", labels=LABELS[2])
    assert expected
    assert {item["global_uid"] for item in answer.items} == expected


@pytest.mark.parametrize("labels", ["labels=null", "labels=NULL", "labels="])
async def test_labels_that_jq_has_none_of_are_any(world: World, labels: str) -> None:
    answer = await world.service.query(f"{PANELS}&{labels}&limit=5000")
    assert {item["global_uid"] for item in answer.items} == world.expected(
        group=WIDGETS, resource="panels", namespace="*"
    )
    assert (await world.service.post({"group": WIDGETS, "namespace": "*", "labels": None})).items


@pytest.mark.parametrize("plus", ["+", "%2B", " ", "%20"])
async def test_the_plus_of_a_time_may_be_anything_that_becomes_of_one(world: World, plus: str) -> None:
    later = await world.service.query(f"{PANELS}&since=2999-01-01T00:00:00{plus}02:00")
    assert later.items == []
    earlier = await world.service.query(f"{PANELS}&since=2001-01-01T00:00:00{plus}02:00&limit=5000")
    assert {item["global_uid"] for item in earlier.items} == world.expected(
        group=WIDGETS, resource="panels", namespace="*"
    )


async def test_the_fields_of_a_body_may_be_in_any_letter_case(world: World) -> None:
    usual = await world.service.post({"group": WIDGETS, "namespace": "*", "sort_by": "name", "limit": 3})
    assert len(usual.items) == 3
    as_go_has_it = {"Group": WIDGETS, "NAMESPACE": "*", "Sort_By": "name", "Limit": 3}
    assert (await world.service.post(as_go_has_it)).body == usual.body


@pytest.mark.parametrize("padding", [0, 70_000, 2**20 - 200], ids=str)
async def test_a_body_may_have_a_mebibyte(world: World, padding: int) -> None:
    body = json.dumps({"group": WIDGETS, "resource": "panels", "namespace": "*", "limit": 3}).encode()
    answer = await world.service.post(body + b" " * padding)
    assert answer.json == (await world.service.query(f"{PANELS}&limit=3")).json
    assert (await world.service.post(b" " * padding + b"{")).failure(400).startswith("the body is not JSON")


async def test_what_is_unknown_or_repeated_may_be_ignored(shared_database: Address, world: World) -> None:
    forever = AccessSettings(RBAC_MAX_STALENESS=timedelta(days=1))
    async with serving(shared_database, access=forever, UNKNOWN_PARAMETERS="ignore") as lenient:
        usual = await world.service.query(f"{PANELS}&limit=3")
        assert (await lenient.query(f"extras=&{PANELS}&page=1&limit=3&limit=x&extras={{}}")).json == usual.json
        assert (
            await lenient.post(
                {"group": WIDGETS, "resource": "panels", "namespace": "*", "limit": 3, "LIMIT": 7, "extras": {}}
            )
        ).json == usual.json
        uid = usual.items[0]["global_uid"]
        assert (await lenient.get(f"/resources/{uid}?verbose=1&raw=true&raw=false")).items[0]["raw"]
        message = (await lenient.query(f"{PANELS}&limit=x&limit=3")).failure(400)
        assert message.startswith("limit is 'x': ")


@pytest.mark.parametrize("limit", ["&limit=null", "&limit=NULL", "&limit=5000"])
@pytest.mark.parametrize("cursor", ["", "&cursor=", "&cursor=null", "&cursor=NULL"])
async def test_no_limit_and_no_cursor_in_all_their_spellings(world: World, limit: str, cursor: str) -> None:
    answer = await world.service.query(f"{PANELS}{limit}{cursor}")
    assert {item["global_uid"] for item in answer.items} == world.expected(
        group=WIDGETS, resource="panels", namespace="*"
    )
    assert answer.cursor is None


async def test_a_first_page_may_say_that_it_has_no_cursor_in_front_of_its_labels(world: World) -> None:
    page = f'{{"{PAGE}":"compositions"}}'
    first = await world.service.query(f"{PANELS}&limit=2&cursor=NULL&labels={page}")
    rest = await world.service.query(f"{PANELS}&limit=null&cursor={first.cursor}&labels={page}")
    expected = world.expected(group=WIDGETS, resource="panels", namespace="*", labels={PAGE: "compositions"})
    assert sorted(item["global_uid"] for item in first.items + rest.items) == sorted(expected)


async def test_parameters_come_in_any_order(world: World) -> None:
    pieces = ["group=" + WIDGETS, "namespace=*", "cursor=", f'labels={{"{TIER}":"gold"}}', "limit=3"]
    answers = [await world.service.query("&".join(order)) for order in itertools.permutations(pieces)]
    assert len({answer.body for answer in answers}) == 1
    assert answers[0].json["count"] == 3


@pytest.mark.parametrize(
    "name",
    sorted(parameters_of(ListParameters).keys() - {"group"}),
)
async def test_an_empty_parameter_counts_as_absent(world: World, name: str) -> None:
    absent = await world.service.query(f"group={WIDGETS}")
    empty = await world.service.query(f"group={WIDGETS}&{name}=")
    assert absent.items
    assert empty.body == absent.body


@pytest.mark.parametrize("query_string", [f"&{PANELS}", f"{PANELS}&", f"group={WIDGETS}&&resource=panels&namespace=*"])
async def test_stray_ampersands_do_no_harm(world: World, query_string: str) -> None:
    assert (await world.service.query(query_string)).body == (await world.service.query(PANELS)).body


async def test_go_asks_for_gzip_and_understands_the_answer(world: World) -> None:
    answer = await world.service.query(PANELS, **{"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers.get("Content-Encoding") in (None, "gzip")
    assert answer.items


@pytest.mark.parametrize("trace_id", ["abc", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a" * 128])
async def test_the_trace_id_goes_back(world: World, trace_id: str) -> None:
    assert (await world.service.query(PANELS, **{TRACE: trace_id})).headers[TRACE] == trace_id
    assert (await world.service.query("limit=0", **{TRACE: trace_id})).headers[TRACE] == trace_id
    assert (await world.service.send("GET", "/resources", headers={TRACE: trace_id})).headers[TRACE] == trace_id


@pytest.mark.parametrize("trace_id", ["", "a" * 129, "a b", "a\tb", "täglich"])
async def test_a_trace_id_that_is_none_does_not_go_back(world: World, trace_id: str) -> None:
    answer = await world.service.query(PANELS, **{TRACE: trace_id})
    assert answer.code == 200
    assert TRACE not in answer.headers


async def test_success_and_failure_are_json(world: World) -> None:
    assert (await world.service.query(PANELS)).headers["Content-Type"] == "application/json"
    (await world.service.query("")).failure(400)
