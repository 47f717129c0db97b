"""A real kubectl against the sandbox."""

from __future__ import annotations

import asyncio
import json

import yaml

from presenter.sandbox import Sandbox
from tests.sandbox.harness import DEADLINE, PANELS, Json, Kubectl, crd, panel

CRDS = "customresourcedefinitions.apiextensions.k8s.io"
NAMES = ("-o", "jsonpath={.items[*].metadata.name}")


def config_map(**data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm"}, "data": data}


def deployment(image: str, *environment: str) -> Json:
    container = {"name": "main", "image": image, "env": [{"name": name, "value": "1"} for name in environment]}
    sidecar = {"name": "sidecar", "image": "sidecar:1"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [container, sidecar]},
            },
        },
    }


async def test_get(kubectl: Kubectl, sandbox: Sandbox) -> None:
    cluster = sandbox.cluster
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
    cluster.create(panel("a", labels={"page": "home"}, title="First"))
    cluster.create(panel("b"))
    cluster.create(panel("c", "team", labels={"page": "home"}))
    header, *rows = (await kubectl("get", "panels", "-A")).splitlines()
    assert header.split() == ["NAMESPACE", "NAME", "TITLE", "AGE"]
    assert [row.split()[:-1] for row in rows] == [["default", "a", "First"], ["default", "b"], ["team", "c"]]
    assert all(row.split()[-1].endswith("s") for row in rows)
    assert await kubectl("get", "panels", "-l", "page=home", *NAMES) == "a"
    assert await kubectl("get", "panel", "-A", "-l", "page in (home)", *NAMES) == "a c"
    assert await kubectl("get", "panels", "--field-selector", "metadata.name!=a", *NAMES) == "b"
    shown = yaml.safe_load(await kubectl("get", "panel", "a", "-o", "yaml", "--show-managed-fields"))
    stored = cluster.get(PANELS, "a", "default")
    shown["metadata"]["creationTimestamp"] = stored["metadata"]["creationTimestamp"]
    shown["metadata"]["managedFields"][0]["time"] = stored["metadata"]["managedFields"][0]["time"]
    assert shown == stored
    missing = await kubectl.run("get", "panel", "none")
    assert missing.err.strip() == f'Error from server (NotFound): {PANELS} "none" not found'


async def test_get_in_chunks(kubectl: Kubectl, sandbox: Sandbox) -> None:
    for number in range(7):
        sandbox.cluster.create(panel(f"p{number}"))
    sandbox.requests.clear()
    out = await kubectl("get", "panels", "--chunk-size=3", "-o", "name")
    assert out.split() == [f"panel.widgets.templates.krateo.io/p{number}" for number in range(7)]
    assert sandbox.requests.count(verb="list", resource="panels") == 3


async def test_apply_custom_resources(kubectl: Kubectl, sandbox: Sandbox) -> None:
    first = await kubectl("apply", "-f", "-", stdin=panel("a", title="x", old=1))
    assert first == f"panel.{PANELS.partition('.')[2]}/a created\n"
    assert "configured" in await kubectl("apply", "-f", "-", stdin=panel("a", title="y"))
    assert sandbox.cluster.get(PANELS, "a", "default")["spec"] == {"title": "y"}, "old went with its line"
    assert "unchanged" in await kubectl("apply", "-f", "-", stdin=panel("a", title="y"))


async def test_apply_built_in_types(kubectl: Kubectl, sandbox: Sandbox) -> None:
    cluster = sandbox.cluster
    assert "created" in await kubectl("apply", "-f", "-", stdin=config_map(a="1", b="2"))
    assert "configured" in await kubectl("apply", "-f", "-", stdin=config_map(a="1", c="3"))
    assert cluster.get("configmaps", "cm", "default")["data"] == {"a": "1", "c": "3"}
    assert "created" in await kubectl("apply", "-f", "-", stdin=deployment("web:1", "X", "Y"))
    assert "configured" in await kubectl("apply", "-f", "-", stdin=deployment("web:2", "Y", "Z"))
    stored = cluster.get("deployments.apps", "web", "default")
    main, sidecar = stored["spec"]["template"]["spec"]["containers"]
    assert (main["image"], sidecar["image"]) == ("web:2", "sidecar:1")
    assert {variable["name"] for variable in main["env"]} == {"Y", "Z"}
    assert stored["metadata"]["generation"] == 2


async def test_apply_a_definition_and_wait_for_it(kubectl: Kubectl, sandbox: Sandbox) -> None:
    name = "gadgets.example.org"
    await kubectl("apply", "-f", "-", stdin=crd("gadgets", "Gadget", "example.org", versions=("v1",)))
    assert "condition met" in await kubectl("wait", "--for=condition=Established", f"crd/{name}", "--timeout=10s")
    gadget = {"apiVersion": "example.org/v1", "kind": "Gadget", "metadata": {"name": "g"}, "spec": {"n": 1}}
    await kubectl("apply", "-f", "-", stdin=gadget)
    await kubectl("apply", "-f", "-", stdin=crd("gadgets", "Gadget", "example.org", versions=("v1", "v2")))
    shown = json.loads(await kubectl("get", "gadgets.v2.example.org", "g", "-o", "json"))
    assert (shown["apiVersion"], shown["spec"]) == ("example.org/v2", {"n": 1})
    await kubectl("delete", "crd", name)
    assert not any(definition.name == name for definition in sandbox.cluster.registry)


async def test_server_side_apply(kubectl: Kubectl, sandbox: Sandbox) -> None:
    for manifest in (panel("a", title="x"), config_map(a="1"), deployment("web:1"), crd("gadgets", "Gadget")):
        assert "serverside-applied" in await kubectl("apply", "--server-side", "-f", "-", stdin=manifest)
    assert "serverside-applied" in await kubectl("apply", "--server-side", "-f", "-", stdin=deployment("web:2"))
    containers = sandbox.cluster.get("deployments.apps", "web", "default")["spec"]["template"]["spec"]["containers"]
    assert [container["image"] for container in containers] == ["web:2", "sidecar:1"]
    changed = panel("a", title="y", size=2)
    await kubectl("apply", "--server-side", "--field-manager=other", "-f", "-", stdin=changed)
    stored = sandbox.cluster.get(PANELS, "a", "default")
    assert stored["spec"] == {"title": "y", "size": 2}
    managers = {entry["manager"]: entry["operation"] for entry in stored["metadata"]["managedFields"]}
    assert managers == {"kubectl": "Apply", "other": "Apply"}


async def test_small_changes(kubectl: Kubectl, sandbox: Sandbox) -> None:
    sandbox.cluster.create(panel("a", title="x"))
    sandbox.cluster.create(deployment("web:1"))
    await kubectl("label", "panel", "a", "color=red")
    await kubectl("annotate", "panel", "a", "note=here")
    await kubectl("patch", "panel", "a", "--type=merge", "-p", '{"spec":{"size":1}}')
    await kubectl("patch", "panel", "a", "--type=json", "-p", '[{"op":"remove","path":"/spec/title"}]')
    await kubectl("patch", "panel", "a", "--subresource=status", "--type=merge", "-p", '{"status":{"ok":true}}')
    await kubectl("scale", "deployment", "web", "--replicas=4")
    await kubectl("set", "image", "deployment/web", "main=web:9")
    stored = sandbox.cluster.get(PANELS, "a", "default")
    assert (stored["spec"], stored["status"]) == ({"size": 1}, {"ok": True})
    assert (stored["metadata"]["labels"], stored["metadata"]["annotations"]) == ({"color": "red"}, {"note": "here"})
    web = sandbox.cluster.get("deployments.apps", "web", "default")["spec"]
    images = [container["image"] for container in web["template"]["spec"]["containers"]]
    assert (web["replicas"], images) == (4, ["web:9", "sidecar:1"])
    again = await kubectl.run("label", "panel", "a", "color=blue")
    assert again.code == 1
    await kubectl("label", "panel", "a", "color-")
    assert sandbox.cluster.get(PANELS, "a", "default")["metadata"]["labels"] == {}


async def test_replace_and_conflict(kubectl: Kubectl, sandbox: Sandbox) -> None:
    stale = sandbox.cluster.create(panel("a", title="x"))
    sandbox.cluster.merge_patch(PANELS, "a", "default", {"spec": {"title": "y"}})
    refused = await kubectl.run("replace", "-f", "-", stdin=stale)
    assert "the object has been modified" in refused.err
    assert "replaced" in await kubectl("replace", "-f", "-", stdin=panel("a", title="z"))


async def test_get_watch(kubectl: Kubectl, sandbox: Sandbox) -> None:
    sandbox.cluster.create(panel("a", title="one"))
    process = await kubectl.start("get", "panels", "-w", "--output-watch-events")
    assert process.stdout is not None
    await sandbox.requests.seen(verb="watch", resource="panels", status=200)
    sandbox.cluster.merge_patch(PANELS, "a", "default", {"spec": {"title": "two"}})
    sandbox.cluster.delete(PANELS, "a", "default")
    async with asyncio.timeout(DEADLINE):
        lines = [(await process.stdout.readline()).decode().split()[:3] for _ in range(4)]
    process.terminate()
    await process.communicate()
    assert lines == [
        ["EVENT", "NAME", "TITLE"],
        ["ADDED", "a", "one"],
        ["MODIFIED", "a", "two"],
        ["DELETED", "a", "two"],
    ]


async def test_delete(kubectl: Kubectl, sandbox: Sandbox) -> None:
    for name in "abc":
        sandbox.cluster.create(panel(name))
    waiting = await kubectl.start("wait", "--for=delete", "panel/a", "--timeout=20s")
    await sandbox.requests.seen(verb="watch", resource="panels")
    assert "deleted" in await kubectl("delete", "panel", "a")
    assert await asyncio.wait_for(waiting.wait(), DEADLINE) == 0
    await waiting.communicate()
    await kubectl("delete", "panels", "--all")
    assert sandbox.cluster.objects(PANELS) == []


async def test_namespaces_and_imperative_creation(kubectl: Kubectl, sandbox: Sandbox) -> None:
    await kubectl("create", "namespace", "team")
    await kubectl("create", "configmap", "cm", "--from-literal=a=b", "-n", "team")
    await kubectl("create", "secret", "generic", "s", "--from-literal=a=b", "-n", "team")
    await kubectl("create", "serviceaccount", "bot", "-n", "team")
    await kubectl("run", "pod", "--image=x", "-n", "team")
    assert sandbox.cluster.get("configmaps", "cm", "team")["data"] == {"a": "b"}
    assert sandbox.cluster.get("secrets", "s", "team")["data"] == {"a": "Yg=="}
    assert await kubectl("get", "secret", "-n", "team", "--field-selector=type=Opaque", *NAMES) == "s"
    await kubectl("delete", "namespace", "team")
    for resource in ("configmaps", "secrets", "serviceaccounts", "pods"):
        assert sandbox.cluster.objects(resource) == []


async def test_discovery(kubectl: Kubectl, sandbox: Sandbox) -> None:
    out = await kubectl("api-resources", "--no-headers", "-o", "name")
    served = {definition.name for definition in sandbox.cluster.registry}
    reviews = {"subjectaccessreviews", "selfsubjectaccessreviews"}
    assert set(out.split()) == served | {f"{review}.authorization.k8s.io" for review in reviews}
    assert "apps/v1" in (await kubectl("api-versions")).split()
    assert "What it shows." in await kubectl("explain", "panels.spec")
    assert "Server Version" in await kubectl("version")


async def test_who_may(kubectl: Kubectl) -> None:
    assert await kubectl("auth", "can-i", "list", "panels") == "yes\n"
    assert (await kubectl.run("auth", "can-i", "list", "panels", "--as", "alice")).out == "no\n"
    await kubectl("create", "role", "viewer", "--verb=get,list", f"--resource={PANELS}")
    await kubectl("create", "rolebinding", "viewers", "--role=viewer", "--user=alice", "--group=devs")
    assert await kubectl("auth", "can-i", "list", "panels", "--as", "alice") == "yes\n"
    assert await kubectl("auth", "can-i", "get", "panels", "--as", "bob", "--as-group", "devs") == "yes\n"
    assert (await kubectl.run("auth", "can-i", "delete", "panels", "--as", "alice")).out == "no\n"
    assert (await kubectl.run("auth", "can-i", "list", "panels", "-A", "--as", "alice")).out == "no\n"
