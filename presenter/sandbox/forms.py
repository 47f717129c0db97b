"""The forms in which stored objects are served: as they are, as metadata only, or as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from presenter.apimachinery.metadata import PartialObjectMetadata
from presenter.apimachinery.status import ListMeta
from presenter.apimachinery.tables import Table, TableConvertor
from presenter.sandbox.objects import Entry, encode, head
from presenter.sandbox.registry import Definition, Version


class Form(Protocol):
    """How objects become bytes. `key` tells forms apart whose bytes differ."""

    key: str

    @property
    def following(self) -> Form:
        """The form of what follows the first event of a watch."""
        ...

    def single(self, entry: Entry) -> bytes:
        """One object."""
        ...

    def listed(self, entries: Sequence[Entry], metadata: ListMeta) -> bytes:
        """A list with its ListMeta."""
        ...


class Plain:
    """Objects as they are.

    Items of built-in types bear no apiVersion and kind inside lists, custom ones do.
    """

    def __init__(self, definition: Definition, version: Version) -> None:
        api_version = definition.api_version(version.name)
        self.key = api_version
        self.following: Form = self
        self._head = head(api_version, definition.kind)
        self._item_head = self._head if definition.custom else b"{"
        self._list_head = head(api_version, definition.list_kind or f"{definition.kind}List")

    def single(self, entry: Entry) -> bytes:
        """One object."""
        return self._head + entry.tail

    def listed(self, entries: Sequence[Entry], metadata: ListMeta) -> bytes:
        """A list with its ListMeta: bytes joined, nothing encoded again."""
        start = self._list_head + b'"metadata":' + encode(metadata) + b',"items":['
        if not entries:
            return start + b"]}"
        items = (b"," + self._item_head).join([entry.tail for entry in entries])
        return b"".join((start, self._item_head, items, b"]}"))


class Converted:
    """Objects as something else is made of them."""

    def __init__(
        self, key: str, plain: Plain, conversion: PartialObjectMetadata | Table, following: Form | None = None
    ) -> None:
        self.key = f"{key} of {plain.key}"
        self.following: Form = following or self
        self._plain = plain
        self._conversion = conversion

    def single(self, entry: Entry) -> bytes:
        """One object."""
        return self._conversion.single(self._plain.single(entry))

    def listed(self, entries: Sequence[Entry], metadata: ListMeta) -> bytes:
        """A list with its ListMeta."""
        return self._conversion.listed(map(self._plain.single, entries), metadata)


def partial_metadata(plain: Plain, api_version: str) -> Form:
    """Metadata only."""
    return Converted(api_version, plain, PartialObjectMetadata(api_version))


def table(plain: Plain, version: Version, include_object: str, api_version: str) -> Form:
    """A table, whose columns a watch tells once. Raises StatusError 400 for another `include_object` than there is."""
    convertor = TableConvertor(version.columns)
    key = f"{api_version} table with {include_object}"
    rows = Converted(f"{key}, rows", plain, Table(convertor, include_object, api_version, headers=False))
    return Converted(key, plain, Table(convertor, include_object, api_version), rows)
