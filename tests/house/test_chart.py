"""The chart, rendered by the real helm and checked against the schemas of Kubernetes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from presenter import __version__
from presenter.config import GROUPS

Manifest = dict[str, Any]
Helm = Callable[..., subprocess.CompletedProcess[str]]
Render = Callable[..., dict[tuple[str, str], Manifest]]

NAME = "resources-presenter"
REQUIRED = ("config.DB_HOST=postgresql.databases.svc", "dbSecret.name=database", "signKeySecret.name=keys")
OLDEST, NEWEST = "1.25", "1.37"


@pytest.fixture(scope="module")
def helm(checkout: Path) -> Helm:
    own = checkout / ".tools" / "bin" / "helm"
    program = str(own) if own.exists() else shutil.which("helm")
    if program is None:
        reason = "no helm: scripts/tools could not get it, and none is on PATH"
        if os.environ.get("TEST_REQUIRE_TOOLS"):
            pytest.fail(reason)
        pytest.skip(reason)

    def run(command: str, *options: str) -> subprocess.CompletedProcess[str]:
        chart = str(checkout / "charts" / NAME)
        names = [NAME, chart] if command == "template" else [chart]
        return subprocess.run([program, command, *names, *options], capture_output=True, text=True)

    return run


@pytest.fixture(scope="module")
def render(helm: Helm) -> Render:
    """The manifests by (kind, name), rendered with what must be given and the values given on top."""

    def manifests(*values: str) -> dict[tuple[str, str], Manifest]:
        settings = [
            word for value in (*REQUIRED, *values) for word in ("--set-json" if "[" in value else "--set", value)
        ]
        done = helm("template", "--namespace", "krateo-system", *settings)
        assert done.returncode == 0, done.stderr
        return {(m["kind"], m["metadata"]["name"]): m for m in yaml.safe_load_all(done.stdout)}

    return manifests


def container(manifest: Manifest) -> Manifest:
    (only,) = manifest["spec"]["template"]["spec"]["containers"]
    assert isinstance(only, dict)
    return only


def environment(manifest: Manifest) -> dict[str, Any]:
    """Plain variables by value, the others as (Secret, key)."""
    found: dict[str, Any] = {}
    for variable in container(manifest)["env"]:
        if "value" in variable:
            found[variable["name"]] = variable["value"]
        else:
            secret = variable["valueFrom"]["secretKeyRef"]
            found[variable["name"]] = (secret["name"], secret["key"])
    return found


def test_lint_has_nothing_to_say(helm: Helm) -> None:
    done = helm("lint", "--strict")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout
    assert "[INFO]" not in done.stdout


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_manifest_is_what_kubernetes_takes(render: Render, version: str) -> None:
    for manifest in render("replicas=2", "podAnnotations.a=b", 'imagePullSecrets=[{"name":"pull"}]').values():
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("missing", REQUIRED)
def test_what_must_be_given_is_asked_for_by_name(helm: Helm, missing: str) -> None:
    given = [word for value in REQUIRED if value != missing for word in ("--set", value)]
    done = helm("template", *given)
    assert done.returncode != 0
    assert missing.split("=")[0] in done.stderr


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ("confg.DEBUG=true", "confg"),
        ("config.WATCH=pods", "WATCH"),
        ("config.debug=true", "debug"),
        ("service.port=0", "port"),
        ('watch=["*.*.krateo.io"]', "write each group out"),
    ],
)
def test_a_wrong_value_is_refused(helm: Helm, values: str, complaint: str) -> None:
    option = "--set-json" if "[" in values else "--set"
    given = [word for value in REQUIRED for word in ("--set", value)]
    done = helm("template", *given, option, values)
    assert done.returncode != 0
    assert complaint in done.stderr


def test_config_and_secrets_become_the_environment(render: Render) -> None:
    deployment = render("config.DB_PORT=5433", "config.DEBUG=true", "signKeySecret.key=JWT")["Deployment", NAME]
    assert environment(deployment) == {
        "DB_HOST": "postgresql.databases.svc",
        "DB_PORT": "5433",
        "DEBUG": "true",
        "DB_USER": ("database", "DB_USER"),
        "DB_PASS": ("database", "DB_PASS"),
        "SIGN_KEY": ("keys", "JWT"),
        "WATCH": "*.widgets.templates.krateo.io,*.templates.krateo.io,*.core.krateo.io,"
        "*.composition.krateo.io,customresourcedefinitions.apiextensions.k8s.io",
    }


def test_every_variable_that_is_set_is_one_the_service_reads(render: Render) -> None:
    known = {field.alias for group in GROUPS for field in group.model_fields.values()}
    assert set(environment(render()["Deployment", NAME])) <= known


def test_the_schema_is_migrated_before_anything_else(render: Render) -> None:
    job = render()["Job", f"{NAME}-migrate"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert container(job)["args"] == ["migrate"]
    assert set(environment(job)) == {"DB_HOST", "DB_USER", "DB_PASS"}
    # A hook runs before the rest of the release exists.
    assert "serviceAccountName" not in job["spec"]["template"]["spec"]


@pytest.mark.parametrize("workload", [("Deployment", NAME), ("Job", f"{NAME}-migrate")])
def test_no_container_can_do_more_than_it_must(render: Render, workload: tuple[str, str]) -> None:
    manifest = render()[workload]
    pod = manifest["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container(manifest)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_service_reaches_the_pods(render: Render) -> None:
    manifests = render("config.PORT=9000")
    service, deployment = manifests["Service", NAME], manifests["Deployment", NAME]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    (port,) = service["spec"]["ports"]
    (named,) = container(deployment)["ports"]
    assert (port["port"], port["targetPort"]) == (8080, named["name"])
    assert named["containerPort"] == 9000
    # The migration's pod must not be served to anyone.
    migration = manifests["Job", f"{NAME}-migrate"]["spec"]["template"]["metadata"]["labels"]
    assert not service["spec"]["selector"].items() <= migration.items()


def test_probes_ask_what_the_service_answers(render: Render) -> None:
    only = container(render()["Deployment", NAME])
    paths = {probe: only[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}


def test_restactions_find_the_service_by_its_secret(render: Render) -> None:
    manifests = render("service.port=9090")
    endpoint = manifests["Secret", "resources-presenter-endpoint"]
    assert endpoint["stringData"] == {
        "server-url": "http://resources-presenter.krateo-system.svc:9090",
        "insecure": "true",
    }
    assert ("Secret", "resources-presenter-endpoint") not in render("endpointSecret.create=false")


def test_the_rules_are_made_from_what_is_watched(render: Render) -> None:
    role = render('watch=["pods","deployments.apps","statefulsets.apps","*.composition.krateo.io","!secrets"]')
    read = ["list", "watch"]
    rules = {(rule["apiGroups"][0], *rule["resources"]): rule["verbs"] for rule in role["ClusterRole", NAME]["rules"]}
    assert rules == {
        ("", "pods"): read,
        ("apiextensions.k8s.io", "customresourcedefinitions"): read,
        ("apps", "deployments", "statefulsets"): read,
        ("composition.krateo.io", "*"): read,
        ("", "namespaces"): ["get"],
        ("rbac.authorization.k8s.io", "clusterrolebindings", "clusterroles", "rolebindings", "roles"): read,
    }


def test_asking_for_reviews_needs_one_more_rule(render: Render) -> None:
    review = {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]}
    assert review not in render()["ClusterRole", NAME]["rules"]
    assert review in render("config.AUTHORIZER=sar")["ClusterRole", NAME]["rules"]


def test_the_rules_bind_the_service_account_that_the_pods_use(render: Render) -> None:
    manifests = render()
    binding = manifests["ClusterRoleBinding", NAME]
    assert binding["roleRef"]["name"] == NAME
    account = {"kind": "ServiceAccount", "name": NAME, "namespace": "krateo-system"}
    assert binding["subjects"] == [account]
    assert ("ServiceAccount", NAME) in manifests
    assert manifests["Deployment", NAME]["spec"]["template"]["spec"]["serviceAccountName"] == NAME
    assert ("ClusterRole", NAME) not in render("rbac.create=false")


def test_the_chart_is_of_the_programs_version(render: Render) -> None:
    assert container(render()["Deployment", NAME])["image"] == f"resources-presenter:{__version__}"
