"""Field selectors: matching, escapes, and back to text."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenter.apimachinery import fields
from presenter.apimachinery.errors import StatusError

NAMES = ("metadata.name", "spec.color", "é")
values = st.text("ab\\,= !", max_size=6)
term = st.tuples(st.sampled_from(NAMES), st.sampled_from(("=", "==", "!=")), values)


@given(st.lists(term, max_size=4), st.dictionaries(st.sampled_from(NAMES), values))
def test_matches_as_written(terms: list[tuple[str, str, str]], having: dict[str, str]) -> None:
    selector = fields.parse(",".join(f"{name}{operator}{fields.escape(value)}" for name, operator, value in terms))
    expected = all((having.get(name, "") == value) == (operator != "!=") for name, operator, value in terms)
    assert selector.matches(having) == expected
    again = fields.parse(str(selector))
    assert sorted(map(str, again.requirements)) == sorted(map(str, selector.requirements))


@given(st.text("a.=!,\\ ", max_size=12))
def test_any_text_is_a_selector_or_refused(text: str) -> None:
    with suppress(StatusError):
        selector = fields.parse(text)
        assert set(fields.parse(str(selector)).requirements) == set(selector.requirements)


def test_the_name_that_is_required() -> None:
    selector = fields.parse("spec.color=red,metadata.name==a")
    assert selector.requires_exact_match("metadata.name") == "a"
    assert fields.parse("metadata.name!=a").requires_exact_match("metadata.name") is None


def test_fields_that_there_are_not() -> None:
    selector = fields.parse("spec.size=3")
    selector.check(("spec.size",))
    with pytest.raises(StatusError, match=r"^field label not supported: spec\.size$"):
        selector.check(fields.METADATA)
    with pytest.raises(StatusError, match=r'^"spec.size" is not a known field selector: only "metadata.name", '):
        selector.check(fields.METADATA, default=True)


def test_a_backslash_at_the_end() -> None:
    with pytest.raises(StatusError, match=r"invalid escape sequence: \\$"):
        fields.parse("metadata.name=a\\")
