"""The forms in which stored objects are served: as they are, as metadata only, or as rows of a Table.

`key` tells forms apart whose bytes differ; `following` is the form of what follows the first event of a watch.
"""

from __future__ import annotations

from collections.abc import Sequence

from presenter.apimachinery.metadata import PartialObjectMetadata
from presenter.apimachinery.status import ListMeta
from presenter.apimachinery.tables import Table
from presenter.sandbox.objects import Entry, encode, head
from presenter.sandbox.registry import Definition, Version


class Plain:
    """Objects as they are. In lists, items of built-in types bear no apiVersion and kind, custom ones do."""

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


Form = Plain | Converted
