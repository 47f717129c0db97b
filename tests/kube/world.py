"""A cluster, a database, and the Kubernetes edge between them: what these tests set up and compare."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from presenter.cache.lease import Recoveries
from presenter.cache.pool import Pool
from presenter.cache.snapshot import Snapshots
from presenter.cache.watch_patterns import ALWAYS, WatchPatterns
from presenter.cache.writer import Writer
from presenter.config import ClusterSettings
from presenter.errors import DatabaseUnavailable
from presenter.kube.client import KubeClient
from presenter.kube.supervisor import Supervisor
from presenter.kube.timings import BackoffTimings, Timings
from presenter.resource import ResourceType
from presenter.sandbox import Sandbox, User
from presenter.sandbox.faults import Fault
from tests.eventually import eventually

FAST = Timings(backoff=BackoffTimings(0.02, 0.2), forbidden=0.1, discovery=0.5, settling=0.05, initial=1.0, lag=0.3)

CONFIG_MAPS = "configmaps"
CRDS = "customresourcedefinitions.apiextensions.k8s.io"

Manifest = dict[str, Any]

_RBAC = "rbac.authorization.k8s.io"
LEAST_RIGHTS: tuple[Manifest, Manifest] = (
    {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "presenter"},
        "rules": [
            {"apiGroups": ["", _RBAC], "resources": ["*"], "verbs": ["list", "watch"]},
            {
                "apiGroups": [""],
                "resources": ["namespaces"],
                "resourceNames": ["kube-system"],
                "verbs": ["get"],
            },
        ],
    },
    {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "presenter"},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": "presenter"},
        "subjects": [{"apiGroup": _RBAC, "kind": "User", "name": "presenter"}],
    },
)
"""Of a user who may watch the core group and RBAC."""

T = TypeVar("T")

# Every row there is, also one of no known type.
_ROWS = """
SELECT coalesce(concat_ws('.', t.resource, nullif(t.api_group, '')), 'no type') AS type,
    r.uid, r.namespace, r.name, r.version, r.resource_version, r.created_at, r.composition_id, r.labels, r.raw
FROM resources r LEFT JOIN resource_types t ON t.id = r.type_id AND t.cluster = r.cluster AND r.cluster = 'test'
WHERE $1 IN ('', concat_ws('.', t.resource, nullif(t.api_group, '')))
"""
_UNSETTLED = """
SELECT FROM watches w WHERE w.listing OR w.objects <> (
    SELECT count(*) FROM resources r WHERE r.type_id = w.type_id AND (w.namespace = '' OR w.namespace = r.namespace)
)
"""
_WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'resources'::regclass"
_WATCHES = """
SELECT w.namespace, w.state, w.error, w.checkpoint, w.synced_at IS NOT NULL AS synced, w.lists, w.repairs, w.sanitised
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
    lists: int
    repairs: int
    sanitised: int


@dataclass
class World:
    """The sandbox, a client of it, and the real writer on a real database.

    `selected` is what the last supervisor watches.
    """

    sandbox: Sandbox
    client: KubeClient
    writer: Writer
    pool: Pool
    selected: WatchPatterns = field(default_factory=lambda: WatchPatterns(ALWAYS))

    @asynccontextmanager
    async def following(
        self,
        *patterns: str,
        namespaces: Sequence[str] = (),
        timings: Timings = FAST,
        reconcile_interval: float = 0.0,
    ) -> AsyncIterator[None]:
        """While inside, a supervisor runs."""
        supervisor = self.supervisor(
            *patterns, namespaces=namespaces, timings=timings, reconcile_interval=reconcile_interval
        )
        task = asyncio.create_task(supervisor.run())
        try:
            yield
            assert not task.done(), task
        finally:
            task.cancel()
            await asyncio.wait([task])

    def supervisor(
        self,
        *patterns: str,
        namespaces: Sequence[str] = (),
        timings: Timings = FAST,
        reconcile_interval: float = 0.0,
        writer: Writer | None = None,
        recoveries: Recoveries | None = None,
    ) -> Supervisor:
        self.selected = WatchPatterns(patterns)
        return Supervisor(
            self.client,
            writer or self.writer,
            Snapshots(self.pool, "test"),
            self.selected,
            namespaces=namespaces,
            timings=timings,
            reconcile_interval=reconcile_interval,
            recoveries=recoveries,
        )

    # -- the two sides ---------------------------------------------------------------------------------------

    async def known_types(self) -> list[ResourceType]:
        """The types in the cache, but for those that are always there."""
        return [known for known in await self.writer.known_types() if known.name not in ALWAYS]

    async def cached(self, name: str) -> dict[str, Manifest]:
        """The rows of a type by uid, with what their columns say next to the object."""
        return {uid: row for (_, uid), row in (await self.all_cached(name)).items()}

    async def all_cached(self, name: str = "") -> dict[tuple[str, str], Manifest]:
        """The same of every row there is, by type and uid."""
        return {
            (row["type"], row["uid"]): {
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
            for row in await self._fetch(_ROWS, name)
        }

    def served(self, name: str, namespaces: Sequence[str] = ()) -> dict[str, Manifest]:
        """What the cluster has of a type, in the same form."""
        return {
            manifest["metadata"]["uid"]: _as_cached(manifest)
            for manifest in self.sandbox.cluster.objects(name)
            if not namespaces or manifest["metadata"]["namespace"] in namespaces
        }

    def all_served(self, namespaces: Sequence[str] = ()) -> dict[tuple[str, str], Manifest]:
        """What the cluster has of all types that are watched, in the form of `all_cached`."""
        return {
            (found.name, uid): manifest
            for found in self.sandbox.cluster.registry
            if self.selected.selects(found.group, found.plural)
            for uid, manifest in self.served(found.name, namespaces if found.namespaced else ()).items()
        }

    async def equal(self, namespaces: Sequence[str] = ()) -> None:
        """Wait until every row equals what the API server now serves, there is no other, and no list is under way."""
        await eventually(self.all_cached, lambda cached: cached == self.all_served(namespaces))
        await eventually(self._unsettled, lambda watches: watches == 0)

    async def _unsettled(self) -> int:
        """How many watches have not completed their list, or do not count their objects right."""
        return len(await self._fetch(_UNSETTLED))

    async def in_sync(self, *names: str, namespaces: Sequence[str] = ()) -> None:
        """Wait until the cache equals the cluster, for each of these types."""
        for name in names:
            await eventually(partial(self.cached, name), partial(self._is_served, name, namespaces))

    def _is_served(self, name: str, namespaces: Sequence[str], cached: dict[str, Manifest]) -> bool:
        return cached == self.served(name, namespaces)

    async def watches(self, name: str) -> list[WatchRow]:
        return [WatchRow(**row) for row in await self._fetch(_WATCHES, name)]

    async def _fetch(self, statement: str, *arguments: str) -> list[Any]:
        """What a statement finds, also when sessions of the pool were ended meanwhile."""
        with suppress(DatabaseUnavailable):
            async with self.pool.connection() as connection:
                return await connection.fetch(statement, *arguments)
        return await self._fetch(statement, *arguments)

    async def state(self, name: str, state: str) -> WatchRow:
        """Wait until the only watch of a type is in this state."""
        rows = await eventually(lambda: self.watches(name), lambda rows: [row.state for row in rows] == [state])
        return rows[0]

    def lists(self, name: str) -> int:
        """How many lists were begun, as first pages or as streams; a probe has a limit of 1."""
        resource, _, group = name.partition(".")
        asked = self.sandbox.requests.matching(resource=resource, group=group, status=200)
        return sum(
            "sendInitialEvents" in request.query
            or (request.query.get("limit", "1") != "1" and not request.query.keys() & {"continue", "resourceVersion"})
            for request in asked
        )

    async def with_rights(self, directory: Path, *manifests: Manifest) -> None:
        """Let the client be the user `presenter`, who has only these rights. The caller closes it."""
        self.sandbox.enforce_rbac = True
        self.sandbox.tokens["secret"] = User("presenter", ("system:authenticated",))
        self.sandbox.write_kubeconfig(directory / "with-token", token="secret")
        for manifest in manifests:
            self.sandbox.cluster.apply(manifest)
        await self.client.close()
        self.client = await KubeClient.connect(ClusterSettings(kubeconfig=str(directory / "with-token")))

    # -- doings ----------------------------------------------------------------------------------------------

    async def execute(self, *statements: str) -> None:
        """Do something to the database behind the writer's back."""
        async with self.pool.connection() as connection:
            for statement in statements:
                await connection.execute(statement)

    async def sees(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so in this process."""
        await eventually(lambda: asyncio.sleep(0, condition()), bool)

    async def befell(self, fault: Fault) -> None:
        """Wait until a fault has befallen as many requests as it was to."""
        await self.sees(lambda: fault.times == 0)

    async def watching(self, times: int = 1) -> None:
        """Wait until config maps were watched so often."""
        await self.sandbox.requests.seen(times, verb="watch", resource=CONFIG_MAPS, status=200)

    def change(self) -> None:
        """Something of everything: created, changed, deleted, deleted and created anew."""
        self.put("created", a="1")
        self.put("changed", a=str(self.sandbox.cluster.resource_version))
        for name in ("deleted", "renewed"):
            if name in self.names():
                self.drop(name)
        self.put("renewed", a="2")

    @asynccontextmanager
    async def one_batch(self) -> AsyncIterator[None]:
        """What happens inside is received while the first of it waits to be written: the rest is one batch."""
        async with self.pool.connection() as connection, connection.transaction():
            await connection.execute("LOCK TABLE resources IN SHARE ROW EXCLUSIVE MODE")
            self.put("first", a=str(self.sandbox.cluster.resource_version))
            await eventually(lambda: connection.fetchval(_WAITING), bool)
            yield
            await self.all_told()

    async def all_told(self) -> None:
        """Wait until every event of config maps was received."""
        store = self.sandbox.cluster.store(self.sandbox.cluster.registry.named(CONFIG_MAPS))
        await self.sees(lambda: all(watcher.queue.empty() for watcher in store.watchers))
        await self.client.cluster_uid()  # what was sent before is here

    def names(self) -> set[str]:
        """The names of all config maps."""
        return {found["metadata"]["name"] for found in self.sandbox.cluster.objects(CONFIG_MAPS)}

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
