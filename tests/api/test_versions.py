"""A version that a type is served in but not cached in: given where only its name differs, refused where not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec
import pytest

from presenter.cache.pool import Pool
from presenter.cache.writer import Writer
from presenter.resource import Event, Object, ResourceType, Watch
from tests.api.service import Json, Reply, Service
from tests.api.world import CONFIG_MAPS, PANELS, WIDGETS, first_list
from tests.eventually import eventually
from tests.objects import make_object
from tests.rules import Rules

CRDS = ResourceType(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False, ("v1",)
)
OLD, NEW = "v1alpha1", "v1beta1"
PANELS_BY_OLD = ResourceType(WIDGETS, OLD, "panels", "Panel", True, (NEW, OLD))
BUTTONS = ResourceType(WIDGETS, NEW, "buttons", "Button", True, (NEW, OLD))
CHARTS = ResourceType(WIDGETS, NEW, "charts", "Chart", True, (NEW,))
ASKED = {"group": WIDGETS, "namespace": "*", "sort_by": "name"}
SERVED_ELSEWHERE = (
    "version is 'v1alpha1', in which {} of cluster {} is served but not cached: allowed is v1beta1, since "
)

Conversion = Mapping[str, Any] | None


class Cluster:
    """A cluster whose CustomResourceDefinitions are cached."""

    def __init__(self, name: str, pool: Pool) -> None:
        self.name = name
        self._writer = Writer(pool, name)
        self._rules = Rules(self._writer)
        self._definitions: Watch | None = None
        self._version = 0

    async def open(self, *, definitions: bool = True, everybody: bool = True) -> Cluster:
        await self._writer.open_cluster(f"uid-of-{self.name}", ["*.*.krateo.io", "configmaps", CRDS.name])
        if everybody:
            await self._rules.open_to_everybody()
        else:
            await self._rules.sync()
            await self._rules.role("panels", {"verbs": ["list"], "apiGroups": [WIDGETS], "resources": ["panels"]})
            await self._rules.bind("panels", "panels", ("User", "alice"))
        if definitions:
            [self._definitions] = await self._writer.declare(CRDS)
            await first_list(self._writer, self._definitions, resource_version="1")
        return self

    async def has(self, type: ResourceType, *names: str, status: Any = None) -> None:
        made = (
            make_object(name, kind=type.kind, group=type.group, version=type.version, status=status) for name in names
        )
        await self.holds(type, *made)

    async def holds(self, type: ResourceType, *objects: Object) -> None:
        """Say that these are all objects of the type."""
        [watch] = await self._writer.declare(type)
        await first_list(self._writer, watch, *objects)
        await self._writer.discovered()

    async def defines(self, type: ResourceType, conversion: Conversion) -> None:
        """Put a CustomResourceDefinition, as an event."""
        assert self._definitions is not None
        self._version += 1
        spec: Json = {"group": type.group, "names": {"plural": type.resource}}
        if conversion is not None:
            spec["conversion"] = conversion
        manifest = {"apiVersion": "apiextensions.k8s.io/v1", "metadata": {"name": type.name}, "spec": spec}
        definition = make_object(
            type.name,
            "",
            group=CRDS.group,
            kind=CRDS.kind,
            version="v1",
            resource_version=self._version + 1,
            raw=manifest,
        )
        await self._writer.apply(self._definitions, [Event("upsert", definition)], str(self._version + 1))


@pytest.mark.parametrize("conversion", [None, {}, {"strategy": "None"}], ids=["absent", "empty", "None"])
async def test_where_only_the_name_differs_it_is_replaced(service: Service, pool: Pool, conversion: Conversion) -> None:
    cluster = await Cluster("test", pool).open()
    await cluster.has(PANELS, "one", "two", status={"ready": True})
    await cluster.defines(PANELS, conversion)
    cached = (await service.page(**ASKED, raw=True, status_raw=True)).items
    asked = (await service.page(**ASKED, raw=True, status_raw=True, version=OLD)).items
    assert [item["version"] for item in cached] == [NEW, NEW]
    assert asked == [
        {**item, "version": OLD, "raw": {**item["raw"], "apiVersion": f"{WIDGETS}/{OLD}"}} for item in cached
    ]
    bare = (await service.page(**ASKED, version=OLD)).items
    assert bare == [{key: item[key] for key in item if key not in ("raw", "status_raw")} for item in asked]
    assert (await service.post({**ASKED, "raw": True, "status_raw": True, "version": OLD})).items == asked
    assert (await service.page(**ASKED, raw=True, status_raw=True, version=NEW)).items == cached


async def test_nothing_of_the_object_changes_but_its_api_version(service: Service, pool: Pool) -> None:
    cluster = await Cluster("test", pool).open()
    await cluster.has(PANELS)
    await cluster.defines(PANELS, None)
    spec = {"apiVersion": "mine", "": 'zoë \\ "quoted" \u2028', "number": 1.5e30, "nested": [{"apiVersion": "x"}] * 3}
    manifest = {"apiVersion": f"{WIDGETS}/{NEW}", "kind": "Panel", "metadata": {"name": "odd"}, "spec": spec}
    writer = Writer(pool, "test")
    [watch] = await writer.declare(PANELS)
    await writer.apply(watch, [Event("upsert", make_object("odd", raw=manifest))], "1001")
    cached, asked = [(await service.page(**ASKED, raw=True, version=version)).body for version in (NEW, OLD)]
    for own in (f'"apiVersion":"{WIDGETS}/{NEW}"', f'"version":"{NEW}"'):
        assert own.encode() in cached.replace(b": ", b":")
    assert json.loads(asked) == json.loads(cached.replace(NEW.encode(), OLD.encode()))


async def test_pages_labels_and_sorts_are_those_of_the_cached_version(service: Service, pool: Pool) -> None:
    cluster = await Cluster("test", pool).open()
    await cluster.has(PANELS, *(f"panel-{number:02}" for number in range(23)))
    await cluster.defines(PANELS, None)
    for sort_by in ("name", "created_at", "updated_at", "resource", "global_uid", "composition_id"):
        asked = {**ASKED, "sort_by": sort_by, "limit": 4}
        walked = await service.walk(**asked, version=OLD)
        assert [item["uid"] for item in walked] == [item["uid"] for item in await service.walk(**asked)]
        assert {item["version"] for item in walked} == {OLD}
    page = await service.page(**ASKED, limit=4, version=OLD)
    assert "cursor was made for other filters" in await service.bad(**ASKED, limit=4, cursor=page.cursor)
    assert (await service.page(**ASKED, version=OLD, labels={"a": "b"})).items == []


async def test_clusters_may_cache_different_versions(service: Service, pool: Pool) -> None:
    for name, type in (("new", PANELS), ("old", PANELS_BY_OLD)):
        cluster = await Cluster(name, pool).open()
        await cluster.has(type, "one", "two", "three")
        await cluster.defines(type, {"strategy": "None"})
    for version in (OLD, NEW):
        items = await service.walk(**ASKED, version=version, raw=True, limit=2)
        assert {(item["cluster_name"], item["version"], item["raw"]["apiVersion"]) for item in items} == {
            (name, version, f"{WIDGETS}/{version}") for name in ("new", "old")
        }
        assert len(items) == 6
    assert {item["version"] for item in await service.walk(**ASKED)} == {OLD, NEW}


async def test_a_type_that_is_not_served_in_the_version_is_left_out(service: Service, pool: Pool) -> None:
    cluster = await Cluster("test", pool).open()
    for type in (PANELS, BUTTONS, CHARTS):
        await cluster.has(type, f"one-of-{type.resource}")
        await cluster.defines(type, None)
    assert (await service.page(**ASKED, version=OLD)).names == ["one-of-buttons", "one-of-panels"]
    assert len((await service.page(**ASKED, version=NEW)).names) == 3


@pytest.mark.parametrize(
    ("conversion", "reason"),
    [
        ({"strategy": "Webhook", "webhook": {}}, "it is converted by Webhook, which only the API server can do"),
        (None, "it has no CustomResourceDefinition, so that only the API server can convert it"),
    ],
    ids=["by a webhook", "by the API server"],
)
async def test_what_only_the_api_server_can_convert_is_refused(
    service: Service, pool: Pool, conversion: Conversion, reason: str
) -> None:
    cluster = await Cluster("test", pool).open()
    await cluster.has(PANELS, "one")
    if conversion is not None:
        await cluster.defines(PANELS, conversion)
    message = SERVED_ELSEWHERE.format(PANELS.name, "test") + reason
    assert await service.bad(**ASKED, version=OLD) == message
    assert (await service.post({**ASKED, "version": OLD})).failure(400) == message
    assert (await service.page(**ASKED, version=NEW)).names == ["one"]


async def test_a_built_in_type_is_refused(service: Service, pool: Pool) -> None:
    cluster = await Cluster("test", pool).open()
    both = ResourceType("", "v1", "configmaps", "ConfigMap", True, ("v1", "v0"))
    await cluster.has(both, "one")
    message = await service.bad(group="core", resource="configmaps", version="v0")
    assert message.startswith("version is 'v0', in which configmaps of cluster test is served but not cached")
    await cluster.has(CONFIG_MAPS, "one")
    gone = partial(service.page, group="core", resource="configmaps", version="v0")
    assert "is not served" in (await eventually(gone, lambda reply: reply.code == 404)).failure(404)


async def test_without_the_definitions_nobody_knows(service: Service, pool: Pool) -> None:
    await (await Cluster("test", pool).open(definitions=False)).has(PANELS, "one")
    message = await service.bad(**ASKED, version=OLD)
    assert message == SERVED_ELSEWHERE.format(PANELS.name, "test") + (
        f"{CRDS.name}, which would say how to convert it, are not cached"
    )


async def test_while_the_definitions_are_not_all_there_it_is_said_later(service: Service, pool: Pool) -> None:
    await (await Cluster("test", pool).open(definitions=False)).has(PANELS, "one")
    await Writer(pool, "test").declare(CRDS)
    answer = partial(service.page, **ASKED, version=OLD)
    message = (await eventually(answer, lambda reply: reply.code == 503)).failure(503)
    assert message.startswith(f"{CRDS.name} in cluster test is not complete yet")


async def test_the_definition_of_another_cluster_says_nothing(service: Service, pool: Pool) -> None:
    for name, conversion in (("one", None), ("two", {"strategy": "Webhook"})):
        cluster = await Cluster(name, pool).open()
        await cluster.has(PANELS, "panel")
        await cluster.defines(PANELS, conversion)
    assert (await service.page(**ASKED, version=OLD, cluster="one")).names == ["panel"]
    assert "of cluster two" in await service.bad(**ASKED, version=OLD)


async def test_a_changed_definition_counts_from_the_next_page_on(service: Service, pool: Pool) -> None:
    cluster = await Cluster("test", pool).open()
    await cluster.has(PANELS, "one")
    answer = partial(service.page, **ASKED, version=OLD)
    for strategy, code in (("None", 200), ("Webhook", 400), ("None", 200)):
        await cluster.defines(PANELS, {"strategy": strategy})
        await eventually(answer, partial(_has_code, code))


def _has_code(code: int, reply: Reply) -> bool:
    return reply.code == code


async def test_only_what_the_caller_may_see_has_to_be_convertible(service: Service, pool: Pool) -> None:
    """And nobody learns from a definition that may not be listed more than that its versions are alike."""
    cluster = await Cluster("test", pool).open(everybody=False)
    for type in (PANELS, BUTTONS):
        await cluster.has(type, f"one-of-{type.resource}")
    await cluster.defines(PANELS, None)
    await cluster.defines(BUTTONS, {"strategy": "Webhook"})
    assert (await service.page(**ASKED, version=OLD)).names == ["one-of-panels"]
    (await service.page(**ASKED, version=OLD, resource="buttons")).failure(403)
    (await service.page(group=CRDS.group, resource=CRDS.resource)).failure(403)


async def test_one_object_is_given_as_it_is_cached(service: Service, pool: Pool) -> None:
    cluster = await Cluster("test", pool).open()
    await cluster.has(PANELS, "one")
    await cluster.defines(PANELS, None)
    [listed] = (await service.page(**ASKED, version=OLD, raw=True)).items
    [item] = (await service.detail(listed["global_uid"])).items
    assert item["raw"] == {**listed["raw"], "apiVersion": f"{WIDGETS}/{NEW}"}


@pytest.mark.parametrize("depth", [900, 1_100, 3_000])
async def test_an_object_of_any_depth_is_given_in_another_version(service: Service, pool: Pool, depth: int) -> None:
    """PostgreSQL takes more levels than a decoder of JSON does."""
    cluster = await Cluster("test", pool).open()
    deep = b'[{"apiVersion":"of the spec","a":' * (depth // 2) + b"1" + b"}]" * (depth // 2)
    made = make_object("deep", kind=PANELS.kind, group=WIDGETS, version=NEW)
    await cluster.holds(PANELS, msgspec.structs.replace(made, raw=made.raw.replace(b'"default/deep"', deep)))
    await cluster.defines(PANELS, None)
    renamed = (await service.page(**ASKED, version=OLD, raw=True)).body
    stored = (await service.page(**ASKED, version=NEW, raw=True)).body
    assert stored.count(b"of the spec") == depth // 2
    as_renamed = renamed.replace(OLD.encode(), NEW.encode())
    assert b"".join(as_renamed.split()) == b"".join(stored.split()), "nothing differs but the version"
    assert renamed.count(OLD.encode()) == 2, "of the item and of the object"
