"""Media types: which form an Accept header asks for, and what a request body says."""

from __future__ import annotations

from typing import Any

import msgspec
import yaml

from presenter.apimachinery import errors, negotiation
from presenter.apimachinery.metadata import PartialObjectMetadata
from presenter.apimachinery.negotiation import JSON, YAML
from presenter.apimachinery.status import StatusDetails, failure
from presenter.apimachinery.tables import Table, TableConvertor
from presenter.sandbox import patches, protobuf
from presenter.sandbox.api_request import Answer
from presenter.sandbox.forms import Converted, Form, Plain
from presenter.sandbox.objects import Manifest, decode
from presenter.sandbox.registry import Definition, Version

_YAML = (YAML, "text/yaml", "application/x-yaml")
_BODIES = (JSON, YAML)
_ROUTED = {*_BODIES, protobuf.MEDIA_TYPE, "*/*"}
_UNROUTED = f"406: Not Acceptable\n\nAvailable representations: {JSON}, {YAML}, {protobuf.MEDIA_TYPE}"


def form_for(
    accept: str, definition: Definition, version: Version, include_object: str, *, many: bool, stream: bool = False
) -> tuple[Form, str]:
    """The form asked for, and the media type to write it in. Raises StatusError 406, or 400 for `include_object`."""
    asked = {part.partition(";")[0].strip() for part in accept.split(",")}
    if accept and not definition.custom and not asked & _ROUTED:
        raise errors.StatusError(failure(406, "NotAcceptable", _UNROUTED, StatusDetails()))
    agreed = negotiation.negotiate(accept, (JSON,) if stream else _BODIES, many=many)
    plain = Plain(definition, version)
    kind, api_version = agreed.conversion.kind, agreed.conversion.api_version
    if not kind:
        return plain, agreed.name
    if kind != "Table":
        return Converted(api_version, plain, PartialObjectMetadata(api_version)), agreed.name
    convertor, key = TableConvertor(version.columns), f"{api_version} table with {include_object}"
    rows = Converted(f"{key}, rows", plain, Table(convertor, include_object, api_version, headers=False))
    return Converted(key, plain, Table(convertor, include_object, api_version), following=rows), agreed.name


def answer(body: bytes, media_type: str, status: int = 200) -> Answer:
    """A body of JSON in the media type agreed on."""
    if media_type == YAML:
        body = yaml.safe_dump(decode(body), allow_unicode=True).encode()
    return Answer(body, status, media_type)


def read_object(body: bytes, content_type: str) -> Manifest:
    """The object in a request body. Raises StatusError 400 or 415."""
    media = content_type.partition(";")[0].strip() or JSON
    if media == protobuf.MEDIA_TYPE:
        return _read_protobuf(body)
    if media not in (*_BODIES, *_YAML):
        raise errors.unsupported_media_type(_BODIES)
    parsed = _parse(body, media in _YAML)
    if not isinstance(parsed, dict):
        raise errors.bad_request("the body of the request is not an object")
    return parsed


def read_patch(body: bytes, content_type: str, custom: bool) -> tuple[str, Any]:
    """A patch and its media type. Raises StatusError 400 or 415; custom resources know no strategic merge."""
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
        raise errors.unsupported_media_type(_BODIES)
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
