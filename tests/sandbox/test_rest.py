"""Objects over HTTP: create, read, change, delete, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from presenter.sandbox import Sandbox
from tests.sandbox.harness import PANELS, PANELS_PATH, WIDGETS, Client, Json, crd, panel

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
MERGE = {"Content-Type": "application/merge-patch+json"}
JSON_PATCH = {"Content-Type": "application/json-patch+json"}
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}
APPLY = {"Content-Type": "application/apply-patch+yaml"}


def config_map(name: str, **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def test_created_object_has_the_metadata_of_the_server(client: Client, sandbox: Sandbox) -> None:
    sent = panel("one", labels={"a": "b"}, title="One")
    sent["metadata"]["creationTimestamp"] = "1999-01-01T00:00:00Z"
    sent["status"] = {"said": "by the client"}
    created = await client.post(PANELS_PATH, sent)
    metadata = created["metadata"]
    assert created["apiVersion"] == f"{WIDGETS}/v1beta1"
    assert created["spec"] == {"title": "One"}
    assert "status" not in created, "status is a subresource"
    assert metadata["generation"] == 1
    assert metadata["resourceVersion"] == str(sandbox.cluster.resource_version)
    assert metadata["creationTimestamp"] > "2020"
    assert metadata["managedFields"][0]["fieldsV1"]["f:spec"] == {"f:title": {}}
    assert await client.get(f"{PANELS_PATH}/one") == created
    assert sandbox.cluster.get(PANELS, "one", "default") == created


async def test_generate_name(client: Client) -> None:
    names = set()
    for _ in range(3):
        sent = {"metadata": {"generateName": "some-"}, "data": {}}
        names.add((await client.post(CONFIG_MAPS, sent))["metadata"]["name"])
    assert len(names) == 3
    assert all(name.startswith("some-") and len(name) == len("some-") + 5 for name in names)


async def test_update_needs_the_present_resource_version(client: Client) -> None:
    first = await client.post(CONFIG_MAPS, config_map("cm", a="1"))
    second = await client.send("PUT", f"{CONFIG_MAPS}/cm", {**first, "data": {"a": "2"}})
    assert second.status == 200
    assert second.json["metadata"]["uid"] == first["metadata"]["uid"]
    stale = await client.send("PUT", f"{CONFIG_MAPS}/cm", {**first, "data": {"a": "3"}})
    assert stale.status == 409
    assert stale.json["reason"] == "Conflict"
    assert stale.json["message"] == (
        'Operation cannot be fulfilled on configmaps "cm": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    unconditional = config_map("cm", a="4")
    assert (await client.send("PUT", f"{CONFIG_MAPS}/cm", unconditional)).status == 200


async def test_an_update_that_changes_nothing_is_no_change(client: Client, sandbox: Sandbox) -> None:
    created = await client.post(PANELS_PATH, panel("one", title="x"))
    version = sandbox.cluster.resource_version
    again = await client.send("PUT", f"{PANELS_PATH}/one", created)
    assert again.json == created
    assert sandbox.cluster.resource_version == version


async def test_status_is_written_apart(client: Client) -> None:
    created = await client.post(PANELS_PATH, panel("one", title="x"))
    patch = {"spec": {"title": "ignored"}, "status": {"ready": True}}
    after = (await client.send("PATCH", f"{PANELS_PATH}/one/status", patch, MERGE)).json
    assert (after["spec"], after["status"]) == ({"title": "x"}, {"ready": True})
    assert after["metadata"]["generation"] == 1
    patch = {"spec": {"title": "y"}, "status": {"ready": False}}
    after = (await client.send("PATCH", f"{PANELS_PATH}/one", patch, MERGE)).json
    assert (after["spec"], after["status"]) == ({"title": "y"}, {"ready": True})
    assert after["metadata"]["generation"] == 2
    assert after["metadata"]["creationTimestamp"] == created["metadata"]["creationTimestamp"]


@pytest.mark.parametrize(
    ("headers", "patch", "expected"),
    [
        (MERGE, {"data": {"a": None, "c": "3"}}, {"b": "2", "c": "3"}),
        (STRATEGIC, {"data": {"a": None, "c": "3"}}, {"b": "2", "c": "3"}),
        (JSON_PATCH, [{"op": "remove", "path": "/data/a"}], {"b": "2"}),
        (JSON_PATCH, [{"op": "move", "from": "/data/a", "path": "/data/z"}], {"b": "2", "z": "1"}),
    ],
)  # fmt: skip
async def test_patch(client: Client, headers: dict[str, str], patch: Any, expected: dict[str, str]) -> None:
    await client.post(CONFIG_MAPS, config_map("cm", a="1", b="2"))
    patched = await client.send("PATCH", f"{CONFIG_MAPS}/cm", patch, headers)
    assert patched.json["data"] == expected


async def test_a_json_patch_that_cannot_be_done_changes_nothing(client: Client, sandbox: Sandbox) -> None:
    await client.post(CONFIG_MAPS, config_map("cm", a="1"))
    patch = [{"op": "add", "path": "/data/b", "value": "2"}, {"op": "test", "path": "/data/a", "value": "?"}]
    refused = await client.send("PATCH", f"{CONFIG_MAPS}/cm", patch, JSON_PATCH)
    assert (refused.status, refused.json["reason"]) == (422, "Invalid")
    assert sandbox.cluster.get("configmaps", "cm", "default")["data"] == {"a": "1"}


async def test_a_patch_may_demand_a_resource_version(client: Client) -> None:
    await client.post(CONFIG_MAPS, config_map("cm"))
    patch = {"metadata": {"resourceVersion": "1"}, "data": {"a": "2"}}
    assert (await client.send("PATCH", f"{CONFIG_MAPS}/cm", patch, MERGE)).status == 409


async def test_server_side_apply_creates_and_merges(client: Client) -> None:
    path = f"{PANELS_PATH}/one"
    text = yaml.safe_dump(panel("one", title="x", tags=["a"])).encode()
    created = await client.send("PATCH", path, text, APPLY, fieldManager="me", force="true")
    assert created.status == 201
    text = yaml.safe_dump(panel("one", size=2)).encode()
    merged = await client.send("PATCH", path, text, APPLY, fieldManager="me")
    assert (merged.status, merged.json["spec"]) == (200, {"title": "x", "tags": ["a"], "size": 2})
    manager = merged.json["metadata"]["managedFields"][0]
    assert (manager["manager"], manager["operation"]) == ("me", "Apply")
    assert (await client.send("PATCH", path, text, APPLY)).status == 422, "fieldManager is required"


async def test_dry_run_stores_nothing(client: Client, sandbox: Sandbox) -> None:
    version = sandbox.cluster.resource_version
    await client.post(CONFIG_MAPS, config_map("cm"), dryRun="All")
    assert (await client.send("GET", f"{CONFIG_MAPS}/cm")).status == 404
    await client.send("DELETE", "/api/v1/namespaces/default", dryRun="All")
    assert sandbox.cluster.get("namespaces", "default")
    assert sandbox.cluster.resource_version == version


async def test_delete_answers_with_what_was_deleted(client: Client) -> None:
    created = await client.post(PANELS_PATH, panel("one"))
    deleted = await client.send("DELETE", f"{PANELS_PATH}/one")
    assert deleted.status == 200
    assert deleted.json["status"] == "Success"
    uid = created["metadata"]["uid"]
    assert deleted.json["details"] == {"name": "one", "group": WIDGETS, "kind": "panels", "uid": uid}
    missing = await client.send("DELETE", f"{PANELS_PATH}/one")
    assert missing.status == 404
    assert missing.json["message"] == f'{PANELS} "one" not found'


async def test_delete_preconditions(client: Client) -> None:
    created = await client.post(PANELS_PATH, panel("one"))
    wrong = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "other"}}
    assert (await client.send("DELETE", f"{PANELS_PATH}/one", wrong)).status == 409
    right = {"preconditions": {"uid": created["metadata"]["uid"]}}
    assert (await client.send("DELETE", f"{PANELS_PATH}/one", right)).status == 200


async def test_finalizers_delay_deletion(client: Client) -> None:
    sent = panel("one")
    sent["metadata"]["finalizers"] = ["example.org/wait"]
    await client.post(PANELS_PATH, sent)
    marked = (await client.send("DELETE", f"{PANELS_PATH}/one")).json
    assert marked["metadata"]["deletionTimestamp"]
    assert (await client.get(f"{PANELS_PATH}/one"))["metadata"]["finalizers"] == ["example.org/wait"]
    again = (await client.send("DELETE", f"{PANELS_PATH}/one")).json
    assert again == marked, "it is being deleted already"
    await client.send("PATCH", f"{PANELS_PATH}/one", {"metadata": {"finalizers": None}}, MERGE)
    assert (await client.send("GET", f"{PANELS_PATH}/one")).status == 404


async def test_delete_collection_by_label(client: Client, sandbox: Sandbox) -> None:
    for name, color in (("a", "red"), ("b", "blue"), ("c", "red")):
        sandbox.cluster.create(panel(name, labels={"color": color}))
    deleted = await client.send("DELETE", PANELS_PATH, labelSelector="color=red")
    assert [item["metadata"]["name"] for item in deleted.json["items"]] == ["a", "c"]
    assert [item["metadata"]["name"] for item in sandbox.cluster.objects(PANELS)] == ["b"]


async def test_a_namespace_goes_with_its_content(client: Client, sandbox: Sandbox) -> None:
    sandbox.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
    sandbox.cluster.create(panel("inside", "team"))
    sandbox.cluster.create(panel("outside"))
    await client.send("DELETE", "/api/v1/namespaces/team")
    assert [item["metadata"]["name"] for item in sandbox.cluster.objects(PANELS)] == ["outside"]
    refused = await client.send("POST", PANELS_PATH.replace("default", "team"), panel("late", "team"))
    assert (refused.status, refused.json["message"]) == (404, 'namespaces "team" not found')


async def test_a_type_goes_with_its_definition(client: Client, sandbox: Sandbox) -> None:
    sandbox.cluster.create(panel("one"))
    await client.send("DELETE", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{PANELS}")
    gone = await client.send("GET", PANELS_PATH)
    assert (gone.status, gone.body) == (404, b"404 page not found\n")
    assert (await client.send("GET", f"/apis/{WIDGETS}")).status == 404
    sandbox.cluster.create(crd("panels", "Panel"))
    assert (await client.get(PANELS_PATH))["items"] == []


async def test_every_served_version_shows_the_same_objects(client: Client, sandbox: Sandbox) -> None:
    group = "composition.krateo.io"
    definition = crd("apps", "App", group, versions=("v0-1-0", "v0-2-0", "vacuum"))
    definition["spec"]["versions"][2]["served"] = False
    sandbox.cluster.create(definition)
    app = {"apiVersion": f"{group}/v0-1-0", "kind": "App", "metadata": {"name": "x"}, "spec": {"a": 1}}
    sandbox.cluster.create(app)
    for version in ("v0-1-0", "v0-2-0"):
        listed = await client.get(f"/apis/{group}/{version}/apps")
        assert listed["apiVersion"] == f"{group}/{version}"
        assert [item["apiVersion"] for item in listed["items"]] == [f"{group}/{version}"]
        one = await client.get(f"/apis/{group}/{version}/namespaces/default/apps/x")
        assert (one["apiVersion"], one["spec"]) == (f"{group}/{version}", {"a": 1})
    assert (await client.send("GET", f"/apis/{group}/vacuum/apps")).status == 404


@pytest.mark.parametrize("media", ["application/json", "application/yaml"])
async def test_bodies_may_be_json_or_yaml(client: Client, media: str) -> None:
    body = config_map("cm", day="2024-01-01")
    data = yaml.safe_dump(body).encode() if "yaml" in media else json.dumps(body).encode()
    created = await client.send("POST", CONFIG_MAPS, data, {"Content-Type": media})
    assert created.json["data"] == {"day": "2024-01-01"}


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "code", "reason", "says"),
    [
        ("GET", "/api/v1/widgets", None, {}, 404, "NotFound", "could not find the requested resource"),
        ("GET", f"{PANELS_PATH}/x/log", None, {}, 404, "NotFound", '"x" not found'),
        ("PUT", CONFIG_MAPS, {}, {}, 405, "MethodNotAllowed", "does not allow this method"),
        ("POST", f"{CONFIG_MAPS}/cm", {}, {}, 405, "MethodNotAllowed", "does not allow this method"),
        ("POST", "/version", None, {}, 405, "MethodNotAllowed", "does not allow this method"),
        ("POST", CONFIG_MAPS, b"x", {"Content-Type": "text/plain"}, 415, "UnsupportedMediaType", "application/json"),
        ("PATCH", f"{PANELS_PATH}/x", {}, STRATEGIC, 415, "UnsupportedMediaType", "application/merge-patch+json"),
        ("GET", CONFIG_MAPS, None, {"Accept": "text/html"}, 406, "NotAcceptable", "application/json"),
        ("POST", CONFIG_MAPS, b"{", {}, 400, "BadRequest", "error decoding"),
        ("POST", CONFIG_MAPS, [], {}, 400, "BadRequest", "not an object"),
        ("POST", CONFIG_MAPS, panel("x"), {}, 400, "BadRequest", "does not match the expected API version"),
        ("POST", CONFIG_MAPS, {"metadata": {"namespace": "x"}}, {}, 400, "BadRequest", "not match the namespace"),
        ("POST", CONFIG_MAPS, {}, {}, 422, "Invalid", "name or generateName is required"),
        ("POST", CONFIG_MAPS, config_map("Bad_Name"), {}, 422, "Invalid", "a lowercase RFC 1123 subdomain"),
        ("POST", "/api/v1/namespaces", {"metadata": {"name": "a.b"}}, {}, 422, "Invalid", "must not contain dots"),
        ("PATCH", f"{CONFIG_MAPS}/a", [], MERGE, 400, "BadRequest", "not a patch of type application/merge-patch+json"),
        ("PATCH", f"{PANELS_PATH}/a/status", {}, APPLY, 422, "Invalid", "fieldManager"),
        ("DELETE", f"{PANELS_PATH}/a/status", None, {}, 405, "MethodNotAllowed", "does not allow this method"),
        ("GET", f"{PANELS_PATH}/a/scale", None, {}, 404, "NotFound", '"a" not found'),
        ("POST", "/api/v1/configmaps", {}, {}, 405, "MethodNotAllowed", "does not allow this method"),
        ("GET", "/api/v1/configmaps/a", None, {}, 404, "NotFound", "could not find"),
        ("GET", "/api/v1/namespaces/x/customresourcedefinitions", None, {}, 404, "NotFound", "could not find"),
        ("GET", "/apis/rbac.authorization.k8s.io/v1/namespaces/x/clusterroles", None, {}, 404, "NotFound", "could not"),
        ("PUT", f"{CONFIG_MAPS}/a", config_map("b"), {}, 400, "BadRequest", "does not match the name on the URL"),
        ("PUT", f"{CONFIG_MAPS}/a", config_map("a"), {}, 404, "NotFound", 'configmaps "a" not found'),
    ],
)  # fmt: skip
async def test_refusals(
    client: Client,
    method: str,
    path: str,
    body: Any,
    headers: dict[str, str],
    code: int,
    reason: str,
    says: str,
) -> None:
    refused = await client.send(method, path, body, headers)
    status = refused.json
    assert (refused.status, status["code"], status["reason"]) == (code, code, reason)
    assert says in status["message"]
    assert (status["kind"], status["apiVersion"], status["status"]) == ("Status", "v1", "Failure")


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/apis/nobody.example.org",
        "/apis/nobody.example.org/v1/things",
        f"/apis/{WIDGETS}/v9",
        f"/apis/{WIDGETS}/v1beta1/gadgets",
        f"/apis/{WIDGETS}/v1beta1/panels/a",
        f"/apis/{WIDGETS}/v1beta1/namespaces/x/namespaces",
    ],
)
async def test_paths_of_no_built_in_type_lead_to_plain_text(client: Client, path: str) -> None:
    refused = await client.send("GET", path)
    assert (refused.status, refused.body) == (404, b"404 page not found\n")
    assert refused.headers["Content-Type"] == "text/plain; charset=utf-8"


async def test_an_update_of_another_object_of_the_same_name(client: Client) -> None:
    first = await client.post(CONFIG_MAPS, config_map("cm"))
    await client.send("DELETE", f"{CONFIG_MAPS}/cm")
    await client.post(CONFIG_MAPS, config_map("cm"))
    del first["metadata"]["resourceVersion"]
    refused = await client.send("PUT", f"{CONFIG_MAPS}/cm", first)
    assert refused.status == 409
    assert "Precondition failed: UID in precondition" in refused.json["message"]


async def test_secrets_have_a_type_and_their_texts_encoded(client: Client) -> None:
    secret = {"metadata": {"name": "s"}, "data": {"a": "eA=="}, "stringData": {"b": "y"}}
    created = await client.post("/api/v1/namespaces/default/secrets", secret)
    assert (created["type"], created["data"]) == ("Opaque", {"a": "eA==", "b": "eQ=="})
    assert "stringData" not in created


async def test_a_second_object_of_the_same_name_is_refused(client: Client) -> None:
    await client.post(CONFIG_MAPS, config_map("cm"))
    refused = await client.send("POST", CONFIG_MAPS, config_map("cm"))
    assert (refused.status, refused.json["reason"]) == (409, "AlreadyExists")
    assert refused.json["message"] == 'configmaps "cm" already exists'


async def test_scale_subresource(client: Client, sandbox: Sandbox) -> None:
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}}
    sandbox.cluster.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})
    path = "/apis/apps/v1/namespaces/default/deployments/web"
    scale = await client.get(f"{path}/scale")
    assert (scale["kind"], scale["spec"], scale["status"]["selector"]) == (
        "Scale",
        {"replicas": 1},
        "app=web",
    )
    await client.send("PUT", f"{path}/scale", {**scale, "spec": {"replicas": 3}})
    await client.send("PATCH", f"{path}/scale", {"spec": {"replicas": 4}}, MERGE)
    after = await client.get(path)
    assert (after["spec"]["replicas"], after["metadata"]["generation"]) == (4, 3)


async def test_python_interface(sandbox: Sandbox) -> None:
    cluster = sandbox.cluster
    first = cluster.apply(panel("one", title="a"))
    second = cluster.apply(panel("one", title="b"))
    assert second["metadata"]["uid"] == first["metadata"]["uid"]
    assert int(second["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    third = cluster.merge_patch(PANELS, "one", "default", {"spec": {"title": None, "size": 1}})
    assert third["spec"] == {"size": 1}
    cluster.delete(PANELS, "one", "default")
    assert cluster.objects(PANELS) == []
    assert cluster.uid == cluster.get("namespaces", "kube-system")["metadata"]["uid"]
