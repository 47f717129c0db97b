"""Role-based access control, pure: from a cluster's RBAC objects and an identity to what the identity may see.

The rules are those of the Kubernetes documentation, "Using RBAC Authorization" and "Authorization Overview"
(https://kubernetes.io/docs/reference/access-authn-authz/). Permissions only add up, nothing denies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec

from presenter.access.identity import Identity
from presenter.access.lru import LruCache
from presenter.apimachinery.golang import quote
from presenter.cache.scope import EVERYTHING, Grant
from presenter.resource import RBAC_GROUP, SANITISED

Kind = Literal["Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"]

MASTERS = "system:masters"
"""The group that may do everything, whatever the rules say ("RBAC Good Practices", "Least privilege")."""

_CACHE_CAPACITY = 200_000
"""Strings of about 64 bytes, by which grants are counted: one may be of thousands of namespaces."""

_ANY = "*"
_SERVICE_ACCOUNT = "system:serviceaccount:"
_SERVICE_ACCOUNTS = "system:serviceaccounts"
_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_SERVICE_ACCOUNT_NAME = re.compile(
    rf"{_SERVICE_ACCOUNT}(?=[^:]{{1,63}}:)({_LABEL}):(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*"
)
_WITHOUT_OBJECT = ("list", "watch", "create", "deletecollection")
"""Verbs whose requests name no object in their path."""

_REPLACEMENT, _NUL = "\ufffd".encode(), b"\\u0000"

_Key = tuple[Kind, str, str]
"""An RBAC object: its kind, its namespace ('' for the cluster-scoped kinds) and its name."""

_Subject = tuple[str, str]
"""Whom a binding names: `User` or `Group`, and the name. A ServiceAccount is the user that its tokens make."""


def implied_groups(username: str) -> frozenset[str]:
    """The groups a user is in for being a ServiceAccount: of all of them, and of those of its namespace.

    Only names that a ServiceAccount can have count: a DNS label as namespace, a DNS subdomain as name
    ("Authenticating", "Service account tokens").
    """
    if match := _SERVICE_ACCOUNT_NAME.fullmatch(username):
        return frozenset({_SERVICE_ACCOUNTS, f"{_SERVICE_ACCOUNTS}:{match[1]}"})
    return frozenset()


def is_decided_within(verb: str, resource: str) -> bool:
    """Whether a request for one object at the cluster scope is decided in the namespace that is called like it.

    In a path kube-apiserver takes what follows `/namespaces/` for a namespace, whatever the API group: so a Namespace
    may be got by who may get it within it (k8s.io/apiserver, endpoints/request: RequestInfo).
    """
    return resource.partition("/")[0] == "namespaces" and verb not in _WITHOUT_OBJECT


class RbacRules:
    """The RBAC objects of one cluster, indexed by their subjects, and the grants that were decided by them lately.

    A `resource` may name a subresource: `pods/log`. All matching is exact and case-sensitive.
    """

    def __init__(self) -> None:
        self._roles: dict[_Key, _Rules] = {}
        self._bindings: dict[_Key, _Binding] = {}
        self._by_subject: dict[_Subject, dict[_Key, _Binding]] = {}
        self._cache: LruCache[_Question, Grant] = LruCache(_CACHE_CAPACITY, _weight)

    def put(self, kind: Kind, namespace: str, name: str, raw: bytes) -> str | None:
        """Take an object's JSON, in place of what was there under its name.

        An ill-formed object grants nothing; what is wrong with it is returned.
        """
        key = (kind, namespace, name)
        if SANITISED.encode() in raw:
            # The cache has U+FFFD for each NUL: so that no rule names what it did not, all of them are read as NUL.
            raw = raw.replace(_REPLACEMENT, _NUL)
        try:
            if (kind in ("Role", "RoleBinding")) is not bool(namespace):
                raise ValueError("only a Role or RoleBinding has a namespace, and it must have one")
            if kind in ("Role", "ClusterRole"):
                self._set_role(key, tuple(msgspec.json.decode(raw, type=_Role).rules or ()))
            else:
                self._set_binding(key, _bind(key, msgspec.json.decode(raw, type=_BindingDocument)))
        except (ValueError, RecursionError) as error:  # the latter: nested too deep, even where it is only skipped
            self.remove(kind, namespace, name)
            return f"{_described(key)} grants nothing: {error}"
        return None

    def remove(self, kind: Kind, namespace: str, name: str) -> None:
        """Forget an object; one that is not there is no error."""
        key = (kind, namespace, name)
        if kind in ("Role", "ClusterRole"):
            self._set_role(key, ())
        else:
            self._set_binding(key, None)

    def grant(self, identity: Identity, verb: str, group: str, resource: str, *, namespaced: bool) -> Grant:
        """What of a type this verb may be used on. `group` '' is the core group.

        Of Namespaces some may be got by their names: those within which it is allowed.
        """
        question = (identity, verb, group, resource, namespaced)
        grant = self._cache.get(question)
        if grant is None:
            within = not namespaced and is_decided_within(verb, resource)
            grant = self._decide(identity, _Attributes.of(verb, group, resource), namespaced=namespaced or within)
            if within:
                grant = _of_namespaces(grant)
            self._cache.put(question, grant)
        return grant

    def explain(
        self,
        identity: Identity,
        verb: str,
        group: str,
        resource: str,
        namespace: str,
        name: str = "",
        *,
        namespaced: bool,
    ) -> list[str]:
        """Everything that grants a request, in words; nothing when it is denied.

        `namespace` '' asks for all namespaces, or for the cluster scope; `name` '' for no object in particular.
        """
        attributes = _Attributes.of(verb, group, resource)
        if not namespaced and is_decided_within(verb, resource):
            namespaced, namespace = True, name
        found = [f'Group "{MASTERS}", which may do everything'] if MASTERS in identity.groups else []
        for binding in sorted(self._bindings_of(identity), key=lambda binding: binding.key):
            _, within, _ = binding.key
            if within and not (namespaced and within == namespace):
                continue
            names = _allowed_names(self._roles.get(binding.role, ()), attributes)
            if names is None or name in names:
                found.append(_described(binding.key, binding.role))
        return found

    def _decide(self, identity: Identity, attributes: _Attributes, *, namespaced: bool) -> Grant:
        if MASTERS in identity.groups:
            return EVERYTHING
        everywhere: set[str] = set()
        namespaces: set[str] = set()
        objects: set[tuple[str, str]] = set()
        by_role: dict[_Key, frozenset[str] | None] = {}  # one role is often bound in many namespaces
        for binding in self._bindings_of(identity):
            _, namespace, _ = binding.key
            if namespace and not namespaced:
                continue
            if binding.role not in by_role:
                by_role[binding.role] = _allowed_names(self._roles.get(binding.role, ()), attributes)
            names = by_role[binding.role]
            if names is None and not namespace:
                return EVERYTHING
            if names is None:
                namespaces.add(namespace)
            elif namespace:
                objects.update((namespace, name) for name in names)
            else:
                everywhere |= names
        return Grant.of(namespaces, everywhere, objects)

    def _bindings_of(self, identity: Identity) -> Iterable[_Binding]:
        found = dict(self._by_subject.get(("User", identity.username), {}))
        for group in identity.groups | implied_groups(identity.username):
            found.update(self._by_subject.get(("Group", group), {}))
        return found.values()

    def _set_role(self, key: _Key, rules: _Rules) -> None:
        if self._roles.get(key, ()) == rules:
            return  # a change of its labels concerns no decision
        if rules:
            self._roles[key] = rules
        else:
            del self._roles[key]
        self._cache.clear()

    def _set_binding(self, key: _Key, binding: _Binding | None) -> None:
        old = self._bindings.get(key)
        if old == binding:
            return
        if old is not None:
            del self._bindings[key]
            for subject in old.subjects:
                bound = self._by_subject[subject]
                del bound[key]
                if not bound:
                    del self._by_subject[subject]
        if binding is not None:
            self._bindings[key] = binding
            for subject in binding.subjects:
                self._by_subject.setdefault(subject, {})[key] = binding
        self._cache.clear()


def _of_namespaces(grant: Grant) -> Grant:
    """What may be seen of Namespaces, by what may be seen within them of an object that is called like them."""
    if grant.everything:
        return grant
    alike = {namespace for namespace, name in grant.objects if namespace == name}
    return Grant.of(names=grant.names | grant.namespaces | alike)


# What a rule lists


class _Rule(msgspec.Struct, frozen=True, rename="camel"):
    """A rule of a role, without its paths. Go writes an empty list as null."""

    verbs: frozenset[str] | None = None
    api_groups: frozenset[str] | None = None
    resources: frozenset[str] | None = None
    resource_names: frozenset[str] | None = None

    def concerns(self, attributes: _Attributes) -> bool:
        """Whether it lists these attributes; names are not looked at."""
        return not (
            attributes.verbs.isdisjoint(self.verbs or ())
            or attributes.groups.isdisjoint(self.api_groups or ())
            or attributes.resources.isdisjoint(self.resources or ())
        )


_Rules = tuple[_Rule, ...]


class _Role(msgspec.Struct, frozen=True):
    """A Role or ClusterRole. The rules of an aggregated one have been filled in by the cluster."""

    rules: list[_Rule] | None = None


class _Attributes(NamedTuple):
    """The attributes of a request: a rule must list one of each of these verbs, API groups and resources."""

    verbs: frozenset[str]
    groups: frozenset[str]
    resources: frozenset[str]

    @classmethod
    def of(cls, verb: str, group: str, resource: str) -> _Attributes:
        _, slash, subresource = resource.partition("/")
        resources = {resource, _ANY, f"{_ANY}/{subresource}"} if slash else {resource, _ANY}
        return cls(frozenset({verb, _ANY}), frozenset({group, _ANY}), frozenset(resources))


def _allowed_names(rules: _Rules, attributes: _Attributes) -> frozenset[str] | None:
    """The names that rules allow the request for, as resourceNames list them; None: any.

    A request without a name has the name '', for kube-apiserver too: where '' is listed, all may be listed.
    """
    names: set[str] = set()
    for rule in rules:
        if rule.concerns(attributes):
            if not rule.resource_names:
                return None
            names |= rule.resource_names
    return frozenset(names)


# What a binding binds


@dataclass(frozen=True, slots=True)
class _Binding:
    """Some subjects and the role they have, in the binding's namespace or, where it has none, everywhere."""

    key: _Key
    role: _Key
    subjects: frozenset[_Subject]


class _SubjectDocument(msgspec.Struct, frozen=True, rename="camel"):
    kind: str
    name: str
    api_group: str | None = None
    namespace: str | None = None

    def subject(self, within: str) -> _Subject | None:
        """Whom it names, if anyone, in a binding within a namespace ('': everywhere).

        The API server admits no other API groups; it fills in a missing one.
        """
        if not self.name:
            return None
        if self.kind in ("User", "Group"):
            return (self.kind, self.name) if (self.api_group or RBAC_GROUP) == RBAC_GROUP else None
        namespace = self.namespace or within  # kube-apiserver: an account without one is of the binding's own
        if self.kind == "ServiceAccount" and namespace and not self.api_group:
            return ("User", f"{_SERVICE_ACCOUNT}{namespace}:{self.name}")
        return None


class _RoleRef(msgspec.Struct, frozen=True, rename="camel"):
    kind: str
    name: str
    api_group: str | None = None


class _BindingDocument(msgspec.Struct, frozen=True, rename="camel"):
    role_ref: _RoleRef
    subjects: list[_SubjectDocument] | None = None


def _bind(key: _Key, document: _BindingDocument) -> _Binding:
    """The binding that a document describes. Raises ValueError when its roleRef can never mean a role."""
    _, namespace, _ = key
    reference = document.role_ref
    role: _Key
    if (reference.api_group or RBAC_GROUP) != RBAC_GROUP:
        raise ValueError(f"its roleRef is of the API group {reference.api_group!r}")
    if reference.kind == "ClusterRole":
        role = ("ClusterRole", "", reference.name)
    elif reference.kind == "Role" and namespace:
        role = ("Role", namespace, reference.name)
    else:
        raise ValueError(f"its roleRef is of the kind {reference.kind!r}")
    subjects = (subject.subject(namespace) for subject in document.subjects or ())
    return _Binding(key, role, frozenset(filter(None, subjects)))


def _described(key: _Key, role: _Key | None = None) -> str:
    kind, namespace, name = key
    of = f" of {role[0]} {quote(role[2])}" if role else ""
    return f"{kind} {quote(name)}{of}" + (f" in namespace {quote(namespace)}" if namespace else "")


_Question = tuple[Identity, str, str, str, bool]


def _weight(question: _Question, grant: Grant) -> int:
    identity = question[0]
    return 8 + len(identity.groups) + len(grant.namespaces) + len(grant.names) + 2 * len(grant.objects)
