"""Attempts to see what one may not."""

from __future__ import annotations

from itertools import product
from typing import Any

from tests.access_control.world import PANELS, PODS, RULES, SECRETS, WIDGETS, Json, Source, caller, thing
from tests.api.service import Service
from tests.rbac.naive import RBAC
from tests.rbac.objects import cluster_role, cluster_role_binding, group, ref, role_binding, rule, user

SORTS = ("created_at", "updated_at", "name", "resource", "global_uid", "composition_id")
PANELS_EVERYWHERE: dict[str, Any] = {"group": WIDGETS, "resource": "panels", "namespace": "*"}
SECRET = thing(SECRETS, "prod", "the-key", labels={"tier": "gold"}, data={"key": "c2VjcmV0"})
ODD_NAMES = {
    "alice": '"alice"',
    'al"ice': r'"al\"ice"',
    'alice" cannot get, but User "bob': r'"alice\" cannot get, but User \"bob"',
    "al'ice": '"al\'ice"',
    "al\\ice": r'"al\\ice"',
    "al\nice": r'"al\nice"',
    "al\r\nX-Injected: yes": r'"al\r\nX-Injected: yes"',
    "älïce ☃ 𝕒": '"älïce ☃ 𝕒"',
    "alice\u200b": r'"alice\u200b"',
    "'; DROP TABLE resources; --": '"\'; DROP TABLE resources; --"',
    "{0} %s ${x}": '"{0} %s ${x}"',
    " alice ": '" alice "',
}
"""User names, and how a denial quotes them."""


async def test_a_cursor_of_who_sees_more_is_no_permission(source: Source, service: Service) -> None:
    panels = [thing(PANELS, place, f"{number}") for number in range(3) for place in ("prod", "dev", "test")]
    await source.put(*panels, cluster_role("reader", rule("list", "panels", WIDGETS)))
    await source.put(
        cluster_role_binding("all", ref("ClusterRole", "reader"), user("root")),
        role_binding("dev", "some", ref("ClusterRole", "reader"), user("alice")),
    )
    await source.settle(service)
    root, nobody = caller(service, "root"), caller(service, "nobody")
    for sort_by, sort_order in product(SORTS, ("asc", "desc")):
        asked = PANELS_EVERYWHERE | {"sort_by": sort_by, "sort_order": sort_order}
        everything = [item["global_uid"] for item in (await root.page(**asked)).items]
        own = [item["global_uid"] for item in (await service.page(**asked)).items]
        assert (len(everything), len(own)) == (9, 3)
        for position in range(1, 9):
            cursor = (await root.page(**asked, limit=position)).cursor
            seen = [item["global_uid"] for item in (await service.page(**asked, cursor=cursor)).items]
            assert seen == [uid for uid in everything[position:] if uid in own]
            (await nobody.page(**asked, cursor=cursor)).failure(403)


async def test_a_secret_is_not_read_by_any_way(source: Source, service: Service) -> None:
    """Alice may list and get everything but Secrets where the Secret is, and Secrets elsewhere."""
    await source.put(
        SECRET,
        thing(PODS, "prod", "the-pod", labels={"tier": "gold"}),
        cluster_role("rest", rule("get list", "pods nodes configmaps secrets/status"), rule("*", "*", WIDGETS)),
        cluster_role("secrets", rule("get list", "secrets")),
        role_binding("prod", "rest", ref("ClusterRole", "rest"), user("alice")),
        role_binding("dev", "secrets", ref("ClusterRole", "secrets"), user("alice")),
    )
    await source.settle(service)
    (await service.detail(source.uid(SECRET))).failure(404)
    filters: list[Json] = [
        {},
        {"name": "the-key"},
        {"name_contains": "the-"},
        {"labels": {"tier": "gold"}},
        {"labels": {"": 3}},
        {"since": "2020-01-01T00:00:00Z"},
        {"version": "v1"},
    ]
    for given in filters:
        only_secrets = await service.page(group="core", resource="secrets", namespace="prod", **given)
        assert only_secrets.code in (400, 403), "named as a type it is refused, whatever would match"
        for namespace in ("prod", "*"):
            for sort_by in SORTS:
                asked = {"group": "core", "namespace": namespace, "sort_by": sort_by, "raw": True, "limit": 1, **given}
                if (page := await service.page(**asked)).code == 400:
                    continue
                # The count, too, is of what is seen; a cursor would say that there is more.
                assert {item["kind"] for item in page.items} <= {"Pod"}
                assert page.cursor is None
                assert b"the-key" not in page.body
    assert (await service.page(group="core", resource="secrets", namespace="*")).items == [], "those of dev: none"
    master = caller(service, "root", "system:masters")
    assert (await master.detail(source.uid(SECRET))).items[0]["raw"]["data"] == SECRET["data"]


async def test_what_matches_a_hidden_object_and_what_matches_nothing_look_the_same(
    source: Source, service: Service
) -> None:
    await source.put(
        SECRET,
        cluster_role("pods", rule("list", "pods")),
        role_binding("prod", "pods", ref("ClusterRole", "pods"), user("alice")),
    )
    await source.settle(service)
    pairs: list[tuple[Json, Json]] = [
        ({"name": "the-key"}, {"name": "nothing"}),
        ({"name_contains": "the-"}, {"name_contains": "nothing"}),
        ({"labels": {"tier": "gold"}}, {"labels": {"tier": "none"}}),
    ]
    for hidden, nothing in pairs:
        replies = [await service.page(group="core", namespace="*", **given) for given in (hidden, nothing)]
        assert replies[0].items == []
        assert replies[0].body == replies[1].body


async def test_the_groups_are_those_of_the_token(source: Source, service: Service) -> None:
    await source.put(
        thing(PANELS, "prod", "a"),
        cluster_role("reader", rule("list", "panels", WIDGETS)),
        cluster_role_binding("devs", ref("ClusterRole", "reader"), group("devs")),
    )
    await source.settle(service)
    with_group, without = caller(service, "alice", "devs"), caller(service, "alice", "former-devs")
    for _ in range(2):  # one answer does not depend on what was remembered of the other
        assert (await with_group.page(**PANELS_EVERYWHERE)).names == ["a"]
        (await without.page(**PANELS_EVERYWHERE)).failure(403)
        (await caller(service, "devs").page(**PANELS_EVERYWHERE)).failure(403)


async def test_rules_are_served_to_who_may_list_them_only(source: Source, service: Service) -> None:
    await source.put(
        cluster_role("auditor", rule("list", "rolebindings", RBAC)),
        role_binding("prod", "auditors", ref("ClusterRole", "auditor"), user("alice")),
        role_binding("dev", "auditors", ref("ClusterRole", "auditor"), user("bob")),
    )
    await source.settle(service)
    seen = await service.walk(group=RBAC, namespace="*")
    assert [(item["kind"], item["namespace"]) for item in seen] == [("RoleBinding", "prod")]
    nobody = caller(service, "nobody")
    for type in RULES:
        (await nobody.page(group=RBAC, resource=type.resource, namespace="*")).failure(403)
    for rules in source.rules:
        (await nobody.detail(source.uid(rules))).failure(404)
    (await service.detail(source.uid(source.rules[-1]))).failure(404)


async def test_odd_names_are_bound_and_told_as_they_are(source: Source, service: Service) -> None:
    """Each is bound in a namespace of its own, so that it shows when one is taken for another."""
    for number, name in enumerate(ODD_NAMES):
        await source.put(
            thing(PANELS, f"team-{number}", "a"),
            cluster_role(name, rule("list", "panels", WIDGETS)),
            role_binding(f"team-{number}", "odd", ref("ClusterRole", name), user(name)),
        )
    await source.settle(service)
    for number, (name, quoted) in enumerate(ODD_NAMES.items()):
        odd = caller(service, name)
        assert [item["namespace"] for item in (await odd.page(**PANELS_EVERYWHERE)).items] == [f"team-{number}"]
        denied = await odd.page(**PANELS_EVERYWHERE | {"namespace": "elsewhere"})
        assert f"User {quoted} cannot list" in denied.failure(403)
        assert "X-Injected" not in denied.headers


async def test_a_name_that_no_database_can_hold_is_denied(source: Source, service: Service) -> None:
    await source.put(
        cluster_role("reader", rule("list", "panels", WIDGETS)),
        cluster_role_binding("reader", ref("ClusterRole", "reader"), user("alice")),
    )
    await source.settle(service)
    for name, quoted in {"alice\x00": r'"alice\x00"', "\x00alice": r'"\x00alice"'}.items():
        denied = await caller(service, name).page(**PANELS_EVERYWHERE)
        assert f"User {quoted} cannot list" in denied.failure(403)
