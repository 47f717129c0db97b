"""Discovery: the resource types that the API server has, and which of them can be listed and watched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from presenter.apimachinery.discovery import (
    APIGroup,
    APIGroupDiscovery,
    APIGroupDiscoveryList,
    APIGroupList,
    APIResourceDiscovery,
    APIResourceList,
    APIVersionDiscovery,
    APIVersions,
    GroupVersion,
    GroupVersionKind,
)
from presenter.errors import ClusterError, ClusterUnavailable
from presenter.kube.client import KubeClient
from presenter.resource import ResourceType

DEFINING_TYPES = frozenset({"customresourcedefinitions.apiextensions.k8s.io", "apiservices.apiregistration.k8s.io"})
"""Types whose objects decide which types there are: when one changes, so may discovery."""

UNWATCHED_VERSION = "vacuum"
"""The storage version of Krateo's composition CRDs: it holds every composition in a shape nobody asks for."""

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"
_ACCEPT = f"{_AGGREGATED.format('v2')},{_AGGREGATED.format('v2beta1')},application/json"
_NEEDED_VERBS = {"list", "watch"}


@dataclass(frozen=True, slots=True)
class Discovered:
    """The types that discovery names. It cannot name all of a group in `incomplete`: nothing there counts as removed.

    `unwatched` are types that cannot be listed and watched; their `version` is empty.
    """

    types: tuple[ResourceType, ...]
    incomplete: frozenset[str]
    unwatched: tuple[ResourceType, ...] = ()


T = TypeVar("T")
_decode_root = msgspec.json.Decoder(APIGroupDiscoveryList | APIGroupList | APIVersions).decode
_decode_resources = msgspec.json.Decoder(APIResourceList).decode


class Discovery:
    """Reads discovery again and again, at the price of a 304 while nothing changes.

    Aggregated discovery (apidiscovery.k8s.io) where the server has it, as since 1.27, else group by group.
    """

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._etags: dict[str, str] = {}
        self._groups: dict[str, list[APIGroupDiscovery]] = {}

    async def read(self) -> Discovered:
        """What the server has now. Raises ClusterError where it does not answer with discovery documents."""
        core, named = await asyncio.gather(self._read_root("/api"), self._read_root("/apis"))
        groups = core + named
        found = [each for group in groups for each in _types(group)]
        return Discovered(
            types=tuple(each for each in found if each.version),
            incomplete=frozenset(group.name for group in groups if _is_incomplete(group)),
            unwatched=tuple(each for each in found if not each.version),
        )

    async def _read_root(self, path: str) -> list[APIGroupDiscovery]:
        answer = await self._client.get(path, accept=_ACCEPT, etag=self._etags.get(path, ""))
        if answer.body is None:
            return self._groups[path]
        root = _decoded(_decode_root, answer.body, path)
        if isinstance(root, APIGroupDiscoveryList):
            self._etags[path] = answer.etag
            self._groups[path] = root.items
            return root.items
        if isinstance(root, APIVersions):
            root = APIGroupList([APIGroup("", [GroupVersion(version) for version in root.versions])])
        return list(await asyncio.gather(*(self._read_group(group) for group in root.groups)))

    async def _read_group(self, group: APIGroup) -> APIGroupDiscovery:
        versions = [entry.version for entry in group.versions]
        versions.sort(key=lambda version: group.preferred_version is None or version != group.preferred_version.version)
        read = await asyncio.gather(*(self._read_version(group.name, version) for version in versions))
        return APIGroupDiscovery.of(group.name, list(read))

    async def _read_version(self, group: str, version: str) -> APIVersionDiscovery:
        path = f"/apis/{group}/{version}" if group else f"/api/{version}"
        try:
            answer = await self._client.get(path, accept="application/json")
            listed = _decoded(_decode_resources, answer.body or b"", path)
        except ClusterError:
            return APIVersionDiscovery(version, freshness="Stale")  # one whose server is down must not hide the others
        return APIVersionDiscovery(
            version,
            [
                APIResourceDiscovery(
                    resource=entry.name,
                    response_kind=GroupVersionKind(kind=entry.kind),
                    scope="Namespaced" if entry.namespaced else "Cluster",
                    verbs=entry.verbs,
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


def _is_incomplete(group: APIGroupDiscovery) -> bool:
    return any(version.freshness != "Current" for version in group.versions or ())


def _types(group: APIGroupDiscovery) -> list[ResourceType]:
    """One type for each resource, in the first version in the server's order that it can be watched in, or in none."""
    offers: dict[str, list[tuple[str, APIResourceDiscovery]]] = {}
    for version in group.versions or ():
        if version.version == UNWATCHED_VERSION:
            continue
        for entry in version.resources or ():
            if entry.response_kind:  # without one there are only subresources
                offers.setdefault(entry.resource, []).append((version.version, entry))
    return [_type(group.name, resource, offered) for resource, offered in offers.items()]


def _type(group: str, resource: str, offered: list[tuple[str, APIResourceDiscovery]]) -> ResourceType:
    watched = [(version, entry) for version, entry in offered if _NEEDED_VERBS.issubset(entry.verbs)]
    _, entry = (watched or offered)[0]
    return ResourceType(
        group=group,
        version=watched[0][0] if watched else "",
        resource=resource,
        kind=entry.response_kind.kind if entry.response_kind else "",
        namespaced=entry.namespaced,
        versions=tuple(version for version, _ in watched or offered),
    )
