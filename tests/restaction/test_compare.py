from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from presenter.restaction.compare import ATTEMPTS, Report, report
from presenter.restaction.differences import Difference, compare, times_in
from presenter.restaction.resolver import Problem, Request
from tests.e2e.processes import Process
from tests.restaction.world import World, action, call, text

Json = dict[str, Any]

LATE, EARLY = "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"


def thing(name: str, created: str = EARLY, **more: Any) -> Json:
    metadata = {"name": name, "namespace": "default", "uid": f"uid-of-{name}", "creationTimestamp": created}
    return {"metadata": metadata, **more}


def shown(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))[:80] + "…"


A, B, C = thing("a", LATE), thing("b"), thing("c")
V_W_X = "default/v, default/w, default/x"


# -- two results ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "result", [{"things": [A, B]}, [A, B], {}, [], None, {"of": {"deep": [A]}, "count": 1}, [1, 2]]
)
def test_a_result_is_like_itself(result: Any) -> None:
    comparison = compare(result, json.loads(json.dumps(result)))
    assert comparison.equivalent
    assert comparison.ties == {}


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        (
            {"things": [A, B]},
            {"things": [A]},
            Difference("objects", "$.things", "2 objects, only here: default/b", "1 objects"),
        ),
        ([A], [A, B], Difference("objects", "$", "1 objects", "2 objects, only here: default/b")),
        ([A, B], [A, A, B], Difference("objects", "$", "2 objects", "3 objects, only here: default/a")),
        (
            [],
            [thing(name) for name in "vwxyz"],
            Difference("objects", "$", "0 objects", f"5 objects, only here: {V_W_X}, and 2 more"),
        ),
        ([A, B], [B, A], Difference("order", "$[0]", "default/a", "default/b")),
        ([A, B, C], [B, C, A], Difference("order", "$[0]", "default/a", "default/b")),
        ([A], [A | {"spec": {}}], Difference("shape", "$[0].spec", "nothing", "{}")),
        ([A | {"spec": {"a b": 1}}], [A | {"spec": {"a b": 2}}], Difference("shape", '$[0].spec["a b"]', "1", "2")),
        ([A | {"spec": [1, 2]}], [A | {"spec": [1, 3]}], Difference("shape", "$[0].spec[1]", "2", "3")),
        ([A | {"spec": 1}], [A | {"spec": True}], Difference("shape", "$[0].spec", "1", "true")),
        ({"a": [A]}, {"b": [A]}, Difference("shape", "$.a", shown([A]), "nothing")),
        ({"things": [A]}, {"things": A}, Difference("shape", "$.things", shown([A]), shown(A))),
        ({"count": 2, "things": [A]}, {"count": 1, "things": [A]}, Difference("shape", "$.count", "2", "1")),
        ([{"n": 1}, {"n": 2}], [{"n": 1}, {"n": 3}], Difference("shape", "$[1].n", "2", "3")),
        ([1, 2], [1, 2, 3], Difference("shape", "$", "[1,2]", "[1,2,3]")),
        (
            [{"name": "a"}],
            [{"name": "b"}],
            Difference("objects", "$", "1 objects, only here: a", "1 objects, only here: b"),
        ),
    ],
)
def test_the_first_difference_is_told(old: Any, new: Any, difference: Difference) -> None:
    comparison = compare(old, new)
    assert comparison.differences == [difference]
    assert not comparison.equivalent


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ([A, B, C], [A, C, B], "creationTimestamp"),
        ([B, C, A], [C, B, A], "creationTimestamp"),
        ([thing("x", LATE, n=1), thing("y")], [thing("x", LATE, n=1), thing("y")], None),
        (
            [{"metadata": {"name": "x", "namespace": "one"}}, {"metadata": {"name": "x", "namespace": "two"}}],
            [{"metadata": {"name": "x", "namespace": "two"}}, {"metadata": {"name": "x", "namespace": "one"}}],
            "name",
        ),
    ],
)
def test_what_is_equal_in_the_sort_may_change_places(old: Any, new: Any, key: str | None) -> None:
    comparison = compare({"things": old}, {"things": new})
    assert comparison.equivalent
    assert comparison.ties == ({"$.things": key} if key else {})


def test_objects_without_their_times_are_known_by_those_of_others() -> None:
    titles = [{"namespace": "default", "name": name} for name in "abc"]
    times = times_in({"things": {"items": [A, B, C]}})
    assert times["default/a"] == times["uid-of-a"] == LATE
    swapped = [titles[0], titles[2], titles[1]]
    assert compare(titles, swapped, times).ties == {"$": "creationTimestamp"}
    assert compare(titles, swapped).first("order") == Difference("order", "$[1]", "default/b", "default/c")


def test_values_in_another_order_differ_in_that() -> None:
    assert compare(["a", "b"], ["b", "a"]).differences == [Difference("order", "$[0]", '"a"', '"b"')]


def test_several_of_one_name_are_told_apart_by_what_they_are() -> None:
    twins = [{"name": "a", "n": 1}, {"name": "a", "n": 2}, {"name": "b"}]
    assert compare(twins, list(twins)).equivalent
    changed = [twins[0], {"name": "a", "n": 3}, twins[2]]
    assert compare(twins, changed).first("objects") is not None


def test_equal_times_excuse_nothing_in_another_sort() -> None:
    by_name = [thing("a"), thing("b", LATE), thing("c"), thing("d", LATE)]
    swapped = [by_name[2], by_name[1], by_name[0], by_name[3]]
    assert compare(by_name, swapped).first("order") == Difference("order", "$[0]", "default/a", "default/c")


# -- two RESTActions --------------------------------------------------------------------------------------------------

OLD = call("things", "/old")
NEW = call("things", "/new")
ALL = "{things: .things.items, slice: {cursor: .things.cursor}}"


async def compared(world: World, per_page: int | None = None, **options: Any) -> Report:
    services = await world.services(**options)
    return await report(action(OLD, filter=ALL), action(NEW, filter=ALL), {}, services, per_page)


async def test_equivalent_ones_are_looked_at_once_and_their_costs_told(world: World) -> None:
    world.foreign.answer("/old", {"items": [A, B], "more": "x" * 1000})
    world.foreign.answer("/new", {"items": [A, B]})
    found = await compared(world)
    assert (found.equivalent, found.changed) == (True, False)
    assert world.foreign.paths == ["/old", "/new"]
    [old], [new] = found.old.requests, found.new.requests
    assert old.bytes > new.bytes + 1000
    assert found.old.lengths == found.new.lengths == [2]


async def test_a_difference_is_looked_at_twice(world: World) -> None:
    world.foreign.answer("/old", {"items": [A, B]})
    world.foreign.answer("/new", {"items": [B]})
    found = await compared(world)
    assert (found.equivalent, found.changed) == (False, False)
    assert found.comparison.first("objects") is not None
    assert world.foreign.paths == ["/old", "/new"] * 2


async def test_a_difference_that_passes_is_none(world: World) -> None:
    world.foreign.answer("/old", {"items": [thing("a", status={"phase": "new"})]})
    world.foreign.answer("/new", {"items": [thing("a", status={"phase": "ready"})]})

    def observe(_: Request | Problem) -> None:
        if len(world.foreign.asked) == 2:
            world.foreign.answer("/old", {"items": [thing("a", status={"phase": "ready"})]})

    services = replace(await world.services(), observe=observe)
    found = await report(action(OLD, filter=ALL), action(NEW, filter=ALL), {}, services, None)
    assert (found.equivalent, found.changed) == (True, False)
    assert len(world.foreign.asked) == 4


async def test_what_lasts_is_told_apart_from_what_changes(world: World) -> None:
    world.foreign.answer("/new", {"items": [A]})

    def observe(_: Request | Problem) -> None:
        world.foreign.answer("/old", {"items": [thing("a", LATE, status=len(world.foreign.asked)), B]})

    observe(Problem("", "", False))
    services = replace(await world.services(), observe=observe)
    found = await report(action(OLD, filter=ALL), action(NEW, filter=ALL), {}, services, None)
    assert (found.equivalent, found.changed) == (False, False)
    assert [difference.aspect for difference in found.comparison.differences] == ["objects"]


async def test_what_never_stands_still_is_said_to_change(world: World) -> None:
    world.foreign.answer("/new", {"items": [A]})

    def observe(_: Request | Problem) -> None:
        world.foreign.answer("/old", {"items": [thing(f"a-{len(world.foreign.asked)}")]})

    observe(Problem("", "", False))
    services = replace(await world.services(), observe=observe)
    found = await report(action(OLD, filter=ALL), action(NEW, filter=ALL), {}, services, None)
    assert (found.equivalent, found.changed) == (False, True)
    assert len(world.foreign.asked) == 2 * ATTEMPTS


async def test_a_call_that_fails_is_no_result(world: World) -> None:
    world.foreign.answer("/new", {"items": []})
    found = await compared(world)  # nobody answers /old
    difference = found.comparison.first("calls")
    assert difference is not None
    assert "404" in difference.old
    assert difference.new == "no error"


async def test_a_filter_that_fails_is_no_result(world: World) -> None:
    world.foreign.answer("/old", {"items": []})
    world.foreign.answer("/new", {"items": []})
    failing = action(NEW, filter=".things.items + 1")
    found = await report(action(OLD, filter=ALL), failing, {}, await world.services(), None)
    difference = found.comparison.first("calls")
    assert difference is not None
    assert "cannot be added" in difference.new


async def test_pages_are_compared_as_they_are_cut(world: World) -> None:
    world.foreign.answer("/list", {"items": [A, B, C]})
    world.foreign.answer("/all", {"items": [A, B, C]})
    by_number = action(
        call("things", "/list"), filter="{things: .things.items[.slice.offset:.slice.offset + .slice.perPage]}"
    )
    whole = action(call("things", "/all"), filter=ALL)
    found = await report(by_number, whole, {}, await world.services(), 2)
    assert found.old.lengths == [2, 1]
    assert found.comparison.differences == [Difference("pages", "$", "2, 1", "3")]
    again = await report(by_number, by_number, {}, await world.services(), 2)
    assert again.equivalent
    one_left = await report(by_number, by_number, {}, await world.services(), 3)
    assert one_left.old.lengths == [3]


# -- the command ------------------------------------------------------------------------------------------------------


async def run(world: World, home: Path, *options: str, new: Json = NEW) -> tuple[int, str, str]:
    (home / "old.yaml").write_text(text(OLD, filter=ALL))
    (home / "new.yaml").write_text(text(new, filter=ALL))
    process = await Process.start(
        *("restaction", "compare", "old.yaml", "new.yaml", "--kubeconfig", str(world.kubeconfig), *options), home=home
    )
    code = await process.ended()
    return code, "\n".join(process.out), "\n".join(process.err)


async def test_the_command_prints_a_table(world: World, tmp_path: Path) -> None:
    world.foreign.answer("/old", {"items": [A, B, C]})
    world.foreign.answer("/new", {"items": [A, C, B]})
    code, out, err = await run(world, tmp_path)
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert ["old", "new"] in lines
    assert ["calls", "1", "1"] in lines
    assert ["objects", "3", "3"] in lines
    assert "$.things: objects of equal creationTimestamp have changed places; they have no defined order" in out
    assert out.splitlines()[-1] == "equivalent"


async def test_the_command_tells_what_differs(world: World, tmp_path: Path) -> None:
    world.foreign.answer("/old", {"items": [A, B]})
    world.foreign.answer("/new", {"items": [B]})
    code, out, _ = await run(world, tmp_path)
    assert code == 1
    assert out.splitlines()[-4:] == [
        "objects differ at $.things",
        "  old: 2 objects, only here: default/a",
        "  new: 1 objects",
        "different",
    ]


async def test_the_command_prints_json(world: World, tmp_path: Path) -> None:
    world.foreign.answer("/old", {"items": [A]})
    world.foreign.answer("/new", {"items": [A | {"spec": 1}]})
    code, out, _ = await run(world, tmp_path, "--json")
    found = json.loads(out)
    assert code == 1
    assert found["equivalent"] is False
    assert found["differences"] == [{"aspect": "shape", "path": "$.things[0].spec", "old": "nothing", "new": "1"}]
    assert found["old"]["calls"] == found["new"]["calls"] == 1
    assert found["old"]["bytes"] < found["new"]["bytes"]


async def test_two_empty_ones_prove_nothing_and_the_command_says_so(world: World, tmp_path: Path) -> None:
    for path in ("/old", "/new"):
        world.foreign.answer(path, {"items": []})
    code, out, _ = await run(world, tmp_path)
    assert code == 0
    assert out.splitlines()[-1] == "equivalent, but there was nothing to compare: both are empty"


async def test_what_cannot_be_read_ends_with_2(world: World, tmp_path: Path) -> None:
    code, out, err = await run(world, tmp_path, new={"path": "/new"})
    assert (code, out) == (2, "")
    assert "name is missing" in err
    assert (await run(world, tmp_path, "--per-page", "0"))[0] == 2
