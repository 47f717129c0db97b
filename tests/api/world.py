"""A small cache that nobody changes, with ties in every order and gaps in every column, and what it must answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from presenter.cache.pool import Pool
from presenter.cache.writer import Writer
from presenter.resource import Event, Object, ResourceType, Watch
from tests.api.service import Service
from tests.objects import CREATED_AT, make_object
from tests.rules import Rules

TEST, EDGE = "test", "edge.example:6443"
WATCHED = {TEST: ("*.*.krateo.io", "configmaps", "nodes"), EDGE: ("panels.widgets.templates.krateo.io",)}
WIDGETS = "widgets.templates.krateo.io"
PANELS = ResourceType(WIDGETS, "v1beta1", "panels", "Panel", True, ("v1beta1", "v1alpha1"))
BUTTONS = ResourceType(WIDGETS, "v1beta1", "buttons", "Button", True, ("v1beta1",))
THEMES = ResourceType(WIDGETS, "v1beta1", "themes", "Theme", False, ("v1beta1",))
CONFIG_MAPS = ResourceType("", "v1", "configmaps", "ConfigMap", True, ("v1",))
NODES = ResourceType("", "v1", "nodes", "Node", False, ("v1",))

NAMESPACES = ("default", "demo-system", "team-a")
NAMES = ("Fire-Panel", "water-panel", "100%", "under_score", r"back\slash", "a", "aa", "zoë")
PAGE, TIER = "krateo.io/portal-page", "tier"
LABELS: tuple[dict[str, str] | None, ...] = (
    None,
    {PAGE: "compositions"},
    {PAGE: "compositions", TIER: "gold"},
    {PAGE: "blueprints", TIER: "gold"},
)
COMPOSITIONS = (None, "3f0c1d8e-7a53-4d6f-9b2e-5c1a7e9d4b60", "a3cfe7b6-0c9a-4a2e-8f61-2f4a9f7f1f10")

Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class Stored:
    """An object that was written, and where."""

    cluster: str
    watch: Watch
    object: Object

    @property
    def type(self) -> ResourceType:
        return self.watch.type

    @property
    def global_uid(self) -> str:
        return f"{self.cluster}:{self.object.uid}"

    @property
    def manifest(self) -> Any:
        return json.loads(self.object.raw)

    def matches(self, given: Parameters) -> bool:
        """Whether the contract wants it in an answer; `since` is not asked for here."""
        own = self.object
        wanted_labels = given.get("labels") or {}
        return (
            self.type.group == ("" if given["group"] == "core" else given["group"])
            and given.get("version") in (None, self.type.version)
            and given.get("resource") in (None, self.type.resource)
            and given.get("cluster") in (None, self.cluster)
            and (not self.type.namespaced or (given.get("namespace") or "default") in (own.namespace, "*"))
            and given.get("composition_id") in (None, own.composition_id)
            and given.get("name") in (None, own.name)
            and given.get("name_contains", "").lower() in own.name.lower()
            and wanted_labels.items() <= json.loads(own.labels).items()
        )

    def position(self, sort_by: str) -> tuple[Any, ...]:
        """What orders it when ascending; `updated_at` is the database's to know."""
        own = self.object
        tie = (own.uid, self.watch.type_id)
        return {
            "created_at": (own.created_at, *tie),
            "name": (own.name, *tie),
            "resource": (own.namespace, own.name, *tie),
            "global_uid": (self.global_uid, self.watch.type_id),
            "composition_id": (own.composition_id or "", *tie),
        }[sort_by]


@dataclass(frozen=True)
class World:
    """The cache, and a service on it."""

    service: Service
    stored: tuple[Stored, ...]

    def matching(self, **given: Any) -> list[Stored]:
        return [stored for stored in self.stored if stored.matches(given)]

    def expected(self, **given: Any) -> set[str]:
        """The global_uids that a query has to answer."""
        return {stored.global_uid for stored in self.matching(**given)}

    def find(self, **given: Any) -> Stored:
        """The only one that matches."""
        [stored] = self.matching(**given)
        return stored


def in_order(stored: list[Stored], sort_by: str, sort_order: str) -> list[Stored]:
    """By Python's own sort; those without a composition id come last both ways."""
    ordered = sorted(stored, key=lambda each: each.position(sort_by), reverse=sort_order == "desc")
    if sort_by == "composition_id":
        ordered.sort(key=lambda each: each.object.composition_id is None)
    return ordered


async def fill(pool: Pool) -> tuple[Stored, ...]:
    """Write the cache as the watchers do: a first list for each type, then some events."""
    stored = []
    for cluster, patterns in WATCHED.items():
        writer = Writer(pool, cluster)
        await writer.open_cluster(f"uid-of-{cluster}", patterns)
        await Rules(writer).open_to_everybody()
        for type, objects in _contents(cluster):
            [watch] = await writer.declare(type)
            await first_list(writer, watch, *objects[:-1])
            await writer.apply(watch, [Event("upsert", objects[-1])], "1000")
            stored += [Stored(cluster, watch, object) for object in objects]
        await writer.discovered()
    return tuple(stored)


async def first_list(writer: Writer, watch: Watch, *objects: Object, resource_version: str = "999") -> None:
    """Say that these are all the objects there are."""
    await writer.begin_list(watch)
    await writer.list_page(watch, objects)
    await writer.finish_list(watch, resource_version)


def _contents(cluster: str) -> Iterator[tuple[ResourceType, list[Object]]]:
    yield PANELS, [_object(PANELS, number) for number in range(24 if cluster == TEST else 5)]
    if cluster == TEST:
        yield BUTTONS, [_object(BUTTONS, number) for number in range(9)]
        yield THEMES, [_object(THEMES, number) for number in range(4)]
        yield CONFIG_MAPS, [_object(CONFIG_MAPS, number) for number in range(6)]
        yield NODES, [_object(NODES, number) for number in range(2)]


def _object(type: ResourceType, number: int) -> Object:
    return make_object(
        NAMES[number // 3],
        NAMESPACES[number % 3] if type.namespaced else "",
        uid=None if type.namespaced else f"{type.resource}-{number}",
        version=type.version,
        kind=type.kind,
        group=type.group,
        resource_version=number + 1,
        created_at=moment(number * 7 % 5),
        labels=LABELS[number % 4],
        composition_id=COMPOSITIONS[number * 5 % 7 % 3],
        status={"ready": number % 3 == 0, "replicas": number} if number % 2 else None,
    )


def moment(hours: int) -> datetime:
    return CREATED_AT + timedelta(hours=hours)
