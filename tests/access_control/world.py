"""Clusters as their watchers write them, RBAC objects and all others alike, and callers who ask over HTTP."""

from __future__ import annotations

import copy
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Literal, TypeVar

from presenter.access.identity import sign
from presenter.cache.pool import Address, Pool
from presenter.cache.writer import Writer
from presenter.resource import Event, Object, ResourceType, Watch
from tests.api.service import HOUR, KEY, Service
from tests.eventually import PATIENCE, eventually
from tests.objects import CREATED_AT, make_object
from tests.rbac.naive import RBAC
from tests.rbac.objects import cluster_role, cluster_role_binding, ref, rule, user

WIDGETS = "widgets.templates.krateo.io"
PANELS = ResourceType(WIDGETS, "v1beta1", "panels", "Panel", True, ("v1beta1",))
PODS = ResourceType("", "v1", "pods", "Pod", True, ("v1",))
SECRETS = ResourceType("", "v1", "secrets", "Secret", True, ("v1",))
NODES = ResourceType("", "v1", "nodes", "Node", False, ("v1",))
ROLES = ResourceType(RBAC, "v1", "roles", "Role", True, ("v1",))
CLUSTER_ROLES = ResourceType(RBAC, "v1", "clusterroles", "ClusterRole", False, ("v1",))
ROLE_BINDINGS = ResourceType(RBAC, "v1", "rolebindings", "RoleBinding", True, ("v1",))
CLUSTER_ROLE_BINDINGS = ResourceType(RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", False, ("v1",))
RULES = (ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS)
TYPES = (PANELS, PODS, SECRETS, NODES, *RULES)
BY_KIND = {type.kind: type for type in TYPES}

Json = dict[str, Any]
Change = tuple[Literal["upsert", "delete"], Json]
Key = tuple[str, str, str]
T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """One cluster: what its watcher would write is written, and remembered in `objects`.

    Each write of a type is one transaction, under the next resourceVersion.
    """

    name: str
    writer: Writer
    watches: dict[str, Watch]
    objects: dict[Key, Json]
    versions: list[int]

    @classmethod
    async def open(cls, pool: Pool, name: str = "test", *, synced: Iterable[ResourceType] = TYPES) -> Source:
        """Declare all types, and complete the (empty) first lists of some."""
        writer = Writer(pool, name)
        await writer.open_cluster(f"uid-of-{name}", ["*.*", "secrets"])
        source = cls(name, writer, {}, {}, [1])
        for type in TYPES:
            [source.watches[type.kind]] = await writer.declare(type)
        for type in synced:
            await source.sync(type)
        await writer.discovered()
        return source

    async def sync(self, type: ResourceType) -> None:
        """Complete the first list of a type."""
        watch = self.watches[type.kind]
        await self.writer.begin_list(watch)
        await self.writer.finish_list(watch, "1")

    async def put(self, *manifests: Json) -> None:
        """Create or replace objects."""
        await self.change(*(("upsert", manifest) for manifest in manifests))

    async def delete(self, *manifests: Json) -> None:
        """Delete objects."""
        await self.change(*(("delete", manifest) for manifest in manifests))

    async def change(self, *changes: Change) -> None:
        """All of this, the changes of one type in one batch."""
        by_kind: dict[str, list[Event]] = {}
        for change, manifest in changes:
            by_kind.setdefault(manifest["kind"], []).append(Event(change, self._object(manifest)))
            if change == "upsert":
                self.objects[_key(manifest)] = manifest
            else:
                self.objects.pop(_key(manifest), None)
        for kind, events in by_kind.items():
            await self.writer.apply(self.watches[kind], events, str(self.versions[-1]))

    async def become(self, manifests: Iterable[Json]) -> None:
        """Change what is different, until these are all objects there are."""
        wanted = {_key(manifest): manifest for manifest in manifests}
        await self.delete(*(there for key, there in self.objects.copy().items() if key not in wanted))
        await self.put(*(manifest for key, manifest in wanted.items() if self.objects.get(key) != manifest))

    async def settle(self, *services: Service) -> None:
        """Wait until services decide by all that was written before."""
        mark = f"mark-{self.versions[-1]}"
        await self.put(
            cluster_role("mark", rule("get list", "nodes", names=[mark])),
            cluster_role_binding("mark", ref("ClusterRole", "mark"), user("mark")),
        )
        for service in services:
            asker = caller(service, "mark")
            asked = {"group": "core", "resource": "nodes", "cluster": self.name, "name": mark}
            await until(partial(asker.page, **asked), lambda reply: reply.code == 200)

    @property
    def rules(self) -> list[Json]:
        """The RBAC objects there are."""
        kinds = {type.kind for type in RULES}
        return [manifest for manifest in self.objects.values() if manifest["kind"] in kinds]

    def uid(self, manifest: Json) -> str:
        """Its global_uid."""
        return f"{self.name}:{manifest['metadata']['uid']}"

    def _object(self, manifest: Json) -> Object:
        type, metadata = BY_KIND[manifest["kind"]], manifest["metadata"]
        self.versions.append(self.versions[-1] + 1)
        return make_object(
            metadata["name"],
            metadata.get("namespace", ""),
            uid=metadata["uid"],
            group=type.group,
            version=type.version,
            kind=type.kind,
            resource_version=self.versions[-1],
            created_at=CREATED_AT + timedelta(hours=len(metadata["uid"]) % 3),
            labels=metadata.get("labels"),
            raw=manifest,
        )


def _key(manifest: Json) -> Key:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"]


def thing(type: ResourceType, namespace: str, name: str, *, labels: dict[str, str] | None = None, **rest: Any) -> Json:
    """The manifest of an object; its namespace '' when it is cluster-scoped."""
    metadata: Json = {"name": name, "uid": f"{type.resource}-{namespace}-{name}"}
    if namespace:
        metadata["namespace"] = namespace
    if labels:
        metadata["labels"] = labels
    return {"apiVersion": "v1", "kind": type.kind, "metadata": metadata, **rest}


def with_uid(manifest: Json, uid: str) -> Json:
    """The same, as if it had been created anew."""
    return {**manifest, "metadata": {**manifest["metadata"], "uid": uid}}


def caller(service: Service, username: str, *groups: str) -> Service:
    """The service as somebody else sees it."""
    other = copy.copy(service)
    other.authorization = {"Authorization": f"Bearer {sign(KEY, username, groups, HOUR)}"}
    return other


async def until(look: Callable[[], Awaitable[T]], wanted: Callable[[T], bool], patience: float = PATIENCE) -> float:
    """Look until what is seen is as wanted; returns the seconds that took. It fails after `patience` seconds."""
    started = time.monotonic()
    await eventually(look, wanted, patience)
    return time.monotonic() - started


async def sql(database: Address, statement: str, *arguments: object) -> list[Any]:
    """Run a statement on a connection of its own, as another process would."""
    connection = await database.connect()
    try:
        return list(await connection.fetch(statement, *arguments))
    finally:
        await connection.close()
