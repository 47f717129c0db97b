"""The paths that are no resources: health, version, discovery and OpenAPI."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import to_builtins

from presenter.apimachinery import errors, negotiation
from presenter.apimachinery.discovery import (
    APIGroupDiscovery,
    APIGroupDiscoveryList,
    APIGroupList,
    APIVersions,
    api_group,
    api_resource_list,
    etag,
)
from presenter.sandbox import discovery, openapi
from presenter.sandbox.api_request import Answer, ApiRequest, Incoming
from presenter.sandbox.objects import encode
from presenter.sandbox.registry import PageNotFound, Registry

_VERSION = {
    "major": "1",
    "minor": "35",
    "gitVersion": "v1.35.0",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "2025-12-17T00:00:00Z",
    "goVersion": "go1.25.5",
    "compiler": "gc",
    "platform": "linux/amd64",
}


def answer(registry: Registry, api_request: ApiRequest, incoming: Incoming, stale: Callable[[str], bool]) -> Answer:
    """What is at a path; `stale` says which groups discovery is to call so. Raises StatusError 405 or PageNotFound."""
    if api_request.method not in ("GET", "HEAD"):
        raise errors.method_not_allowed()
    match api_request.path.strip("/").split("/"):
        case ["healthz" | "livez" | "readyz", *_]:
            return Answer(b"ok", content_type="text/plain")
        case ["version"]:
            return Answer(encode(_VERSION))
        case ["openapi", *rest]:
            return openapi.answer(registry, rest)
        case ["api" | "apis" as root]:
            return _groups(discovery.groups(registry, stale), root == "api", incoming)
        case ["api", version]:
            return _resources(registry, "", version)
        case ["apis", name] if group := discovery.groups(registry).get(name):
            return Answer(encode({"kind": "APIGroup", "apiVersion": "v1", **to_builtins(api_group(group))}))
        case ["apis", name, version]:
            return _resources(registry, name, version)
    raise PageNotFound


def _resources(registry: Registry, name: str, version_name: str) -> Answer:
    if group := discovery.groups(registry).get(name):
        for version in group.versions or ():
            if version.version == version_name:
                return Answer(encode(api_resource_list(group, version)))
    raise PageNotFound


def _groups(groups: dict[str, APIGroupDiscovery], core: bool, incoming: Incoming) -> Answer:
    named = [group for name, group in groups.items() if name]
    agreed = negotiation.find(incoming.accept, (negotiation.JSON,), negotiation.OF_DISCOVERY)
    if agreed is None:
        versions = [version.version for version in groups[""].versions or ()]
        older = APIVersions(versions) if core else APIGroupList([api_group(group) for group in named])
        return Answer(encode(older))
    body = encode(APIGroupDiscoveryList([groups[""]] if core else named, agreed.conversion.api_version))
    tag = etag(body)
    headers = {"ETag": tag, "Vary": "Accept"}
    if tag == incoming.known_tag:
        # With the content type: client-go's cache takes the headers of a 304 for those of what it kept.
        return Answer(b"", 304, str(agreed), headers)
    return Answer(body, 200, str(agreed), headers)
