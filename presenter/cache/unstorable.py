"""Objects that are valid in Kubernetes, and that PostgreSQL refuses: a number beyond numeric, nesting too deep."""

from __future__ import annotations

import asyncpg
import msgspec

from presenter import raw_json
from presenter.resource import SANITISED, Object, ResourceType

UNSTORABLE = (asyncpg.DataError, asyncpg.ProgramLimitExceededError)
"""How PostgreSQL refuses a value, whatever transaction it comes in."""


class _Metadata(msgspec.Struct):
    resource_version: str = msgspec.field(default="", name="resourceVersion")


_decode = msgspec.json.Decoder(_Metadata).decode


def metadata_only(object: Object, resource_type: ResourceType, reason: str) -> Object:
    """The object with nothing in its body but its identity, and an annotation with the reason."""
    api_version = f"{resource_type.group}/{object.version}" if resource_type.group else object.version
    metadata = {
        "name": object.name,
        **({"namespace": object.namespace} if object.namespace else {}),
        "uid": object.uid,
        **({"resourceVersion": version} if (version := _resource_version(object)) else {}),
        "annotations": {SANITISED: f"only metadata is kept: {reason}"},
    }
    document = {"apiVersion": api_version, "kind": resource_type.kind, "metadata": metadata}
    return msgspec.structs.replace(
        object,
        labels=b"{}",
        raw=msgspec.json.encode(document),
        sanitised=True,
    )


def _resource_version(object: Object) -> str:
    """As text: it may be no number."""
    try:
        return _decode(raw_json.members(object.raw)["metadata"]).resource_version
    except (msgspec.DecodeError, KeyError, RecursionError):
        return "" if object.resource_version is None else str(object.resource_version)
