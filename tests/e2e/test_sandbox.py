"""`presenter sandbox`: a Kubernetes API of one's own, with a real kubectl."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.e2e.system import Launch
from tests.e2e.tools import paste, require

NOTES = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: notes.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: notes, kind: Note}
  versions:
    - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
---
apiVersion: example.com/v1
kind: Note
metadata: {name: first, namespace: elsewhere}
"""


@pytest.fixture
def manifests(home: Path) -> Path:
    """A directory with manifests in YAML and JSON, and a file that is none."""
    directory = home / "manifests"
    (directory / "below").mkdir(parents=True)
    (directory / "notes.yaml").write_text(NOTES)
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "default"}}
    (directory / "below" / "settings.json").write_text(json.dumps(settings))
    (directory / "README.md").write_text("not: [a manifest")
    return directory


async def test_kubectl_finds_what_was_loaded(presenter: Launch, manifests: Path, home: Path) -> None:
    require("kubectl")
    process = await presenter("sandbox", "--port", "0", "--load", "manifests", "--kubeconfig-out", "config")
    await process.line("^Ctrl-C ends it")
    assert f"3 objects loaded from {manifests.name}" in process.out
    assert (home / "config").stat().st_mode & 0o077 == 0, "a kubeconfig is nobody else's business"
    kubectl = f"kubectl --kubeconfig {home / 'config'}"
    assert f"{kubectl} get panels -A" in process.out
    assert (await paste(f"{kubectl} get notes -A -o name", home)).out == "note.example.com/first\n"
    assert (await paste(f"{kubectl} get configmap settings -o name", home)).out == "configmap/settings\n"
    made = await paste(
        f"{kubectl} create configmap mine --from-literal a=b && {kubectl} delete note -n elsewhere first", home
    )
    assert made.code == 0, made
    assert (await paste(f"{kubectl} get notes -A -o name", home)).out == ""
    assert await process.stop() == 0


async def test_without_a_directory_there_are_samples(presenter: Launch, home: Path) -> None:
    require("kubectl")
    process = await presenter("sandbox", "--port", "0")
    await process.line("^Ctrl-C ends it")
    lines = [line for line in process.out if line.startswith("kubectl ")]
    assert len(lines) == 2
    types, panels = [await paste(line, home) for line in lines]
    assert "widgets.templates.krateo.io/v1beta1" in types.out
    assert "panel-" in panels.out
    assert await process.stop() == 0


async def test_samples_and_manifests_go_together(presenter: Launch, manifests: Path, home: Path) -> None:
    require("kubectl")
    process = await presenter(
        "sandbox", "--port", "0", "--load", str(manifests), "--objects", "30", "--kubeconfig-out", "config"
    )
    await process.line("^Ctrl-C ends it")
    kubectl = f"kubectl --kubeconfig {home / 'config'}"
    assert (await paste(f"{kubectl} get notes,panels -A -o name", home)).out.count("\n") > 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: [", "bad.yaml: not YAML or JSON: "),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\nkind: Pod\n", "bad.yaml, document 2: "),
        ("apiVersion: v2\nkind: Surprise\nmetadata: {name: a}\n", "bad.yaml, document 1: "),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Not_A_Name}\n", "bad.yaml, document 1: "),
    ],
)
async def test_a_bad_manifest_is_named(presenter: Launch, home: Path, text: str, message: str) -> None:
    (home / "bad.yaml").write_text(text)
    process = await presenter("sandbox", "--port", "0", "--load", "bad.yaml", COLUMNS="200")
    assert await process.ended() == 2
    assert "Traceback" not in process.log()
    assert process.err[0].startswith(f"presenter: --load: {message}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--load", "nowhere"], "Invalid value for '--load': path 'nowhere' does not exist."),
        (["--kubeconfig-out", "nowhere/config"], "presenter: --kubeconfig-out is '{}/nowhere/config', which cannot be"),
        (["--port", "{port}"], "presenter: --port is '{port}', which cannot be used: "),
    ],
)
async def test_what_it_cannot_use_stops_it(presenter: Launch, home: Path, arguments: list[str], message: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        given = [argument.format(port=port) for argument in arguments]
        process = await presenter("sandbox", "--port", "0", "--objects", "0", *given, COLUMNS="200")
        assert await process.ended() == 2
    assert message.format(home, port=port) in "\n".join(process.err)
    assert "Traceback" not in process.log()
