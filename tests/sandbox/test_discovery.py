"""Discovery in both forms, health, version, OpenAPI."""

from __future__ import annotations

from typing import Any

import pytest

from presenter.apimachinery.discovery import version_priority
from presenter.sandbox import Sandbox
from tests.sandbox.harness import PANELS, WIDGETS, Client, crd

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"


async def test_legacy_discovery(client: Client) -> None:
    assert (await client.get("/api"))["versions"] == ["v1"]
    groups = {group["name"]: group for group in (await client.get("/apis"))["groups"]}
    assert {"apps", "rbac.authorization.k8s.io", "authorization.k8s.io", WIDGETS} <= set(groups)
    assert groups[WIDGETS]["preferredVersion"]["groupVersion"] == f"{WIDGETS}/v1beta1"
    assert (await client.get(f"/apis/{WIDGETS}"))["versions"] == groups[WIDGETS]["versions"]
    listed = await client.get(f"/apis/{WIDGETS}/v1beta1")
    resources = {resource["name"]: resource for resource in listed["resources"]}
    assert set(resources) == {"panels", "panels/status"}
    assert resources["panels"]["kind"] == "Panel"
    assert {"list", "watch"} <= set(resources["panels"]["verbs"])
    reviews = (await client.get("/apis/authorization.k8s.io/v1"))["resources"]
    assert {(review["kind"], *review["verbs"]) for review in reviews} == {
        ("SubjectAccessReview", "create"),
        ("SelfSubjectAccessReview", "create"),
    }
    apps = {resource["name"]: resource for resource in (await client.get("/apis/apps/v1"))["resources"]}
    assert (apps["deployments/scale"]["group"], apps["deployments/scale"]["kind"]) == ("autoscaling", "Scale")
    core = await client.get("/api/v1")
    assert {"pods", "secrets", "namespaces"} <= {resource["name"] for resource in core["resources"]}
    assert (await client.send("GET", f"/apis/{WIDGETS}/v9")).status == 404


@pytest.mark.parametrize("version", ["v2", "v2beta1"])
async def test_aggregated_discovery_and_its_etag(client: Client, sandbox: Sandbox, version: str) -> None:
    accept = {"Accept": AGGREGATED.format(version) + ",application/json"}
    first = await client.send("GET", "/apis", None, accept)
    assert first.headers["Content-Type"] == AGGREGATED.format(version)
    assert first.json["apiVersion"] == f"apidiscovery.k8s.io/{version}"
    groups: dict[str, Any] = {item["metadata"]["name"]: item["versions"] for item in first.json["items"]}
    (panels,) = groups[WIDGETS][0]["resources"]
    assert (panels["resource"], panels["scope"], panels["responseKind"]["kind"]) == ("panels", "Namespaced", "Panel")
    assert [sub["subresource"] for sub in panels["subresources"]] == ["status"]
    assert groups[WIDGETS][0]["freshness"] == "Current"
    known = {**accept, "If-None-Match": first.headers["ETag"]}
    same = await client.send("GET", "/apis", None, known)
    assert (same.status, same.body) == (304, b"")
    sandbox.cluster.create(crd("pages", "Page"))
    changed = await client.send("GET", "/apis", None, known)
    assert changed.status == 200
    assert changed.headers["ETag"] != first.headers["ETag"]
    core = await client.get("/api", accept)
    assert "pods" in {resource["resource"] for resource in core["items"][0]["versions"][0]["resources"]}


async def test_definitions_come_and_go_with_discovery(client: Client, sandbox: Sandbox) -> None:
    sandbox.cluster.create(crd("gadgets", "Gadget", "gadgets.example.org", versions=("v1", "v2")))
    group = await client.get("/apis/gadgets.example.org")
    assert [version["version"] for version in group["versions"]] == ["v2", "v1"]
    stored = sandbox.cluster.get("customresourcedefinitions.apiextensions.k8s.io", "gadgets.gadgets.example.org")
    conditions = {condition["type"]: condition["status"] for condition in stored["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    assert stored["spec"]["names"] == {
        "plural": "gadgets",
        "kind": "Gadget",
        "singular": "gadget",
        "listKind": "GadgetList",
    }
    sandbox.cluster.delete("customresourcedefinitions.apiextensions.k8s.io", "gadgets.gadgets.example.org")
    assert (await client.send("GET", "/apis/gadgets.example.org")).status == 404


async def test_a_definition_must_be_named_after_its_type(client: Client) -> None:
    wrong = crd("gadgets", "Gadget")
    wrong["metadata"]["name"] = "other"
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    refused = await client.send("POST", path, wrong)
    assert refused.status == 422
    assert 'must be spec.names.plural+"."+spec.group' in refused.json["message"]
    right = crd("gadgets", "Gadget")
    right["spec"]["versions"][0]["served"] = False
    assert "at least one version must be served" in (await client.send("POST", path, right)).json["message"]
    del wrong["spec"]["names"]
    assert (await client.send("POST", path, wrong)).status == 422


def test_versions_are_ordered_as_kubernetes_does() -> None:
    # The example of https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/
    ordered = ["v10", "v2", "v1", "v11beta2", "v10beta3", "v3beta1", "v12alpha1", "v11alpha2", "foo1", "foo10"]
    assert sorted(sorted(ordered), key=version_priority) == ordered


async def test_health_and_version(client: Client) -> None:
    for path in ("/healthz", "/livez", "/readyz", "/readyz/ping"):
        assert (await client.send("GET", path)).body == b"ok"
    assert (await client.get("/version"))["gitVersion"].startswith("v1.")


async def test_openapi(client: Client) -> None:
    assert (await client.send("GET", "/openapi/v2")).status == 200
    index = await client.get("/openapi/v3")
    link = index["paths"][f"apis/{WIDGETS}/v1beta1"]["serverRelativeURL"]
    document = await client.get(link)
    (schema,) = document["components"]["schemas"].values()
    assert schema["properties"]["spec"]["description"] == "What it shows."
    path = document["paths"][f"/apis/{WIDGETS}/v1beta1/namespaces/{{namespace}}/panels/{{name}}"]
    assert "fieldValidation" in {parameter["name"] for parameter in path["patch"]["parameters"]}
    assert (await client.send("GET", "/openapi/v3/apis/nobody/v1")).status == 404


async def test_stale_discovery(client: Client, sandbox: Sandbox) -> None:
    sandbox.faults.stale_discovery(WIDGETS)
    listed = await client.get("/apis", {"Accept": AGGREGATED.format("v2")})
    fresh = {item["metadata"]["name"]: item["versions"][0]["freshness"] for item in listed["items"]}
    assert fresh.pop(WIDGETS) == "Stale"
    assert set(fresh.values()) == {"Current"}
    assert PANELS in {definition.name for definition in sandbox.cluster.registry}
