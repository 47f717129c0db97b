"""GET and POST speak of the same parameters: any of them give the same answer, and it is the right one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.test_order import DEFAULT_ORDERS
from tests.api.world import COMPOSITIONS, EDGE, LABELS, NAMES, NAMESPACES, TEST, TIER, WIDGETS, World, in_order

pytestmark = pytest.mark.asyncio(loop_scope="session")

texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12)
filters = {
    "version": st.just("v1beta1"),
    "resource": st.sampled_from(["panels", "buttons", "themes"]),
    "namespace": st.sampled_from([*NAMESPACES, "*", "*", "", "absent"]),
    "cluster": st.sampled_from([TEST, EDGE]),
    "composition_id": st.sampled_from(COMPOSITIONS[1:]),
    "labels": st.sampled_from([*LABELS[1:], {TIER: "gold"}, {}]) | st.dictionaries(texts, texts, max_size=2),
}
by_name = st.fixed_dictionaries(
    {},
    optional={"name": st.sampled_from(NAMES) | texts},
) | st.fixed_dictionaries(
    {},
    optional={"name_contains": st.sampled_from(["PANEL", "a", "_", "%", "\\", "-"])},
)
how = {
    "raw": st.booleans(),
    "status_raw": st.booleans(),
    "sort_by": st.sampled_from(list(DEFAULT_ORDERS)),
    "sort_order": st.sampled_from(["asc", "desc"]),
    "limit": st.integers(1, 5000) | st.integers(1, 4) | st.sampled_from([None, "null", "NULL"]),
    "cursor": st.sampled_from([None, "", "null", "NULL"]),
}
parameters = st.builds(
    lambda *parts: {key: value for part in parts for key, value in part.items()},
    st.just({"group": WIDGETS}) | st.fixed_dictionaries({"group": st.sampled_from(["core", "", WIDGETS])}),
    st.fixed_dictionaries({}, optional=filters),
    by_name,
    st.fixed_dictionaries({}, optional=how),
)

within_a_session = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def fits_the_group(asked: dict[str, Any]) -> bool:
    """Whether it is about types that are cached: the others have answers of their own."""
    if asked["group"] == WIDGETS:
        return asked.get("cluster") != EDGE or asked.get("resource") in (None, "panels")
    return asked.keys().isdisjoint({"version", "resource"}) and asked.get("cluster") != EDGE


@within_a_session
@given(asked=parameters.filter(fits_the_group))
async def test_get_and_post_answer_alike(world: World, asked: dict[str, Any]) -> None:
    by_query, by_body = await world.service.page(**asked), await world.service.post(asked)
    assert (by_query.code, by_query.body) == (by_body.code, by_body.body)
    assert by_query.headers.get("Warning") == by_body.headers.get("Warning")

    limit = asked.get("limit", 100)
    size = 5000 if limit in (None, "null", "NULL") else limit
    expected = world.matching(**asked)
    assert len(by_query.items) == min(size, len(expected))
    assert (by_query.cursor is None) is (len(expected) <= size)
    sort_by = asked.get("sort_by", "created_at")
    if sort_by != "updated_at":
        ordered = in_order(expected, sort_by, asked.get("sort_order", DEFAULT_ORDERS[sort_by]))
        assert [item["global_uid"] for item in by_query.items] == [each.global_uid for each in ordered[:size]]


@settings(within_a_session, max_examples=100)
@given(
    asked=st.fixed_dictionaries(
        {"group": texts},
        optional={
            name: texts | st.integers() | st.booleans() | st.none() | st.dictionaries(texts, texts)
            for name in ("namespace", "limit", "raw", "labels", "since", "composition_id", "sort_by", "cursor", "name")
        },
    )
)
async def test_whatever_comes_is_answered_in_words(world: World, asked: dict[str, Any]) -> None:
    for answer in (await world.service.page(**asked), await world.service.post(asked)):
        if answer.code == 200:
            assert answer.items is not None
        else:
            assert answer.failure(answer.code)
            assert answer.code in (400, 404)
