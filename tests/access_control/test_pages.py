"""Random objects, roles, bindings and requests: the pages hold what the naive evaluator lets through, and all of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from presenter.access.identity import Identity
from presenter.cache.pool import Pool
from presenter.config import AccessSettings
from presenter.resource import ResourceType
from tests.access_control.world import NODES, PANELS, PODS, RULES, SECRETS, WIDGETS, Json, Source, caller, thing
from tests.api.service import Service, serving
from tests.rbac import naive
from tests.rbac.naive import RBAC
from tests.rbac.objects import (
    cluster_role,
    cluster_role_binding,
    group,
    identity,
    ref,
    role,
    role_binding,
    service_account,
    user,
)
from tests.servers import Postgres

NAMESPACES = ("default", "prod", "dev")
EVERYWHERE = (*NAMESPACES, "void")
NAMES = ("a", "b", "c")
USERS = ("alice", "bob", "system:serviceaccount:prod:a")
GROUPS = ("devs", "ops")
GOLD = {"tier": "gold"}
SORTS = ("created_at", "updated_at", "name", "resource", "global_uid", "composition_id")


def some(*values: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=2, max_size=4)


rules = st.fixed_dictionaries(
    {
        "verbs": some("get", "list", "list", "watch", "*"),
        "apiGroups": some("", "", WIDGETS, RBAC, "*"),
        "resources": some("pods", "pods", "secrets", "nodes", "panels", "roles", "rolebindings", "pods/log", "*"),
        "resourceNames": st.sampled_from([[], [], ["a"], ["a", "b"]]),
    }
)
# Not system:authenticated, in which the one who waits for the rules to arrive is, too.
subjects = (
    st.sampled_from(USERS[:2]).map(user)
    | st.sampled_from([*GROUPS, "system:serviceaccounts:prod"]).map(group)
    | st.builds(service_account, st.sampled_from(["prod", "dev"]), st.just("a"))
)
cluster_role_refs = st.builds(ref, st.just("ClusterRole"), st.sampled_from(NAMES))
some_rules = st.lists(rules, min_size=1, max_size=2)
some_subjects = st.lists(subjects, min_size=2, max_size=3)
places, names = st.sampled_from(EVERYWHERE), st.sampled_from(NAMES)
rbac_objects = st.one_of(
    st.builds(lambda name, listed: cluster_role(name, *listed), names, some_rules),
    st.builds(lambda where, name, listed: role(where, name, *listed), places, names, some_rules),
    st.builds(
        lambda where, name, to, listed: role_binding(where, name, to, *listed),
        places,
        names,
        cluster_role_refs | st.builds(ref, st.just("Role"), names),
        some_subjects,
    ),
    st.builds(
        lambda name, to, listed: cluster_role_binding(name, to, *listed), names, cluster_role_refs, some_subjects
    ),
)
objects = st.builds(
    lambda type, namespace, name, labels: thing(type, namespace if type.namespaced else "", name, labels=labels),
    st.sampled_from([PODS, PODS, SECRETS, PANELS, NODES]),
    st.sampled_from(NAMESPACES),
    names,
    st.sampled_from([None, GOLD]),
)
identities = st.builds(
    lambda name, groups: identity(name, *groups), st.sampled_from(USERS), st.lists(st.sampled_from(GROUPS), max_size=2)
)


@dataclass(frozen=True)
class Request:
    """A list, and who asks for it. Namespace '' is the parameter left out."""

    who: Identity
    types: tuple[ResourceType, ...]
    resource: str | None
    namespace: str
    name: str | None
    labels: dict[str, str] | None
    order: tuple[str, str]
    limit: int

    @property
    def parameters(self) -> Json:
        optional = {"resource": self.resource, "namespace": self.namespace, "name": self.name, "labels": self.labels}
        sort_by, sort_order = self.order
        given = {"group": self.types[0].group, "sort_by": sort_by, "sort_order": sort_order, "limit": self.limit}
        return given | {parameter: value for parameter, value in optional.items() if value}

    def may(self, verb: str, rules: list[Json], type: ResourceType, namespace: str) -> bool:
        """Whether a list of this type, in one place or (namespace '') in all, is allowed, for this name if need be."""
        asked = (self.who.username, self.who.groups, verb, type.group, type.resource, "", namespace)
        named = [self.name] if self.name else []
        return any(naive.allowed(rules, naive.Request(*asked, name)) for name in ["", *named])

    def asks_for(self, type: ResourceType, metadata: Json) -> bool:
        wanted = self.namespace or "default"
        return (
            (not type.namespaced or wanted in ("*", metadata["namespace"]))
            and self.name in (None, metadata["name"])
            and (self.labels or {}).items() <= metadata.get("labels", {}).items()
        )

    def places(self, type: ResourceType) -> tuple[str, ...]:
        """Where a list of this type may be allowed, so that it finds something or nothing, but is not forbidden."""
        if not type.namespaced:
            return ("",)
        return ("", *EVERYWHERE) if self.namespace == "*" else (self.namespace or "default",)

    def expected(self, verb: str, source: Source) -> set[str] | None:
        """The objects it has to find, or None when nothing that it asks for is allowed."""
        rules = source.rules
        if not any(self.may(verb, rules, type, place) for type in self.types for place in self.places(type)):
            return None
        return {
            source.uid(manifest)
            for type in self.types
            for (kind, namespace, _), manifest in source.objects.items()
            if kind == type.kind
            and self.asks_for(type, manifest["metadata"])
            and self.may(verb, rules, type, namespace)
        }


SELECTIONS: tuple[tuple[tuple[ResourceType, ...], str | None], ...] = (
    ((PODS, SECRETS, NODES), None),
    ((PANELS,), None),
    (RULES, None),
    *(((type,), type.resource) for type in (PODS, PODS, SECRETS, NODES, PANELS, *RULES)),
)
requests = st.builds(
    lambda who, selection, *rest: Request(who, *selection, *rest),
    identities,
    st.sampled_from(SELECTIONS),
    st.sampled_from(["", "prod", "void", "elsewhere", "*", "*", "*"]),
    st.sampled_from([None, None, *NAMES]),
    st.sampled_from([None, None, GOLD]),
    st.tuples(st.sampled_from(SORTS), st.sampled_from(["asc", "desc"])),
    st.integers(1, 7),
)


@dataclass(frozen=True)
class World:
    """One cache, and a service for each verb that a list may take."""

    source: Source
    services: dict[str, Service]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(postgres: Postgres) -> AsyncIterator[World]:
    database = await asyncio.to_thread(postgres.create, "scopes", "template")
    pool = await Pool.open(database, size=2, command_timeout=30)
    source = await Source.open(pool)
    looser = AccessSettings(LIST_VERB="get")
    async with serving(database) as by_list, serving(database, access=looser) as by_get:
        yield World(source, {"list": by_list, "get": by_get})
    await pool.close()
    await asyncio.to_thread(postgres.drop, "scopes")


async def pages_of(service: Service, request: Request) -> list[list[str]] | None:
    """What each page holds, or None when it is forbidden."""
    asker = caller(service, request.who.username, *request.who.groups)
    page = await asker.page(**request.parameters)
    if page.code == 403:
        return None
    pages = [page]
    while pages[-1].cursor is not None:
        pages.append(await asker.page(**request.parameters, cursor=pages[-1].cursor))
    return [[item["global_uid"] for item in page.items] for page in pages]


async def numbered(service: Service, request: Request, page: int) -> tuple[list[str], int]:
    """A page by its number, and how many objects are told to be on all."""
    asker = caller(service, request.who.username, *request.who.groups)
    asked = {name: value for name, value in request.parameters.items() if name != "limit"}
    reply = await asker.page(**asked, page=page, per_page=request.limit)
    assert reply.code == 200, reply.body
    assert "total_items_estimated" not in reply.json["pagination"]
    return [item["global_uid"] for item in reply.json["data"]], reply.json["pagination"]["total_items"]


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    stored=st.lists(objects, min_size=10, max_size=30),
    granted=st.lists(rbac_objects, min_size=10, max_size=24),
    asked=st.lists(requests, min_size=8, max_size=8),
)
@pytest.mark.asyncio(loop_scope="session")
async def test_the_pages_hold_exactly_what_the_caller_may_see(
    world: World, stored: list[Json], granted: list[Json], asked: list[Request]
) -> None:
    await world.source.become([*stored, *granted])
    await world.source.settle(*world.services.values())
    for request in asked:
        for verb, service in world.services.items():
            pages = await pages_of(service, request)
            expected = request.expected(verb, world.source)
            assert (pages is None) == (expected is None), (verb, request)
            if pages is None or expected is None:
                event("forbidden")
                continue
            event(f"{min(len(pages), 3)} pages")
            found = [uid for page in pages for uid in page]
            assert sorted(found) == sorted(expected), (verb, request)
            assert all(len(page) == request.limit for page in pages[:-1]), "a page is short while more remain"
            assert pages[-1] or pages == [[]], "a cursor leads to nothing"
            assert await numbered(service, request, 1) == (pages[0], len(expected)), (verb, request)
            assert await numbered(service, request, len(pages)) == (pages[-1], len(expected)), (verb, request)
