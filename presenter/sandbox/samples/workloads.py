"""Sample compositions, their definitions, and the workloads that they install."""

from __future__ import annotations

from typing import Any

from presenter.sandbox.objects import Manifest
from presenter.sandbox.samples.draft import Draft

_COMPOSITION = "composition.krateo.io"
_REGISTRY = "oci://charts.example.org/blueprints"


def fireworks_app(draft: Draft) -> Manifest:
    """A composition of a type with two versions."""
    version = draft.pick(("v0-1-0", "v0-2-0"))
    return _composition(draft, "FireworksApp", "fireworksapps", "fireworksapp", version)


def github_scaffolding(draft: Draft) -> Manifest:
    """A composition of a type with one version."""
    return _composition(draft, "GithubScaffolding", "githubscaffoldings", "github-scaffolding", "v0-1-0")


def _composition(draft: Draft, kind: str, plural: str, chart: str, version: str) -> Manifest:
    name = draft.name()
    labels = {
        "krateo.io/composition-version": version,
        "krateo.io/composition-definition-name": chart,
        "krateo.io/composition-definition-namespace": "krateo-system",
    }
    managed = [
        {
            "apiVersion": api_version,
            "resource": resource,
            "name": f"{name}-{number}",
            "namespace": draft.namespace,
            "path": f"/apis/{api_version}/namespaces/{draft.namespace}/{resource}/{name}-{number}",
        }
        for number, (api_version, resource) in enumerate(
            [("apps/v1", "deployments"), ("widgets.templates.krateo.io/v1beta1", "panels")] * 3
        )
    ]
    repository = {"org": "acme", "name": name, "branch": "main", "private": draft.source.random() < 0.5}
    return draft.manifest(
        f"{_COMPOSITION}/{version}",
        kind,
        {"name": name, "labels": labels, "annotations": {"krateo.io/paused": "false"}},
        spec={
            "app": {
                "service": {"type": "NodePort", "port": draft.between(30_000, 32_767)},
                "replicas": draft.between(1, 5),
                "image": {"repository": f"registry.example.org/{chart}", "tag": version.replace("-", ".")},
            },
            "git": {"fromRepo": {**repository, "name": f"{chart}-template"}, "toRepo": repository},
            "argocd": {"namespace": "krateo-system", "application": {"project": "default", "syncEnabled": True}},
            "notes": draft.text(300, 900),
        },
        status={
            "helmChartUrl": f"{_REGISTRY}/{chart}",
            "helmChartVersion": version.removeprefix("v").replace("-", "."),
            "managed": managed,
            "digest": f"{draft.source.getrandbits(160):040x}",
            "conditions": [draft.ready()],
        },
    )


def composition_definition(draft: Draft) -> Manifest:
    """A blueprint: the chart that a composition type comes from."""
    name, version = draft.name("blueprint"), f"0.{draft.between(1, 9)}.0"
    kind = draft.title().replace(" ", "")
    return draft.manifest(
        "core.krateo.io/v1alpha1",
        "CompositionDefinition",
        {"name": name, "labels": {"krateo.io/portal-page": "blueprints"}},
        spec={"chart": {"url": f"{_REGISTRY}/{name}", "version": version, "insecureSkipVerifyTLS": False}},
        status={
            "apiVersion": f"{_COMPOSITION}/v{version.replace('.', '-')}",
            "kind": kind,
            "resource": f"{kind.lower()}s",
            "packageUrl": f"{_REGISTRY}/{name}",
            "managed": {"group": _COMPOSITION, "kind": kind, "versionInfo": [{"version": version, "served": True}]},
            "description": draft.text(800, 1600),
            "conditions": [draft.ready()],
        },
    )


def deployment(draft: Draft) -> Manifest:
    """A deployment, mostly complete."""
    name, replicas = draft.name(), draft.between(1, 4)
    labels = _labels(draft, name)
    selector = {"app.kubernetes.io/name": name}
    return draft.manifest(
        "apps/v1",
        "Deployment",
        {"name": name, "labels": labels, "annotations": {"deployment.kubernetes.io/revision": "1"}},
        spec={
            "replicas": replicas,
            "selector": {"matchLabels": selector},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {"metadata": {"labels": {**labels, **selector}}, "spec": _pod_spec(draft, name)},
        },
        status={
            "observedGeneration": 1,
            "replicas": replicas,
            "updatedReplicas": replicas,
            "readyReplicas": replicas,
            "availableReplicas": replicas,
            "conditions": [{**draft.ready(), "type": "Available"}],
        },
    )


def pod(draft: Draft) -> Manifest:
    """A pod in one of the phases."""
    name = draft.name()
    phase = draft.source.choices(("Running", "Pending", "Succeeded", "Failed"), (85, 5, 7, 3))[0]
    address = f"10.{draft.between(0, 255)}.{draft.between(0, 255)}.{draft.between(1, 254)}"
    return draft.manifest(
        "v1",
        "Pod",
        {"name": name, "labels": _labels(draft, name)},
        spec={**_pod_spec(draft, name), "nodeName": f"node-{draft.between(1, 6)}"},
        status={
            "phase": phase,
            "podIP": address,
            "startTime": draft.created,
            "qosClass": "Burstable",
            "conditions": [draft.ready()],
            "containerStatuses": [{"name": "main", "ready": phase == "Running", "restartCount": draft.between(0, 4)}],
        },
    )


def config_map(draft: Draft) -> Manifest:
    """A config map with some text files."""
    name = draft.name("config")
    data = {f"{draft.title().replace(' ', '-').lower()}.conf": draft.text(300, 900) for _ in range(4)}
    return draft.manifest("v1", "ConfigMap", {"name": name, "labels": _labels(draft, name)}, data=data)


def _labels(draft: Draft, name: str) -> dict[str, str]:
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "Helm"}
    if draft.source.random() < 0.5 and (composition := draft.composition()):
        labels["krateo.io/composition-id"] = composition["metadata"]["uid"]
    return labels


def _pod_spec(draft: Draft, name: str) -> dict[str, Any]:
    environment = [{"name": f"SETTING_{n}", "value": draft.text(20, 120)} for n in range(draft.between(3, 9))]
    container = {
        "name": "main",
        "image": f"registry.example.org/{name}:{draft.between(1, 40)}",
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "env": environment,
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/app"}],
        "livenessProbe": {"httpGet": {"path": "/livez", "port": "http"}, "periodSeconds": 10},
    }
    return {
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": f"config-{name}"}}],
        "serviceAccountName": "default",
        "restartPolicy": "Always",
    }
