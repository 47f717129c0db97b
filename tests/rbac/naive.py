"""A second opinion on RBAC: one request at a time, each sentence of the documentation a line, nothing prepared.

Written from "Using RBAC Authorization", "Authorization Overview", "RBAC Good Practices" and "Authenticating" of the
Kubernetes documentation alone. It shares no code with what it is compared to.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True)
class Request:
    """Who asks for what. An empty namespace: all of them, or a cluster-scoped type; an empty name: no one object."""

    username: str
    groups: frozenset[str]
    verb: str
    group: str
    resource: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    @property
    def decided_in(self) -> str:
        """The namespace whose rules decide. No page says so of Namespaces: an API server does."""
        of_one = self.verb not in ("list", "watch", "create", "deletecollection")
        return self.name if self.resource == "namespaces" and not self.namespace and of_one else self.namespace


def allowed(objects: Collection[Json], request: Request) -> bool:
    """Whether the RBAC objects of a cluster allow a request."""
    # "Any user who is a member of this group bypasses all RBAC rights checks"
    if "system:masters" in request.groups:
        return True
    # "Permissions are purely additive (there are no "deny" rules)."
    for binding in objects:
        if binding["kind"] == "ClusterRoleBinding":
            # "If you want to bind a ClusterRole to all the namespaces in your cluster, you use a ClusterRoleBinding."
            reaches = True
        elif binding["kind"] == "RoleBinding":
            # "A role binding grants permissions within a specific namespace"
            reaches = binding["metadata"]["namespace"] == request.decided_in
        else:
            continue
        if reaches and is_subject(binding, request) and role_allows(binding, objects, request):
            return True
    return False


def is_subject(binding: Json, request: Request) -> bool:
    """Documented as: "It holds a list of subjects (users, groups, or service accounts)"."""
    for subject in binding.get("subjects") or []:
        kind, name, api_group = subject["kind"], subject["name"], subject.get("apiGroup", "")
        if not name:
            continue
        # 'Defaults to "" for ServiceAccount subjects. Defaults to "rbac.authorization.k8s.io" for User and Group.'
        if kind == "User" and api_group in ("", RBAC) and name == request.username:
            return True
        if kind == "Group" and api_group in ("", RBAC) and name in all_groups(request):
            return True
        # "Service accounts have names prefixed with system:serviceaccount:"
        if (
            kind == "ServiceAccount"
            and api_group == ""
            and (namespace := subject.get("namespace") or binding["metadata"].get("namespace"))
            and request.username == "system:serviceaccount:" + namespace + ":" + name
        ):
            return True
    return False


def all_groups(request: Request) -> set[str]:
    """Documented as: "assigned to the groups system:serviceaccounts and system:serviceaccounts:(NAMESPACE)"."""
    groups = set(request.groups)
    parts = request.username.split(":")
    if len(parts) == 4 and parts[:2] == ["system", "serviceaccount"]:
        namespace, name = parts[2:]
        # Only names that a namespace (a DNS label) and a service account (a DNS subdomain) can have.
        if is_label(namespace) and len(namespace) <= 63 and len(name) <= 253 and all(map(is_label, name.split("."))):
            groups |= {"system:serviceaccounts", "system:serviceaccounts:" + namespace}
    return groups


def is_label(text: str) -> bool:
    """Documented as: "only lowercase alphanumeric characters or '-', start and end with an alphanumeric"."""
    return re.fullmatch("[a-z0-9-]+", text) is not None and text[0] != "-" and text[-1] != "-"


def role_allows(binding: Json, objects: Collection[Json], request: Request) -> bool:
    """Whether the roleRef, "a reference to the role being granted", leads to a rule that does."""
    reference = binding["roleRef"]
    if reference.get("apiGroup", "") not in ("", RBAC):
        return False
    for role in objects:
        if role["kind"] != reference["kind"] or role["metadata"]["name"] != reference["name"]:
            continue
        # "A RoleBinding may reference any Role in the same namespace. Alternatively, a RoleBinding can reference a
        # ClusterRole"; "ClusterRoleBinding … can only reference a ClusterRole"
        if role["kind"] == "ClusterRole" or (
            role["kind"] == "Role"
            and binding["kind"] == "RoleBinding"
            and role["metadata"]["namespace"] == binding["metadata"]["namespace"]
        ):
            return any(rule_allows(rule, request) for rule in role.get("rules") or [])
    return False


def rule_allows(rule: Json, request: Request) -> bool:
    """Whether one rule does."""
    verbs, groups = rule.get("verbs") or [], rule.get("apiGroups") or []
    resources, names = rule.get("resources") or [], rule.get("resourceNames") or []
    # "the wildcard * symbol" in verbs, apiGroups and resources
    if request.verb not in verbs and "*" not in verbs:
        return False
    if request.group not in groups and "*" not in groups:
        return False
    # "To represent this in an RBAC role, use a slash (/) to delimit the resource and subresource."
    if request.subresource:
        matching = [request.resource + "/" + request.subresource, "*/" + request.subresource, "*"]
    else:
        matching = [request.resource, "*"]
    if not any(resource in matching for resource in resources):
        return False
    if not names:
        return True
    # "If you restrict list or watch by resourceName, clients must include a metadata.name field selector". Without one
    # the name is empty, and a rule that lists an empty name allows that: no page says so, an API server does.
    return request.name in names
