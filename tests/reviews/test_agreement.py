"""The scope is what the cluster's RBAC allows, for every kind of permission and of request."""

from __future__ import annotations

from itertools import product

import pytest

from presenter.access.identity import Identity
from presenter.cache.catalog import CachedType
from presenter.cache.scope import EVERYTHING, NOTHING, Grant, Scope
from tests.kube.world import crd
from tests.rbac.naive import RBAC, Request, allowed
from tests.rbac.objects import cluster_role, group, identity, ref, role_binding, rule, service_account, user
from tests.reviews.world import CONFIG_MAPS, CRDS, DEPLOYMENTS, World, cached, reading

KINDS = ("roles", "clusterroles", "rolebindings", "clusterrolebindings")
TYPES = (CONFIG_MAPS, DEPLOYMENTS, CRDS)
THINGS = "things.example.com"

ROOT = identity("root", "system:masters")
WIDE = identity("wide")
DEV = identity("someone", "devs")
NAMED = identity("named")
NAMED_EVERYWHERE = identity("named-everywhere")
GETTER = identity("getter")
LISTER = identity("lister")
MIXED = identity("mixed", "devs")
ROBOT = identity("system:serviceaccount:dev:robot")
SIBLING = identity("system:serviceaccount:dev:sibling")
STRANGER = identity("stranger")
ODD = identity('o"dd\n\u00fc')
EVERYONE = (ROOT, WIDE, DEV, NAMED, NAMED_EVERYWHERE, GETTER, LISTER, MIXED, ROBOT, SIBLING, STRANGER, ODD)


@pytest.fixture
def bound(world: World) -> World:
    """A world in which each user above has permissions of another kind."""
    cluster = world.sandbox.cluster
    cluster.create(crd("things", "Thing"))
    cluster.create(crd("others", "Other"))
    crds = "customresourcedefinitions"
    world.let_everywhere(user("wide"), reading(), rule("list", crds, "apiextensions.k8s.io"), binding="wide")
    cluster.create(cluster_role("reader", reading(), rule("get list", crds, "apiextensions.k8s.io")))
    cluster.create(role_binding("dev", "devs", ref("ClusterRole", "reader"), group("devs")))
    world.let("prod", user("named"), reading("a"), binding="named")
    named_crd = rule("get list", crds, "apiextensions.k8s.io", [THINGS])
    world.let_everywhere(user("named-everywhere"), reading("a"), named_crd, binding="named-everywhere")
    world.let("prod", user("getter"), rule("get", "configmaps"), binding="getter")
    world.let("prod", user("lister"), rule("list", "configmaps deployments/scale"), binding="lister")
    world.let("prod", user("mixed"), reading("b"), binding="mixed")
    world.let("prod", service_account("dev", "robot"), reading(), binding="robot")
    world.let("dev", group("system:serviceaccounts:dev"), reading(), binding="siblings")
    world.let("prod", user(ODD.username), reading(), binding="odd")
    return world


@pytest.mark.parametrize("who", EVERYONE, ids=[ascii(who.username) for who in EVERYONE])
async def test_a_list_agrees(bound: World, who: Identity) -> None:
    rules = [manifest for kind in KINDS for manifest in bound.sandbox.cluster.objects(f"{kind}.{RBAC}")]

    def may(known: CachedType, namespace: str, name: str) -> bool:
        asked = Request(who.username, who.groups, "list", known.type.group, known.type.resource, "", namespace, name)
        return allowed(rules, asked)

    authorizer = bound.authorizer()
    for namespace, name in product((None, "prod", "dev", "void", "absent"), (None, "a", "b", THINGS)):
        scope = await authorizer.scope(who, "list", TYPES, namespace=namespace, name=name)
        assert NOTHING not in scope.values()
        for known in TYPES:
            for where, which in bound.objects(known):
                if name not in (None, which) or (known.type.namespaced and namespace not in (None, where)):
                    continue  # not asked for
                expected = may(known, "", "") or may(known, where, "") or (name is not None and may(known, where, name))
                assert scope.get(known.id, NOTHING).covers(where, name or "") is expected, (namespace, name, where)


@pytest.mark.parametrize("who", EVERYONE, ids=[ascii(who.username) for who in EVERYONE])
async def test_a_detail_agrees_with_what_the_api_server_serves(bound: World, who: Identity) -> None:
    if who is ODD:
        who = LISTER  # a line break does not travel in a header: nobody can be impersonated with one
    authorizer = bound.authorizer()
    for known in TYPES:
        for where, which in bound.objects(known):
            expected = await bound.may_read(who, known, where, which)
            assert await authorizer.allowed(who, "get", known, where, which) is expected, (where, which)


@pytest.mark.parametrize("who", [WIDE, DEV, LISTER, ROBOT, STRANGER], ids=lambda who: who.username)
async def test_the_namespaces_agree_with_what_the_api_server_lists(bound: World, who: Identity) -> None:
    scope = await bound.authorizer().scope(who, "list", [CONFIG_MAPS], namespace=None, name=None)
    grant = scope.get(CONFIG_MAPS.id, NOTHING)
    assert grant.everything is await bound.may_read(who, CONFIG_MAPS, "")
    for namespace in ("prod", "dev"):
        assert grant.covers(namespace) is await bound.may_read(who, CONFIG_MAPS, namespace)


@pytest.mark.parametrize(
    ("who", "namespace", "name", "expected"),
    [
        (ROOT, None, None, {1: EVERYTHING, 2: EVERYTHING, 3: EVERYTHING}),
        (WIDE, "dev", "a", {1: EVERYTHING, 3: EVERYTHING}),
        (DEV, None, None, {1: Grant.of(["dev"])}),
        (DEV, "prod", None, {}),
        (NAMED, None, "a", {1: Grant.of(objects=[("prod", "a")])}),
        (NAMED, None, None, {}),
        (NAMED_EVERYWHERE, None, "a", {1: Grant.of(names=["a"])}),
        (NAMED_EVERYWHERE, "void", "a", {1: Grant.of(objects=[("void", "a")])}),
        (NAMED_EVERYWHERE, "void", THINGS, {3: Grant.of(names=[THINGS])}),
        (MIXED, None, "b", {1: Grant.of(["dev"], objects=[("prod", "b")])}),
        (ROBOT, None, None, {1: Grant.of(["dev", "prod"])}),
        (GETTER, "prod", "a", {}),
        (STRANGER, None, "a", {}),
    ],
)
async def test_the_scope_in_full(
    bound: World, who: Identity, namespace: str | None, name: str | None, expected: Scope
) -> None:
    assert await bound.authorizer().scope(who, "list", TYPES, namespace=namespace, name=name) == expected


async def test_a_namespace_is_got_by_who_may_get_it_within_it(bound: World) -> None:
    namespaces = cached(4, "", "v1", "namespaces", "Namespace", namespaced=False)
    bound.let("prod", user("keeper"), rule("get list", "namespaces"), binding="keeper")
    keeper, authorizer = identity("keeper"), bound.authorizer()
    for name, expected in (("prod", True), ("dev", False), ("void", False)):
        assert await authorizer.allowed(keeper, "get", namespaces, "", name) is expected
        assert await bound.may_read(keeper, namespaces, "", name) is expected
        assert await authorizer.scope(keeper, "list", [namespaces], namespace=None, name=name) == {}
    by_get = bound.authorizer(list_verb="get")
    only_prod = {namespaces.id: Grant.of(names=["prod"])}
    assert await by_get.scope(keeper, "list", [namespaces], namespace=None, name="prod") == only_prod
    assert await by_get.scope(keeper, "list", [namespaces], namespace=None, name=None) == {}


async def test_a_list_takes_the_verb_it_is_told_to(bound: World) -> None:
    expected = {CONFIG_MAPS.id: Grant.of(["prod"])}
    authorizer = bound.authorizer(list_verb="get")
    assert await authorizer.scope(GETTER, "list", [CONFIG_MAPS], namespace="prod", name=None) == expected
    assert await authorizer.scope(LISTER, "list", [CONFIG_MAPS], namespace="prod", name=None) == {}
