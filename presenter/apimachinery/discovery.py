"""Discovery documents: which groups, versions and resource types there are, aggregated and group by group.

What there is is told by `APIGroupDiscovery`, one for each group; the older documents say the same in other words.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

import msgspec

from presenter.apimachinery.negotiation import DISCOVERY
from presenter.apimachinery.status import ListMeta

_KUBE_VERSION = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")
_STABILITY = {"alpha": 2, "beta": 1, None: 0}


class GroupVersionKind(msgspec.Struct):
    """A kind; an empty group and version are those of the resource."""

    group: str = ""
    version: str = ""
    kind: str = ""


class APISubresourceDiscovery(msgspec.Struct, rename="camel", omit_defaults=True):
    """A subresource, such as `status`."""

    subresource: str
    response_kind: GroupVersionKind | None = None
    verbs: list[str] = []


class APIResourceDiscovery(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A resource type in one version; without a `response_kind` there are only subresources."""

    resource: str
    response_kind: GroupVersionKind | None = None
    scope: str
    singular_resource: str = ""
    verbs: list[str]
    short_names: list[str] | None = None
    categories: list[str] | None = None
    subresources: list[APISubresourceDiscovery] | None = None

    @property
    def namespaced(self) -> bool:
        """Whether its objects are in namespaces."""
        return self.scope == "Namespaced"


class APIVersionDiscovery(msgspec.Struct):
    """A version of a group. `freshness` is Stale where its server did not answer."""

    version: str
    resources: list[APIResourceDiscovery] | None = None
    freshness: str = "Current"


class _Named(msgspec.Struct, omit_defaults=True):
    name: str = ""


class APIGroupDiscovery(msgspec.Struct):
    """A group; its versions in the order of preference."""

    metadata: _Named
    versions: list[APIVersionDiscovery] | None = None

    @classmethod
    def of(cls, name: str, versions: list[APIVersionDiscovery]) -> APIGroupDiscovery:
        """The group of that name; the core group's is empty."""
        return cls(_Named(name), versions)

    @property
    def name(self) -> str:
        """Its name; empty for the core group."""
        return self.metadata.name

    def group_version(self, version: str) -> str:
        """A version as an apiVersion names it."""
        return f"{self.name}/{version}" if self.name else version


class APIGroupDiscoveryList(msgspec.Struct, rename="camel", tag_field="kind", tag="APIGroupDiscoveryList"):
    """Aggregated discovery: the answer to /api and to /apis."""

    items: list[APIGroupDiscovery]
    api_version: str = f"{DISCOVERY}/v2"
    metadata: ListMeta = msgspec.field(default_factory=ListMeta)


# -- the same, group by group ------------------------------------------------------------------------------------------


class APIVersions(msgspec.Struct, tag_field="kind", tag="APIVersions"):
    """The answer to /api: the versions of the core group."""

    versions: list[str]
    addresses: list[dict[str, str]] = msgspec.field(default_factory=list, name="serverAddressByClientCIDRs")


class GroupVersion(msgspec.Struct, rename="camel"):
    """A version of a group, in short and in full."""

    version: str
    group_version: str = ""


class APIGroup(msgspec.Struct, rename="camel"):
    """A group; its versions in the order of preference."""

    name: str
    versions: list[GroupVersion]
    preferred_version: GroupVersion | None = None


class APIGroupList(msgspec.Struct, rename="camel", tag_field="kind", tag="APIGroupList"):
    """The answer to /apis: all groups but the core one."""

    groups: list[APIGroup]
    api_version: str = "v1"


class APIResource(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A resource type, or a subresource: `deployments/scale`, whose kind may be of another group."""

    name: str
    singular_name: str | None = None
    namespaced: bool
    group: str = ""
    version: str = ""
    kind: str
    verbs: list[str]
    short_names: list[str] | None = None
    categories: list[str] | None = None


class APIResourceList(msgspec.Struct, rename="camel", tag_field="kind", tag="APIResourceList"):
    """The answer to /api/VERSION and /apis/GROUP/VERSION."""

    resources: list[APIResource] | None = None
    group_version: str = ""
    api_version: str = "v1"


def api_group(group: APIGroupDiscovery) -> APIGroup:
    """A group as the older documents have it."""
    versions = [GroupVersion(v.version, group.group_version(v.version)) for v in group.versions or ()]
    return APIGroup(group.name, versions, versions[0] if versions else None)


def api_resource_list(group: APIGroupDiscovery, version: APIVersionDiscovery) -> APIResourceList:
    """The resource types of a version of a group."""
    resources = [found for resource in version.resources or () for found in _api_resources(resource, group, version)]
    return APIResourceList(resources, group.group_version(version.version))


def _api_resources(
    resource: APIResourceDiscovery, group: APIGroupDiscovery, version: APIVersionDiscovery
) -> Iterator[APIResource]:
    own = ("", ""), (group.name, version.version)
    if resource.response_kind:
        yield APIResource(
            name=resource.resource,
            singular_name=resource.singular_resource,
            namespaced=resource.namespaced,
            kind=resource.response_kind.kind,
            verbs=resource.verbs,
            short_names=resource.short_names,
            categories=resource.categories,
        )
    for subresource in resource.subresources or ():
        kind = subresource.response_kind or GroupVersionKind()
        foreign = (kind.group, kind.version) not in own
        yield APIResource(
            name=f"{resource.resource}/{subresource.subresource}",
            singular_name="",
            namespaced=resource.namespaced,
            group=kind.group if foreign else "",
            version=kind.version if foreign else "",
            kind=kind.kind,
            verbs=subresource.verbs,
        )


def etag(document: bytes) -> str:
    """The entity tag by which a client asks whether a document has changed."""
    return f'"{hashlib.sha512(document).hexdigest().upper()}"'


def version_priority(name: str) -> tuple[int, int, int, int, str]:
    """The key by which versions are sorted: v2, v1, v1beta2, v1alpha1, others by the alphabet."""
    match = _KUBE_VERSION.fullmatch(name)
    if not match:
        return (1, 0, 0, 0, name)
    major, stability, minor = match.groups()
    return (0, _STABILITY[stability], -int(major), -int(minor or 0), "")
