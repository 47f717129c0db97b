"""Role-based access control, straight from the Kubernetes documentation: no caches, no cleverness.

Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/. It serves as an oracle in tests, so it
is written to be compared with that page, one function for each thing the page says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from presenter.apimachinery.errors import qualified
from presenter.apimachinery.labels import Operator, Requirement, Selector
from presenter.sandbox.objects import Manifest

if TYPE_CHECKING:
    from presenter.sandbox.cluster import Cluster

_GROUP = "rbac.authorization.k8s.io"
_SERVICE_ACCOUNT = "system:serviceaccount:"
_OPERATORS = {
    "In": Operator.IN,
    "NotIn": Operator.NOT_IN,
    "Exists": Operator.EXISTS,
    "DoesNotExist": Operator.DOES_NOT_EXIST,
}

Rule = dict[str, Any]


@dataclass(frozen=True)
class User:
    """Who asks: a name and the groups that came with it."""

    name: str
    groups: tuple[str, ...] = ()

    @property
    def all_groups(self) -> tuple[str, ...]:
        """The groups, with those that every authenticated user and every service account is in."""
        implied: list[str] = []
        if self.name.startswith(_SERVICE_ACCOUNT):
            namespace = self.name.removeprefix(_SERVICE_ACCOUNT).split(":")[0]
            implied += ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]
        whether = "system:unauthenticated" if self.name == "system:anonymous" else "system:authenticated"
        if not {"system:unauthenticated", "system:authenticated"} & {*self.groups}:
            implied.append(whether)
        return tuple(dict.fromkeys([*self.groups, *implied]))


@dataclass(frozen=True)
class Access:
    """What is asked: a verb on a resource, or on a path when `path` is set.

    An empty namespace means all of them.
    """

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


@dataclass(frozen=True)
class Decision:
    """The answer; `reason` names the binding that allows."""

    allowed: bool
    reason: str = ""


@dataclass(frozen=True)
class Policy:
    """The RBAC objects of a cluster."""

    roles: list[Manifest]
    cluster_roles: list[Manifest]
    role_bindings: list[Manifest]
    cluster_role_bindings: list[Manifest]

    @classmethod
    def of(cls, cluster: Cluster) -> Policy:
        """The RBAC objects as they are stored now."""
        kinds = ("roles", "clusterroles", "rolebindings", "clusterrolebindings")
        return cls(*(cluster.objects(f"{kind}.{_GROUP}") for kind in kinds))

    def decide(self, user: User, access: Access) -> Decision:
        """Whether a user may: permissions only add up, there are no rules that deny."""
        if "system:masters" in user.groups:
            return Decision(True)
        for binding in self.cluster_role_bindings:
            if self._allows(binding, user, access):
                return Decision(True, f'RBAC: allowed by ClusterRoleBinding "{binding["metadata"]["name"]}"')
        for binding in self.role_bindings:
            namespace, name = binding["metadata"]["namespace"], binding["metadata"]["name"]
            if access.path or access.namespace != namespace:
                continue  # a RoleBinding grants within its own namespace, and no paths
            if self._allows(binding, user, access):
                return Decision(True, f'RBAC: allowed by RoleBinding "{name}/{namespace}"')
        return Decision(False)

    def _allows(self, binding: Manifest, user: User, access: Access) -> bool:
        namespace = binding["metadata"].get("namespace", "")
        if not any(subject_is(subject, user, namespace) for subject in binding.get("subjects") or ()):
            return False
        return any(rule_allows(rule, access) for rule in self._rules(binding))

    def _rules(self, binding: Manifest) -> list[Rule]:
        reference, namespace = binding["roleRef"], binding["metadata"].get("namespace", "")
        for role in self.cluster_roles if reference["kind"] == "ClusterRole" else self.roles:
            meta = role["metadata"]
            if meta["name"] == reference["name"] and meta.get("namespace", namespace) == namespace:
                return role.get("rules") or []
        return []


def subject_is(subject: dict[str, Any], user: User, binding_namespace: str) -> bool:
    """Whether a subject of a binding means this user."""
    match subject["kind"]:
        case "User":
            return bool(subject["name"] == user.name)
        case "Group":
            return subject["name"] in user.all_groups
        case "ServiceAccount":
            namespace = subject.get("namespace") or binding_namespace
            return user.name == f"{_SERVICE_ACCOUNT}{namespace}:{subject['name']}"
    return False


def rule_allows(rule: Rule, access: Access) -> bool:
    """Whether one rule of a role covers what is asked."""
    if not _listed(access.verb, rule.get("verbs")):
        return False
    if access.path:
        return any(path_matches(pattern, access.path) for pattern in rule.get("nonResourceURLs") or ())
    if not _listed(access.group, rule.get("apiGroups")) or not _resource_listed(access, rule.get("resources")):
        return False
    names = rule.get("resourceNames") or ()
    return not names or access.name in names


def path_matches(pattern: str, path: str) -> bool:
    """A non-resource URL: exact, or a prefix when it ends in `*`."""
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern


def _listed(value: str, listed: list[str] | None) -> bool:
    return listed is not None and ("*" in listed or value in listed)


def _resource_listed(access: Access, listed: list[str] | None) -> bool:
    if not access.subresource:
        return _listed(access.resource, listed)
    return _listed(f"{access.resource}/{access.subresource}", listed) or f"*/{access.subresource}" in (listed or ())


def aggregated_rules(role: Manifest, roles: list[Manifest]) -> list[Rule] | None:
    """The rules that a ClusterRole with an aggregationRule collects from others; None for one without it."""
    if "aggregationRule" not in role:
        return None
    selectors = [_selector(each) for each in role["aggregationRule"].get("clusterRoleSelectors") or ()]
    rules: list[Rule] = []
    for other in roles:
        labels = other["metadata"].get("labels") or {}
        if other["metadata"]["name"] != role["metadata"]["name"] and any(s.matches(labels) for s in selectors):
            rules += [rule for rule in other.get("rules") or () if rule not in rules]
    return rules


def _selector(declared: dict[str, Any]) -> Selector:
    """A metav1.LabelSelector."""
    exact = [Requirement(key, Operator.EQUALS, (value,)) for key, value in (declared.get("matchLabels") or {}).items()]
    more = [
        Requirement(each["key"], _OPERATORS[each["operator"]], tuple(each.get("values") or ()))
        for each in declared.get("matchExpressions") or ()
    ]
    return Selector((*exact, *more))


def refusal(user: User, access: Access) -> str:
    """The message of a 403, in the words of kube-apiserver."""
    if access.path:
        return f'forbidden: User "{user.name}" cannot {access.verb} path "{access.path}"'
    resource = f"{access.resource}/{access.subresource}" if access.subresource else access.resource
    subject = qualified(access.group, access.resource) + (f' "{access.name}"' if access.name else "")
    scope = f'in the namespace "{access.namespace}"' if access.namespace else "at the cluster scope"
    asked = f'cannot {access.verb} resource "{resource}" in API group "{access.group}" {scope}'
    return f'{subject} is forbidden: User "{user.name}" {asked}'
