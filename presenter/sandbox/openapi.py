"""OpenAPI: as much of it as `kubectl apply` and `kubectl explain` ask for."""

from __future__ import annotations

import hashlib
from typing import Any

from presenter.apimachinery import errors
from presenter.sandbox.api_request import Answer
from presenter.sandbox.objects import encode
from presenter.sandbox.registry import Definition, Registry, Version

# kubectl reads /openapi/v2 as a protocol buffer only: this one holds nothing but `swagger: "2.0"`.
_V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_V2 = b"\x0a\x032.0"

Json = dict[str, Any]


def answer(registry: Registry, rest: list[str]) -> Answer:
    """/openapi/v2, /openapi/v3 and /openapi/v3/GROUP-VERSION-PATH. Raises StatusError 404."""
    match rest:
        case ["v2"]:
            return Answer(_V2, content_type=_V2_PROTOBUF)
        case ["v3"]:
            return Answer(encode({"paths": {path: _link(registry, path) for path in _paths(registry)}}))
        case ["v3", *parts] if "/".join(parts) in _paths(registry):
            return Answer(encode(_document(registry, "/".join(parts))))
    raise errors.unknown_path()


def _paths(registry: Registry) -> list[str]:
    return [_path(group, version) for group, versions in registry.groups().items() for version in versions]


def _path(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _link(registry: Registry, path: str) -> Json:
    # Clients keep a document as long as its hash is the same.
    digest = hashlib.sha256(encode(_document(registry, path))).hexdigest().upper()
    return {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}


def _document(registry: Registry, path: str) -> Json:
    found = [(d, v) for d in registry for v in d.versions if _path(d.group, v.name) == path]
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.35.0"},
        "paths": {f"/{path}/{_item(definition)}": _operations(definition, version) for definition, version in found},
        "components": {"schemas": {_model(d, v): _schema(d, v) for d, v in found}},
    }


def _item(definition: Definition) -> str:
    item = f"{definition.plural}/{{name}}"
    return f"namespaces/{{namespace}}/{item}" if definition.namespaced else item


def _operations(definition: Definition, version: Version) -> Json:
    """The operations by which kubectl learns a path's kind, and that the server validates fields itself."""
    identity = _identity(definition, version)
    query = {"in": "query", "schema": {"type": "string", "uniqueItems": True}}
    parameters = [{"name": name, **query} for name in ("dryRun", "fieldManager", "fieldValidation")]
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{_model(definition, version)}"}}}
    responses = {"200": {"description": "OK", "content": content}}
    common = {"x-kubernetes-group-version-kind": identity, "responses": responses}
    return {
        "get": {"x-kubernetes-action": "get", **common},
        "patch": {"x-kubernetes-action": "patch", "parameters": parameters, **common},
    }


def _schema(definition: Definition, version: Version) -> Json:
    schema = version.schema or {"type": "object", "description": f"{definition.kind} of the sandbox."}
    properties = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        **schema.get("properties", {}),
    }
    return {**schema, "properties": properties, "x-kubernetes-group-version-kind": [_identity(definition, version)]}


def _identity(definition: Definition, version: Version) -> Json:
    return {"group": definition.group, "version": version.name, "kind": definition.kind}


def _model(definition: Definition, version: Version) -> str:
    return ".".join(filter(None, (*reversed(definition.group.split(".")), version.name, definition.kind)))
