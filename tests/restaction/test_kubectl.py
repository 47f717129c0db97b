"""What people feed these commands first: what `kubectl get restactions` prints, in YAML and in JSON."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import yaml

from presenter.restaction.manifest import Manifest
from presenter.restaction.migrator import migrated
from presenter.sandbox import fill
from tests.e2e.processes import PRESENTER
from tests.e2e.tools import Pasted, paste, require
from tests.restaction.world import Json, World

VARIANTS = Path(__file__).with_name("variants") / "migrated"
NAMES = sorted(path.stem for path in VARIANTS.glob("*.yaml"))


def _saved(name: str) -> Json:
    """A RESTAction as it stands in a cluster some time after `kubectl apply`."""
    action: Json = yaml.safe_load((VARIANTS / f"{name}.yaml").read_text())
    action["metadata"] |= {"name": name, "namespace": "saved"}
    applied = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(action) + "\n"}
    action["metadata"]["annotations"] = applied
    action["metadata"]["managedFields"] = [
        {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {".": {}, "f:filter": {}}}}
    ]
    action["status"] = {"conditions": [{"type": "Ready", "status": "True", "message": "{{ none }}"}]}
    return action


class Kubectl:
    """Runs a line in which `$get` prints those RESTActions, and `$restaction` is `presenter restaction`."""

    def __init__(self, world: World, home: Path) -> None:
        self._world = world
        self._home = home

    async def __call__(self, line: str) -> Pasted:
        variables = {
            "KUBECONFIG": str(self._world.kubeconfig),
            "get": "kubectl get restactions --namespace saved --show-managed-fields",
            "restaction": f"{PRESENTER} restaction",
        }
        exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
        return await paste(f"set -o pipefail; export {exports}; {line}", self._home)


@pytest.fixture
def kubectl(world: World, tmp_path: Path) -> Kubectl:
    require("kubectl")
    fill(world.sandbox.cluster, 20)  # which brings the type
    world.sandbox.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "saved"}})
    for name in NAMES:
        world.sandbox.cluster.apply(_saved(name))
    return Kubectl(world, tmp_path)


async def test_what_kubectl_prints_is_migrated(kubectl: Kubectl, tmp_path: Path) -> None:
    done = await kubectl("$get -o yaml >all.yaml && cp all.yaml new.yaml && $restaction migrate --in-place new.yaml")
    assert done.code == 0, done.err
    told = [line for line in done.err.splitlines() if line.startswith("new.yaml:")]
    assert [line.partition(" ")[2] for line in told] == [f"RESTAction {name}: migrated" for name in NAMES]
    old, new = (Manifest.read(tmp_path / name) for name in ("all.yaml", "new.yaml"))
    for before, after in zip(old.restactions(), new.restactions(), strict=True):
        alone = Manifest.read(VARIANTS / f"{before.name}.yaml")
        expected = Manifest.parse(migrated([alone])[0].text).only().calls
        for one, other in zip(new.only(before.name).calls, expected, strict=True):
            assert (one.path, one.depends_on) == (other.path, other.depends_on)
        assert after.get("metadata") == before.get("metadata")
        assert after.get("status") == before.get("status")
    assert new.documents[0].get("kind") == "List"
    linted = await kubectl("$restaction lint new.yaml")
    assert (linted.code, linted.out) == (0, "")
    again = await kubectl("$restaction migrate new.yaml")
    assert (again.code, again.out) == (0, "")


async def test_json_is_resolved_and_checked_and_not_migrated(kubectl: Kubectl) -> None:
    for source in "$get -o json", "kubectl get --raw /apis/templates.krateo.io/v1/namespaces/saved/restactions":
        linted = await kubectl(f"{source} | $restaction lint -")
        assert (linted.code, linted.err) == (0, f"{len(NAMES)} RESTActions, 0 findings\n")
        assert (await kubectl(f"{source} | $restaction resolve - --name portal-page")).json == {"tiles": []}
        done = await kubectl(f"{source} | $restaction migrate -")
        assert (done.code, done.out) == (1, "")
        assert done.err.count("left alone: it is written as JSON is: only lines of block style") == len(NAMES)


async def test_one_of_many_is_compared_with_its_successor(kubectl: Kubectl) -> None:
    done = await kubectl(
        "$get -o yaml >all.yaml && $restaction compare all.yaml all.yaml --name saved/portal-page && "
        "$restaction compare all.yaml all.yaml"
    )
    assert done.code == 2
    assert "equivalent, but there was nothing to compare" in done.out
    assert done.err.startswith("presenter: all.yaml: there are several RESTActions: choose one with --name: saved/")
