"""The paths that are no resources: health, version, discovery and OpenAPI."""

from __future__ import annotations

from collections.abc import Callable

from presenter.sandbox import discovery, errors, negotiation, openapi
from presenter.sandbox.api_request import ApiRequest
from presenter.sandbox.exchange import Answer, Incoming
from presenter.sandbox.objects import encode
from presenter.sandbox.registry import Registry

_AGGREGATED = "apidiscovery.k8s.io"
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


def answer(registry: Registry, asked: ApiRequest, incoming: Incoming, stale: Callable[[str], bool]) -> Answer:
    """What is at a path; `stale` says which groups discovery is to call so. Raises ApiError 404 or 405."""
    if asked.method not in ("GET", "HEAD"):
        raise errors.method_not_allowed()
    match asked.path.strip("/").split("/"):
        case ["healthz" | "livez" | "readyz", *_]:
            return Answer(b"ok", content_type="text/plain")
        case ["version"]:
            return Answer(encode(_VERSION))
        case ["openapi", *rest]:
            return openapi.answer(registry, rest)
        case ["api" | "apis" as root]:
            return _groups(registry, root == "api", incoming, stale)
        case ["api", version]:
            return Answer(encode(discovery.resource_list(registry, "", version)))
        case ["apis", group]:
            return Answer(encode(discovery.group(registry, group)))
        case ["apis", group, version]:
            return Answer(encode(discovery.resource_list(registry, group, version)))
    raise errors.unknown_path()


def _groups(registry: Registry, core: bool, incoming: Incoming, stale: Callable[[str], bool]) -> Answer:
    for media, parameters in negotiation.media_ranges(incoming.accept):
        version = parameters.get("v")
        if parameters.get("g") != _AGGREGATED or version not in ("v2", "v2beta1"):
            continue
        body, tag = discovery.aggregated(registry, core, f"{_AGGREGATED}/{version}", stale)
        headers = {"ETag": tag, "Vary": "Accept"}
        content_type = f"{media};g={_AGGREGATED};v={version};as=APIGroupDiscoveryList"
        if tag == incoming.known_tag:
            # With the content type: client-go's cache takes the headers of a 304 for those of what it kept.
            return Answer(b"", 304, content_type, headers)
        return Answer(body, 200, content_type, headers)
    return Answer(encode(discovery.api_versions() if core else discovery.group_list(registry)))
