"""What really arrives: query strings that jq concatenated without escaping, and the headers of Go's client."""

from __future__ import annotations

import itertools

import pytest

from presenter.api.declarations import parameters_of
from presenter.api.parameters import ListParameters
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
