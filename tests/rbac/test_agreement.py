"""Random clusters: the rules, the naive evaluator and the sandbox's reviews agree, whatever came in which order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from random import Random
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from presenter.access.identity import Identity
from presenter.access.rbac import Kind, RbacRules
from presenter.sandbox import User
from presenter.sandbox.rbac import Access, Policy
from tests.rbac import naive
from tests.rbac.naive import RBAC, Json
from tests.rbac.objects import (
    cluster_role,
    cluster_role_binding,
    group,
    identity,
    key,
    put,
    ref,
    role,
    role_binding,
    rules_of,
    service_account,
    user,
)

Key = tuple[Kind, str, str]

ODD = "o\"d'd\n☃"
NAMESPACES = ("prod", "dev")
NAMES = ("", "a", "b", "prod", ODD)
USERNAMES = ("alice", ODD, "system:serviceaccount:prod:a")
GROUPS = ("devs", ODD)
IMPLIED = ("system:authenticated", "system:serviceaccounts", "system:serviceaccounts:prod")
ROLES = ("r", ODD)
ILL_FORMED_ACCOUNTS = ("system:serviceaccount:prod", "system:serviceaccount:prod:a:b", "system:serviceaccount:Prod:a")


class Type(NamedTuple):
    group: str
    resource: str
    namespaced: bool


TYPES = (
    Type("", "pods", True),
    Type("", "pods/log", True),
    Type("apps", "deployments", True),
    Type("", "nodes", False),
    Type("apps", "nodes/log", False),
    Type("", "namespaces", False),
)


def some(*values: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=4)


# What an API server would store …
stored_rules = st.fixed_dictionaries(
    {
        "verbs": some("get", "list", "watch", "*"),
        "apiGroups": some("", "apps", "*"),
        "resources": some("pods", "pods/log", "deployments", "nodes", "namespaces", "*/log", "*"),
    },
    optional={"resourceNames": some("a", "b", ODD, "*", "", "prod") | st.sampled_from([None, []])},
)
stored_subjects = (
    st.sampled_from(USERNAMES).map(user)
    | st.sampled_from([*GROUPS, *IMPLIED]).map(group)
    | st.builds(service_account, st.sampled_from(NAMESPACES), st.sampled_from(["a", "b"]))
)
cluster_role_refs = st.builds(ref, st.just("ClusterRole"), st.sampled_from(ROLES))
stored_refs = cluster_role_refs | st.builds(ref, st.just("Role"), st.sampled_from(ROLES))

# … and what could only come from elsewhere.
absent: st.SearchStrategy[list[str] | None] = st.none() | st.just([])
any_rules = stored_rules | st.fixed_dictionaries(
    {},
    optional={
        "verbs": absent | some("list", "*", "", "LIST"),
        "apiGroups": absent | some("", "*"),
        "resources": absent | some("*", "pods", "", "/log"),
        "resourceNames": some("", "a"),
        "nonResourceURLs": some("*", "/pods"),
    },
)
any_subjects = stored_subjects | st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["User", "Group", "ServiceAccount", "Role", "user"]),
        "name": st.sampled_from(["alice", "devs", "a", ""]),
    },
    optional={"apiGroup": st.sampled_from(["", RBAC, "other.io"]), "namespace": st.sampled_from(["", "prod"])},
)
any_refs = stored_refs | st.fixed_dictionaries(
    {"kind": st.sampled_from(["Role", "ClusterRole", "Group", "role"]), "name": st.sampled_from([*ROLES, "gone"])},
    optional={"apiGroup": st.sampled_from(["", RBAC, "other.io"])},
)


def manifests(
    rules: st.SearchStrategy[Json],
    subjects: st.SearchStrategy[Json],
    refs: st.SearchStrategy[Json],
    cluster_refs: st.SearchStrategy[Json],
) -> st.SearchStrategy[Json]:
    """One RBAC object; there are so few names that many replace one another."""
    namespaces, names = st.sampled_from(NAMESPACES), st.sampled_from(ROLES)
    some_rules = st.lists(rules, min_size=1, max_size=2)
    some_subjects = st.lists(subjects, min_size=1, max_size=3)
    return st.one_of(
        st.builds(lambda where, name, some: role(where, name, *some), namespaces, names, some_rules),
        st.builds(lambda name, some: cluster_role(name, *some), names, some_rules),
        st.builds(lambda w, name, to, some: role_binding(w, name, to, *some), namespaces, names, refs, some_subjects),
        st.builds(lambda name, to, some: cluster_role_binding(name, to, *some), names, cluster_refs, some_subjects),
    )


stored = manifests(stored_rules, stored_subjects, stored_refs, cluster_role_refs)
anything = manifests(any_rules, any_subjects, any_refs, any_refs)
identities = st.builds(
    lambda name, groups: identity(name, *groups),
    st.sampled_from(USERNAMES),
    st.lists(st.sampled_from([*GROUPS, *GROUPS, *GROUPS, "system:masters"]), max_size=2),
)
any_identities = identities | st.builds(
    lambda name, groups: identity(name, *groups),
    st.sampled_from(ILL_FORMED_ACCOUNTS),
    st.lists(st.sampled_from(["", "system:serviceaccount:prod"]), max_size=1),
)


def histories(objects: st.SearchStrategy[Json]) -> st.SearchStrategy[list[tuple[bool, Json]]]:
    """Objects that are put (True) or removed, one after another."""
    return st.lists(st.tuples(st.sampled_from([True] * 9 + [False]), objects), min_size=8, max_size=20)


def lived_through(history: list[tuple[bool, Json]], who: Identity) -> tuple[RbacRules, dict[Key, Json]]:
    """The rules that saw a history, deciding all the while, and what is there at its end."""
    rules, present = RbacRules(), dict[Key, Json]()
    for is_put, manifest in history:
        if is_put:
            put(rules, manifest)
            present[key(manifest)] = manifest
        else:
            rules.remove(*key(manifest))
            present.pop(key(manifest), None)
        for type in TYPES:
            rules.grant(who, "list", type.group, type.resource, namespaced=type.namespaced)
    return rules, present


def requests(who: Identity) -> Iterator[tuple[Type, naive.Request]]:
    """Every question about the few types, namespaces and names there are."""
    for type, verb in product(TYPES, ("get", "list")):
        resource, _, subresource = type.resource.partition("/")
        for namespace, name in product((*NAMESPACES, "elsewhere", "") if type.namespaced else ("",), NAMES):
            asked = (verb, type.group, resource, subresource, namespace, name)
            yield type, naive.Request(who.username, who.groups, *asked)


def covered(rules: RbacRules, who: Identity, type: Type, request: naive.Request) -> bool:
    grant = rules.grant(who, request.verb, type.group, type.resource, namespaced=type.namespaced)
    return grant.covers(request.namespace, request.name)


def test_the_random_clusters_grant_in_every_way() -> None:
    """Else the agreement below would be one about denials."""
    seen = set()

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(histories(stored), identities)
    def look(history: list[tuple[bool, Json]], who: Identity) -> None:
        rules = rules_of(manifest for is_put, manifest in history if is_put)
        for type, verb in product(TYPES, ("get", "list")):
            grant = rules.grant(who, verb, type.group, type.resource, namespaced=type.namespaced)
            ways = (grant.everything, bool(grant.namespaces), bool(grant.names), bool(grant.objects))
            seen.add((type.namespaced, ways))

    look()
    nothing, everything, namespaces, names, objects = (tuple(way == only for way in range(4)) for only in range(-1, 4))
    assert {ways for _, ways in seen} >= {nothing, everything, namespaces, names, objects}
    assert {ways for namespaced, ways in seen if not namespaced} == {nothing, everything, names}


@settings(max_examples=150, deadline=None)
@given(histories(stored), identities)
def test_rules_documentation_and_reviews_agree(history: list[tuple[bool, Json]], who: Identity) -> None:
    rules, present = lived_through(history, who)
    objects = list(present.values())
    kinds = ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")
    policy = Policy(*([manifest for manifest in objects if manifest["kind"] == kind] for kind in kinds))
    reviewed = User(who.username, tuple(who.groups))
    for type, request in requests(who):
        r = request
        access = Access(r.verb, r.group, r.resource, r.subresource, r.decided_in, r.name)
        decisions = {
            "rules": covered(rules, who, type, request),
            "documentation": naive.allowed(objects, request),
            "review": policy.decide(reviewed, access).allowed,
        }
        assert len(set(decisions.values())) == 1, (decisions, request)


@settings(max_examples=150, deadline=None)
@given(histories(anything), any_identities)
def test_rules_and_documentation_agree_on_what_no_cluster_stores(
    history: list[tuple[bool, Json]], who: Identity
) -> None:
    rules, present = lived_through(history, who)
    for type, request in requests(who):
        expected = naive.allowed(list(present.values()), request)
        assert covered(rules, who, type, request) is expected, request


@settings(max_examples=150, deadline=None)
@given(histories(anything), any_identities, st.randoms(use_true_random=False))
def test_what_is_there_decides_and_not_how_it_came(
    history: list[tuple[bool, Json]], who: Identity, random: Random
) -> None:
    rules, present = lived_through(history, who)
    anew = rules_of(random.sample(list(present.values()), len(present)))
    for type, request in requests(who):
        asked = (who, request.verb, type.group, type.resource)
        grant = rules.grant(*asked, namespaced=type.namespaced)
        assert grant == anew.grant(*asked, namespaced=type.namespaced), request
        where = (request.namespace, request.name)
        reasons = rules.explain(*asked, *where, namespaced=type.namespaced)
        assert reasons == anew.explain(*asked, *where, namespaced=type.namespaced), request
        assert bool(reasons) is grant.covers(*where), request
