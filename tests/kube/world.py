"""A cluster, a database, and the Kubernetes edge between them: what these tests set up and compare."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from presenter.cache.pool import Pool
from presenter.cache.writer import Writer
from presenter.kube.backoff import BackoffTimings
from presenter.kube.client import KubeClient
from presenter.kube.supervisor import Supervisor
from presenter.kube.timings import Timings
from presenter.patterns import ALWAYS, Patterns
from presenter.resource import ResourceType
from presenter.sandbox import Sandbox
from tests.eventually import eventually

FAST = Timings(backoff=BackoffTimings(0.02, 0.2), forbidden=0.1, discovery=0.5, settling=0.05)

CONFIG_MAPS = "configmaps"
CRDS = "customresourcedefinitions.apiextensions.k8s.io"

Manifest = dict[str, Any]
T = TypeVar("T")

_ROWS = """
SELECT r.uid, r.namespace, r.name, r.version, r.resource_version, r.created_at,
    r.composition_id, r.labels, r.raw
FROM resources r JOIN resource_types t ON t.id = r.type_id
WHERE r.cluster = 'test' AND t.resource || CASE t.api_group WHEN '' THEN '' ELSE '.' || t.api_group END = $1
"""
_WATCHES = """
SELECT w.namespace, w.state, w.error, w.checkpoint, w.synced_at IS NOT NULL AS synced
FROM watches w JOIN resource_types t ON t.id = w.type_id
WHERE t.resource || CASE t.api_group WHEN '' THEN '' ELSE '.' || t.api_group END = $1
ORDER BY w.namespace
"""


@dataclass(frozen=True)
class WatchRow:
    namespace: str
    state: str
    error: str
    checkpoint: str | None
    synced: bool


@dataclass
class World:
    """The sandbox, a client of it, and the real writer on a real database."""

    sandbox: Sandbox
    client: KubeClient
    writer: Writer
    pool: Pool

    @asynccontextmanager
    async def following(
        self, *patterns: str, namespaces: Sequence[str] = (), timings: Timings = FAST
    ) -> AsyncIterator[None]:
        """While inside, a supervisor runs."""
        task = asyncio.create_task(self.supervisor(*patterns, namespaces=namespaces, timings=timings).run())
        try:
            yield
            assert not task.done(), task
        finally:
            task.cancel()
            await asyncio.wait([task])

    def supervisor(self, *patterns: str, namespaces: Sequence[str] = (), timings: Timings = FAST) -> Supervisor:
        return Supervisor(self.client, self.writer, Patterns(patterns), namespaces=namespaces, timings=timings)

    # -- the two sides ---------------------------------------------------------------------------------------

    async def known_types(self) -> list[ResourceType]:
        """The types in the cache, but for those that are always there."""
        return [known for known in await self.writer.known_types() if known.name not in ALWAYS]

    async def cached(self, name: str) -> dict[str, Manifest]:
        """The rows of a type by uid, with what their columns say next to the object."""
        async with self.pool.connection() as connection:
            rows = await connection.fetch(_ROWS, name)
        return {
            row["uid"]: {
                "columns": (
                    row["namespace"],
                    row["name"],
                    row["version"],
                    None if row["resource_version"] is None else int(row["resource_version"]),
                    row["created_at"],
                    None if row["composition_id"] is None else str(row["composition_id"]),
                    json.loads(row["labels"]),
                ),
                "raw": json.loads(row["raw"]),
            }
            for row in rows
        }

    def served(self, name: str, namespaces: Sequence[str] = ()) -> dict[str, Manifest]:
        """What the cluster has of a type, in the same form."""
        return {
            manifest["metadata"]["uid"]: _as_cached(manifest)
            for manifest in self.sandbox.cluster.objects(name)
            if not namespaces or manifest["metadata"]["namespace"] in namespaces
        }

    async def in_sync(self, *names: str, namespaces: Sequence[str] = ()) -> None:
        """Wait until the cache equals the cluster, for each of these types."""
        for name in names:
            await eventually(partial(self.cached, name), partial(self._is_served, name, namespaces))

    def _is_served(self, name: str, namespaces: Sequence[str], cached: dict[str, Manifest]) -> bool:
        return cached == self.served(name, namespaces)

    async def watches(self, name: str) -> list[WatchRow]:
        async with self.pool.connection() as connection:
            return [WatchRow(**row) for row in await connection.fetch(_WATCHES, name)]

    async def state(self, name: str, state: str) -> WatchRow:
        """Wait until the only watch of a type is in this state."""
        rows = await eventually(lambda: self.watches(name), lambda rows: [row.state for row in rows] == [state])
        return rows[0]

    def lists(self, name: str) -> int:
        """How many first pages of real lists were asked for; a probe has a limit of 1."""
        resource, _, group = name.partition(".")
        asked = self.sandbox.requests.matching(verb="list", resource=resource, group=group)
        return sum(request.query["limit"] != "1" and "continue" not in request.query for request in asked)

    # -- doings ----------------------------------------------------------------------------------------------

    def put(self, name: str, namespace: str = "default", **data: str) -> Manifest:
        """Create or change a config map."""
        return self.sandbox.cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
                "data": data,
            }
        )

    def drop(self, name: str, namespace: str = "default") -> None:
        """Delete a config map."""
        self.sandbox.cluster.delete(CONFIG_MAPS, name, namespace)


def _as_cached(manifest: Manifest) -> Manifest:
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "managedFields"}
    version = metadata["resourceVersion"]
    composition = metadata.get("labels", {}).get("krateo.io/composition-id")
    return {
        "columns": (
            metadata.get("namespace", ""),
            metadata["name"],
            manifest["apiVersion"].rpartition("/")[2],
            int(version) if version.isdecimal() else None,
            datetime.strptime(metadata["creationTimestamp"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC),
            composition,
            metadata.get("labels", {}),
        ),
        "raw": {**manifest, "metadata": metadata},
    }


def crd(
    plural: str,
    kind: str,
    *,
    group: str = "example.com",
    versions: Sequence[str] = ("v1",),
    storage: str = "",
) -> Manifest:
    """The manifest of a CustomResourceDefinition; unless `storage` names one, the first version is stored."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": version == (storage or versions[0]),
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                }
                for version in versions
            ],
        },
    }


def custom(kind: str, name: str, *, api_version: str = "example.com/v1", **spec: Any) -> Manifest:
    """The manifest of a custom resource in the namespace default."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }
