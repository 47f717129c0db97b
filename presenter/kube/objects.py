"""From an object's bytes to the `Object` that is cached: the metadata is read, the rest passes through."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import structlog

from presenter.errors import ClusterError
from presenter.resource import Object, ResourceType

COMPOSITION_LABEL = "krateo.io/composition-id"
COMPOSITION_GROUP = "composition.krateo.io"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_MAX_DIGITS = 39
"""The cache compares this many digits at most (128 bits); a longer version is as good as no number."""

_REFUSED = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_ESCAPE = re.compile(rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)")
_REPLACEMENT = rb"\ufffd"

log = structlog.get_logger(__name__)


class _Metadata(msgspec.Struct):
    uid: str
    name: str
    namespace: str = ""
    resource_version: str = msgspec.field(default="", name="resourceVersion")
    created_at: datetime | None = msgspec.field(default=None, name="creationTimestamp")
    labels: dict[str, str] | None = None


class _Version(msgspec.Struct):
    resource_version: str = msgspec.field(name="resourceVersion")


class _Versioned(msgspec.Struct):
    metadata: _Version


_Members = dict[str, msgspec.Raw]
_decode_members: Callable[[bytes | msgspec.Raw], _Members] = msgspec.json.Decoder(_Members).decode
_decode_metadata: Callable[[bytes | msgspec.Raw], _Metadata] = msgspec.json.Decoder(_Metadata).decode
_decode_versioned: Callable[[bytes | msgspec.Raw], _Versioned] = msgspec.json.Decoder(_Versioned).decode
_encode: Callable[[object], bytes] = msgspec.json.Encoder().encode


def read_object(raw: bytes | msgspec.Raw, resource_type: ResourceType, *, secret_data: bool = False) -> Object:
    """What the cache must know of an object, and its JSON without `metadata.managedFields`.

    `kind` and `apiVersion`, which the items of a list may lack, are filled in. Secrets lose their values, unless
    `secret_data` says to keep them.
    Raises ClusterError for what is no object: no JSON, or without name and uid.
    """
    replaced = 0
    if _REFUSED.search(raw):
        raw, replaced = _storable(bytes(raw))
    try:
        members = _decode_members(raw)
        metadata_members = _decode_members(members["metadata"])
        metadata = _decode_metadata(members["metadata"])
    except (msgspec.DecodeError, KeyError) as error:
        raise ClusterError(
            f"the API server sent something as {resource_type.name} that is no object: {error}"
        ) from error
    if replaced:
        log.warning(
            "characters replaced that PostgreSQL cannot store",
            type=resource_type.name,
            namespace=metadata.namespace,
            name=metadata.name,
            characters=replaced,
        )
    members["metadata"] = _without_managed_fields(members["metadata"], metadata_members)
    _name_type(members, resource_type)
    if not secret_data and not resource_type.group and resource_type.resource == "secrets":
        _redact(members)
    return Object(
        uid=metadata.uid,
        namespace=metadata.namespace,
        name=metadata.name,
        version=resource_type.version,
        resource_version=number(metadata.resource_version),
        created_at=metadata.created_at or _EPOCH,
        composition_id=_composition_id(metadata, resource_type),
        labels=bytes(metadata_members["labels"]) if metadata.labels else b"{}",
        raw=_encode(members),
    )


def resource_version_of(raw: bytes | msgspec.Raw) -> str:
    """The resourceVersion of an object, or of a bookmark. Raises ClusterError when there is none."""
    try:
        return _decode_versioned(raw).metadata.resource_version
    except msgspec.DecodeError as error:
        raise ClusterError(f"the API server sent something without a resourceVersion: {error}") from error


def number(resource_version: str) -> int | None:
    """A resourceVersion as a number; None where it is none, and so cannot be compared."""
    if resource_version.isascii() and resource_version.isdigit() and len(resource_version) <= _MAX_DIGITS:
        return int(resource_version)
    return None


def _without_managed_fields(metadata: msgspec.Raw, members: _Members) -> msgspec.Raw:
    if members.pop("managedFields", None) is None:
        return metadata
    return msgspec.Raw(_encode(members))


def _name_type(members: _Members, resource_type: ResourceType) -> None:
    if "kind" not in members:
        members["kind"] = msgspec.Raw(_encode(resource_type.kind))
    if "apiVersion" not in members:
        members["apiVersion"] = msgspec.Raw(
            _encode(f"{resource_type.group}/{resource_type.version}" if resource_type.group else resource_type.version)
        )


def _composition_id(metadata: _Metadata, resource_type: ResourceType) -> str | None:
    labelled = (metadata.labels or {}).get(COMPOSITION_LABEL, "")
    if _UUID.fullmatch(labelled):
        return labelled.lower()
    if resource_type.group == COMPOSITION_GROUP and _UUID.fullmatch(metadata.uid):
        return metadata.uid.lower()
    return None


def _redact(members: _Members) -> None:
    """Keep a Secret's keys, drop its values and the annotation in which `kubectl apply` repeats them."""
    for field in ("data", "stringData"):
        if field in members:
            keys = msgspec.json.decode(members[field], type=dict[str, msgspec.Raw] | None)
            members[field] = msgspec.Raw(_encode(dict.fromkeys(keys or {}, "")))
    metadata = _decode_members(members["metadata"])
    if "annotations" in metadata:
        annotations = msgspec.json.decode(metadata["annotations"], type=dict[str, msgspec.Raw] | None) or {}
        annotations.pop(LAST_APPLIED, None)
        metadata["annotations"] = msgspec.Raw(_encode(annotations))
        members["metadata"] = msgspec.Raw(_encode(metadata))


def _storable(raw: bytes) -> tuple[bytes, int]:
    r"""The JSON with U+FFFD for `\u0000` and lone surrogates, and how many were replaced."""
    replaced = 0

    def replace(escape: re.Match[bytes]) -> bytes:
        nonlocal replaced
        text = escape[0]
        if len(text) == 6 and _REFUSED.match(text):
            replaced += 1
            return _REPLACEMENT
        return text

    return _ESCAPE.sub(replace, raw), replaced
