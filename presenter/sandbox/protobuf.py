"""Request bodies in Kubernetes' protocol buffer encoding, for the few kinds that kubectl and helm send in it.

Source: staging/src/k8s.io/api/*/generated.proto and, for the envelope, apimachinery's runtime/generated.proto.
Only what a client sets is decoded: times and managed fields are the server's own.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"

Message = dict[int, "str | tuple[str, Message]"]
"""The fields of a message by number: the name of a string, or a name and a message; `[]` behind it: a list of these.

`{}`: a map of strings; `=`, `={}`: bytes, and a map of bytes; `?`: a bool.
"""


def _strings(*names: str) -> Message:
    """A message whose fields, counted from 1, are strings, or as their names say."""
    return dict(enumerate(names, start=1))


_METADATA: Message = _strings("name", "generateName", "namespace") | {
    5: "uid",
    6: "resourceVersion",
    11: "labels{}",
    12: "annotations{}",
    14: "finalizers[]",
}
_OBJECT: Message = {1: ("metadata", _METADATA)}
_RULE = _strings("verbs[]", "apiGroups[]", "resources[]", "resourceNames[]", "nonResourceURLs[]")
_ROLE: Message = {**_OBJECT, 2: ("rules[]", _RULE)}
_BINDING: Message = {
    **_OBJECT,
    2: ("subjects[]", _strings("kind", "apiGroup", "name", "namespace")),
    3: ("roleRef", _strings("apiGroup", "kind", "name")),
}
_SELF_REVIEW: Message = {
    1: ("resourceAttributes", _strings("namespace", "verb", "group", "version", "resource", "subresource", "name")),
    2: ("nonResourceAttributes", _strings("path", "verb")),
}
_KINDS: dict[str, Message] = {
    "ClusterRole": _ROLE,
    "ClusterRoleBinding": _BINDING,
    "ConfigMap": {**_OBJECT, 2: "data{}", 3: "binaryData={}", 4: "immutable?"},
    "DeleteOptions": {2: ("preconditions", _strings("uid", "resourceVersion")), 4: "propagationPolicy"},
    "Namespace": {**_OBJECT, 2: ("spec", _strings("finalizers[]"))},
    "Role": _ROLE,
    "RoleBinding": _BINDING,
    "Secret": {**_OBJECT, 2: "data={}", 3: "type", 4: "stringData{}", 5: "immutable?"},
    "SelfSubjectAccessReview": {**_OBJECT, 2: ("spec", _SELF_REVIEW)},
    "ServiceAccount": {**_OBJECT, 4: "automountServiceAccountToken?"},
    "SubjectAccessReview": {**_OBJECT, 2: ("spec", {**_SELF_REVIEW, 3: "user", 4: "groups[]"})},
}
_ENVELOPE: Message = {1: ("type", _strings("apiVersion", "kind")), 2: "raw="}


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
        match message.get(number, ""):
            case "":
                continue
            case (str(field), dict(below)):
                single: Any = _message(_bytes(value), below)
            case str(field):
                single = _single(value, field)
        name = field.rstrip("[]{}=?")
        if field.endswith("{}"):
            decoded.setdefault(name, {}).update(single)
        elif field.endswith("[]"):
            decoded.setdefault(name, []).append(single)
        elif single not in ("", {}):
            # Go's encoder writes empty fields too; JSON leaves them out.
            decoded[name] = single
    return decoded


def _single(value: int | memoryview, field: str) -> Any:
    if field.endswith("{}"):
        entry = _message(_bytes(value), {1: "key", 2: "value=" if "=" in field else "value"})
        return {entry.get("key", ""): entry.get("value", "")}
    if field.endswith("?"):
        return bool(value)
    return base64.b64encode(_bytes(value)).decode() if field.endswith("=") else str(_bytes(value), "utf-8")


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
