"""Label selectors: against a naive evaluation of the documented rules, and back to text."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenter.apimachinery import labels
from presenter.apimachinery.errors import StatusError

KEYS = ("app", "krateo.io/portal-page", "tier", "in", "notin")
VALUES = ("", "a", "b", "c-1", "in", "5", "-5", "05")

keys = st.sampled_from(KEYS)
values = st.sampled_from([value for value in VALUES if not value.startswith("-")])
labelled = st.dictionaries(keys, st.sampled_from(VALUES))
space = st.sampled_from(("", " ", "\t"))
Term = tuple[str, str, tuple[str, ...]]


@st.composite
def terms(draw: st.DrawFn) -> Term:
    operator = draw(st.sampled_from(("=", "==", "!=", "in", "notin", "exists", "absent", ">", "<")))
    if operator in "<>":
        return draw(keys), operator, (draw(st.sampled_from(("0", "5", "05", "6"))),)
    count = {"in": 3, "notin": 3, "exists": 0, "absent": 0}.get(operator, 1)
    chosen = draw(st.lists(values, min_size=min(count, 1), max_size=count))
    return draw(keys), operator, tuple(chosen)


def written(term: Term, gap: str) -> str:
    key, operator, chosen = term
    match operator:
        case "exists":
            return key
        case "absent":
            return f"!{gap}{key}"
        case "in" | "notin":
            return f"{key} {operator}{gap}({f',{gap}'.join(chosen)})"
    return f"{key}{gap}{operator}{gap}{chosen[0]}"


def holds(term: Term, labels: dict[str, str]) -> bool:
    key, operator, chosen = term
    match operator:
        case "exists":
            return key in labels
        case "absent":
            return key not in labels
        case "=" | "==" | "in":
            return key in labels and labels[key] in chosen
        case ">" | "<":
            number = labels.get(key, "")
            if not number.removeprefix("-").isdecimal():
                return False
            return int(number) > int(chosen[0]) if operator == ">" else int(number) < int(chosen[0])
    return key not in labels or labels[key] not in chosen


@given(st.lists(terms(), max_size=4), labelled, space)
def test_matches_as_documented(selected: list[Term], having: dict[str, str], gap: str) -> None:
    selector = labels.parse(f"{gap},{gap}".join(written(term, gap) for term in selected))
    assert selector.matches(having) == all(holds(term, having) for term in selected)
    assert bool(selector) == bool(selected)


@given(st.lists(terms(), max_size=4))
def test_its_text_means_the_same(selected: list[Term]) -> None:
    selector = labels.parse(",".join(written(term, "") for term in selected))
    assert labels.parse(str(selector)) == selector


@given(st.text('ax =!<>(),in\t\0-/é"', max_size=20))
def test_any_text_is_a_selector_or_refused(text: str) -> None:
    with suppress(StatusError):
        selector = labels.parse(text)
        assert labels.parse(str(selector)) == selector


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # As the real server says these; the vectors hold more.
        ("x in (", "unable to parse requirement: found '', expected: ',', ')' or identifier"),
        ("x in (a,", "unable to parse requirement: found '', expected: ',', or identifier"),
        ("x in a", "unable to parse requirement: found 'a' expected: '('"),
        ("x in (,=", "unable to parse requirement: found '=', expected: ',', or identifier"),
        ("a,,b", "found ',', expected: identifier after ','"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
    ],
)
def test_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(StatusError) as refused:
        labels.parse(text)
    assert (refused.value.status, refused.value.message) == (400, message)


def test_two_things_wrong_with_one_value() -> None:
    with pytest.raises(StatusError) as refused:
        labels.parse("x>-")
    message = refused.value.message
    assert message.startswith("unable to parse requirement: [values[0]: Invalid value: \"-\": for 'Gt', 'Lt' operators")
    assert ', values[0][x]: Invalid value: "-": a valid label must be' in message


def test_requirements_are_there_to_be_read() -> None:
    """As a query is made of them."""
    assert labels.parse("b notin (y,x),a").requirements == (
        labels.Requirement("a", labels.Operator.EXISTS),
        labels.Requirement("b", labels.Operator.NOT_IN, ("x", "y")),
    )
