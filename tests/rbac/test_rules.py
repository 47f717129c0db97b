"""What the cases leave open: ill-formed objects, changes, explanations, implied groups, and grants as values."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenter.access.rbac import Kind, RbacRules, implied_groups
from presenter.cache.catalog import CachedType
from presenter.cache.scope import EVERYTHING, NOTHING, Grant, ScanRange, scan_ranges
from presenter.resource import SANITISED, ResourceType
from tests.rbac.naive import Json
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
    rule,
    rules_of,
    user,
)

ALICE = identity("alice", "devs")
LISTER = role("prod", "reader", rule("list", "pods"))
BINDING = role_binding("prod", "read", ref("Role", "reader"), user("alice"))
PROD = Grant.of(["prod"])
NODES = CachedType(1, "test", ResourceType("", "v1", "nodes", "Node", False, ("v1",)), ())
PODS = CachedType(2, "test", ResourceType("", "v1", "pods", "Pod", True, ("v1",)), ())


def pods(rules: RbacRules) -> Grant:
    return rules.grant(ALICE, "list", "", "pods", namespaced=True)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"rules": "*", "roleRef": "*"}',
        b'{"rules": [{"verbs": "*"}], "roleRef": {}}',
        b'{"rules": [{"verbs": [1]}], "roleRef": {"kind": "Role"}}',
        b'{"rules": [null], "roleRef": null}',
        b'{"rules": [{"verbs": ["\xff"]}], "roleRef": {"kind": "Role", "name": "\xff"}}',
        b'{"deep": ' + b"[" * 100_000 + b"]" * 100_000 + b', "roleRef": {"kind": "Role", "name": "reader"}}',
    ],
    ids=["empty", "null", "list", "cut", "strings", "string", "number", "nulls", "not UTF-8", "deep"],
)
@pytest.mark.parametrize("replaced", [LISTER, BINDING], ids=["Role", "RoleBinding"])
def test_an_ill_formed_object_grants_nothing_and_is_reported(replaced: Json, raw: bytes) -> None:
    rules = rules_of([LISTER, BINDING])
    assert pods(rules) == PROD
    kind, name = replaced["kind"], replaced["metadata"]["name"]
    problem = rules.put(kind, "prod", name, raw)
    assert problem is not None
    assert problem.startswith(f'{kind} "{name}" in namespace "prod" grants nothing: ')
    assert pods(rules) == NOTHING
    assert put(rules, replaced) is None
    assert pods(rules) == PROD


def test_one_ill_formed_subject_spoils_its_binding() -> None:
    rules = rules_of([LISTER])
    assert put(rules, {**BINDING, "subjects": [user("alice"), {"kind": "User", "name": None}]}) is not None
    assert pods(rules) == NOTHING


@pytest.mark.parametrize(
    ("kind", "namespace"),
    [("Role", ""), ("RoleBinding", ""), ("ClusterRole", "prod"), ("ClusterRoleBinding", "prod")],
)
def test_a_kind_has_a_namespace_or_it_has_none(kind: Kind, namespace: str) -> None:
    everything = {**cluster_role("r", rule("*", "*", "*")), "roleRef": ref("ClusterRole", "r"), "subjects": []}
    problem = RbacRules().put(kind, namespace, "r", json.dumps(everything).encode())
    assert problem is not None
    assert "namespace" in problem


def test_a_reference_that_can_mean_no_role_is_reported() -> None:
    rules = RbacRules()
    for wrong in ({**ref("Role", "r"), "apiGroup": "other.io"}, ref("Group", "r"), ref("role", "r")):
        problem = put(rules, role_binding("prod", "b", wrong, user("alice")))
        assert problem is not None
        assert problem.startswith('RoleBinding "b" in namespace "prod" grants nothing: its roleRef is of the ')
    assert put(rules, cluster_role_binding("b", ref("Role", "r"), user("alice"))) is not None
    assert put(rules, role_binding("prod", "b", ref("Role", "missing"), user("alice"))) is None


def test_every_change_counts_at_once() -> None:
    rules = RbacRules()
    only_a = Grant.of(objects=[("prod", "a")])
    for manifest, is_put, expected in (
        (BINDING, True, NOTHING),
        (LISTER, True, PROD),
        (role("prod", "reader", rule("list", "pods", names=["a"])), True, only_a),
        (role_binding("prod", "read", ref("Role", "reader"), group("ops")), True, NOTHING),
        (role_binding("prod", "read", ref("Role", "reader"), group("devs")), True, only_a),
        (LISTER, True, PROD),
        (LISTER, False, NOTHING),
        (LISTER, False, NOTHING),
        (LISTER, True, PROD),
        (BINDING, False, NOTHING),
        (BINDING, False, NOTHING),
    ):
        if is_put:
            put(rules, manifest)
        else:
            rules.remove(*key(manifest))
        assert pods(rules) == expected


def test_explanations_name_bindings_and_roles_in_order() -> None:
    everyone = group("system:authenticated")
    rules = rules_of(
        [
            LISTER,
            BINDING,
            role_binding("prod", "also", ref("ClusterRole", "view"), group("devs"), user("alice")),
            role_binding("dev", "read", ref("ClusterRole", "view"), user("alice")),
            role_binding("prod", "idle", ref("ClusterRole", "other"), user("alice")),
            cluster_role("view", rule("list get", "pods")),
            cluster_role('one "pod"\n', rule("list", "pods", names=["a"])),
            cluster_role("other", rule("list", "secrets")),
            cluster_role_binding("one", ref("ClusterRole", 'one "pod"\n'), everyone),
        ]
    )
    in_prod = [
        'RoleBinding "also" of ClusterRole "view" in namespace "prod"',
        'RoleBinding "read" of Role "reader" in namespace "prod"',
    ]
    one = r'ClusterRoleBinding "one" of ClusterRole "one \"pod\"\n"'

    def explained(namespace: str, name: str = "") -> list[str]:
        return rules.explain(ALICE, "list", "", "pods", namespace, name, namespaced=True)

    assert explained("prod") == in_prod
    assert explained("prod", "a") == [one, *in_prod]
    assert explained("") == []
    assert explained("", "a") == [one]
    assert explained("elsewhere", "a") == [one]
    assert rules.explain(ALICE, "list", "", "pods", "prod", namespaced=False) == []
    root = identity("root", "system:masters")
    assert rules.explain(root, "delete", "", "nodes", "", namespaced=False) == [
        'Group "system:masters", which may do everything'
    ]


def test_a_type_is_decided_by_its_scope() -> None:
    rules = rules_of([LISTER, BINDING])
    assert pods(rules) == PROD
    assert rules.grant(ALICE, "list", "", "pods", namespaced=False) == NOTHING


@contextmanager
def growth() -> Iterator[Callable[[], float]]:
    """How many MiB are held more than at the start."""
    gc.collect()
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[0] / 2**20
    finally:
        tracemalloc.stop()


def test_the_decisions_used_last_are_remembered_in_bounded_memory() -> None:
    rules = rules_of([cluster_role("view", rule("list", "*", "*"))])
    namespaces = [f"n{number}" for number in range(2_000)]
    for namespace in namespaces:
        put(rules, role_binding(namespace, "view", ref("ClusterRole", "view"), user("alice")))

    def grant(resource: str) -> Grant:
        return rules.grant(ALICE, "list", "", resource, namespaced=True)

    used, unused = grant("used"), grant("unused")
    assert used == unused == Grant.of(namespaces)
    with growth() as grown:
        for number in range(300):
            assert grant(f"r{number}") == used
            assert grant("used") is used, "it was used a moment ago"
        assert grown() < 20, "300 of these grants are 40 MiB"
    again = grant("unused")
    assert again is not unused, "it made room for others"
    assert again == unused


def test_what_is_removed_leaves_nothing_behind() -> None:
    rules = rules_of([LISTER])
    with growth() as grown:
        for number in range(5_000):
            name = f"user-{number}-{'x' * 200}"
            manifest = role_binding("prod", name, ref("Role", "reader"), user(name))
            put(rules, manifest)
            rules.remove(*key(manifest))
        assert grown() < 0.5, "the names alone are more than 1 MiB"


@pytest.mark.parametrize(
    ("username", "namespace"),
    [
        ("system:serviceaccount:prod:bot", "prod"),
        ("system:serviceaccount:my-ns1:a.b-c.d", "my-ns1"),
        (f"system:serviceaccount:{'n' * 63}:{'a' * 253}", "n" * 63),
        ("alice", None),
        ("", None),
        ("system:serviceaccount", None),
        ("system:serviceaccount:", None),
        ("system:serviceaccount:prod", None),
        ("system:serviceaccount:prod:", None),
        ("system:serviceaccount::bot", None),
        ("system:serviceaccount:prod:bot:x", None),
        ("system:serviceaccount:Prod:bot", None),
        ("system:serviceaccount:prod:bot\n", None),
        ("system:serviceaccount:-prod:bot", None),
        ("system:serviceaccount:pr.od:bot", None),
        (f"system:serviceaccount:{'n' * 64}:bot", None),
        (f"system:serviceaccount:prod:{'a' * 254}", None),
        ("system:serviceaccount:prod:a..b", None),
        ("system:serviceaccount:prod:a-.b", None),
        ("xsystem:serviceaccount:prod:bot", None),
        ("System:serviceaccount:prod:bot", None),
        ("system:serviceaccount:prod:b\u043et", None),
    ],
)
def test_the_groups_of_a_service_account(username: str, namespace: str | None) -> None:
    expected = set() if namespace is None else {"system:serviceaccounts", f"system:serviceaccounts:{namespace}"}
    assert implied_groups(username) == expected


_some = st.lists(st.sampled_from(["a", "b", "c"]), max_size=3)
_pairs = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["a", "b", "c"])), max_size=4)
_grants = st.builds(Grant.of, _some, _some, _pairs)


@given(_grants, _grants)
def test_grants_are_equal_exactly_when_they_allow_the_same(one: Grant, other: Grant) -> None:
    places = list(product(("a", "b", "c", "d", ""), ("", "a", "b", "c", "d")))
    alike = [one.covers(*place) for place in places] == [other.covers(*place) for place in places]
    assert (one == other) is alike
    assert not alike or hash(one) == hash(other)


def test_a_name_opens_no_range_of_an_index() -> None:
    only_names = Grant.of(names=["a"], objects=[("prod", "b")])
    assert not only_names.covers("prod")
    assert list(scan_ranges({1: only_names, 2: only_names}, [NODES, PODS], None)) == []
    assert list(scan_ranges({2: only_names}, [PODS], "prod")) == []
    assert EVERYTHING.covers("", "x")


def test_a_request_without_a_name_has_a_name_to_rules() -> None:
    nameless = Grant.of(names=[""], objects=[("prod", ""), ("dev", "a")])
    assert nameless.covers("")
    assert not nameless.covers("", "a")
    both = {1: nameless, 2: nameless}
    assert list(scan_ranges(both, [NODES, PODS], None)) == [ScanRange("test", 1), ScanRange("test", 2)]
    assert list(scan_ranges(both, [NODES, PODS], None, "a")) == [ScanRange("test", 2, ("dev",))]
    only_in_prod = Grant.of(objects=[("prod", "")])
    assert list(scan_ranges({2: only_in_prod}, [PODS], None)) == [ScanRange("test", 2, ("prod",))]
    assert list(scan_ranges({2: only_in_prod}, [PODS], "prod")) == [ScanRange("test", 2, ("prod",))]
    assert list(scan_ranges({2: only_in_prod}, [PODS], "prod", "a")) == []


def test_what_was_replaced_in_a_name_names_nothing() -> None:
    """A NUL is stored as U+FFFD, which is a character that an object may be called by."""
    text = json.dumps(role("prod", "reader", rule("list", "pods", names=["a\ufffdb"])), ensure_ascii=False)
    rules = rules_of([BINDING])
    assert rules.put("Role", "prod", "reader", text.encode()) is None
    assert pods(rules) == Grant.of(objects=[("prod", "a\ufffdb")])
    marked = text.replace('"metadata": {', f'"metadata": {{"annotations": {{"{SANITISED}": "1 characters replaced"}}, ')
    assert rules.put("Role", "prod", "reader", marked.encode()) is None
    assert pods(rules) == Grant.of(objects=[("prod", "a\0b")])
