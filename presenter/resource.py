"""The small frozen values that every room shares: which types there are, and what happened to an object."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import msgspec

ALL_NAMESPACES = ""
"""The namespace of a watch that covers every namespace, and of every cluster-scoped object."""

RBAC_GROUP = "rbac.authorization.k8s.io"
"""The API group of Roles, ClusterRoles and their bindings, from which follows who may see what."""

ANY_RESOURCE = "*"
"""In the place of a type's plural: the types of an API group, where it is not known which there are."""

SANITISED = "resources-presenter.krateo.io/sanitised"
"""The annotation of an object that PostgreSQL cannot store as it is: what was changed."""

SECRET_ANNOTATIONS = frozenset(
    {
        SANITISED,
        "argocd.argoproj.io/tracking-id",
        "cert-manager.io/alt-names",
        "cert-manager.io/certificate-name",
        "cert-manager.io/common-name",
        "cert-manager.io/ip-sans",
        "cert-manager.io/issuer-group",
        "cert-manager.io/issuer-kind",
        "cert-manager.io/issuer-name",
        "cert-manager.io/uri-sans",
        "helm.sh/resource-policy",
        "kubernetes.io/service-account.name",
        "kubernetes.io/service-account.uid",
        "meta.helm.sh/release-name",
        "meta.helm.sh/release-namespace",
    }
)
"""The annotations of Secrets that say where one comes from, and nothing of what is in it. In any other a tool may
repeat the whole Secret, as `kubectl apply` does."""


@dataclass(frozen=True, slots=True)
class ResourceType:
    """A resource type as discovery describes it, in the version that is watched.

    `versions` are all versions the API server serves it in, most preferred first.
    """

    group: str
    version: str
    resource: str
    kind: str
    namespaced: bool
    versions: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The group-resource, as CustomResourceDefinitions are named: `panels.widgets.templates.krateo.io`, `pods`."""
        return f"{self.resource}.{self.group}" if self.group else self.resource


class Object(msgspec.Struct, frozen=True):
    """One object as the API server serves it: what the cache must know of it, and the bytes that pass through.

    `resource_version` is None where the API server's is not a number: such versions cannot be compared.
    `labels` and `raw` are JSON. `raw` has no `metadata.managedFields`. `sanitised`: it could not be stored as it is,
    and says so in its annotations (`SANITISED`).
    """

    uid: str
    namespace: str
    name: str
    version: str
    resource_version: int | None
    created_at: datetime
    composition_id: str | None
    labels: bytes
    raw: bytes
    sanitised: bool = False


class Event(msgspec.Struct, frozen=True):
    """A change of one object: its new state, or its last state when it was deleted."""

    change: Literal["upsert", "delete"]
    object: Object


State = Literal["live", "syncing", "pending", "stalled", "unknown", "forbidden", "error"]
"""How a watch stands, from good to bad. `live`: it had caught up, and events follow; `syncing`: its list is being read,
or what happened while nobody watched; `pending`: declared, nothing done yet; `stalled`: live when last heard of, too
long ago; `forbidden`: this service's account may not list or watch it; `error`: something failed, it will be tried
again. `stalled` is found on reading, and never stored; nor is `unknown`, which stands for a state that a newer version
has stored."""


@dataclass(frozen=True, slots=True)
class Watch:
    """One stream of changes that is followed: a type in all namespaces, or in one (`NAMESPACES`).

    `type_id` is the type's key in the cache.
    """

    type_id: int
    type: ResourceType
    namespace: str = ALL_NAMESPACES

    def __str__(self) -> str:
        return f"{self.type.name} in {self.namespace}" if self.namespace else self.type.name
