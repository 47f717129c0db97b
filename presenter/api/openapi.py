"""The OpenAPI document: of routes, from their endpoints; parameters and answers from the types that declare them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

import msgspec

from presenter import __version__
from presenter.api.answers import ItemPage
from presenter.api.declarations import parameters_of
from presenter.api.freshness import LAG, STATE
from presenter.api.pages.paginated import PaginatedResponse
from presenter.api.pages.parameters import PageParameters
from presenter.api.parameters import POSITION, ChangesParameters, DetailParameters, ListParameters, parse_list_query
from presenter.api.routes import Route
from presenter.apimachinery.errors import status_of
from presenter.cache.items import Item
from presenter.errors import BadRequest
from presenter.resource import State

TITLE = "resources-presenter"
_DESCRIPTION = """
Objects of Kubernetes clusters, as sorted and filtered pages. Follow `cursor` until it is absent. Send the token of your
portal session, or one from `presenter token`, as `Authorization: Bearer …`.
"""

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
_EVENTS = f"""retry: 1000
id: 1048611-5f2c81d4a1b2c3d4

event: MODIFIED
data: {msgspec.json.encode(_ITEM).decode()}
id: 1048612-5f2c81d4a1b2c3d4

"""
_NUMBERED_PAGE = "PaginatedResponse_Resource"
_NUMBERED_PAGE_EXAMPLE = {
    "data": [_ITEM],
    "pagination": {
        "page": 2,
        "per_page": 50,
        "total_items": 1250,
        "total_pages": 25,
        "has_next": True,
        "has_prev": True,
        "next_cursor": "pW7mX0mR2mJx6o0Y1m0Vw5UBAMPEDCvA",
        "prev_cursor": "0p2eR1mDq3nX7hTq9k1Jv5UBAMPEDCvB",
    },
    "links": {
        "self": "/resources?group=widgets.templates.krateo.io&page=2",
        "first": "/resources?page=1&per_page=50&group=widgets.templates.krateo.io",
        "last": "/resources?page=25&per_page=50&group=widgets.templates.krateo.io",
        "next": "/resources?page=3&per_page=50&group=widgets.templates.krateo.io",
        "prev": "/resources?page=1&per_page=50&group=widgets.templates.krateo.io",
    },
}
_LINK = {
    "Link": {
        "description": "The `links` of a numbered page (RFC 8288); absent where the filters are too long for a header.",
        "schema": {"type": "string"},
        "example": '</resources?page=3&per_page=50&group=apps>; rel="next"',
    },
}
_GLOBAL_UID = {
    "name": "global_uid",
    "in": "path",
    "required": True,
    "description": "`<cluster>:<uid>`, as a list gives it.",
    "schema": {"type": "string"},
    "example": _ITEM["global_uid"],
}
_BODY = {
    "group": "widgets.templates.krateo.io",
    "resource": "panels",
    "namespace": "*",
    "labels": {"krateo.io/portal-page": "compositions"},
    "limit": 50,
    "raw": True,
}

_HEADERS = {
    STATE: {
        "description": "How the watches that bring these objects stand: the worst of them. `live` is how it should be. "
        "Absent when nothing that is watched was asked for.",
        "schema": {"type": "string", "enum": list(get_args(State))},
        "example": "live",
    },
    LAG: {
        "description": "Seconds since the one of them that was silent for longest was last heard of.",
        "schema": {"type": "integer", "minimum": 0},
        "example": 1,
    },
}

_POSITION = {
    POSITION: {
        "description": "From where the changes are followed of what is listed. Absent with `since`.",
        "schema": {"type": "string"},
        "example": "1048611-5f2c81d4a1b2c3d4",
    }
}
_TAG = {
    "ETag": {
        "description": "Send it as `If-None-Match` to be told (304) that the answer is still the same. Absent where a "
        "page ended early for the weight of its objects.",
        "schema": {"type": "string", "pattern": '^(W/)?"[A-Za-z0-9_-]+"$'},
        "example": '"9WcG5ZqVv0oMfZ0mJg0bYA"',
    },
}
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The `ETag` of the answer that the caller has, or several. Allowed: as in RFC 9110; what is "
    "malformed counts for nothing.",
    "schema": {"type": "string"},
    "example": '"9WcG5ZqVv0oMfZ0mJg0bYA"',
}

_FAILURES = {
    400: "A parameter is malformed; the message names it, what came and what is allowed.",
    401: "No token, or one that cannot be trusted.",
    403: "The caller may see nothing of what was asked for.",
    404: "No such object, or no such type or version in this cache.",
    410: "What changed since that position is not known any more, or it is of other filters or rights: list again.",
    406: "`Accept-Encoding` excludes gzip as well as what is not compressed.",
    413: "The body is larger than any request needs to be.",
    429: "As much is being worked on, or not yet read by its callers, as may be. `Retry-After` says when to try again.",
    500: "A mistake of this service.",
    503: "No database, or the first list of a type is not complete. `Retry-After` says when to try again.",
}


# -- schemas -----------------------------------------------------------------------------------------------------------


def _schema_of(struct: type[msgspec.Struct], example: object) -> dict[str, Any]:
    """The JSON Schema of a struct whose fields are left out where they are None, and which refers to items at most."""
    _, components = msgspec.json.schema_components([struct], ref_template="#/components/schemas/Resource")
    schema = _without_null(components[struct.__name__])
    del schema["title"]
    return {**schema, "additionalProperties": False, "example": example}


def _paginated_schemas() -> dict[str, Any]:
    """Those of a numbered page: of resources, and what is the same whatever it is a page of."""
    template = "#/components/schemas/{name}"
    _, components = msgspec.json.schema_components([PaginatedResponse[Item]], ref_template=template)
    page = _without_null(components["PaginatedResponse_Item_"])
    page["title"] = "PaginatedResponse[Resource]"
    page["properties"]["data"]["items"] = {"$ref": template.format(name="Resource")}
    del components["Pagination"]["properties"]["total_items_estimated"]["default"]
    return {
        _NUMBERED_PAGE: {**page, "additionalProperties": False, "example": _NUMBERED_PAGE_EXAMPLE},
        "Pagination": {**components["Pagination"], "additionalProperties": False},
        "Links": {**components["Links"], "additionalProperties": False},
    }


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Fields that are left out where they are None are never null."""
    for field in schema["properties"].values():
        field.pop("default", None)
        if "anyOf" in field:
            [kind] = [option for option in field.pop("anyOf") if option != {"type": "null"}]
            field.update(kind)
    return schema


def _status_schema() -> dict[str, Any]:
    """The one of failures: what they have is what one of them has."""
    try:
        parse_list_query(b"group=core&limit=0")
    except BadRequest as error:
        example = msgspec.to_builtins(status_of(error))
    fixed = {name: {"const": example[name]} for name in ("kind", "apiVersion", "status")}
    plain = {"metadata": {"type": "object"}, "message": {"type": "string"}, "reason": {"type": "string"}}
    return {
        "type": "object",
        "description": "A failure, as Kubernetes' `metav1.Status`.",
        "properties": {**fixed, **plain, "code": {"type": "integer"}},
        "required": list(example),
        "example": example,
    }


def _reference(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _either(*schemas: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in schemas]}}}


# -- parameters --------------------------------------------------------------------------------------------------------


def _parameter_schemas(declared: type[Any]) -> dict[str, dict[str, Any]]:
    """The schema of each parameter, with its description and default."""
    schemas = {}
    for name, known in parameters_of(declared).items():
        description = f"{known.description} Allowed: {known.kind.allowed}."
        schema = schemas[name] = {**known.kind.schema, "description": description}
        if not known.required and known.default is not None:
            schema["default"] = known.default
    return schemas


def _query_parameters(declared: type[Any]) -> list[dict[str, Any]]:
    described = []
    for name, schema in _parameter_schemas(declared).items():
        known = parameters_of(declared)[name]
        parameter = {"name": name, "in": "query", "required": known.required, "description": schema.pop("description")}
        if schema["type"] == "object":  # which is JSON in the query string
            parameter["content"] = {"application/json": {"schema": schema, "example": known.example}}
        else:
            parameter |= {"schema": schema, "example": known.example}
        described.append(parameter)
    return described


def _body_of(declared: type[Any], example: Mapping[str, Any]) -> dict[str, Any]:
    parameters = parameters_of(declared)
    properties = {
        name: {**schema, "examples": [parameters[name].example]}
        for name, schema in _parameter_schemas(declared).items()
    }
    schema = {
        "type": "object",
        "properties": properties,
        "required": [name for name, known in parameters.items() if known.required],
        "additionalProperties": False,
    }
    return {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}


# -- operations --------------------------------------------------------------------------------------------------------


def _failures(*codes: int) -> dict[str, Any]:
    return {str(code): {"description": _FAILURES[code], "content": _reference("Status")} for code in codes}


def _resources(
    summary: str,
    success: str,
    *failures: int,
    parameters: Sequence[Any] | None = None,
    content: Mapping[str, Any] | None = None,
    also: Mapping[str, Any] | None = None,
    is_list: bool = True,
    **more: Any,
) -> dict[str, Any]:
    """What has parameters has a tag, too; what has a body has none. `also` are more headers of a success."""
    headers, unchanged = _HEADERS | (_POSITION if is_list else {}), {}
    if parameters is not None:
        headers = headers | _TAG
        more["parameters"] = [*parameters, _IF_NONE_MATCH]
        unchanged = {"304": {"description": "The caller has the answer (`If-None-Match`).", "headers": headers}}
    responses = {
        "200": {
            "description": success,
            "headers": {**headers, **(also or {})},
            "content": content or _reference("ResourcePage"),
        },
        **unchanged,
        **_failures(*failures),
    }
    return {"tags": ["resources"], "summary": summary, "security": [{"token": []}], "responses": responses, **more}


def _health(summary: str, *responses: tuple[int, str], media_type: str) -> dict[str, Any]:
    content: dict[str, Any] = {media_type: {"schema": {}}}
    described = {str(code): {"description": description, "content": content} for code, description in responses}
    return {"tags": ["health"], "summary": summary, "responses": described}


LIST = _resources(
    "List objects",
    "A page of objects: a numbered one with `page` or `per_page`.",
    *(400, 401, 403, 404, 406, 429, 500, 503),
    parameters=_query_parameters(PageParameters),
    content=_either("ResourcePage", _NUMBERED_PAGE),
    also=_LINK,
)
LIST_BY_BODY = _resources(
    "List objects, with the parameters as a JSON body",
    "A page of objects.",
    *(400, 401, 403, 404, 406, 413, 429, 500, 503),
    requestBody=_body_of(ListParameters, _BODY),
)
DETAIL = _resources(
    "Get one object",
    "The object, as the only item.",
    *(400, 401, 403, 404, 406, 429, 500, 503),
    is_list=False,
    parameters=[_GLOBAL_UID, *_query_parameters(DetailParameters)],
)
CHANGES = {
    "tags": ["resources"],
    "summary": "Follow changes",
    "security": [{"token": []}],
    "parameters": [
        *_query_parameters(ChangesParameters),
        {
            "name": "Last-Event-ID",
            "in": "header",
            "required": False,
            "description": "The last `id` that came; it goes before `since_revision`.",
            "schema": {"type": "string"},
            "example": "1048611-5f2c81d4a1b2c3d4",
        },
    ],
    "responses": {
        "200": {
            "description": "The stream.",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EVENTS}},
        },
        **_failures(400, 401, 403, 404, 406, 410, 429, 500, 503),
    },
}
LIVEZ = _health("Is the process alive?", (200, "It is."), media_type="text/plain")
READYZ = _health(
    "Can it answer?", (200, "It can."), (503, "Not yet; `reason` says why."), media_type="application/json"
)
METRICS = _health("Prometheus metrics", (200, "The metrics."), media_type="text/plain")


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """The document that describes these routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if route.operation is not None:
            paths.setdefault(route.path, {})[route.method.lower()] = _described(route)
    page = {"count": 1, "items": [_ITEM], "cursor": parameters_of(ListParameters)["cursor"].example}
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "description": _DESCRIPTION, "version": __version__},
        "paths": paths,
        "components": {
            "schemas": {
                "Resource": _schema_of(Item, _ITEM),
                "ResourcePage": _schema_of(ItemPage, page),
                **_paginated_schemas(),
                "Status": _status_schema(),
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _described(route: Route) -> dict[str, Any]:
    """An operation, with what its endpoint's name and docstring say."""
    name = route.endpoint.__name__
    identifier = re.sub(r"\W", "_", f"{name}{route.path}") + f"_{route.method.lower()}"
    description = inspect.getdoc(route.endpoint)
    return {"operationId": identifier, "description": description, **(route.operation or {})}
