"""The parameters of `/resources`: one declaration that validates, documents, and explains what is wrong.

GET and POST speak of the same fields. In a query string everything is text, and callers concatenate it unescaped; an
empty value counts as an absent one. `null` stands for "no limit" and "no cursor", since jq makes that of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeGuard, TypeVar
from urllib.parse import unquote_to_bytes
from uuid import UUID

import msgspec
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
)
from pydantic.fields import FieldInfo

from presenter.errors import BadRequest

MAX_LIMIT = 5000
DEFAULT_LIMIT = 100
MAX_TEXT = 256
MAX_LABELS = 4096
MAX_CURSOR = 4096
_LONGEST_QUERY_STRING = 16_384
_REMEMBERED_QUERY_STRINGS = 1024

_IN_QUERY_STRING, _IN_BODY = object(), object()
_NULL = ("null", "NULL")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+ -]\d\d:[0-5]\d)")
_BOOLEANS = {"true": True, "false": False}


# -- what the values may be ------------------------------------------------------------------------------------------


def _is_text(value: object, info: ValidationInfo) -> TypeGuard[str]:
    """Whether this is a value in a query string, where everything is text; in a body numbers are numbers."""
    return isinstance(value, str) and info.context is _IN_QUERY_STRING


def _text(longest: int, pattern: re.Pattern[str] | None = None) -> BeforeValidator:
    def check(value: object) -> str:
        if not isinstance(value, str) or len(value) > longest or "\x00" in value:
            raise ValueError
        if pattern and not pattern.fullmatch(value):
            raise ValueError
        return value

    return BeforeValidator(check)


def _limit(value: object, info: ValidationInfo) -> int:
    if value is None or value in _NULL:
        return MAX_LIMIT
    if _is_text(value, info) and re.fullmatch(r"[0-9]{1,9}", value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_LIMIT:
        raise ValueError
    return value


def _boolean(value: object, info: ValidationInfo) -> bool:
    if _is_text(value, info):
        value = _BOOLEANS.get(value.lower())
    if value is True or value is False:
        return value
    raise ValueError


def _labels(value: object, info: ValidationInfo) -> dict[str, str]:
    if _is_text(value, info):
        if len(value) > MAX_LABELS:
            raise ValueError
        value = _json(value)
    elif len(msgspec.json.encode(value)) > MAX_LABELS:
        raise ValueError
    if not isinstance(value, dict) or "" in value or not all(isinstance(text, str) for text in value.values()):
        raise ValueError
    if any("\x00" in text for pair in value.items() for text in pair):
        raise ValueError
    return value


def _json(text: str | bytes) -> Any:
    """Raises ValueError for whatever is not JSON, or nested as no request is."""
    try:
        return msgspec.json.decode(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _timestamp(value: object) -> datetime:
    if not isinstance(value, str) or not _TIMESTAMP.fullmatch(value):
        raise ValueError
    moment = datetime.fromisoformat(value.upper().replace(" ", "+"))  # an unescaped `+` arrives as a space
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError from error


def _uuid(value: object) -> str:
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise ValueError
    return str(UUID(value))


def _cursor(value: object) -> str | None:
    if value is None or value in _NULL:
        return None
    if not isinstance(value, str) or len(value) > MAX_CURSOR:
        raise ValueError
    return value


def _parameter(default: Any, description: str, allowed: str, *examples: object) -> Any:
    return Field(default, description=description, examples=list(examples), json_schema_extra={"x-allowed": allowed})


SHORT_TEXT = f"text of at most {MAX_TEXT} characters"
_Text = Annotated[str, _text(MAX_TEXT)]
_Resource = Annotated[str, _text(MAX_TEXT, re.compile(r"[^A-Z]*"))]
_Group = Annotated[str, AfterValidator(lambda group: "" if group == "core" else group), _text(MAX_TEXT)]
_Boolean = Annotated[bool, BeforeValidator(_boolean)]
SortBy = Literal["created_at", "updated_at", "name", "resource", "global_uid", "composition_id"]
SortOrder = Literal["asc", "desc"]


# -- the declarations ------------------------------------------------------------------------------------------------


class _Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


_Model = TypeVar("_Model", bound=_Parameters)


class DetailParameters(_Parameters):
    """What may be asked of one object. `group` and `resource` matter where it is served as several types."""

    group: _Group | None = _parameter(
        None,
        "API group of the item, where a cluster serves one object in several, as it does events. Without it: the "
        "first that the caller may see, in the order of groups and resource types.",
        f"an API group, or core; {SHORT_TEXT}",
        "events.k8s.io",
    )
    resource: _Resource | None = _parameter(
        None,
        "Resource type of the item, likewise.",
        f"the lower-case plural of a resource type; {SHORT_TEXT}",
        "events",
    )
    raw: _Boolean = _parameter(True, "Include the whole object.", "true or false", False)
    status_raw: _Boolean = _parameter(True, "Include the object's `status`.", "true or false", False)


class ListParameters(_Parameters):
    """What may be asked of the list; all filters must hold."""

    group: _Group = _parameter(
        ...,
        "API group. `core`, or empty, is the core group.",
        f"an API group, or core; {SHORT_TEXT}",
        "widgets.templates.krateo.io",
    )
    version: _Text | None = _parameter(
        None,
        "API version the type is served in. One that is not cached is given where it differs by its name alone.",
        SHORT_TEXT,
        "v1beta1",
    )
    resource: _Resource | None = _parameter(
        None,
        "Resource type: its plural. Without it: every cached type of the group.",
        f"the lower-case plural of a resource type; {SHORT_TEXT}",
        "panels",
    )
    namespace: _Text = _parameter(
        "default",
        "Namespace; `*`: all that the caller may see. Does not concern cluster-scoped types.",
        f"a namespace, or *; {SHORT_TEXT}",
        "*",
    )
    cluster: _Text | None = _parameter(None, "Name of the cluster, exactly.", SHORT_TEXT, "prod-eu")
    composition_id: Annotated[str, BeforeValidator(_uuid)] | None = _parameter(
        None,
        "Composition the object belongs to.",
        "a UUID like 3f0c1d8e-7a53-4d6f-9b2e-5c1a7e9d4b60",
        "3f0c1d8e-7a53-4d6f-9b2e-5c1a7e9d4b60",
    )
    name: _Text | None = _parameter(
        None, "Name, exactly. Not together with `name_contains`.", SHORT_TEXT, "fireworks-panel"
    )
    name_contains: _Text | None = _parameter(
        None,
        "Part of the name: A to Z in either case, other characters as they are. Not together with `name`.",
        SHORT_TEXT,
        "fireworks",
    )
    labels: Annotated[dict[str, str], BeforeValidator(_labels)] | None = _parameter(
        None,
        "Labels the object must carry, all of them.",
        f"a JSON object of strings under non-empty keys, at most {MAX_LABELS} characters",
        {"krateo.io/portal-page": "compositions"},
    )
    since: Annotated[datetime, BeforeValidator(_timestamp)] | None = _parameter(
        None,
        "Only what changed at or after this moment (`updated_at`).",
        "an RFC 3339 timestamp like 2026-03-01T10:00:00Z",
        "2026-03-01T10:00:00Z",
    )
    raw: _Boolean = _parameter(False, "Include the whole object.", "true or false", True)
    status_raw: _Boolean = _parameter(False, "Include the object's `status`.", "true or false", True)
    sort_by: SortBy = _parameter(
        "created_at",
        "Order: `resource` is by namespace, then name; with `composition_id` objects without one come last.",
        "one of created_at, updated_at, name, resource, global_uid, composition_id",
        "name",
    )
    sort_order: SortOrder | None = _parameter(
        None, "Direction. Without it: desc for times, asc for the rest.", "asc or desc", "asc"
    )
    limit: Annotated[int, BeforeValidator(_limit)] = _parameter(
        DEFAULT_LIMIT,
        f"Size of the page; `null`: {MAX_LIMIT}.",
        f"a whole number from 1 to {MAX_LIMIT}, or null for {MAX_LIMIT}",
        50,
    )
    cursor: Annotated[str | None, BeforeValidator(_cursor)] = _parameter(
        None,
        "The `cursor` of the previous page; absent, empty or `null`: the first page.",
        "the cursor of a previous page as it came",
        "pW7mX0mR2mJx6o0Y1m0Vw5UBAMPEDCvA",
    )

    @property
    def descending(self) -> bool:
        """The direction that is meant, where none is said, too."""
        if self.sort_order is None:
            return self.sort_by in ("created_at", "updated_at")
        return self.sort_order == "desc"


# -- from bytes to declarations --------------------------------------------------------------------------------------


def parse_list_query(query_string: bytes) -> ListParameters:
    """The parameters in a query string. A pure function of its bytes, so its answers are remembered.

    Raises BadRequest naming the parameter, what came and what is allowed.
    """
    if len(query_string) > _LONGEST_QUERY_STRING:
        raise BadRequest(f"the query string has {len(query_string)} bytes: allowed are {_LONGEST_QUERY_STRING}")
    return _remembered_list_query(query_string)


@lru_cache(_REMEMBERED_QUERY_STRINGS)
def _remembered_list_query(query_string: bytes) -> ListParameters:
    return _list_parameters(_fields(query_string), _IN_QUERY_STRING)


def parse_list_body(body: bytes) -> ListParameters:
    """The parameters in a JSON body. Raises BadRequest like `parse_list_query`."""
    if not body.strip():
        raise BadRequest('the body is empty: send a JSON object like {"group": "apps", "namespace": "*"}')
    try:
        fields = _json(body)
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise BadRequest(f"the body is {_shown(fields)}: allowed is a JSON object with the parameters as its fields")
    return _list_parameters(fields, _IN_BODY)


def parse_detail_query(query_string: bytes) -> DetailParameters:
    """The parameters of a detail. Raises BadRequest like `parse_list_query`."""
    return _validated(DetailParameters, _fields(query_string), _IN_QUERY_STRING)


def _fields(query_string: bytes) -> dict[str, str]:
    fields: dict[str, str] = {}
    for piece in filter(None, query_string.split(b"&")):
        raw_name, _, raw_value = piece.partition(b"=")
        try:
            name, value = (unquote_to_bytes(raw.replace(b"+", b" ")).decode() for raw in (raw_name, raw_value))
        except UnicodeDecodeError as error:
            raise BadRequest(f"parameter {_shown(raw_name.decode('latin-1'))} is not UTF-8") from error
        if name in fields:
            raise BadRequest(f"parameter {name} is given twice: {_shown(fields[name])} and {_shown(value)}")
        fields[name] = value
    return fields


def _list_parameters(fields: Mapping[str, object], where: object) -> ListParameters:
    parameters = _validated(ListParameters, fields, where)
    if parameters.name is not None and parameters.name_contains is not None:
        raise BadRequest(
            f"name is {_shown(parameters.name)} and name_contains is {_shown(parameters.name_contains)}: "
            "allowed is one of the two"
        )
    return parameters


def _validated(model: type[_Model], fields: Mapping[str, object], where: object) -> _Model:
    given = {name: value for name, value in fields.items() if not _counts_as_absent(name, value, model)}
    try:
        return model.model_validate(given, context=where)
    except ValidationError as error:
        raise BadRequest(_explain(model, error, given)) from error


def _counts_as_absent(name: str, value: object, model: type[_Parameters]) -> bool:
    if name == "group" or name not in model.model_fields:
        return False
    return value == "" or (value is None and name not in ("limit", "cursor"))


def _explain(model: type[_Parameters], error: ValidationError, given: Mapping[str, object]) -> str:
    name = str(error.errors(include_url=False, include_context=False)[0]["loc"][0])
    field = model.model_fields.get(name)
    if field is None:
        return f"there is no parameter {_shown(name)}: allowed are {', '.join(model.model_fields)}"
    if name not in given:
        return f"{name} is missing: give {_allowed(field)}"
    return f"{name} is {_shown(given[name])}: allowed is {_allowed(field)}"


def _allowed(field: FieldInfo) -> str:
    assert isinstance(field.json_schema_extra, dict)  # every field is declared by `_parameter`
    return str(field.json_schema_extra["x-allowed"])


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}…"
