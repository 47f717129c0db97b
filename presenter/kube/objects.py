"""From an object's JSON to the `Object` that is cached: the metadata is read, the rest passes through as bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import msgspec
import structlog

from presenter import raw_json
from presenter.errors import ClusterError
from presenter.kube.client import WatchEvent
from presenter.kube.resource_version import parse_resource_version
from presenter.resource import SANITISED, SECRET_ANNOTATIONS, Object, ResourceType

COMPOSITION_LABEL = "krateo.io/composition-id"
COMPOSITION_GROUP = "composition.krateo.io"
INITIAL_EVENTS_END = "k8s.io/initial-events-end"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_UNSTORABLE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
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


class _Identity(msgspec.Struct):
    uid: str = ""
    resource_version: str = msgspec.field(default="", name="resourceVersion")


class _Annotations(msgspec.Struct):
    annotations: dict[str, str] | None = None


class _Annotated(msgspec.Struct):
    metadata: _Annotations


_Members = dict[str, msgspec.Raw]
_decode_metadata: Callable[[bytes | msgspec.Raw], _Metadata] = msgspec.json.Decoder(_Metadata).decode
_decode_version: Callable[[bytes | msgspec.Raw], _Version] = msgspec.json.Decoder(_Version).decode
_decode_annotated: Callable[[bytes | msgspec.Raw], _Annotated] = msgspec.json.Decoder(_Annotated).decode
_decode_identity: Callable[[bytes | msgspec.Raw], _Identity] = msgspec.json.Decoder(_Identity).decode
_encode: Callable[[object], bytes] = msgspec.json.Encoder().encode


def read_object(raw: bytes | msgspec.Raw, resource_type: ResourceType, *, secret_data: bool = False) -> Object:
    """The object that a JSON document is, without `metadata.managedFields`.

    `kind` and `apiVersion`, which the items of a list may lack, are filled in. Secrets lose their values, unless
    `secret_data` says to keep them.
    Raises ClusterError for what is no object: no JSON, or without name and uid.
    """
    try:
        return _read_object(raw, resource_type, secret_data=secret_data)
    except (msgspec.DecodeError, KeyError, RecursionError) as error:
        raise ClusterError(
            f"the API server sent something as {resource_type.name} that is no object: {error}"
        ) from error


def _read_object(raw: bytes | msgspec.Raw, resource_type: ResourceType, *, secret_data: bool) -> Object:
    replaced = 0
    if _UNSTORABLE.search(raw):
        raw, replaced = _replace_unstorable(bytes(raw))
    members = raw_json.members(raw)
    metadata_members = _metadata_members(members)
    metadata = _metadata(metadata_members)
    if replaced:
        _annotate(metadata_members, f"{replaced} characters replaced")
        log.warning(
            "characters replaced that PostgreSQL cannot store",
            type=resource_type.name,
            namespace=metadata.namespace,
            name=metadata.name,
            characters=replaced,
        )
    members["metadata"] = msgspec.Raw(_encode(metadata_members))
    _fill_in_type(members, resource_type)
    if not secret_data and not resource_type.group and resource_type.resource == "secrets":
        _redact(members)
    return Object(
        uid=metadata.uid,
        namespace=metadata.namespace,
        name=metadata.name,
        version=resource_type.version,
        resource_version=parse_resource_version(metadata.resource_version),
        created_at=_utc(metadata.created_at),
        composition_id=_composition_id(metadata, resource_type),
        labels=bytes(metadata_members["labels"]) if metadata.labels else b"{}",
        raw=_encode(members),
        sanitised=replaced > 0,
    )


def resource_version_of(raw: bytes | msgspec.Raw) -> str:
    """The resourceVersion of an object, or of a bookmark. Raises ClusterError when there is none."""
    try:
        return _decode_version(_encode(_metadata_members(raw_json.members(raw)))).resource_version
    except (msgspec.DecodeError, KeyError) as error:
        raise ClusterError(f"the API server sent something without a resourceVersion: {error}") from error


def versions_of(items: Sequence[bytes | msgspec.Raw]) -> dict[str, str]:
    """The resourceVersions of objects by their uid; what has no uid is left out, as it is everywhere."""
    read = (_decode_identity(_encode(_metadata_members(raw_json.members(item)))) for item in items)
    return {metadata.uid: metadata.resource_version for metadata in read if metadata.uid}


def _metadata(members: _Members) -> _Metadata:
    try:
        return _decode_metadata(_encode(members))
    except msgspec.ValidationError:  # a creationTimestamp that is no time hides no object
        return _decode_metadata(
            _encode({name: value for name, value in members.items() if name != "creationTimestamp"})
        )


def _utc(at: datetime | None) -> datetime:
    """A time in UTC; where its offset puts it outside Python's years 1 to 9999, the first or the last moment."""
    if at is None:
        return _EPOCH
    if at.tzinfo is None:
        return at.replace(tzinfo=UTC)
    try:
        return at.astimezone(UTC)
    except OverflowError:
        return _FIRST if at.year == 1 else _LAST


def _metadata_members(members: _Members) -> _Members:
    """The members of the metadata, but for managedFields, which is nested as deeply as the object."""
    metadata = raw_json.members(members["metadata"])
    metadata.pop("managedFields", None)
    return metadata


def ends_initial_events(event: WatchEvent) -> bool:
    """Whether this is the bookmark that ends a streaming list."""
    if event.type != "BOOKMARK":
        return False
    try:
        annotations = _decode_annotated(event.object).metadata.annotations or {}
    except msgspec.DecodeError:
        return False
    return annotations.get(INITIAL_EVENTS_END) == "true"


def _annotate(metadata: _Members, note: str) -> None:
    """Note in an object's annotations what was changed in it."""
    annotations = _annotations(metadata)
    annotations[SANITISED] = msgspec.Raw(_encode(note))
    metadata["annotations"] = msgspec.Raw(_encode(annotations))


def _annotations(metadata: _Members) -> _Members:
    if "annotations" not in metadata:
        return {}
    return msgspec.json.decode(metadata["annotations"], type=_Members | None) or {}


def _fill_in_type(members: _Members, resource_type: ResourceType) -> None:
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
    """Empty a Secret's values, and those of its annotations but for SECRET_ANNOTATIONS; the keys stay."""
    for field in ("data", "stringData"):
        if field in members:
            keys = msgspec.json.decode(members[field], type=dict[str, msgspec.Raw] | None)
            members[field] = msgspec.Raw(_encode(dict.fromkeys(keys or {}, "")))
    metadata = raw_json.members(members["metadata"])
    if "annotations" in metadata:
        annotations = _annotations(metadata)
        kept = {key: annotations[key] for key in annotations.keys() & SECRET_ANNOTATIONS}
        metadata["annotations"] = msgspec.Raw(_encode(dict.fromkeys(annotations, "") | kept))
        members["metadata"] = msgspec.Raw(_encode(metadata))


def _replace_unstorable(raw: bytes) -> tuple[bytes, int]:
    r"""The JSON with U+FFFD for `\u0000` and lone surrogates, and how many were replaced."""
    replaced = 0

    def replace(escape: re.Match[bytes]) -> bytes:
        nonlocal replaced
        text = escape[0]
        if len(text) == 6 and _UNSTORABLE.match(text):
            replaced += 1
            return _REPLACEMENT
        return text

    return _ESCAPE.sub(replace, raw), replaced
