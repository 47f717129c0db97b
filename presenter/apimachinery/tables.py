"""`meta.k8s.io/v1` Tables: objects as rows of cells, which is what `kubectl get` prints.

Source: k8s.io/apiextensions-apiserver, pkg/registry/customresource/tableconvertor; durations: k8s.io/apimachinery,
pkg/util/duration.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from presenter.apimachinery import golang
from presenter.apimachinery.errors import StatusError, bad_request
from presenter.apimachinery.jsonpath import JSONPath, JSONPathError
from presenter.apimachinery.metadata import PartialObjectMetadata, head, metadata_of
from presenter.apimachinery.status import ListMeta
from presenter.apimachinery.validation import invalid

_NAME = (
    "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a "
    "client to request the generation of an appropriate name automatically. Name is primarily intended for creation "
    "idempotence and configuration definition. Cannot be updated. More info: "
    "https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names"
)
_CREATION_TIMESTAMP = (
    "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed "
    "to be set in happens-before order across separate operations. Clients may not set this value. It is represented "
    "in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
)
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([.,]\d+)?(Z|[+-]\d\d:\d\d)")
_LONGEST = golang.MAX_INT64 // 10**9  # seconds, as Go counts nanoseconds
_INCLUDED = ("", "Metadata", "Object", "None")


@dataclass(frozen=True)
class Column:
    """One of a CustomResourceDefinition's additionalPrinterColumns."""

    name: str
    type: str
    json_path: str
    format: str = ""
    description: str = ""
    priority: int = 0


AGE = Column("Age", "date", ".metadata.creationTimestamp", description=_CREATION_TIMESTAMP)
"""The column that types without printer columns have beside the name."""


class _TableColumnDefinition(msgspec.Struct):
    name: str
    type: str
    format: str
    description: str
    priority: int


@dataclass(frozen=True)
class TableConvertor:
    """What turns objects of a type into cells. A column whose path is none, and those after it, are left out."""

    columns: Sequence[Column]
    _paths: list[JSONPath] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        for column in self.columns:
            try:
                self._paths.append(JSONPath(column.json_path))
            except JSONPathError:
                break

    def definitions(self) -> bytes:
        """The JSON of columnDefinitions."""
        definitions = [_TableColumnDefinition("Name", "string", "name", _NAME, 0)]
        for column, _ in zip(self.columns, self._paths, strict=False):
            description = column.description or (
                f"Custom resource definition column (in JSONPath format): {column.json_path}"
            )
            definitions.append(
                _TableColumnDefinition(column.name, column.type, column.format, description, column.priority)
            )
        return msgspec.json.encode(definitions)

    def cells(self, manifest: dict[str, Any], now: datetime) -> list[Any]:
        """The cells of an object, the first of which is its name."""
        cells = [manifest["metadata"].get("name", "")]
        for column, path in zip(self.columns, self._paths, strict=False):
            try:
                found = path.find(manifest)
            except JSONPathError:
                found = []
            cells.append(cell(column.type, found[0], now) if found else None)
        return cells


def cell(type: str, value: Any, now: datetime) -> str | float | bool | None:
    """What a column of a type shows of a value."""
    if isinstance(value, int) and not golang.MIN_INT64 <= value <= golang.MAX_INT64:
        value = float(value)
    match type, value:
        case "string", None:
            return "<no value>"
        case "string", dict() | list():
            return golang.marshal(value)
        case "string", _:
            return golang.sprint(value)
        case "boolean", bool():
            return value
        case (("integer" | "number"), bool()):
            return None
        case "integer", int():
            return value
        case "integer", float():
            # What does not fit becomes the least number there is, as on amd64.
            return int(value) if abs(value) < 2**63 else golang.MIN_INT64
        case "number", int() | float():
            value = float(value)
            return int(value) if value.is_integer() and abs(value) < 2**53 else value
        case "date", str():
            return _age(value, now)
    return None


def _age(text: str, now: datetime) -> str:
    if text in ("", "null"):
        return "<unknown>"
    if not _TIMESTAMP.fullmatch(text):
        return "<invalid>"
    try:
        moment = datetime.fromisoformat(text.replace(",", "."))
        if moment == datetime.min.replace(tzinfo=UTC):
            return "<unknown>"
        return human_duration((now - moment).total_seconds())
    except (ValueError, OverflowError):
        return "<invalid>"


def human_duration(seconds: float) -> str:
    """A duration as kubectl writes it, in two or three figures: `75s`, `5m10s`, `3h25m`, `47d`, `6y333d`."""
    whole = min(int(seconds), _LONGEST)
    if whole < 0:
        return "<invalid>" if whole < -1 else "0s"
    if whole < 120:
        return f"{whole}s"
    minutes, hours = whole // 60, whole // 3600
    days, years = hours // 24, hours // 24 // 365
    if minutes < 10:
        return _pair(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _pair(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _pair(days, "d", hours % 24, "h")
    if years < 2:
        return f"{days}d"
    return _pair(years, "y", days % 365, "d") if years < 8 else f"{years}y"


def _pair(larger: int, unit: str, smaller: int, smaller_unit: str) -> str:
    return f"{larger}{unit}{smaller}{smaller_unit}" if smaller else f"{larger}{unit}"


class Table:
    """Objects, as JSON with their apiVersion and kind, as a Table.

    `include_object` is what a row shows of its object beside the cells: Metadata (as does ""), Object or None; else
    StatusError 400 is raised. Without `headers` there are no columnDefinitions, as in a watch after its first event.
    """

    def __init__(
        self,
        convertor: TableConvertor,
        include_object: str = "",
        api_version: str = "meta.k8s.io/v1",
        *,
        headers: bool = True,
    ) -> None:
        if include_object not in _INCLUDED:
            raise _unknown_include(include_object)
        self._convertor = convertor
        self._include = include_object
        self._metadata = PartialObjectMetadata(api_version)
        self._head = head("Table", api_version)
        self._definitions = convertor.definitions() if headers else b"null"

    def single(self, object: bytes) -> bytes:
        """One object: a table of one row."""
        return self.listed([object], ListMeta(msgspec.json.decode(metadata_of(object)).get("resourceVersion", "")))

    def listed(self, objects: Iterable[bytes], metadata: ListMeta) -> bytes:
        """A list."""
        now = datetime.now(UTC)
        rows = b",".join(self._row(object, now) for object in objects)
        parts = (b'"metadata":', msgspec.json.encode(metadata), b',"columnDefinitions":', self._definitions)
        return b"".join((self._head, *parts, b',"rows":[', rows, b"]}"))

    def _row(self, object: bytes, now: datetime) -> bytes:
        try:
            manifest = msgspec.json.decode(object)
        except RecursionError:  # nested too deeply to be read whole
            manifest = {"metadata": msgspec.json.decode(metadata_of(object))}
        cells = msgspec.json.encode(self._convertor.cells(manifest, now))
        match self._include:
            case "None":
                shown = b"null"
            case "Object":
                shown = object
            case _:
                shown = self._metadata.single(object)
        return b'{"cells":' + cells + b',"object":' + shown + b"}"


def _unknown_include(policy: str) -> StatusError:
    wrong = invalid("includeObject", policy, "must be 'Metadata', 'Object', 'None', or empty")
    return bad_request(f"Unable to convert to Table as requested: {wrong}")
