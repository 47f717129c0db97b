"""Label and field selectors, the former against a naive evaluation of the documented rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenter.sandbox import ApiError, Sandbox
from presenter.sandbox.selectors import parse_labels
from tests.sandbox.harness import PANELS_PATH, Client, panel

KEYS = ("app", "krateo.io/portal-page", "tier")
VALUES = ("", "a", "b", "c-1")

keys = st.sampled_from(KEYS)
values = st.sampled_from(VALUES)
labels = st.dictionaries(keys, values)
space = st.sampled_from(("", " "))
Term = tuple[str, str, tuple[str, ...]]


@st.composite
def terms(draw: st.DrawFn) -> Term:
    operator = draw(st.sampled_from(("=", "==", "!=", "in", "notin", "exists", "absent")))
    count = {"in": 3, "notin": 3, "exists": 0, "absent": 0}.get(operator, 1)
    chosen = draw(st.lists(values, min_size=min(count, 1), max_size=count))
    return draw(keys), operator, tuple(chosen)


def written(term: Term, gap: str) -> str:
    key, operator, chosen = term
    match operator:
        case "exists":
            return key
        case "absent":
            return f"!{key}"
        case "in" | "notin":
            return f"{key} {operator} ({f',{gap}'.join(chosen)})"
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
    return key not in labels or labels[key] not in chosen


@given(st.lists(terms(), max_size=4), labels, space)
def test_label_selectors(selected: list[Term], labels: dict[str, str], gap: str) -> None:
    text = f"{gap},{gap}".join(written(term, gap) for term in selected)
    matches = all(requirement.matches(labels) for requirement in parse_labels(text))
    assert matches == all(holds(term, labels) for term in selected)


@pytest.mark.parametrize("text", ["a in b", "a=b c", ",", "a,", "=b", "a in (x", "a=b,,c", "-a", "a in (b/c)"])
def test_wrong_label_selectors(text: str) -> None:
    with pytest.raises(ApiError, match="unable to parse requirement") as caught:
        parse_labels(text)
    assert caught.value.code == 400


async def names(client: Client, path: str, **query: str) -> list[str]:
    listed = await client.get(path, **query)
    return [item["metadata"]["name"] for item in listed["items"]]


async def test_label_selector_of_a_list(client: Client, sandbox: Sandbox) -> None:
    sandbox.cluster.create(panel("a", labels={"page": "home"}))
    sandbox.cluster.create(panel("b", labels={"page": "shop"}))
    sandbox.cluster.create(panel("c"))
    assert await names(client, PANELS_PATH, labelSelector="page=home") == ["a"]
    assert await names(client, PANELS_PATH, labelSelector="page!=home") == ["b", "c"]
    assert await names(client, PANELS_PATH, labelSelector="page in (home, shop),page notin (home)") == ["b"]


async def test_field_selectors(client: Client, sandbox: Sandbox) -> None:
    create = sandbox.cluster.create
    create(panel("a"))
    create(panel("b"))
    for name, phase, node in (("p1", "Running", "n1"), ("p2", "Pending", "n1"), ("p3", "Running", "n2")):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}}
        create({**pod, "spec": {"nodeName": node}, "status": {"phase": phase}})
    secret = {"apiVersion": "v1", "kind": "Secret"}
    create({**secret, "metadata": {"name": "s1"}})
    create({**secret, "metadata": {"name": "s2"}, "type": "example.org/token"})
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e1"}}
    create({**event, "involvedObject": {"kind": "Pod", "name": "p1"}})
    assert await names(client, PANELS_PATH, fieldSelector="metadata.name=b") == ["b"]
    assert await names(client, PANELS_PATH, fieldSelector="metadata.name!=b,metadata.namespace=default") == ["a"]
    assert await names(client, "/api/v1/pods", fieldSelector="status.phase=Running,spec.nodeName!=n2") == ["p1"]
    assert await names(client, "/api/v1/secrets", fieldSelector="type=Opaque") == ["s1"]
    assert await names(client, "/api/v1/events", fieldSelector="involvedObject.name=p1") == ["e1"]
    assert await names(client, "/api/v1/events", fieldSelector="involvedObject.name=p2") == []


async def test_wrong_field_selector(client: Client) -> None:
    refused = await client.send("GET", PANELS_PATH, fieldSelector="metadata.name")
    assert (refused.status, refused.json["reason"]) == (400, "BadRequest")


@pytest.mark.parametrize("path", [PANELS_PATH, "/api/v1/pods"])
async def test_unknown_field_is_refused(client: Client, path: str) -> None:
    refused = await client.send("GET", path, fieldSelector="spec.color=red")
    assert (refused.status, refused.json["reason"]) == (400, "BadRequest")
    assert "spec.color" in refused.json["message"]
