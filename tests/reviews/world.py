"""A cluster with objects and bindings, and an authorizer that asks it: what these tests set up and count."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from presenter.access.identity import Identity
from presenter.access.review_authorizer import ReviewAuthorizer
from presenter.cache.catalog import CachedType, WatchStatus
from presenter.kube.client import KubeClient
from presenter.kube.subject_access_reviews import SubjectAccessReviews
from presenter.resource import ResourceType
from presenter.sandbox import Sandbox
from tests.rbac.objects import cluster_role, cluster_role_binding, ref, role, role_binding, rule

CLUSTER = "test"
TTL = timedelta(seconds=10)
REVIEWS = "subjectaccessreviews.authorization.k8s.io"
BINDINGS = "rolebindings.rbac.authorization.k8s.io"


def cached(id: int, group: str, version: str, resource: str, kind: str, *, namespaced: bool = True) -> CachedType:
    watch = WatchStatus("", "live", "", synced_at=datetime.now(UTC), checkpoint="1", lag_seconds=0.0)
    return CachedType(id, CLUSTER, ResourceType(group, version, resource, kind, namespaced, (version,)), (watch,))


CONFIG_MAPS = cached(1, "", "v1", "configmaps", "ConfigMap")
DEPLOYMENTS = cached(2, "apps", "v1", "deployments", "Deployment")
CRDS = cached(
    3, "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
BY_ID = {known.id: known for known in (CONFIG_MAPS, DEPLOYMENTS, CRDS)}


@dataclass
class Clock:
    """Time that passes when told to."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class World:
    """The sandbox, a connection to it, and time. The cache is taken to hold what the cluster has."""

    sandbox: Sandbox
    client: KubeClient
    session: aiohttp.ClientSession
    clock: Clock = field(default_factory=Clock)

    def authorizer(self, *, patience: float = 5.0, ttl: timedelta = TTL, **options: Any) -> ReviewAuthorizer:
        reviewers = {CLUSTER: SubjectAccessReviews(self.client, patience=patience)}
        return ReviewAuthorizer(reviewers, self.namespaces_of, ttl, clock=self.clock, **options)

    async def namespaces_of(self, type_ids: Collection[int]) -> dict[int, set[str]]:
        return {id: {namespace for namespace, _ in self.objects(BY_ID[id])} for id in type_ids}

    def objects(self, known: CachedType) -> list[tuple[str, str]]:
        """The namespaces and names of all objects of a type."""
        found = [manifest["metadata"] for manifest in self.sandbox.cluster.objects(known.type.name)]
        return [(metadata.get("namespace", ""), metadata["name"]) for metadata in found]

    @property
    def reviews(self) -> int:
        """How many reviews the API server was asked for."""
        return self.sandbox.requests.count(verb="create", resource="subjectaccessreviews")

    async def reviews_seen(self, times: int) -> None:
        """Wait until so many have come."""
        await self.sandbox.requests.seen(times, verb="create", resource="subjectaccessreviews")

    # -- doings --------------------------------------------------------------------------------------------------------

    def namespaces(self, *names: str) -> None:
        for name in names:
            self.sandbox.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def config_maps(self, namespace: str, *names: str) -> None:
        for name in names:
            metadata = {"name": name, "namespace": namespace}
            self.sandbox.cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})

    def let_everywhere(self, subject: dict[str, Any], *rules: dict[str, Any], binding: str = "everywhere") -> None:
        """Bind rules in all namespaces and at the cluster scope."""
        self.sandbox.cluster.create(cluster_role(binding, *rules))
        self.sandbox.cluster.create(cluster_role_binding(binding, ref("ClusterRole", binding), subject))

    def let(self, namespace: str, subject: dict[str, Any], *rules: dict[str, Any], binding: str = "here") -> None:
        """Bind rules in one namespace."""
        self.sandbox.cluster.create(role(namespace, binding, *rules))
        self.sandbox.cluster.create(role_binding(namespace, binding, ref("Role", binding), subject))

    def revoke(self, namespace: str, binding: str = "here") -> None:
        self.sandbox.cluster.delete(BINDINGS, binding, namespace)

    # -- the other way to know -----------------------------------------------------------------------------------------

    async def may_read(self, identity: Identity, known: CachedType, namespace: str, name: str = "") -> bool:
        """Whether the API server itself, enforcing RBAC, serves a user this list or, with a name, this object."""
        root = f"/apis/{known.type.group}" if known.type.group else "/api"
        within = f"/namespaces/{namespace}" if namespace else ""
        path = f"{root}/{known.type.version}{within}/{known.type.resource}{f'/{name}' if name else ''}"
        headers = [("Impersonate-User", identity.username)]
        headers += [("Impersonate-Group", group) for group in sorted(identity.groups)]
        self.sandbox.enforce_rbac = True
        try:
            async with self.session.get(self.sandbox.url + path, headers=headers) as response:
                assert response.status in (200, 403), await response.text()
                return response.status == 200
        finally:
            self.sandbox.enforce_rbac = False


def reading(*names: str) -> dict[str, Any]:
    """A rule that lets config maps be listed and got, or only those of these names."""
    return rule("get list", "configmaps", names=names)
