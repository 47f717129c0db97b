"""What a cluster's own controllers do when namespaces, CRDs and cluster roles are written."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from presenter.apimachinery import errors, validation
from presenter.sandbox import rbac
from presenter.sandbox.objects import Manifest, key_of
from presenter.sandbox.registry import Definition, from_crd

if TYPE_CHECKING:
    from presenter.sandbox.cluster import Cluster

_CRDS = "customresourcedefinitions.apiextensions.k8s.io"
_CLUSTER_ROLES = "clusterroles.rbac.authorization.k8s.io"


def complete(definition: Definition, manifest: Manifest, now: str) -> Manifest:
    """Fill in what the API server defaults before an object is stored. Raises StatusError 422."""
    if definition.name == "namespaces":
        return _complete_namespace(manifest)
    if definition.name == _CRDS:
        return _complete_crd(manifest, now)
    if definition.name == "secrets":
        return _complete_secret(manifest)
    if definition.name == "pods":
        return {"status": {"phase": "Pending"}, **manifest}
    return manifest


def settle(cluster: Cluster, definition: Definition, manifest: Manifest) -> None:
    """Follow up on an object that was stored or has gone."""
    meta = manifest["metadata"]
    if definition.name == _CRDS:
        if key_of("", meta["name"]) in cluster.store(definition).entries and "deletionTimestamp" not in meta:
            cluster.add_type(from_crd(manifest))
    elif definition.name == _CLUSTER_ROLES:
        _aggregate(cluster)


def clear(cluster: Cluster, definition: Definition, manifest: Manifest) -> None:
    """Delete what goes with an object, before the object itself goes."""
    name = manifest["metadata"]["name"]
    if definition.name == _CRDS:
        cluster.remove_type(name)
    elif definition.name == "namespaces":
        for contained in list(cluster.registry):
            if contained.namespaced:
                for entry in cluster.store(contained).snapshot():
                    if entry.namespace == name:
                        cluster.delete(contained.name, entry.name, name)


def _complete_namespace(manifest: Manifest) -> Manifest:
    meta = manifest["metadata"]
    labels = {**(meta.get("labels") or {}), "kubernetes.io/metadata.name": meta["name"]}
    return {
        **manifest,
        "metadata": {**meta, "labels": labels},
        "spec": manifest.get("spec") or {"finalizers": ["kubernetes"]},
        "status": manifest.get("status") or {"phase": "Active"},
    }


def _complete_secret(manifest: Manifest) -> Manifest:
    secret = {"type": "Opaque", **manifest}
    if texts := secret.pop("stringData", None):
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
        secret["data"] = {**(secret.get("data") or {}), **encoded}
    return secret


def _complete_crd(manifest: Manifest, now: str) -> Manifest:
    spec, name = manifest.get("spec") or {}, manifest["metadata"]["name"]
    names = spec.get("names") or {}
    group, plural, kind = spec.get("group"), names.get("plural"), names.get("kind")
    if not (group and plural and kind and spec.get("versions") and spec.get("scope")):
        why = "group, names.plural, names.kind, scope and versions are required"
        raise _invalid(name, validation.required("spec", why))
    if name != f"{plural}.{group}":
        raise _invalid(name, validation.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group'))
    if not any(version.get("served") for version in spec["versions"]):
        # Kubernetes takes such a definition and serves nothing; here a type is what is served.
        raise _invalid(name, validation.required("spec.versions", "at least one version must be served"))
    names = {"listKind": f"{kind}List", "singular": kind.lower(), **names}
    status = manifest.get("status") or {}
    conditions = status.get("conditions") or [
        _condition("NamesAccepted", "NoConflicts", "no conflicts found", now),
        _condition("Established", "InitialNamesAccepted", "the initial names have been accepted", now),
    ]
    stored = [version["name"] for version in spec["versions"] if version.get("storage")]
    stored = list(dict.fromkeys([*status.get("storedVersions", ()), *stored]))
    return {
        **manifest,
        "spec": {"conversion": {"strategy": "None"}, **spec, "names": names},
        "status": {"acceptedNames": names, "conditions": conditions, "storedVersions": stored},
    }


def _invalid(name: str, error: validation.FieldError) -> errors.StatusError:
    return errors.invalid("apiextensions.k8s.io", "CustomResourceDefinition", name, error)


def _condition(kind: str, reason: str, message: str, now: str) -> dict[str, Any]:
    return {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now}


def _aggregate(cluster: Cluster) -> None:
    """Fill in the rules of cluster roles that have an aggregationRule; done when nothing changes any more."""
    roles = cluster.objects(_CLUSTER_ROLES)
    for role in roles:
        rules = rbac.aggregated_rules(role, roles)
        if rules is not None and rules != role.get("rules"):
            cluster.replace({**role, "rules": rules})
            return  # that write has settled the rest
