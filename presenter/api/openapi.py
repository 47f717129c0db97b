"""How the endpoints describe themselves in `/openapi.json`: parameters from their declarations, answers by example."""

from __future__ import annotations

from typing import Any, get_args

from fastapi import FastAPI

from presenter.api.freshness import LAG, STATE
from presenter.api.parameters import DetailParameters, ListParameters
from presenter.resource import State

_ITEM = {
    "name": "fireworks-panel",
    "uid": "6f1c2a34-9d7b-4c55-8a10-0f6b5f0f3c21",
    "global_uid": "prod-eu:6f1c2a34-9d7b-4c55-8a10-0f6b5f0f3c21",
    "namespace": "demo-system",
    "group": "widgets.templates.krateo.io",
    "version": "v1beta1",
    "kind": "Panel",
    "resource": "panels",
    "cluster_name": "prod-eu",
    "created_at": "2026-03-01T10:00:00Z",
    "updated_at": "2026-03-06T14:30:00.123456Z",
    "composition_id": "3f0c1d8e-7a53-4d6f-9b2e-5c1a7e9d4b60",
}
_CURSOR = "pW7mX0mR2mJx6o0Y1m0Vw5UBAMPEDCvA"

_TEXT = {"type": "string"}
_TIME = {"type": "string", "format": "date-time"}
_OBJECT = {"type": "object", "additionalProperties": True}

_SCHEMAS: dict[str, Any] = {
    "Resource": {
        "type": "object",
        "description": "One object of the cluster.",
        "properties": {
            "name": _TEXT,
            "uid": _TEXT,
            "global_uid": {**_TEXT, "description": "`<cluster>:<uid>`, which the detail endpoint takes."},
            "namespace": {**_TEXT, "description": "Empty for cluster-scoped objects."},
            "group": {**_TEXT, "description": "Empty for the core group."},
            "version": _TEXT,
            "kind": _TEXT,
            "resource": _TEXT,
            "cluster_name": _TEXT,
            "created_at": _TIME,
            "updated_at": {**_TIME, "description": "When the object's last change was stored."},
            "composition_id": {**_TEXT, "format": "uuid", "description": "Only where the object has one."},
            "raw": {
                **_OBJECT,
                "description": "The object as the API server serves it, less `metadata.managedFields`.",
            },
            "status_raw": {"description": "The object's `status`, where it has one."},
        },
        "required": [name for name in _ITEM if name != "composition_id"],
        "additionalProperties": False,
        "example": _ITEM,
    },
    "ResourcePage": {
        "type": "object",
        "properties": {
            "count": {
                "type": "integer",
                "minimum": 0,
                "maximum": 5000,
                "description": "Items on this page: fewer than `limit` on the last, and where objects are large.",
            },
            "items": {"type": "array", "items": {"$ref": "#/components/schemas/Resource"}},
            "cursor": {
                **_TEXT,
                "pattern": "^[A-Za-z0-9_-]+$",
                "description": "Pass it as `cursor` for the next page. Absent on the last page.",
            },
            "warnings": {
                "type": "array",
                "items": _TEXT,
                "description": "Why the page may not be what was meant.",
            },
        },
        "required": ["count", "items"],
        "additionalProperties": False,
        "example": {"count": 1, "items": [_ITEM], "cursor": _CURSOR},
    },
    "Status": {
        "type": "object",
        "description": "A failure, as Kubernetes' `metav1.Status`.",
        "properties": {
            "kind": {"const": "Status"},
            "apiVersion": {"const": "v1"},
            "metadata": {"type": "object"},
            "status": {"const": "Failure"},
            "message": _TEXT,
            "reason": _TEXT,
            "code": {"type": "integer"},
        },
        "required": ["kind", "apiVersion", "metadata", "status", "message", "reason", "code"],
        "example": {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": "limit is '0': allowed is a whole number from 1 to 5000, or null for 5000",
            "reason": "BadRequest",
            "code": 400,
        },
    },
}

_HEADERS = {
    STATE: {
        "description": "How the watches that bring these objects stand: the worst of them. `live` is how it should be. "
        "Absent when nothing that is watched was asked for.",
        "schema": {**_TEXT, "enum": list(get_args(State))},
        "example": "live",
    },
    LAG: {
        "description": "Seconds since the one of them that was silent for longest was last heard of.",
        "schema": {"type": "integer", "minimum": 0},
        "example": 1,
    },
}

_FAILURES = {
    400: "A parameter is malformed; the message names it, what came and what is allowed.",
    401: "No token, or one that cannot be trusted.",
    403: "The caller may see nothing of what was asked for.",
    404: "No such object, or no such type or version in this cache.",
    413: "The body is larger than any request needs to be.",
    429: "As much is being worked on, or not yet read by its callers, as may be. `Retry-After` says when to try again.",
    500: "A mistake of this service.",
    503: "No database, or the first list of a type is not complete. `Retry-After` says when to try again.",
}


def _answers(success: str, *failures: int) -> dict[str, Any]:
    def content(schema: str) -> dict[str, Any]:
        return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}

    return {
        "200": {"description": success, "headers": _HEADERS, "content": content("ResourcePage")},
        **{str(code): {"description": _FAILURES[code], "content": content("Status")} for code in failures},
    }


def _schema_of(model: type[ListParameters] | type[DetailParameters]) -> dict[str, Any]:
    schema: dict[str, Any] = model.model_json_schema()
    for name, field in schema["properties"].items():
        allowed = field.pop("x-allowed")
        field.pop("title", None)
        field["description"] = f"{field['description']} Allowed: {allowed}."
        if field.get("default", "") is None:
            del field["default"]
        if "anyOf" in field:
            [kind] = [option for option in field.pop("anyOf") if option != {"type": "null"}]
            field.update(kind)
        if name in ("limit", "cursor"):  # in a body null says "no limit" and "no cursor"
            field["type"] = [field["type"], "null"]
    schema.pop("description", None)
    return schema


def _query_parameters(model: type[ListParameters] | type[DetailParameters]) -> list[dict[str, Any]]:
    schema = _schema_of(model)
    parameters = []
    for name, field in schema["properties"].items():
        examples = field.pop("examples", [])
        parameter = {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "description": field.pop("description"),
        }
        if name == "labels":
            parameter["content"] = {"application/json": {"schema": field, "example": examples[0]}}
        else:
            parameter["schema"] = field
            if examples:
                parameter["example"] = examples[0]
        parameters.append(parameter)
    return parameters


def _route(summary: str, **description: Any) -> dict[str, Any]:
    """What a FastAPI route decorator takes."""
    return {"summary": summary, "openapi_extra": {"security": [{"token": []}], **description}}


LIST = _route(
    "List objects",
    parameters=_query_parameters(ListParameters),
    responses=_answers("A page of objects.", 400, 401, 403, 404, 429, 500, 503),
)
LIST_BY_BODY = _route(
    "List objects, with the parameters as a JSON body",
    requestBody={
        "required": True,
        "content": {
            "application/json": {
                "schema": _schema_of(ListParameters),
                "example": {
                    "group": "widgets.templates.krateo.io",
                    "resource": "panels",
                    "namespace": "*",
                    "labels": {"krateo.io/portal-page": "compositions"},
                    "limit": 50,
                    "raw": True,
                },
            }
        },
    },
    responses=_answers("A page of objects.", 400, 401, 403, 404, 413, 429, 500, 503),
)
DETAIL = _route(
    "Get one object",
    parameters=[
        {
            "name": "global_uid",
            "in": "path",
            "required": True,
            "description": "`<cluster>:<uid>`, as a list gives it.",
            "schema": _TEXT,
            "example": _ITEM["global_uid"],
        },
        *_query_parameters(DetailParameters),
    ],
    responses=_answers("The object, as the only item.", 400, 401, 403, 404, 429, 500, 503),
)


def describe(app: FastAPI) -> None:
    """Complete the application's OpenAPI document with the schemas and the token that the routes refer to."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        document["components"] = {
            "schemas": _SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        }
        for path in document["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI documents this as the way to extend it
