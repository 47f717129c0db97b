"""Label and field selectors of lists; their grammar is tested in tests/apimachinery."""

from __future__ import annotations

import pytest

from presenter.sandbox import Sandbox
from tests.sandbox.harness import PANELS_PATH, Client, panel


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
