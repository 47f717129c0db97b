"""RBAC objects as the API server serves them, and their way into the rules."""

from __future__ import annotations

import json
from collections.abc import Iterable

from presenter.access.identity import Identity
from presenter.access.rbac import Kind, RbacRules
from tests.rbac.naive import RBAC, Json


def rule(verbs: str, resources: str, groups: str = "", names: Iterable[str] = ()) -> Json:
    """A rule; several verbs, resources and API groups are separated by spaces."""
    made: Json = {"verbs": verbs.split(), "apiGroups": groups.split(" "), "resources": resources.split()}
    return {**made, "resourceNames": list(names)} if names else made


def role(namespace: str, name: str, *rules: Json) -> Json:
    return _object("Role", namespace, name, rules=list(rules))


def cluster_role(name: str, *rules: Json) -> Json:
    return _object("ClusterRole", "", name, rules=list(rules))


def role_binding(namespace: str, name: str, role_ref: Json, *subjects: Json) -> Json:
    return _object("RoleBinding", namespace, name, roleRef=role_ref, subjects=list(subjects))


def cluster_role_binding(name: str, role_ref: Json, *subjects: Json) -> Json:
    return _object("ClusterRoleBinding", "", name, roleRef=role_ref, subjects=list(subjects))


def ref(kind: str, name: str) -> Json:
    return {"apiGroup": RBAC, "kind": kind, "name": name}


def user(name: str) -> Json:
    return {"apiGroup": RBAC, "kind": "User", "name": name}


def group(name: str) -> Json:
    return {"apiGroup": RBAC, "kind": "Group", "name": name}


def service_account(namespace: str, name: str) -> Json:
    return {"kind": "ServiceAccount", "namespace": namespace, "name": name}


def identity(username: str, *groups: str) -> Identity:
    return Identity.of(username, groups)


def key(manifest: Json) -> tuple[Kind, str, str]:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"]


def put(rules: RbacRules, manifest: Json) -> str | None:
    return rules.put(*key(manifest), json.dumps(manifest).encode())


def rules_of(objects: Iterable[Json]) -> RbacRules:
    rules = RbacRules()
    for manifest in objects:
        put(rules, manifest)
    return rules


def _object(kind: str, namespace: str, name: str, **rest: object) -> Json:
    metadata = {"name": name, "uid": f"{kind}-{namespace}-{name}", "resourceVersion": "1"}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": metadata, **rest}
