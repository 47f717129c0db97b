"""List options and continue tokens: what goes together, and what is said where it does not."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenter.apimachinery import list_options
from presenter.apimachinery.continuation import Continue
from presenter.apimachinery.errors import StatusError

V1 = "meta.k8s.io/v1"
MATCH, RV = "resourceVersionMatch", "resourceVersion"
FORBIDDEN = f"{MATCH}: Forbidden: {MATCH} is forbidden "


@pytest.mark.parametrize(
    ("query", "problems"),
    [
        (
            {MATCH: "Exact", "continue": "x"},
            [f"{FORBIDDEN}unless {RV} is provided", f"{FORBIDDEN}when continue is provided"],
        ),
        ({MATCH: "x", RV: "1"}, [f'{MATCH}: Unsupported value: "x": supported values: "Exact", "NotOlderThan", ""']),
        ({"sendInitialEvents": ""}, ["sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"]),
        ({"watch": "1", MATCH: "NotOlderThan"}, [f"{FORBIDDEN}for watch unless sendInitialEvents is provided"]),
        ({"watch": "1", "continue": "x"}, [f"{FORBIDDEN}when continue is provided"]),
        (
            {"watch": "1", "sendInitialEvents": "1", MATCH: "Exact"},
            [
                f"{MATCH}: Forbidden: sendInitialEvents requires setting {MATCH} to NotOlderThan",
                f'{MATCH}: Unsupported value: "Exact": supported values: "NotOlderThan"',
            ],
        ),
    ],
)
def test_options_that_do_not_go_together(query: dict[str, str], problems: list[str]) -> None:
    with pytest.raises(StatusError) as refused:
        list_options.parse(query)
    said = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
    assert (refused.value.status, refused.value.reason) == (422, "Invalid")
    assert refused.value.message == f'ListOptions.meta.k8s.io "" is invalid: {said}'
    details = refused.value.object.details
    assert details is not None
    assert (details.group, details.kind) == ("meta.k8s.io", "ListOptions")
    causes = details.causes or []
    assert [f"{cause.field}: {cause.message}" for cause in causes] == problems


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"limit": "x", "labelSelector": "x>a"}, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ({"timeoutSeconds": ""}, 'strconv.ParseInt: parsing "": invalid syntax'),
        ({"limit": "9" * 5000}, f'strconv.ParseInt: parsing "{"9" * 5000}": value out of range'),
        (
            {"labelSelector": "a in (b", "fieldSelector": "bad"},
            "unable to parse requirement: found '', expected: ',' or ')'",
        ),
    ],
)
def test_the_first_thing_wrong_is_told(query: dict[str, str], message: str) -> None:
    with pytest.raises(StatusError) as refused:
        list_options.parse(query)
    assert (refused.value.status, refused.value.message) == (400, message)


def test_what_is_meant() -> None:
    options = list_options.parse({"limit": "+2", RV: "5", "unknown": "x"})
    assert (options.limit, options.exact, options.version(), options.watch) == (2, True, 5, False)
    assert not list_options.parse({RV: "5"}).exact
    assert not list_options.parse({RV: "5", "limit": "2", MATCH: "NotOlderThan"}).exact
    assert list_options.parse({"limit": "2", RV: "0"}).limit == 0, "the watch cache gives all"
    assert list_options.parse({"limit": "-3"}).limit == 0
    watch = list_options.parse({"watch": "", "allowWatchBookmarks": "x"})
    assert (watch.watch, watch.allow_watch_bookmarks, watch.send_initial_events) == (True, True, True)
    assert list_options.parse({"watch": "1", RV: "5"}).send_initial_events is None
    assert list_options.parse({"watch": "1"}, streaming_lists=False).send_initial_events is None
    with pytest.raises(StatusError, match="specifying resource version is not allowed when using continue"):
        list_options.parse({RV: "5", "continue": "x"}).version()


# -- tokens ------------------------------------------------------------------------------------------------------------


@given(
    st.text(st.characters(exclude_characters="/", codec="utf-8"), min_size=1).filter(lambda n: n.strip(".")),
    st.integers(1, 2**63 - 1),
)
def test_a_token_comes_back(name: str, version: int) -> None:
    token = Continue.after(f"team/{name}", version)
    assert Continue.decode(token.encode()) == token
    assert (token.rv, token.start) == (version, f"/team/{name}\0")


def test_a_token_is_what_kube_apiserver_gives() -> None:
    token = "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MjQwLCJzdGFydCI6Ii9jMVx1MDAwMCJ9"
    assert Continue.decode(token) == Continue.after("c1", 240)
    assert Continue.after("c1", 240).encode() == token


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"v": V1}, f"incorrect encoded start resourceVersion (version {V1})"),
        ({"v": V1, "rv": 5}, f"encoded start key empty (version {V1})"),
        ({"v": V1, "rv": 5, "start": "a/../b"}, "a/../b"),
        ({"v": V1, "rv": 5, "start": "//a"}, "//a"),
        ({"v": "v2"}, "server does not recognize this encoded version v2"),
        (None, "server does not recognize this encoded version "),
        (b"abc", "invalid character 'a' looking for beginning of value"),
        (b"{", "unexpected end of JSON input"),
        (b'"', "unexpected end of JSON input"),
    ],
)
def test_contents_that_are_none(content: Any, message: str) -> None:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(StatusError) as refused:
        Continue.decode(base64.urlsafe_b64encode(text).rstrip(b"=").decode())
    assert refused.value.message == f"invalid continue token: continue key is not valid: {message}"


@pytest.mark.parametrize(
    ("token", "position"), [("???", 0), ("a", 0), ("abcde", 4), ("ab/d", 2), ("abcd=", 4), ("é", 0)]
)
def test_what_is_no_base64(token: str, position: int) -> None:
    with pytest.raises(StatusError, match=f"illegal base64 data at input byte {position}$"):
        Continue.decode(token)


def test_an_expired_list_goes_on_inconsistently() -> None:
    status = Continue.after("team/a", 7).expired().object
    assert (status.code, status.reason) == (410, "Expired")
    assert status.metadata is not None
    assert Continue.decode(status.metadata.continue_) == Continue(V1, -1, "/team/a\0")
