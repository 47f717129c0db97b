"""RBAC rules in a cache: who may see what, for tests that ask over HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from presenter.cache.writer import Writer
from presenter.resource import Event, ResourceType, Watch
from tests.objects import make_object

GROUP = "rbac.authorization.k8s.io"
KINDS = {
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
}
Rule = Mapping[str, Sequence[str]]


class Rules:
    """The RBAC objects of a cluster, written as its watcher would; each write has the next resourceVersion."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._watches: dict[str, Watch] = {}
        self._version = 1

    async def sync(self) -> Rules:
        """Make the four types known and their (empty) lists complete. Until then nobody may see anything."""
        for kind, resource in KINDS.items():
            namespaced = not kind.startswith("Cluster")
            [self._watches[kind]] = await self._writer.declare(
                ResourceType(GROUP, "v1", resource, kind, namespaced, ("v1",))
            )
            await self._writer.begin_list(self._watches[kind])
            await self._writer.finish_list(self._watches[kind], "1")
        return self

    async def open_to_everybody(self) -> Rules:
        """Let every authenticated user see everything, for tests that are about something else."""
        await self.sync()
        await self.role("everything", {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})
        await self.bind("everybody", "everything", ("Group", "system:authenticated"))
        return self

    async def role(self, name: str, *rules: Rule, namespace: str = "") -> None:
        """A Role, or without a namespace a ClusterRole."""
        await self._put("Role" if namespace else "ClusterRole", namespace, name, rules=[dict(rule) for rule in rules])

    async def bind(self, name: str, role: str, *subjects: tuple[str, str], namespace: str = "", of: str = "") -> None:
        """Bind a role to (kind, name) subjects: a RoleBinding in a namespace, or a ClusterRoleBinding."""
        await self._put(
            "RoleBinding" if namespace else "ClusterRoleBinding",
            namespace,
            name,
            roleRef={"apiGroup": GROUP, "kind": of or "ClusterRole", "name": role},
            subjects=[{"apiGroup": GROUP, "kind": kind, "name": subject} for kind, subject in subjects],
        )

    async def remove(self, kind: str, name: str, namespace: str = "") -> None:
        """Delete a RBAC object."""
        await self._write("delete", kind, namespace, name)

    async def _put(self, kind: str, namespace: str, name: str, **content: Any) -> None:
        await self._write("upsert", kind, namespace, name, **content)

    async def _write(self, change: Any, kind: str, namespace: str, name: str, **content: Any) -> None:
        self._version += 1
        manifest = {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}}
        object = make_object(
            name,
            namespace,
            group=GROUP,
            kind=kind,
            version="v1",
            resource_version=self._version,
            raw=manifest | content,
        )
        await self._writer.apply(self._watches[kind], [Event(change, object)], str(self._version))
