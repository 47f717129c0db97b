"""What a caller is told who may not see something, and that it tells nothing more."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from presenter.cache.pool import Address
from presenter.config import AccessSettings
from presenter.resource import ResourceType
from tests.access_control.world import NODES, PANELS, PODS, ROLES, SECRETS, WIDGETS, Source, caller, thing, until
from tests.api.service import Reply, Service, serving
from tests.rbac.objects import cluster_role, cluster_role_binding, ref, role, role_binding, rule, user

IN_PROD: dict[str, Any] = {"group": WIDGETS, "resource": "panels", "namespace": "prod"}
EVERYWHERE: dict[str, Any] = {**IN_PROD, "namespace": "*"}
CORE: dict[str, Any] = {"group": "core", "namespace": "prod"}
ALICE = user("alice")


@pytest.fixture
async def source(source: Source) -> Source:
    """Three panels in each of three namespaces, and something of the other types."""
    await source.put(*(thing(PANELS, place, name) for place in ("prod", "dev", "test") for name in "abc"))
    await source.put(thing(NODES, "", "a"), thing(SECRETS, "prod", "a"), thing(PODS, "prod", "a"))
    return source


async def let(source: Source, service: Service, namespace: str, *rules: dict[str, Any]) -> None:
    """Let alice do this in a namespace, or everywhere."""
    to, name = ref("ClusterRole", f"in-{namespace}"), f"in-{namespace}"
    binding = role_binding(namespace, name, to, ALICE) if namespace else cluster_role_binding(name, to, ALICE)
    await source.put(cluster_role(name, *rules), binding)
    await source.settle(service)


def told(reply: Reply) -> dict[str, str]:
    """The headers, but for those of the one answer."""
    return {name: value for name, value in reply.headers.items() if name not in ("Date", "Content-Length")}


async def test_in_the_words_of_kube_apiserver(source: Source, service: Service) -> None:
    for asked, of, resource, group, where in (
        (IN_PROD, f"panels.{WIDGETS}", "panels", WIDGETS, 'in the namespace "prod"'),
        ({**IN_PROD, "namespace": ""}, f"panels.{WIDGETS}", "panels", WIDGETS, 'in the namespace "default"'),
        (EVERYWHERE, f"panels.{WIDGETS}", "panels", WIDGETS, "at the cluster scope"),
        ({**CORE, "resource": "pods"}, "pods", "pods", "", 'in the namespace "prod"'),
        ({**CORE, "resource": "nodes"}, "nodes", "nodes", "", "at the cluster scope"),
        (CORE, "*", "*", "", 'in the namespace "prod"'),
        ({**IN_PROD, "resource": ""}, f"*.{WIDGETS}", "*", WIDGETS, 'in the namespace "prod"'),
    ):
        said = f'{of} is forbidden: User "alice" cannot list resource "{resource}" in API group "{group}" {where}'
        for reply in (await service.page(**asked), await service.post(asked)):
            assert reply.failure(403) == said
            assert reply.json["reason"] == "Forbidden"


async def test_word_for_word(source: Source, service: Service) -> None:
    said = (
        'panels.widgets.templates.krateo.io is forbidden: User "alice" cannot list resource "panels" '
        'in API group "widgets.templates.krateo.io" in the namespace "prod"'
    )
    assert (await service.page(**IN_PROD)).failure(403) == said


async def test_denied_and_absent_namespaces_look_the_same(source: Source, service: Service) -> None:
    for name in ({}, {"name": "a"}, {"name_contains": "a"}, {"labels": {"tier": "gold"}}):
        denied = await service.page(**IN_PROD, **name)
        absent = await service.page(**IN_PROD | {"namespace": "gone"}, **name)
        assert denied.code == absent.code == 403
        assert absent.body == denied.body.replace(b'\\"prod\\"', b'\\"gone\\"')
        assert told(absent) == told(denied)


async def test_what_is_denied_may_be_empty_instead(source: Source, service: Service, database: Address) -> None:
    await let(source, service, "dev", rule("list", "panels", WIDGETS))
    async with serving(database, access=AccessSettings(DENIED_AS_EMPTY=True)) as lenient:
        asker = caller(lenient, "alice")
        for asked in (IN_PROD, {**IN_PROD, "namespace": "gone"}, {**CORE, "resource": "nodes"}, CORE):
            refusal = (await service.page(**asked)).failure(403)
            for reply in (await asker.page(**asked), await asker.post(asked)):
                assert reply.json == {"count": 0, "items": [], "warnings": [refusal]}
                assert reply.headers["Warning"].startswith("299 - ")
        assert len((await asker.page(**EVERYWHERE)).items) == 3
        stranger = caller(lenient, "bob")
        assert (await stranger.page(**EVERYWHERE)).items == []
        assert (await stranger.page(**EVERYWHERE, version="v9")).code == 404, "which is no matter of rights"


async def test_all_namespaces_are_those_one_may_see(source: Source, service: Service) -> None:
    for namespace in ("prod", "dev", "void"):
        await let(source, service, namespace, rule("list", "panels", WIDGETS))
    for sort_by in ("created_at", "updated_at", "name", "resource", "global_uid", "composition_id"):
        first = await service.page(**EVERYWHERE, sort_by=sort_by, limit=4)
        rest = await service.page(**EVERYWHERE, sort_by=sort_by, limit=4, cursor=first.cursor)
        assert (len(first.items), len(rest.items), rest.cursor) == (4, 2, None)
        assert {(item["namespace"], item["name"]) for item in [*first.items, *rest.items]} == {
            (namespace, name) for namespace in ("prod", "dev") for name in "abc"
        }


async def test_where_one_may_list_and_nothing_is_there_is_an_empty_page(source: Source, service: Service) -> None:
    await let(source, service, "void", rule("list", "panels", WIDGETS))
    assert (await service.page(**IN_PROD | {"namespace": "void"})).items == []
    assert (await service.page(**EVERYWHERE)).items == []


async def test_a_group_without_a_type_shows_those_one_may_list(source: Source, service: Service) -> None:
    await let(source, service, "prod", rule("list", "pods nodes"))
    assert [item["kind"] for item in await service.walk(group="core", namespace="prod", limit=1)] == ["Pod"]
    await let(source, service, "", rule("list", "nodes"))
    kinds = {item["kind"] for item in await service.walk(group="core", namespace="prod", limit=1)}
    assert kinds == {"Pod", "Node"}, "a RoleBinding grants no cluster-scoped type, a ClusterRoleBinding does"


async def test_an_object_one_may_not_see_is_not_there(source: Source, service: Service) -> None:
    await let(source, service, "dev", rule("get list", "*", "*"))
    for hidden in (thing(PANELS, "prod", "a"), thing(SECRETS, "prod", "a"), thing(NODES, "", "a")):
        uid = hidden["metadata"]["uid"]
        for query in ("", "raw=false&status_raw=false"):
            denied = await service.detail(source.uid(hidden), query)
            absent = await service.detail(f"test:{'x' * len(uid)}", query)
            denied.failure(404)
            assert denied.body.replace(uid.encode(), b"x" * len(uid)) == absent.body
            assert denied.headers.keys() == absent.headers.keys()
            assert told(denied) == told(absent)


@pytest.mark.parametrize("type", [PODS, ROLES], ids=["pods", "roles"])
async def test_whether_an_object_is_there_does_not_show_while_a_type_is_not_synced(
    source: Source, service: Service, type: ResourceType
) -> None:
    await source.writer.forget(type)
    await source.writer.declare(type)
    hidden, absent = source.uid(thing(PANELS, "prod", "a")), "test:not-there"
    await until(partial(service.detail, absent), lambda reply: reply.code == 503)
    replies = [await service.detail(uid) for uid in (hidden, absent)]
    assert [reply.code for reply in replies] == [503, 503]
    assert replies[0].body == replies[1].body
    assert told(replies[0]) == told(replies[1])


async def test_a_list_takes_list_and_a_detail_takes_get(source: Source, service: Service) -> None:
    uid = source.uid(thing(PANELS, "prod", "a"))
    await let(source, service, "prod", rule("get", "panels", WIDGETS))
    (await service.page(**IN_PROD)).failure(403)
    (await service.page(**IN_PROD, name="a")).failure(403)
    assert (await service.detail(uid)).names == ["a"]
    await let(source, service, "prod", rule("list watch", "panels", WIDGETS))
    assert sorted((await service.page(**IN_PROD)).names) == ["a", "b", "c"]
    (await service.detail(uid)).failure(404)


async def test_a_subresource_grants_nothing_of_the_resource(source: Source, service: Service) -> None:
    await let(source, service, "prod", rule("get list", "pods/log pods/*"))
    (await service.page(group="core", resource="pods", namespace="prod")).failure(403)
    (await service.detail(source.uid(thing(PODS, "prod", "a")))).failure(404)


async def test_names_of_a_detail(source: Source, service: Service) -> None:
    await let(source, service, "prod", rule("get", "panels", WIDGETS, names=["a"]))
    assert (await service.detail(source.uid(thing(PANELS, "prod", "a")))).names == ["a"]
    (await service.detail(source.uid(thing(PANELS, "prod", "b")))).failure(404)
    (await service.detail(source.uid(thing(PANELS, "dev", "a")))).failure(404)
    (await service.page(**IN_PROD, name="a")).failure(403)


@pytest.mark.parametrize("namespace", ["prod", ""])
async def test_names_of_a_list(source: Source, service: Service, namespace: str) -> None:
    await let(source, service, namespace, rule("list", "panels", WIDGETS, names=["a"]))
    assert (await service.page(**IN_PROD, name="a")).names == ["a"]
    for given in ({}, {"name": "b"}, {"name_contains": "a"}):
        for places in (IN_PROD, EVERYWHERE):
            (await service.page(**places, **given)).failure(403)
    everywhere = await service.walk(**EVERYWHERE, name="a", limit=1)
    assert {item["namespace"] for item in everywhere} == ({"prod"} if namespace else {"prod", "dev", "test"})
    elsewhere = await service.page(**IN_PROD | {"namespace": "dev"}, name="a")
    assert elsewhere.code == (403 if namespace else 200)


async def test_a_role_counts_in_its_namespace_only(source: Source, service: Service) -> None:
    await source.put(
        role("dev", "reader", rule("list", "panels", WIDGETS)),
        role_binding("prod", "dangling", ref("Role", "reader"), ALICE),
    )
    await source.settle(service)
    (await service.page(**EVERYWHERE)).failure(403)
    await source.put(role_binding("dev", "bound", ref("Role", "reader"), ALICE))
    await source.settle(service)
    assert {item["namespace"] for item in (await service.page(**EVERYWHERE)).items} == {"dev"}
    (await caller(service, "bob").page(**EVERYWHERE)).failure(403)
