"""Cursors: what goes in comes out, and nothing else is taken for one."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenter.cache.cursor import CursorCodec, digest
from presenter.cache.query import Filters, KeyValue, Position, Sort
from presenter.errors import BadRequest

CODEC = CursorCodec(b"a key")
FILTERS = digest(Filters(), group="apps")

VALUES: dict[str, st.SearchStrategy[KeyValue]] = {
    "timestamptz": st.datetimes(timezones=st.just(UTC)),
    "text": st.text(max_size=300).filter(lambda text: text.isprintable()),
    "uuid": st.uuids().map(str),
    "integer": st.integers(1, 2**31 - 1),
}


@st.composite
def positions(draw: st.DrawFn) -> tuple[Sort, bool, Position]:
    sort = draw(st.sampled_from(Sort))
    return sort, draw(st.booleans()), tuple(draw(VALUES[key.type]) for key in sort.keys)


@given(positions())
def test_a_position_survives_the_round_trip_in_a_token_fit_for_any_url(made: tuple[Sort, bool, Position]) -> None:
    sort, descending, position = made
    for backward in (False, True):
        token = CODEC.encode(sort, descending, FILTERS, position, backward=backward)
        assert re.fullmatch(r"[A-Za-z0-9_-]+", token)
        assert CODEC.decode(token, sort, descending, FILTERS) == (position, backward)


@given(positions(), st.data())
def test_a_token_altered_in_any_character_is_refused(made: tuple[Sort, bool, Position], data: st.DataObject) -> None:
    sort, descending, position = made
    token = CODEC.encode(sort, descending, FILTERS, position)
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ ,{"))
    altered = token[:at] + other + token[at + 1 :]
    if altered != token:
        with pytest.raises(BadRequest, match=r"cursor .* altered"):
            CODEC.decode(altered, sort, descending, FILTERS)


@given(positions(), st.integers(1, 40))
def test_a_token_cut_short_or_made_longer_is_refused(made: tuple[Sort, bool, Position], by: int) -> None:
    sort, descending, position = made
    token = CODEC.encode(sort, descending, FILTERS, position)
    for altered in (token[:-by], token + "A" * by, token + "=" * by):
        with pytest.raises(BadRequest, match="cursor"):
            CODEC.decode(altered, sort, descending, FILTERS)


@given(st.text(max_size=200))
def test_garbage_is_refused(garbage: str) -> None:
    with pytest.raises(BadRequest, match="cursor"):
        CODEC.decode(garbage, Sort.NAME, False, FILTERS)


def test_another_services_token_is_refused() -> None:
    token = CursorCodec(b"another key").encode(Sort.NAME, False, FILTERS, ("a", "u", 1))
    with pytest.raises(BadRequest, match="not one this service gave out"):
        CODEC.decode(token, Sort.NAME, False, FILTERS)


@pytest.mark.parametrize(("sort", "descending"), [(Sort.CREATED_AT, True), (Sort.NAME, True), (Sort.UPDATED_AT, False)])
def test_a_token_belongs_to_its_sort(sort: Sort, descending: bool) -> None:
    token = CODEC.encode(Sort.NAME, False, FILTERS, ("a", "u", 1))
    with pytest.raises(BadRequest, match="sort_by or sort_order"):
        CODEC.decode(token, sort, descending, FILTERS)


@pytest.mark.parametrize(
    ("filters", "others"),
    [
        (Filters(name="a"), {"group": "apps"}),
        (Filters(name_contains="a"), {"group": "apps"}),
        (Filters(labels=(("a", "b"),)), {"group": "apps"}),
        (Filters(since=datetime(2026, 1, 1, tzinfo=UTC)), {"group": "apps"}),
        (Filters(composition_id="3f0c1d8e-7a53-4d6f-9b2e-5c1a7e9d4b60"), {"group": "apps"}),
        (Filters(), {"group": "batch"}),
        (Filters(), {"group": "apps", "namespace": "a"}),
    ],
)
def test_a_token_belongs_to_its_filters(filters: Filters, others: dict[str, str | None]) -> None:
    token = CODEC.encode(Sort.NAME, False, FILTERS, ("a", "u", 1))
    with pytest.raises(BadRequest, match="other filters"):
        CODEC.decode(token, Sort.NAME, False, digest(filters, **others))


def test_the_order_in_which_labels_are_given_is_no_filter() -> None:
    one, other = (("a", "1"), ("b", "2")), (("b", "2"), ("a", "1"))
    assert digest(Filters(labels=one)) == digest(Filters(labels=other))
