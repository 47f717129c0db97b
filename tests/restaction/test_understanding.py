"""What is understood of a filter is what jq does: random filters, beside their migrations, on random clusters.

The API server, the presenter and snowplow are a few lines each here, so that thousands of filters can be tried. That
they are like the real ones is for `test_variants`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import jq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from presenter.api.parameters import ListParameters, parse_list_query
from presenter.restaction.jq_parser import parse
from presenter.restaction.manifest import Call, Reference, Refused, RestAction, expression
from presenter.restaction.rewriting import rewritten
from presenter.restaction.understanding import Old, understand

Json = dict[str, Any]
FAILED = object()
"""What jq gives when it fails."""

NAMESPACED = "/apis/things.io/v1/namespaces/"


@dataclass(frozen=True)
class World:
    """Namespaces in their order, with their objects in theirs."""

    spaces: dict[str, list[Json]]

    def old(self, action: RestAction, slice: Json) -> Any:
        """What snowplow makes of a RESTAction that asks the API server."""
        context = dict(slice)
        things = action.calls[-1]
        if things.iterator:
            context["spaces"] = list(self.spaces)
            answers = [{"kind": "ThingList", "items": items} for items in self.spaces.values()]
        else:
            answers = [{"kind": "ThingList", "items": [thing for items in self.spaces.values() for thing in items]}]
        for answer in answers:
            _gather(context, _first(things.filter, {"things": answer}) if things.filter else answer)
        return _first(action.filter or ".", context)

    def new(self, action: RestAction, slice: Json) -> Any:
        """What snowplow makes of a RESTAction that asks the presenter."""
        context = dict(slice)
        if any(call.name == "spaces" for call in action.calls):
            context["spaces"] = list(self.spaces)
        url = _first(expression(action.calls[-1].path) or "", context)
        asked = parse_list_query(url.partition("?")[2].encode())
        found = [thing for items in self.spaces.values() for thing in items if _is_asked(thing, asked)]
        found.sort(
            key=_order(asked),
            reverse=(asked.sort_order or ("desc" if asked.sort_by == "created_at" else "asc")) == "desc",
        )
        start = int(asked.cursor or 0)
        page = found[start : start + asked.limit]
        context["things"] = {"items": [{"raw": thing} for thing in page]}
        if start + asked.limit < len(found):
            context["things"]["cursor"] = str(start + asked.limit)
        return _first(action.filter or ".", context)


def _gather(context: Json, answer: Any) -> None:
    if "things" not in context:
        context["things"] = answer
    elif isinstance(context["things"], list):
        context["things"] = context["things"] + (answer if isinstance(answer, list) else [answer])
    else:
        context["things"] = [context["things"], *(answer if isinstance(answer, list) else [answer])]


def _is_asked(thing: Json, asked: ListParameters) -> bool:
    metadata = thing["metadata"]
    return (
        asked.namespace in ("*", metadata["namespace"])
        and asked.name in (None, metadata["name"])
        and (asked.labels or {}).items() <= metadata.get("labels", {}).items()
    )


def _order(asked: ListParameters) -> Callable[[Json], Any]:
    field = {"created_at": "creationTimestamp", "name": "name"}.get(asked.sort_by)
    return lambda thing: (
        thing["metadata"][field] if field else (thing["metadata"]["namespace"], thing["metadata"]["name"])
    )


def _first(program: str, value: Any) -> Any:
    try:
        return jq.compile(program).input_text(json.dumps(value)).first()
    except (ValueError, StopIteration):
        return FAILED


# -- what is tried -----------------------------------------------------------------------------------------------------

GUARD = """(if (.things | type) == "array" then [.things[]?.items[]?]
    elif (.things | type) == "object" then [.things.items[]?] else [] end)"""
SOURCES = [
    GUARD, GUARD, "[.things[]?.items[]?]", "[.things[].items[]]", "(.things // [])", ".things.items",
    "[.things.items[]?]", "(.things.items // [])", "([.things] | flatten | map(.items[]?))",
    "([.things[]?.items] | add // [])", "[.things[]? | .items[]?]",
    '[.things | if type == "array" then .[] else . end | .items[]?]', ".things",
    "([.things[]? | .items // [] | .[]])", "(.things | map(.items) | add)", "[.things[]?.items[]?, 1]",
    '[.things[]? | select(type == "object") | .items[]?]', "([.things[]?.items[]?] + [])", "[.things[]? | [.items[]?]]",
    "[.things[] as $list | $list.items[]]", "[.things[]?.items[]? as $t | $t]", "[.. | .items? // empty | .[]]",
    '[.things[]? | if has("items") then .items[] else empty end]', "[.things[]? | .items | reverse | .[]]",
    "[.things[]? | .items[:2][]]", "(.things | map(select(.items) | .items[]))",
    "([.things[]?.items[]?] as $all | [.things[]? | $all[]])",
]  # fmt: skip
TIER = '.metadata.labels["a/tier"]'
CONDITIONS = [
    f'{TIER} == "x"', f'"x" == {TIER}', '(.metadata.labels // {})["a/tier"] == "x"', f'({TIER} // "x") == "x"',
    f'({TIER} // "") == "x"', '.metadata.labels.b == "y"', f'{TIER} == "x" and .metadata.labels.b == "y"',
    '.metadata.namespace == "one"', '.metadata.name == "n01"', '.metadata.labels | .["a/tier"] == "x"',
    f'{TIER} != "x"', f'{TIER} == ""', TIER, f'{TIER} == "x" or .metadata.labels.b == "y"', ".size > 2", "true",
    f'({TIER} == "x") == true', f'{TIER} == "x" and .size > 1', f'{TIER} == "y"', 'has("size")', "false",
]  # fmt: skip
WHERE = [*(f"map(select({condition}))" for condition in CONDITIONS), f"[.[] | select({CONDITIONS[0]}) | .]"]
ORDERS = [
    "sort_by(.metadata.creationTimestamp)", 'sort_by(.metadata.creationTimestamp // "")', "sort_by(.metadata.name)",
    "sort_by(.metadata.creationTimestamp) | reverse", "sort_by(.metadata.namespace, .metadata.name)", "reverse",
    "sort_by([.metadata.namespace, .metadata.name])", "sort_by(-(.metadata.creationTimestamp | fromdateiso8601))",
    "sort_by(.size)", "sort_by(.metadata.namespace)", "unique_by(.metadata.name)", "group_by(.size)", "(map(.size.x))?",
]  # fmt: skip
PAGES = [
    ".[$o:$o + $n]", ".[$o:][:$n]", "[limit($n; .[$o:][])]", ". as $s | [range($o; $o + $n) | $s[.] // empty]",
    ". as $s | [length as $len | range($o; $o + $n) | select(. < $len) | $s[.]]",
    "if $all then . else .[$o:$o + $n] end", ". as $s | [range($o; $o + $n) as $i | $s[$i] | values]",
    ". as $s | [range($o; $o + $n) | $s[.] | select(. != null)]",
    ".[1:] | .[-1:]", ".[$o - 2:] | .[2:$n + 2]", ".[:(.slice.page // 1)]",
    ".[:$n]", ".[$o:]", "[.[$o:$o + $n][] | .size]", ".[$n:$n + $o]", ".[0:2]", "[limit($n; .[])]",
    ". as $s | [range($o; $o + $n) | $s[.]]", ". as $s | [range($o; ($s | length)) | $s[.]]", ".[1:] | .[$o:$o + $n]",
]  # fmt: skip
OTHERS = [
    "map({name: .metadata.name})", "map(.metadata.name)", "map(.metadata | .name)", "map(.tags[]?)", "map(.tags?)",
    "map(.size, 1)", "length", ".[0]", "first", "map(. as $t | $t.size)", "flatten", "map(.)", "[.[] | values]",
    "if length > 1 then . else [] end", "if . then . else [] end", "map(select(.size > 1)?)", "map(.size) | add",
    "[.[] | {size, name: .metadata.name} | .name]", "if $o > 0 then . else reverse end",
    "map(.metadata.labels.b // \"-\")",
]  # fmt: skip
OFFSETS = ["(.slice.offset // 0)"] * 4 + [
    "(((.slice.page // 1) - 1) * (.slice.perPage // 0))",
    "(.slice.page // 0)",
    "0",
]
SIZES = [
    *["(.slice.perPage // 2)", "(.slice.perPage // 5000)"] * 2,
    *["(if .slice then .slice.perPage else 3 end)", "1", "(.slice.perPage // 0)", "(.slice.perPage // null)"],
]
RESULTS = [
    *["{{things: ({})}}"] * 3,
    *[
        "{{a: {{things: ({})}}, b: 1}}",
        "{{things: ({}), half: (9 / 2), rest: (9 % 2)}}",
        "({})",
        "({}) as $t | {{things: $t, more: ($t | length)}}",
    ],
]
ITERATED = (
    Call("spaces", "/api/v1/namespaces", filter="[.spaces.items[] | .metadata.name]"),
    Call(
        "things",
        f'${{ "{NAMESPACED}" + . + "/things" }}',
        depends_on="spaces",
        iterator=".spaces",
        continue_on_error=True,
    ),
)
FILTERS = [".things.items", f"[.things.items[] | select({CONDITIONS[0]})]", "[.things.items[].size]"]


PARTS: dict[str, list[Any]] = {
    "source": SOURCES,
    "own": FILTERS,
    "result": RESULTS,
    "offset": OFFSETS,
    "size": SIZES,
    "where": WHERE,
    "order": ORDERS,
    "page": PAGES,
}
USUAL: dict[str, Any] = {name: parts[0] for name, parts in PARTS.items()} | {"own": None}
MORE = [*WHERE, *ORDERS, *PAGES, *OTHERS]


def made_of(parts: dict[str, Any], more: str = ".", place: int = 0, iterated: bool = True) -> RestAction:
    """An old RESTAction, with one more stage at some place among where, order and page."""
    stages = [parts["where"], parts["order"], parts["page"]]
    stages.insert(place, more)
    pipeline = f"{parts['offset']} as $o | {parts['size']} as $n | {' | '.join([parts['source'], *stages])}"
    filter = "(.slice == null) as $all | " + parts["result"].format(pipeline)
    calls = ITERATED if iterated else (Call("things", "/apis/things.io/v1/things"),)
    return RestAction("tried", "default", (*calls[:-1], replace(calls[-1], filter=parts["own"])), filter)


@st.composite
def actions(draw: st.DrawFn) -> RestAction:
    """An old RESTAction as it should be, but for some parts of it."""
    odd = draw(st.sets(st.sampled_from(list(PARTS)), max_size=3))
    parts = USUAL | {name: draw(st.sampled_from(PARTS[name])) for name in sorted(odd)}
    more = draw(st.sampled_from([".", *MORE]))
    return made_of(parts, more, draw(st.integers(0, 3)), draw(st.booleans()))


THING = st.fixed_dictionaries(
    {
        "tier": st.sampled_from(["x", "x", "y", "", None]),
        "b": st.sampled_from(["y", None]),
        "size": st.integers(0, 4),
        "tags": st.lists(st.integers(0, 1), max_size=2),
    }
)
RICH: list[list[Json]] = [
    [
        {
            "tier": "xyxx"[(space + number) % 4],
            "b": "y" if number % 2 else None,
            "size": number % 3 + space,
            "tags": [1, 0],
        }
        for number in range(size)
    ]
    for space, size in enumerate((4, 2, 5))
]
RICH[0][1]["tier"], RICH[1][0]["tier"] = None, "x"
SPACES = st.lists(st.lists(THING, min_size=1, max_size=5), max_size=3)


def world(spaces: Iterable[list[Json]]) -> World:
    """No two objects have the same name, or were created at once."""
    number, things = 0, dict[str, list[Json]]()
    for name, made in zip(["one", "three", "two"], spaces, strict=False):
        things[name] = []
        for thing in made:
            number += 1
            labels = {
                key: value for key, value in {"a/tier": thing["tier"], "b": thing["b"]}.items() if value is not None
            }
            created = f"2026-01-01T00:00:{number * 7 % 60:02}Z"
            metadata = {"name": f"n{number:02}", "namespace": name, "creationTimestamp": created}
            things[name].append(
                {
                    "metadata": metadata | ({"labels": labels} if labels else {}),
                    "size": thing["size"],
                    "tags": thing["tags"],
                }
            )
    return World(things)


def understood(action: RestAction) -> Old | None:
    try:
        return understand(action)
    except Refused:
        return None


def same(old: RestAction, new: RestAction, found: Old, cluster: World) -> None:
    """Without a slice and page by page, to one page behind the last."""
    paged = any(each.paged for each in found.lists.values())
    assert shape(cluster.new(new, {}), paged) == cluster.old(old, {})
    for size in (2, 4):
        cursor: Any = ""
        for page in range(1, 9):
            before = cluster.old(old, numbered(page, size))
            if not paged:
                assert cluster.new(new, numbered(page, size)) == before
                break
            after = cluster.new(new, {"slice": {"perPage": size, "cursor": cursor}})
            assert shape(after, paged) == before
            cursor = None if after is FAILED else after["slice"]["cursor"]
            if cursor is None:
                assert cluster.old(old, numbered(page + 1, size)) == cluster.old(old, numbered(99, size))
                break


def numbered(page: int, size: int) -> Json:
    return {"slice": {"page": page, "perPage": size, "offset": (page - 1) * size, "cursor": ""}}


def shape(result: Any, paged: bool) -> Any:
    return {key: value for key, value in result.items() if key != "slice"} if paged and result is not FAILED else result


def check(old: RestAction, clusters: Iterable[list[list[Json]]]) -> None:
    found = understood(old)
    if found is None:
        return
    new = rewritten(found, Reference("endpoint", "default"))
    for spaces in clusters:
        alone = len(spaces) == 1 and any("one namespace" in note for note in found.notes)
        if old.calls[-1].iterator is None or (spaces and not alone):
            same(old, new, found, world(spaces))


@pytest.mark.parametrize("name", PARTS)
def test_whatever_one_part_is_what_is_understood_is_what_jq_does(name: str) -> None:
    for part in PARTS[name]:
        for page in (USUAL["page"], "."):
            check(made_of(USUAL | {"page": page, name: part}), [RICH])


@pytest.mark.parametrize("place", range(4))
def test_whatever_is_done_in_between_what_is_understood_is_what_jq_does(place: int) -> None:
    for more in MORE:
        check(made_of(USUAL, more, place), [RICH])


@settings(max_examples=100, deadline=None)
@given(actions(), SPACES)
def test_whatever_is_combined_what_is_understood_is_what_jq_does(old: RestAction, some: list[list[Json]]) -> None:
    check(old, [RICH, some])


def test_enough_of_them_are_understood() -> None:
    """Else the tests above prove nothing."""
    deviations = [
        USUAL | {"page": page, name: part} for name in PARTS for part in PARTS[name] for page in (PAGES[0], ".")
    ]
    found = [understood(made_of(parts)) for parts in deviations]
    paged = [any(each.paged for each in old.lists.values()) for old in found if old]
    assert paged.count(True) >= 40
    assert paged.count(False) >= 40
    assert found.count(None) >= 40


# What few objects, or pages of few, would hardly show: this is why the filter is followed, and not tried on samples.
@pytest.mark.parametrize(
    "more",
    [
        'map(select(.metadata.name | startswith("n")))', 'map(select(.metadata.name != "kube-root-ca.crt"))',
        "map(select(.metadata.name | length < 20))", 'map(select(.metadata.namespace != "kube-public"))',
        'map(select(.metadata.namespace | test("^kube-") | not))', 'map(select(.kind != "Secret"))',
        "map(select(.spec.hidden != true))", "map(select(.metadata.deletionTimestamp == null))",
        'map(select(has("status") | not))', 'map(select(.metadata.creationTimestamp > "2026"))',
        "map(select(now - (.metadata.creationTimestamp | fromdate) > 86400))", "map(select(tojson | length < 4000))",
        f'map(select({TIER} | . == null or test("^x$"; "i")))', "unique_by(.metadata.name)",
        "sort_by(.metadata.creationTimestamp[:10])", "if any(.[]; .spec.broken) then [] else . end",
        "if (map(.metadata.namespace) | unique | length) > 50 then [] else . end",
        "if length > 400 then [] else . end", "if length * length > 100000 then [] else . end",
        "if length - $n > 250 then [] else . end", "if .[99] == null then . else [] end", "[limit(200; .[])]",
        "if $n * $o > 1000 then [] else . end", "if $o > 3000 then reverse else . end", ".[:$n * 100]",
        "if $all then . else .[:900] end", "if $all then .[:900] else . end", ".[:60 - $n]", "flatten(50 - $n)",
        'if ($n | tostring) == "10" then [] else . end', ". as $s | [range(length) | select(. * . < 900) | $s[.]]",
    ],
)  # fmt: skip
def test_what_shows_in_few_clusters_only_is_left_alone_before_a_page_is_cut(more: str) -> None:
    for place in (0, 2):
        old = made_of(USUAL, more, place)
        parse(old.filter or "")  # a slip in it would be refused, too
        with pytest.raises(Refused):
            understand(old)


@pytest.mark.parametrize(
    ("part", "is_now"),
    [
        (r"&labels=\{.*?\}", ""), (r':\\"x\\"', r':\\"y\\"'), (r"namespace=\*", "namespace=one"),
        (r"sort_by=created_at", "sort_by=name"), (r"sort_order=asc", "sort_order=desc"), (r'"&limit=2"', '"&limit=3"'),
        (r'"&limit=" \+ \$limit$', '"&limit=1"'), (r' \+ "&cursor=" \+ \.slice\.cursor', ""),
        (r"min \| tostring", "min - 1 | tostring"), (r'\.slice\.cursor // ""', '.slice.page // ""'),
        (r"cursor: \.things\.cursor", "cursor: null"), (r"things: \[", "others: ["), (r"\.raw", ".raw.metadata"),
        (r"\.things\.items\[\]", ".things.items[1:][]"), (r" \.raw \]", " .raw ] | reverse"),
        (r"\| \.raw", "| .raw | select(.size > 0)"),
    ],
)  # fmt: skip
def test_a_new_one_that_is_wrong_in_one_place_is_found_out(part: str, is_now: str) -> None:
    old = made_of(USUAL)
    found = understand(old)
    assert found
    new = rewritten(found, Reference("endpoint", "default"))
    same(old, new, found, world(RICH))

    def changed(text: str) -> str:
        return re.sub(part, is_now, text, count=1, flags=re.MULTILINE)

    calls = [replace(call, path=changed(call.path)) for call in new.calls]
    wrong = replace(new, calls=tuple(calls), filter=changed(new.filter or ""))
    assert wrong != new
    with pytest.raises(AssertionError):
        same(old, wrong, found, world(RICH))


def test_the_model_of_the_world_is_no_trivial_one() -> None:
    thing: Json = {"tier": "x", "b": None, "size": 1, "tags": []}
    cluster = world([[thing, thing], [thing]])
    action = RestAction("tried", "default", ITERATED, "{things: [.things[]?.items[]? | .metadata.name]}")
    assert cluster.old(action, {}) == {"things": ["n01", "n02", "n03"]}
    found = understood(RestAction("a", "b", ITERATED, "{things: ([.things[]?.items[]?] | reverse)}"))
    assert found
    with pytest.raises(AssertionError):
        same(action, rewritten(found, Reference("e", "n")), found, cluster)
