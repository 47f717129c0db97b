"""Which resource types the API server has that can be listed and watched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from presenter.errors import ClusterError, ClusterUnavailable
from presenter.kube.client import KubeClient
from presenter.resource import ResourceType

SHAPING_TYPES = frozenset({"customresourcedefinitions.apiextensions.k8s.io", "apiservices.apiregistration.k8s.io"})
"""Types whose objects decide which types there are: when one changes, so may discovery."""

UNWATCHED_VERSION = "vacuum"
"""The storage version of Krateo's composition CRDs: it holds every composition in a shape nobody asks for."""

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"
_ACCEPT = f"{_AGGREGATED.format('v2')},{_AGGREGATED.format('v2beta1')},application/json"
_NEEDED_VERBS = {"list", "watch"}


@dataclass(frozen=True, slots=True)
class Discovered:
    """What discovery says. Of a group in `incomplete` it cannot say all: nothing there counts as removed.

    `unwatched` are types that cannot be listed and watched; their `version` is empty.
    """

    types: tuple[ResourceType, ...]
    incomplete: frozenset[str]
    unwatched: tuple[ResourceType, ...] = ()


# -- the documents, as far as they matter --------------------------------------------------------------------


class _Named(msgspec.Struct):
    name: str = ""


class _ResponseKind(msgspec.Struct):
    kind: str = ""


class _Resource(msgspec.Struct):
    resource: str
    scope: str
    verbs: list[str]
    response_kind: _ResponseKind | None = msgspec.field(default=None, name="responseKind")


class _Version(msgspec.Struct):
    version: str
    resources: list[_Resource] | None = None
    freshness: str = "Current"


class _Group(msgspec.Struct):
    metadata: _Named
    versions: list[_Version] | None = None


class _GroupDiscoveryList(msgspec.Struct, tag_field="kind", tag="APIGroupDiscoveryList"):
    items: list[_Group]


class _LegacyVersion(msgspec.Struct):
    version: str


class _LegacyGroup(msgspec.Struct):
    name: str
    versions: list[_LegacyVersion]
    preferred: _LegacyVersion | None = msgspec.field(default=None, name="preferredVersion")


class _LegacyGroupList(msgspec.Struct, tag_field="kind", tag="APIGroupList"):
    groups: list[_LegacyGroup]


class _LegacyCoreVersions(msgspec.Struct, tag_field="kind", tag="APIVersions"):
    versions: list[str]


class _LegacyResource(msgspec.Struct):
    name: str
    namespaced: bool
    kind: str
    verbs: list[str]


class _LegacyResourceList(msgspec.Struct):
    resources: list[_LegacyResource] | None = None


T = TypeVar("T")
_Root = _GroupDiscoveryList | _LegacyGroupList | _LegacyCoreVersions
_decode_root = msgspec.json.Decoder(_Root).decode
_decode_legacy_resources = msgspec.json.Decoder(_LegacyResourceList).decode


class Discovery:
    """Reads discovery again and again, at the price of a 304 while nothing changes.

    Aggregated discovery (apidiscovery.k8s.io) where the server has it, as since 1.27, else group by group.
    """

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._etags: dict[str, str] = {}
        self._groups: dict[str, list[_Group]] = {}

    async def read(self) -> Discovered:
        """What the server has now. Raises ClusterError when it does not say, or says something else."""
        core, named = await asyncio.gather(self._read_root("/api"), self._read_root("/apis"))
        groups = core + named
        found = [each for group in groups for each in _types(group)]
        return Discovered(
            types=tuple(each for each in found if each.version),
            incomplete=frozenset(group.metadata.name for group in groups if _is_incomplete(group)),
            unwatched=tuple(each for each in found if not each.version),
        )

    async def _read_root(self, path: str) -> list[_Group]:
        answer = await self._client.get(path, accept=_ACCEPT, etag=self._etags.get(path, ""))
        if answer.body is None:
            return self._groups[path]
        root = _decoded(_decode_root, answer.body, path)
        if isinstance(root, _GroupDiscoveryList):
            self._etags[path] = answer.etag
            self._groups[path] = root.items
            return root.items
        return await self._read_legacy(root)

    async def _read_legacy(self, root: _LegacyGroupList | _LegacyCoreVersions) -> list[_Group]:
        if isinstance(root, _LegacyCoreVersions):
            groups = [_LegacyGroup("", [_LegacyVersion(version) for version in root.versions])]
        else:
            groups = root.groups
        return list(await asyncio.gather(*(self._read_legacy_group(group) for group in groups)))

    async def _read_legacy_group(self, group: _LegacyGroup) -> _Group:
        versions = [entry.version for entry in group.versions]
        versions.sort(key=lambda version: group.preferred is None or version != group.preferred.version)
        return _Group(
            _Named(group.name),
            list(await asyncio.gather(*(self._read_legacy_version(group.name, version) for version in versions))),
        )

    async def _read_legacy_version(self, group: str, version: str) -> _Version:
        path = f"/apis/{group}/{version}" if group else f"/api/{version}"
        try:
            answer = await self._client.get(path, accept="application/json")
            listed = _decoded(_decode_legacy_resources, answer.body or b"", path)
        except ClusterError:
            return _Version(version, freshness="Stale")  # one APIService whose server is down must not hide the others
        return _Version(
            version,
            [
                _Resource(
                    entry.name,
                    "Namespaced" if entry.namespaced else "Cluster",
                    entry.verbs,
                    _ResponseKind(entry.kind),
                )
                for entry in listed.resources or ()
                if "/" not in entry.name
            ],
        )


def _decoded(decode: Callable[[bytes], T], body: bytes, path: str) -> T:
    try:
        return decode(body)
    except msgspec.DecodeError as error:
        raise ClusterUnavailable(
            f"GET {path} was answered with something that is no discovery document: {error}"
        ) from error


def _is_incomplete(group: _Group) -> bool:
    return any(version.freshness != "Current" for version in group.versions or ())


def _types(group: _Group) -> list[ResourceType]:
    """One type for each resource, in the first version in the server's order that it can be watched in, or in none."""
    offers: dict[str, list[tuple[str, _Resource]]] = {}
    for version in group.versions or ():
        if version.version == UNWATCHED_VERSION:
            continue
        for entry in version.resources or ():
            if entry.response_kind:  # without one there are only subresources
                offers.setdefault(entry.resource, []).append((version.version, entry))
    return [_type(group.metadata.name, resource, offered) for resource, offered in offers.items()]


def _type(group: str, resource: str, offered: list[tuple[str, _Resource]]) -> ResourceType:
    watched = [(version, entry) for version, entry in offered if _NEEDED_VERBS.issubset(entry.verbs)]
    _, entry = (watched or offered)[0]
    return ResourceType(
        group=group,
        version=watched[0][0] if watched else "",
        resource=resource,
        kind=entry.response_kind.kind if entry.response_kind else "",
        namespaced=entry.scope == "Namespaced",
        versions=tuple(version for version, _ in watched or offered),
    )
