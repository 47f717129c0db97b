"""How a parameter is declared, once: its parsing, the text of its 400 and its part of OpenAPI all come from there.

    @dataclass(frozen=True, kw_only=True)
    class Parameters:
        limit: int = parameter(whole_number(1, 500), "Size of the page.", example=50, default=100)

    read(Parameters, query_string_fields(b"limit=50"), in_query_string=True).limit

In a query string everything is text, and callers concatenate it unescaped; in a body numbers are numbers. An empty
value counts as an absent one unless the kind has a meaning for it, and so does `null`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from urllib.parse import unquote_to_bytes
from uuid import UUID

import msgspec

from presenter.errors import BadRequest

T = TypeVar("T")
Value = TypeVar("Value")

MAX_TEXT = 256
_LONGEST_SHOWN = 100
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+ -]\d\d:[0-5]\d)")
_NULL = (None, "null", "NULL")


@dataclass(frozen=True)
class Kind(Generic[T]):
    """What a value may be: `allowed` says it in words, `schema` in JSON Schema.

    `read` takes a value and whether it is text of a query string, and raises ValueError for what is not allowed.
    """

    allowed: str
    schema: Mapping[str, Any]
    read: Callable[[object, bool], T]
    reads_empty: bool = False
    reads_null: bool = False


@dataclass(frozen=True)
class Parameter:
    """What `parameter` declares."""

    kind: Kind[Any]
    description: str
    example: object
    default: object = dataclasses.MISSING

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is dataclasses.MISSING

    def is_absent(self, value: object) -> bool:
        """Whether a value counts as none."""
        if value is None:
            return not (self.kind.reads_null or self.required)
        return value == "" and not self.kind.reads_empty


def parameter(kind: Kind[Any], description: str, *, example: object, default: object = dataclasses.MISSING) -> Any:
    """The declaration of a parameter, as a field of a dataclass. Without a default it must be given."""
    declared = Parameter(kind, description, example, default)
    if declared.required:
        return dataclasses.field(metadata={"parameter": declared})
    return dataclasses.field(default=default, metadata={"parameter": declared})


def parameters_of(declared: type[Any]) -> Mapping[str, Parameter]:
    """The parameters that a class declares, by their names."""
    return {field.name: field.metadata["parameter"] for field in dataclasses.fields(declared)}


# -- kinds -----------------------------------------------------------------------------------------------------------


def text(what: str = "", *, longest: int = MAX_TEXT, pattern: str | None = None) -> Kind[str]:
    """Text without NUL, which PostgreSQL cannot have. `what` it is stands in front of how long it may be."""
    allowed = f"text of at most {longest} characters"
    schema = {"type": "string", "maxLength": longest} | ({"pattern": f"^{pattern}$"} if pattern else {})
    return Kind(f"{what}; {allowed}" if what else allowed, schema, lambda value, _: _text(value, longest, pattern))


def api_group() -> Kind[str]:
    """An API group; `core`, or nothing, is the one that Kubernetes calls by the empty name."""

    def read(value: object, _: bool) -> str:
        group = _text(value, MAX_TEXT)
        return "" if group == "core" else group

    plain = text("an API group, or core")
    return Kind(plain.allowed, plain.schema, read, reads_empty=True)


def boolean() -> Kind[bool]:
    """True or false, in any letter case where it is text."""

    def read(value: object, is_text: bool) -> bool:
        if is_text and isinstance(value, str):
            value = {"true": True, "false": False}.get(value.lower())
        if value is True or value is False:
            return value
        raise ValueError

    return Kind("true or false", {"type": "boolean"}, read)


def choice(*names: str) -> Kind[str]:
    """One of these words."""

    def read(value: object, _: bool) -> str:
        if not isinstance(value, str) or value not in names:
            raise ValueError
        return value

    allowed = " or ".join(names) if len(names) == 2 else f"one of {', '.join(names)}"
    return Kind(allowed, {"type": "string", "enum": list(names)}, read)


def whole_number(least: int, most: int, *, null: int | None = None) -> Kind[int]:
    """A number of these; `null` is what null stands for, since jq makes that of what was not given."""

    def read(value: object, is_text: bool) -> int:
        if null is not None and value in _NULL:
            return null
        if is_text and isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError
        return value

    allowed = f"a whole number from {least} to {most}"
    schema: dict[str, Any] = {"type": "integer", "minimum": least, "maximum": most}
    if null is None:
        return Kind(allowed, schema, read)
    schema["type"] = ["integer", "null"]
    return Kind(f"{allowed}, or null for {null}", schema, read, reads_null=True)


def token(allowed: str, *, longest: int) -> Kind[str | None]:
    """Text whose meaning is tested elsewhere; null is none, since jq makes that of what was not given."""

    def read(value: object, _: bool) -> str | None:
        return None if value in _NULL else _text(value, longest)

    return Kind(allowed, {"type": ["string", "null"], "maxLength": longest}, read, reads_null=True)


def uuid(example: str) -> Kind[str]:
    """A UUID in its usual form."""

    def read(value: object, _: bool) -> str:
        if not isinstance(value, str) or not _UUID.fullmatch(value):
            raise ValueError
        return str(UUID(value))

    return Kind(f"a UUID like {example}", {"type": "string", "format": "uuid"}, read)


def timestamp(example: str) -> Kind[datetime]:
    """A moment as RFC 3339 writes it, with its zone."""

    def read(value: object, _: bool) -> datetime:
        if not isinstance(value, str) or not _TIMESTAMP.fullmatch(value):
            raise ValueError
        moment = datetime.fromisoformat(value.upper().replace(" ", "+"))  # an unescaped `+` arrives as a space
        try:
            return moment.astimezone(UTC)
        except OverflowError as error:
            raise ValueError from error

    return Kind(f"an RFC 3339 timestamp like {example}", {"type": "string", "format": "date-time"}, read)


def label_set(*, longest: int) -> Kind[dict[str, str] | None]:
    """Labels and their values, as a JSON object; null is none, since jq makes that of what was not given."""

    def read(value: object, is_text: bool) -> dict[str, str] | None:
        if value is None or (is_text and value in _NULL):
            return None
        if is_text and isinstance(value, str):
            if len(value) > longest:
                raise ValueError
            value = decoded(value)
        elif len(msgspec.json.encode(value)) > longest:
            raise ValueError
        if not isinstance(value, dict) or "" in value:
            raise ValueError
        for key, label in value.items():
            if not isinstance(label, str) or "\x00" in key or "\x00" in label:
                raise ValueError
        return value

    return Kind(
        f"a JSON object of strings under non-empty keys, at most {longest} characters",
        {"type": ["object", "null"], "additionalProperties": {"type": "string"}},
        read,
        reads_null=True,
    )


def _text(value: object, longest: int, pattern: str | None = None) -> str:
    if not isinstance(value, str) or len(value) > longest or "\x00" in value:
        raise ValueError
    if pattern is not None and not re.fullmatch(pattern, value):
        raise ValueError
    return value


# -- from what came to values ------------------------------------------------------------------------------------------

Declared = TypeVar("Declared")


def read(
    declared: type[Declared], given: Mapping[str, object], *, in_query_string: bool, lenient: bool = False
) -> Declared:
    """The values of what a class declares. Raises BadRequest naming the parameter, what came and what is allowed.

    What it does not declare is refused, unless `lenient`.
    """
    parameters = parameters_of(declared)
    values = {}
    for name, known in parameters.items():
        if name not in given:
            if known.required:
                raise BadRequest(f"{name} is missing: give {known.kind.allowed}")
        elif not known.is_absent(given[name]):
            try:
                values[name] = known.kind.read(given[name], in_query_string)
            except ValueError as error:
                raise BadRequest(f"{name} is {shown(given[name])}: allowed is {known.kind.allowed}") from error
    for name in given:
        if name not in parameters and not lenient:
            raise BadRequest(f"there is no parameter {shown(name)}: allowed are {', '.join(parameters)}")
    return declared(**values)


def query_string_fields(query_string: bytes, *, lenient: bool = False) -> dict[str, str]:
    """What a query string has, by name. Raises BadRequest for what is not UTF-8.

    So does what is given twice, unless `lenient`: then the first counts.
    """
    fields: dict[str, str] = {}
    for piece in filter(None, query_string.split(b"&")):
        raw_name, _, raw_value = piece.partition(b"=")
        try:
            name, value = (unquote_to_bytes(raw.replace(b"+", b" ")).decode() for raw in (raw_name, raw_value))
        except UnicodeDecodeError as error:
            raise BadRequest(f"parameter {shown(raw_name.decode('latin-1'))} is not UTF-8") from error
        _add(fields, name, value, lenient=lenient)
    return fields


def body_fields(body: bytes, declared: type[Any], *, lenient: bool = False) -> dict[str, object]:
    """What a JSON body has, by name: of what a class declares, in any letter case, as Go reads it.

    Raises BadRequest when it is no JSON object. What is given twice is treated as in `query_string_fields`.
    """
    if not body.strip():
        raise BadRequest('the body is empty: send a JSON object like {"group": "apps", "namespace": "*"}')
    try:
        fields = decoded(body)
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise BadRequest(f"the body is {shown(fields)}: allowed is a JSON object with the parameters as its fields")
    names = parameters_of(declared)
    named: dict[str, object] = {}
    for name, value in fields.items():
        _add(named, folded if (folded := name.lower()) in names else name, value, lenient=lenient)
    return named


def _add(fields: dict[str, Value], name: str, value: Value, *, lenient: bool) -> None:
    if name not in fields:
        fields[name] = value
    elif not lenient:
        raise BadRequest(f"parameter {name} is given twice: {shown(fields[name])} and {shown(value)}")


def decoded(json: str | bytes) -> Any:
    """What JSON says. Raises ValueError for what is none, or is nested as no request is."""
    try:
        return msgspec.json.decode(json)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def shown(value: object) -> str:
    """A value as a message repeats it, cut short where it is long."""
    written = repr(value)
    return written if len(written) <= _LONGEST_SHOWN else f"{written[:_LONGEST_SHOWN]}…"
