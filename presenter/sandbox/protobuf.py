"""Request bodies in Kubernetes' protocol buffer encoding, for the few kinds that kubectl and helm send in it.

Source: staging/src/k8s.io/api/*/generated.proto and, for the envelope, apimachinery's runtime/generated.proto.
Only what a client sets is decoded: times and managed fields are the server's own.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, Literal

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"

Kind = Literal["text", "bytes", "bool"]
Field = tuple[str, "Kind | Message", Literal["", "list", "map"]]
Message = dict[int, Field]


def _texts(*names: str) -> Message:
    """A message whose fields, counted from 1, are all strings."""
    return {number: (name, "text", "") for number, name in enumerate(names, start=1)}


_METADATA: Message = {
    **_texts("name", "generateName", "namespace"),
    5: ("uid", "text", ""),
    6: ("resourceVersion", "text", ""),
    11: ("labels", "text", "map"),
    12: ("annotations", "text", "map"),
    14: ("finalizers", "text", "list"),
}
_OBJECT: Message = {1: ("metadata", _METADATA, "")}
_RULE: Message = {
    number: (name, "text", "list")
    for number, name in enumerate(("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs"), start=1)
}
_ROLE: Message = {**_OBJECT, 2: ("rules", _RULE, "list")}
_BINDING: Message = {
    **_OBJECT,
    2: ("subjects", _texts("kind", "apiGroup", "name", "namespace"), "list"),
    3: ("roleRef", _texts("apiGroup", "kind", "name"), ""),
}
_SELF_REVIEW: Message = {
    1: ("resourceAttributes", _texts("namespace", "verb", "group", "version", "resource", "subresource", "name"), ""),
    2: ("nonResourceAttributes", _texts("path", "verb"), ""),
}
_REVIEW: Message = {**_SELF_REVIEW, 3: ("user", "text", ""), 4: ("groups", "text", "list")}

_KINDS: dict[str, Message] = {
    "ClusterRole": _ROLE,
    "ClusterRoleBinding": _BINDING,
    "ConfigMap": {
        **_OBJECT,
        2: ("data", "text", "map"),
        3: ("binaryData", "bytes", "map"),
        4: ("immutable", "bool", ""),
    },
    "DeleteOptions": {2: ("preconditions", _texts("uid", "resourceVersion"), ""), 4: ("propagationPolicy", "text", "")},
    "Namespace": {**_OBJECT, 2: ("spec", {1: ("finalizers", "text", "list")}, "")},
    "Role": _ROLE,
    "RoleBinding": _BINDING,
    "Secret": {
        **_OBJECT,
        2: ("data", "bytes", "map"),
        3: ("type", "text", ""),
        4: ("stringData", "text", "map"),
        5: ("immutable", "bool", ""),
    },
    "SelfSubjectAccessReview": {**_OBJECT, 2: ("spec", _SELF_REVIEW, "")},
    "ServiceAccount": {**_OBJECT, 4: ("automountServiceAccountToken", "bool", "")},
    "SubjectAccessReview": {**_OBJECT, 2: ("spec", _REVIEW, "")},
}

_ENVELOPE: Message = {1: ("type", _texts("apiVersion", "kind"), ""), 2: ("raw", "bytes", "")}


def decode(body: bytes) -> dict[str, Any] | None:
    """The object in a body as JSON would have it, or None for a kind not known here. Raises ValueError."""
    if not body.startswith(_MAGIC):
        raise ValueError("not a Kubernetes protocol buffer")
    envelope = _message(memoryview(body)[len(_MAGIC) :], _ENVELOPE)
    identity = envelope.get("type", {})
    message = _KINDS.get(identity.get("kind", ""))
    if message is None:
        return None
    return {**identity, **_message(memoryview(base64.b64decode(envelope.get("raw", ""))), message)}


def _message(data: memoryview, message: Message) -> dict[str, Any]:
    decoded: dict[str, Any] = {}
    for number, value in _fields(data):
        if number not in message:
            continue
        name, kind, shape = message[number]
        if shape == "map":
            entry = _message(_bytes(value), {1: ("key", "text", ""), 2: ("value", kind, "")})
            decoded.setdefault(name, {})[entry.get("key", "")] = entry.get("value", "")
        elif shape == "list":
            decoded.setdefault(name, []).append(_value(value, kind))
        elif (single := _value(value, kind)) not in ("", {}):
            # Go's encoder writes empty fields too; JSON leaves them out.
            decoded[name] = single
    return decoded


def _value(value: int | memoryview, kind: Kind | Message) -> Any:
    if isinstance(kind, dict):
        return _message(_bytes(value), kind)
    match kind:
        case "text":
            return str(_bytes(value), "utf-8")
        case "bytes":
            return base64.b64encode(_bytes(value)).decode()
        case "bool":
            return bool(value)


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where bytes belong")
    return value


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message: number and value, which is a number or bytes."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        match tag & 7:
            case 0:
                value, position = _varint(data, position)
                yield tag >> 3, value
            case 2:
                length, position = _varint(data, position)
                if position + length > len(data):
                    raise ValueError("cut short")
                yield tag >> 3, data[position : position + length]
                position += length
            case wire_type:
                raise ValueError(f"wire type {wire_type} is not used by these kinds")


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    result = shift = 0
    while position < len(data):
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
        shift += 7
    raise ValueError("cut short")
