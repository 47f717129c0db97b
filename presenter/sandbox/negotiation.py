"""Media types: which form an Accept header asks for, and what a request body says."""

from __future__ import annotations

from typing import Any

import msgspec
import yaml

from presenter.sandbox import errors, patches, protobuf
from presenter.sandbox.forms import Form, PartialMetadata, Plain
from presenter.sandbox.objects import Manifest, decode
from presenter.sandbox.registry import Definition, Version
from presenter.sandbox.tables import Table

_JSON = ("application/json", "application/*", "*/*")
_YAML = ("application/yaml", "text/yaml", "application/x-yaml")
_BODIES = ("application/json", "application/yaml")


def media_ranges(accept: str) -> list[tuple[str, dict[str, str]]]:
    """An Accept header as media types with their parameters, in the order given."""
    ranges = []
    for listed in (accept or "*/*").split(","):
        media, *parameters = (part.strip() for part in listed.split(";"))
        pairs = (parameter.partition("=") for parameter in parameters)
        ranges.append((media, {name: value for name, _, value in pairs}))
    return ranges


def form_for(accept: str, definition: Definition, version: Version, include_object: str) -> Form:
    """The first form of those asked for that there is. Raises ApiError 406."""
    for media, parameters in media_ranges(accept):
        if media not in _JSON:
            continue
        match parameters.get("as"), parameters.get("v"):
            case None, _:
                return Plain(definition, version)
            case "Table", "v1":
                return Table(definition, version, include_object or "Metadata")
            case "PartialObjectMetadata" | "PartialObjectMetadataList", "v1":
                return PartialMetadata()
    raise errors.not_acceptable()


def read_object(body: bytes, content_type: str) -> Manifest:
    """The object in a request body. Raises ApiError 400 or 415."""
    media = content_type.partition(";")[0].strip() or "application/json"
    if media == protobuf.MEDIA_TYPE:
        return _read_protobuf(body)
    if media not in (*_BODIES, *_YAML):
        raise errors.unsupported_media_type(list(_BODIES))
    parsed = _parse(body, media in _YAML)
    if not isinstance(parsed, dict):
        raise errors.bad_request("the body of the request is not an object")
    return parsed


def read_patch(body: bytes, content_type: str, custom: bool) -> tuple[str, Any]:
    """A patch and its media type. Raises ApiError 400 or 415; custom resources know no strategic merge."""
    accepted = [patches.JSON, patches.MERGE, patches.APPLY]
    if not custom:
        accepted.insert(2, patches.STRATEGIC)
    media = content_type.partition(";")[0].strip()
    if media not in accepted:
        raise errors.unsupported_media_type(accepted)
    parsed = _parse(body, media == patches.APPLY)
    if not isinstance(parsed, list if media == patches.JSON else dict):
        raise errors.bad_request(f"the body of the request is not a patch of type {media}")
    return media, parsed


def _read_protobuf(body: bytes) -> Manifest:
    try:
        parsed = protobuf.decode(body)
    except ValueError as problem:
        raise errors.bad_request(f"error decoding the body of the request: {problem}") from problem
    if parsed is None:
        raise errors.unsupported_media_type(list(_BODIES))
    return parsed


def _parse(body: bytes, as_yaml: bool) -> Any:
    try:
        return _yaml(body) if as_yaml else decode(body)
    except (msgspec.DecodeError, yaml.YAMLError, UnicodeDecodeError) as problem:
        raise errors.bad_request(f"error decoding the body of the request: {problem}") from problem


def _yaml(body: bytes) -> Any:
    try:
        return decode(body)  # JSON is YAML, and clients do send it as such
    except msgspec.DecodeError:
        return yaml.load(body, Loader=TextLoader)  # noqa: S506 - a SafeLoader, see below


class TextLoader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: what looks like a date is text."""


TextLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
