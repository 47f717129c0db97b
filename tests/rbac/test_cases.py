"""Cases worked out by hand, each called by the Kubernetes rule it stands for."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import pytest

from presenter.access.identity import Identity
from presenter.cache.scope import EVERYTHING, NOTHING, Grant
from tests.rbac import naive
from tests.rbac.naive import Json
from tests.rbac.objects import (
    cluster_role,
    cluster_role_binding,
    group,
    identity,
    ref,
    role,
    role_binding,
    rule,
    rules_of,
    service_account,
    user,
)


class Asked(NamedTuple):
    verb: str = "list"
    group: str = ""
    resource: str = "pods"
    namespaced: bool = True


class Case(NamedTuple):
    rule: str
    objects: list[Json]
    expected: Grant
    asked: Asked = Asked()
    who: Identity = identity("alice", "devs")


def account(name: str) -> Identity:
    return identity(f"system:serviceaccount:{name}")


ALICE, DEVS, BOT = user("alice"), group("devs"), service_account("team", "bot")
THE_BOT = account("team:bot")
GET = Asked("get")
CREATE = Asked("create")
NODES = Asked(resource="nodes", namespaced=False)
A_NAMESPACE = Asked("get", resource="namespaces", namespaced=False)
PANELS = Asked(group="widgets.krateo.io", resource="panels")
LOG = Asked("get", resource="pods/log")
LIST_PODS = rule("list", "pods")
ROLE, CLUSTER_ROLE = ref("Role", "r"), ref("ClusterRole", "r")
LISTER, CLUSTER_LISTER = role("prod", "r", LIST_PODS), cluster_role("r", LIST_PODS)
PROD = Grant.of(["prod"])


def only(*names: str) -> Grant:
    """These objects of the namespace prod."""
    return Grant.of(objects=[("prod", name) for name in names])


def in_prod(*rules: Json) -> list[Json]:
    """Alice has a Role with these rules in the namespace prod."""
    return [role("prod", "r", *rules), role_binding("prod", "b", ROLE, ALICE)]


def everywhere(*rules: Json) -> list[Json]:
    """Alice has a ClusterRole with these rules in all of the cluster."""
    return [cluster_role("r", *rules), cluster_role_binding("b", CLUSTER_ROLE, ALICE)]


def bound(*subjects: Json) -> list[Json]:
    """These subjects may list pods in the namespace prod."""
    return [LISTER, role_binding("prod", "b", ROLE, *subjects)]


def refers(role_ref: Json, *roles: Json) -> list[Json]:
    """A RoleBinding of alice in the namespace prod with this roleRef."""
    return [*roles, role_binding("prod", "b", role_ref, ALICE)]


ADDITIVE = [
    Case("nothing is allowed that no rule allows", [], NOTHING),
    Case("a role without a binding grants nothing", [LISTER], NOTHING),
    Case("a binding without subjects grants nothing", bound(), NOTHING),
    Case("a role without rules grants nothing", in_prod(), NOTHING),
    Case("rules of one role add up", in_prod(rule("list", "secrets"), LIST_PODS), PROD),
    Case(
        "bindings in several namespaces add up",
        [*in_prod(LIST_PODS), role("dev", "r", LIST_PODS), role_binding("dev", "b", ROLE, ALICE)],
        Grant.of(["prod", "dev"]),
    ),
    Case(
        "a grant everywhere takes in a grant in a namespace", [*in_prod(LIST_PODS), *everywhere(LIST_PODS)], EVERYTHING
    ),
    Case(
        "two bindings of one role in one namespace are as one",
        [*bound(ALICE), role_binding("prod", "c", ROLE, ALICE)],
        PROD,
    ),
    Case(
        "nothing of a rule is taken from another: verbs", in_prod(rule("list", "secrets"), rule("get", "pods")), NOTHING
    ),
    Case("nothing of a rule is taken from another: names", in_prod(rule("get", "pods", names=["a"]), LIST_PODS), PROD),
]

REACH = [
    Case("a RoleBinding grants in its own namespace only", in_prod(LIST_PODS), PROD),
    Case("a RoleBinding to a ClusterRole grants in its own namespace only", refers(CLUSTER_ROLE, CLUSTER_LISTER), PROD),
    Case("a ClusterRoleBinding grants in all namespaces", everywhere(LIST_PODS), EVERYTHING),
    Case("a ClusterRoleBinding grants cluster-scoped types", everywhere(rule("list", "nodes")), EVERYTHING, NODES),
    Case("a RoleBinding never grants a cluster-scoped type", in_prod(rule("list", "nodes")), NOTHING, NODES),
    Case(
        "a RoleBinding to a ClusterRole never grants a cluster-scoped type",
        refers(CLUSTER_ROLE, cluster_role("r", rule("*", "*", "*"))),
        NOTHING,
        NODES,
    ),
    Case(
        "a RoleBinding never grants one object of a cluster-scoped type",
        in_prod(rule("list", "nodes", names=["a"])),
        NOTHING,
        NODES,
    ),
    Case(
        "one ClusterRole bound in two namespaces grants in both",
        [*refers(CLUSTER_ROLE, CLUSTER_LISTER), role_binding("dev", "b", CLUSTER_ROLE, ALICE)],
        Grant.of(["prod", "dev"]),
    ),
]

IN_PROD = rule("get list", "namespaces")
NAMESPACES = [
    Case("a Namespace may be got by who may get it within it", in_prod(IN_PROD), Grant.of(names=["prod"]), A_NAMESPACE),
    Case(
        "a Namespace is not listed by who may list it within it",
        in_prod(IN_PROD),
        NOTHING,
        A_NAMESPACE._replace(verb="list"),
    ),
    Case(
        "resourceNames restrict the getting of a Namespace within it",
        in_prod(rule("get", "namespaces", names=["dev"])),
        NOTHING,
        A_NAMESPACE,
    ),
    Case(
        "resourceNames grant the getting of a Namespace within it",
        in_prod(rule("get", "namespaces", names=["dev", "prod"])),
        Grant.of(names=["prod"]),
        A_NAMESPACE,
    ),
    Case(
        "a Namespace may be got by who may get it at the cluster scope",
        everywhere(rule("get", "namespaces", names=["dev"])),
        Grant.of(names=["dev"]),
        A_NAMESPACE,
    ),
    Case(
        "all Namespaces may be got by who may get them", everywhere(rule("get", "namespaces")), EVERYTHING, A_NAMESPACE
    ),
    Case("what a Namespace holds does not count as it", in_prod(rule("get", "pods")), NOTHING, A_NAMESPACE),
    Case(
        "the status of a Namespace is decided within it, too",
        in_prod(rule("get", "namespaces/status")),
        Grant.of(names=["prod"]),
        A_NAMESPACE._replace(resource="namespaces/status"),
    ),
]

ROLE_REFS = [
    Case("a roleRef to no role grants nothing", refers(ROLE), NOTHING),
    Case("a Role of another namespace is not meant", refers(ROLE, role("dev", "r", LIST_PODS)), NOTHING),
    Case("a Role is not meant by a ClusterRole's reference", refers(CLUSTER_ROLE, LISTER), NOTHING),
    Case("a ClusterRole is not meant by a Role's reference", refers(ROLE, CLUSTER_LISTER), NOTHING),
    Case("a ClusterRoleBinding cannot refer to a Role", [LISTER, cluster_role_binding("b", ROLE, ALICE)], NOTHING),
    Case("a roleRef of another kind grants nothing", refers(ref("Group", "r"), LISTER, CLUSTER_LISTER), NOTHING),
    Case("a roleRef of another API group grants nothing", refers({**ROLE, "apiGroup": "other.io"}, LISTER), NOTHING),
    Case("a roleRef's API group has a default", refers({"kind": "Role", "name": "r"}, LISTER), PROD),
    Case("a role's name is case-sensitive", refers(ref("Role", "R"), LISTER), NOTHING),
    Case(
        "an aggregated ClusterRole counts by its filled-in rules",
        [
            {**CLUSTER_LISTER, "aggregationRule": {"clusterRoleSelectors": []}},
            cluster_role_binding("b", CLUSTER_ROLE, ALICE),
        ],
        EVERYTHING,
    ),
    Case(
        "an aggregationRule alone grants nothing",
        [
            {
                **cluster_role("r"),
                "rules": None,
                "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to": "r"}}]},
            },
            {**cluster_role("part", LIST_PODS), "metadata": {"name": "part", "labels": {"to": "r"}}},
            cluster_role_binding("b", CLUSTER_ROLE, ALICE),
        ],
        NOTHING,
    ),
]

VERBS_AND_GROUPS = [
    Case("get does not grant list", in_prod(rule("get", "pods")), NOTHING),
    Case("list does not grant get", in_prod(LIST_PODS), NOTHING, GET),
    Case("watch does not grant list", in_prod(rule("watch", "pods")), NOTHING),
    Case("* in verbs is every verb", in_prod(rule("*", "pods")), PROD),
    Case("one of several verbs is enough", in_prod(rule("get list watch", "pods")), PROD),
    Case("verbs are case-sensitive", in_prod(rule("List", "pods")), NOTHING),
    Case("a rule without verbs grants nothing", in_prod({**LIST_PODS, "verbs": None}), NOTHING),
    Case("'' in apiGroups is the core group", in_prod(rule("list", "pods", "")), PROD),
    Case("the core group is no other group", in_prod(rule("list", "panels", "")), NOTHING, PANELS),
    Case("a named API group is not the core group", in_prod(rule("list", "pods", "apps")), NOTHING),
    Case("an API group grants its types", in_prod(rule("list", "panels", "widgets.krateo.io")), PROD, PANELS),
    Case("* in apiGroups is every group", in_prod(rule("list", "panels", "*")), PROD, PANELS),
    Case("* in apiGroups takes in the core group", in_prod(rule("list", "pods", "*")), PROD),
    Case(
        "* within an API group's name is no wildcard", in_prod(rule("list", "panels", "*.krateo.io")), NOTHING, PANELS
    ),
    Case("a rule without apiGroups grants nothing", in_prod({**LIST_PODS, "apiGroups": []}), NOTHING),
]

RESOURCES = [
    Case("another resource is not granted", in_prod(rule("list", "secrets")), NOTHING),
    Case("* in resources is every resource", in_prod(rule("list", "*")), PROD),
    Case("resources are case-sensitive", in_prod(rule("list", "Pods")), NOTHING),
    Case("* within a resource's name is no wildcard", in_prod(rule("list", "po*")), NOTHING),
    Case("a rule without resources grants nothing", in_prod({**LIST_PODS, "resources": []}), NOTHING),
    Case("a resource does not grant its subresources", in_prod(rule("get", "pods")), NOTHING, LOG),
    Case("a subresource does not grant its resource", in_prod(rule("get", "pods/log")), NOTHING, GET),
    Case("a subresource is granted by its name", in_prod(rule("get", "pods/log")), PROD, LOG),
    Case("another subresource is not granted", in_prod(rule("get", "pods/status")), NOTHING, LOG),
    Case("*/log is that subresource of every resource", in_prod(rule("get", "*/log")), PROD, LOG),
    Case("*/log grants no resource", in_prod(rule("get", "*/log")), NOTHING, GET),
    Case("*/status is not every subresource", in_prod(rule("get", "*/status")), NOTHING, LOG),
    Case("* in resources takes in subresources", in_prod(rule("get", "*")), PROD, LOG),
    Case("pods/* is no wildcard", in_prod(rule("get", "pods/*")), NOTHING, LOG),
    Case("paths grant no resources", everywhere({"verbs": ["*"], "nonResourceURLs": ["*"]}), NOTHING),
]

NAMES = [
    Case("resourceNames restrict a get", in_prod(rule("get", "pods", names=["a"])), only("a"), GET),
    Case("resourceNames grant a list of exactly that object", in_prod(rule("list", "pods", names=["a"])), only("a")),
    Case(
        "resourceNames grant a watch of exactly that object",
        in_prod(rule("watch", "pods", names=["a"])),
        only("a"),
        Asked("watch"),
    ),
    Case(
        "a ClusterRoleBinding grants a name in every namespace",
        everywhere(rule("get", "pods", names=["a", "b"])),
        Grant.of(names=["a", "b"]),
        GET,
    ),
    Case(
        "a ClusterRoleBinding grants a name at the cluster scope",
        everywhere(rule("get", "nodes", names=["a"])),
        Grant.of(names=["a"]),
        NODES._replace(verb="get"),
    ),
    Case("empty resourceNames restrict nothing", in_prod({**LIST_PODS, "resourceNames": []}), PROD),
    Case("null resourceNames restrict nothing", in_prod({**LIST_PODS, "resourceNames": None}), PROD),
    Case(
        "resourceNames of several rules add up",
        in_prod(rule("get", "pods", names=["a"]), rule("get", "pods", names=["b"])),
        only("a", "b"),
        GET,
    ),
    Case(
        "a name in every namespace adds to a namespace",
        [
            *in_prod(LIST_PODS),
            cluster_role("n", rule("list", "pods", names=["a"])),
            cluster_role_binding("n", ref("ClusterRole", "n"), ALICE),
        ],
        Grant.of(["prod"], ["a"]),
    ),
    Case(
        "resourceNames grant create of what has no name",
        in_prod(rule("create", "pods", names=["a"])),
        only("a"),
        CREATE,
    ),
    Case("create without resourceNames is granted", in_prod(rule("create", "pods")), PROD, CREATE),
    Case("* in resourceNames is a name", in_prod(rule("get", "pods", names=["*"])), only("*"), GET),
    Case(
        "'' in resourceNames grants a list without a name",
        in_prod(rule("list", "pods", names=["", "a"])),
        only("", "a"),
    ),
    Case("'' in resourceNames grants no object", in_prod(rule("get", "pods", names=[""])), only(""), GET),
    Case(
        "'' in resourceNames grants a list of all namespaces",
        everywhere(rule("list", "pods", names=[""])),
        Grant.of(names=[""]),
    ),
    Case("resourceNames are case-sensitive", in_prod(rule("get", "pods", names=["A"])), only("A"), GET),
]

SUBJECTS = [
    Case("a User is meant by name", bound(ALICE), PROD),
    Case("another User is not meant", bound(user("bob")), NOTHING),
    Case("user names are case-sensitive", bound(user("Alice")), NOTHING),
    Case("a Group means its members", bound(DEVS), PROD),
    Case("a Group does not mean others", bound(group("ops")), NOTHING),
    Case("a User of a group's name is not the group", bound(user("devs")), NOTHING),
    Case("a Group of a user's name is not the user", bound(group("alice")), NOTHING),
    Case("one of several subjects is enough", bound(user("bob"), group("ops"), DEVS), PROD),
    Case("everybody is in system:authenticated", bound(group("system:authenticated")), PROD),
    Case("nobody with a token is in system:unauthenticated", bound(group("system:unauthenticated")), NOTHING),
    Case("members of system:masters may do everything", [], EVERYTHING, who=identity("root", "system:masters")),
    Case("a user named system:masters is no member", [], NOTHING, who=identity("system:masters")),
    Case(
        "who is called system:anonymous is not authenticated",
        bound(group("system:authenticated")),
        NOTHING,
        who=identity("system:anonymous"),
    ),
    Case(
        "who says that they are unauthenticated are",
        bound(group("system:authenticated")),
        NOTHING,
        who=identity("alice", "system:unauthenticated"),
    ),
    Case("a ServiceAccount is the user of its token", bound(BOT), PROD, who=THE_BOT),
    Case(
        "a ServiceAccount is not one of another namespace", bound(service_account("other", "bot")), NOTHING, who=THE_BOT
    ),
    Case("a ServiceAccount's own name is no user name", bound(BOT), NOTHING, who=identity("bot")),
    Case(
        "a ServiceAccount is granted where the binding is",
        bound(service_account("dev", "bot")),
        PROD,
        who=account("dev:bot"),
    ),
    Case("a ServiceAccount may be meant as a User", bound(user("system:serviceaccount:team:bot")), PROD, who=THE_BOT),
    Case(
        "a ServiceAccount without a namespace is of the binding's own",
        bound({"kind": "ServiceAccount", "name": "bot"}),
        PROD,
        who=account("prod:bot"),
    ),
    Case(
        "a ServiceAccount in no namespace is not the user without one",
        bound(service_account("", "bot")),
        NOTHING,
        who=account(":bot"),
    ),
    Case("ServiceAccounts are in the group of all", bound(group("system:serviceaccounts")), PROD, who=THE_BOT),
    Case(
        "ServiceAccounts are in the group of their namespace",
        bound(group("system:serviceaccounts:team")),
        PROD,
        who=THE_BOT,
    ),
    Case(
        "ServiceAccounts are in no other namespace's group",
        bound(group("system:serviceaccounts:prod")),
        NOTHING,
        who=THE_BOT,
    ),
    Case("users are in no group of ServiceAccounts", bound(group("system:serviceaccounts")), NOTHING),
    Case("a User's API group has a default", bound({"kind": "User", "name": "alice"}), PROD),
    Case("a Group's API group has a default", bound({"kind": "Group", "name": "devs", "apiGroup": ""}), PROD),
    Case("a User of another API group is nobody", bound({**ALICE, "apiGroup": "other.io"}), NOTHING),
    Case("a Group of another API group is nobody", bound({**DEVS, "apiGroup": "other.io"}), NOTHING),
    Case(
        "a ServiceAccount is of the core group",
        bound({**BOT, "apiGroup": "rbac.authorization.k8s.io"}),
        NOTHING,
        who=THE_BOT,
    ),
    Case("a subject of another kind is nobody", bound({**ALICE, "kind": "Role"}), NOTHING),
    Case("a subject without a name is nobody", bound(group("")), NOTHING, who=identity("alice", "")),
    Case("null subjects are none", [{**bound(ALICE)[1], "subjects": None}, LISTER], NOTHING),
    Case("* as a user name is no wildcard", bound(user("*")), NOTHING),
    Case("a user name may hold quotes and line breaks", bound(user("a\"\n'é\t☃")), PROD, who=identity("a\"\n'é\t☃")),
    Case("names are not normalised", bound(user("e\u0301")), NOTHING, who=identity("é")),
]

CASES = [*ADDITIVE, *REACH, *NAMESPACES, *ROLE_REFS, *VERBS_AND_GROUPS, *RESOURCES, *NAMES, *SUBJECTS]


@pytest.mark.parametrize("case", CASES, ids=[case.rule for case in CASES])
def test_case(case: Case) -> None:
    rules = rules_of(case.objects)
    verb, group, resource, namespaced = case.asked
    grant = rules.grant(case.who, verb, group, resource, namespaced=namespaced)
    assert grant == case.expected

    plural, _, subresource = resource.partition("/")
    for namespace, name in product(("prod", "dev", "") if namespaced else ("",), ("", "a", "b", "A", "prod", "dev")):
        request = naive.Request(case.who.username, case.who.groups, verb, group, plural, subresource, namespace, name)
        covered = case.expected.covers(namespace, name)
        assert naive.allowed(case.objects, request) is covered, request
        reasons = rules.explain(case.who, verb, group, resource, namespace, name, namespaced=namespaced)
        assert bool(reasons) is covered, request


def test_every_rule_is_named_once() -> None:
    assert len({case.rule for case in CASES}) == len(CASES) >= 60
