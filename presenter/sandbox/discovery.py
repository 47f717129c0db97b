"""Discovery: which groups, versions and resource types are served."""

from __future__ import annotations

from collections.abc import Callable

from presenter.apimachinery.discovery import (
    APIGroupDiscovery,
    APIResourceDiscovery,
    APISubresourceDiscovery,
    APIVersionDiscovery,
    GroupVersionKind,
)
from presenter.sandbox.registry import Definition, Registry, Version

_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_SUBRESOURCE_VERBS = ["get", "patch", "update"]
REVIEWS_GROUP = "authorization.k8s.io"
REVIEWS = {"subjectaccessreviews": "SubjectAccessReview", "selfsubjectaccessreviews": "SelfSubjectAccessReview"}


def groups(registry: Registry, stale: Callable[[str], bool] = lambda _: False) -> dict[str, APIGroupDiscovery]:
    """What there is, by the name of the group; `stale` says which groups to call so."""
    found = {
        name: {
            version: [_resource(definition, definition.version(version)) for definition in definitions]
            for version, definitions in versions.items()
        }
        for name, versions in registry.groups().items()
    }
    found[REVIEWS_GROUP] = {"v1": _reviews()}
    return {
        name: APIGroupDiscovery.of(
            name, [APIVersionDiscovery(version, resources, freshness) for version, resources in versions.items()]
        )
        for name, versions in found.items()
        for freshness in ["Stale" if stale(name) else "Current"]
    }


def _resource(definition: Definition, version: Version | None) -> APIResourceDiscovery:
    assert version is not None  # it is one of the definition's own
    kind = GroupVersionKind(kind=definition.kind)
    if definition.custom:
        kind = GroupVersionKind(definition.group, version.name, definition.kind)
    subresources = []
    if version.status:
        subresources.append(APISubresourceDiscovery("status", kind, _SUBRESOURCE_VERBS))
    if version.scale:
        scale = GroupVersionKind("autoscaling", "v1", "Scale")
        subresources.append(APISubresourceDiscovery("scale", scale, _SUBRESOURCE_VERBS))
    return APIResourceDiscovery(
        resource=definition.plural,
        response_kind=kind,
        scope="Namespaced" if definition.namespaced else "Cluster",
        singular_resource=definition.singular,
        verbs=_VERBS,
        short_names=list(definition.short_names) or None,
        categories=list(definition.categories) or None,
        subresources=subresources or None,
    )


def _reviews() -> list[APIResourceDiscovery]:
    """The reviews have no stored objects and so no definition."""
    return [
        APIResourceDiscovery(
            resource=name,
            response_kind=GroupVersionKind(kind=kind),
            scope="Cluster",
            singular_resource=kind.lower(),
            verbs=["create"],
        )
        for name, kind in REVIEWS.items()
    ]
