"""Objects as rows of a meta.k8s.io/v1 Table, which is what `kubectl get` prints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from presenter.sandbox.forms import Form, PartialMetadata, Plain, metadata_of
from presenter.sandbox.objects import Entry, decode, encode, head
from presenter.sandbox.registry import Column, Definition, Version

_NAME = Column("Name", "string", ".metadata.name", "name")
_AGE = Column("Age", "date", ".metadata.creationTimestamp")
_STEP = re.compile(
    r"""\.([\w/-]+(?:\\\.[\w/-]+)*)|\[(\d+|\*)\]|\['([^']*)'\]|\[\?\(@\.(\w+)\s*==\s*["']([^"']*)["']\)\]"""
)


class Table:
    """Rows with a column for the name, those of the CRD, and the age.

    `include` is Object, Metadata or None.
    """

    def __init__(self, definition: Definition, version: Version, include: str) -> None:
        columns = version.columns
        has_age = any(column.path == _AGE.path for column in columns)
        self._columns = (_NAME, *columns) if has_age else (_NAME, *columns, _AGE)
        shown: dict[str, Form] = {"Object": Plain(definition, version), "Metadata": PartialMetadata()}
        self._objects = shown.get(include)
        self.key = f"Table/{definition.api_version(version.name)}/{include}"
        self._definitions = encode([_column_definition(column) for column in self._columns])

    def single(self, entry: Entry) -> bytes:
        """A table of one row."""
        return self.listed([entry], {"resourceVersion": decode(metadata_of(entry))["resourceVersion"]})

    def listed(self, entries: Sequence[Entry], metadata: dict[str, Any]) -> bytes:
        """A table with its ListMeta."""
        rows = b",".join(self._row(entry) for entry in entries)
        parts = (
            b'"metadata":',
            encode(metadata),
            b',"columnDefinitions":',
            self._definitions,
            b',"rows":[',
            rows,
        )
        return b"".join((head("meta.k8s.io/v1", "Table"), *parts, b"]}"))

    def bookmark(self, metadata: dict[str, Any]) -> bytes:
        """A table without rows."""
        return self.listed([], metadata)

    def _row(self, entry: Entry) -> bytes:
        manifest = decode(b"{" + entry.tail)
        cells = encode([_cell(manifest, column) for column in self._columns])
        if self._objects is None:
            return b'{"cells":' + cells + b"}"
        return b'{"cells":' + cells + b',"object":' + self._objects.single(entry) + b"}"


def _column_definition(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description or f"JSONPath {column.path}",
        "priority": column.priority,
    }


def _cell(manifest: dict[str, Any], column: Column) -> Any:
    values = at_path(manifest, column.path)
    if not values:
        return None
    if column.type == "date":
        return _age(str(values[0]))
    if column.type in ("integer", "number", "boolean"):
        return values[0]
    return ",".join(value if isinstance(value, str) else encode(value).decode() for value in values)


def at_path(manifest: Any, path: str) -> list[Any]:
    """The values at a simple JSONPath: `.a.b`, `[0]`, `[*]`, `['key']` and `[?(@.type=="Ready")]`."""
    values = [manifest]
    for name, index, quoted, field, wanted in _STEP.findall(path):
        if key := name.replace("\\.", ".") or quoted:
            values = [v[key] for v in values if isinstance(v, dict) and key in v]
        elif field:
            values = [item for item in _items(values) if isinstance(item, dict) and item.get(field) == wanted]
        elif index == "*":
            values = _items(values)
        else:
            values = [v[int(index)] for v in values if isinstance(v, list) and int(index) < len(v)]
    return [value for value in values if value is not None]


def _items(values: list[Any]) -> list[Any]:
    return [item for value in values if isinstance(value, list) for item in value]


def _age(moment: str) -> str:
    try:
        seconds = int((datetime.now(UTC) - msgspec.convert(moment, datetime)).total_seconds())
    except msgspec.ValidationError:
        return "<invalid>"
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{max(seconds, 0)}s"
