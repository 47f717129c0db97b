"""The forms in which objects are served: as they are, as metadata only, or as rows of a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from presenter.sandbox.objects import Entry, encode, head
from presenter.sandbox.registry import Definition, Version


class Form(Protocol):
    """How objects become bytes. `key` tells forms apart whose bytes differ."""

    key: str

    def single(self, entry: Entry) -> bytes:
        """One object."""
        ...

    def listed(self, entries: Sequence[Entry], metadata: dict[str, Any]) -> bytes:
        """A list with its ListMeta."""
        ...

    def bookmark(self, metadata: dict[str, Any]) -> bytes:
        """The object of a BOOKMARK event."""
        ...


class Plain:
    """Objects as they are.

    Items of built-in types bear no apiVersion and kind inside lists, custom ones do.
    """

    def __init__(self, definition: Definition, version: Version) -> None:
        api_version = definition.api_version(version.name)
        self.key = api_version
        self._head = head(api_version, definition.kind)
        self._item_head = self._head if definition.custom else b"{"
        self._list_head = head(api_version, definition.list_kind or f"{definition.kind}List")

    def single(self, entry: Entry) -> bytes:
        """One object."""
        return self._head + entry.tail

    def listed(self, entries: Sequence[Entry], metadata: dict[str, Any]) -> bytes:
        """A list with its ListMeta: bytes joined, nothing encoded again."""
        start = self._list_head + b'"metadata":' + encode(metadata) + b',"items":['
        if not entries:
            return start + b"]}"
        items = (b"," + self._item_head).join([entry.tail for entry in entries])
        return b"".join((start, self._item_head, items, b"]}"))

    def bookmark(self, metadata: dict[str, Any]) -> bytes:
        """The object of a BOOKMARK event."""
        return self._head + b'"metadata":' + encode(metadata) + b"}"


class _Metadata(msgspec.Struct):
    metadata: msgspec.Raw


_metadata = msgspec.json.Decoder(_Metadata)
_json = json.JSONDecoder()
_FIRST = '"metadata":'


def metadata_of(entry: Entry) -> bytes:
    """The JSON of an object's metadata."""
    try:
        return bytes(_metadata.decode(b"{" + entry.tail).metadata)
    except RecursionError:  # what follows is nested too deeply; metadata goes first
        text = entry.tail.decode()
        return text[len(_FIRST) : _json.raw_decode(text, len(_FIRST))[1]].encode()


class PartialMetadata:
    """Metadata only: PartialObjectMetadata of meta.k8s.io/v1."""

    key = "PartialObjectMetadata"
    _HEAD = head("meta.k8s.io/v1", "PartialObjectMetadata")
    _LIST_HEAD = head("meta.k8s.io/v1", "PartialObjectMetadataList")

    def single(self, entry: Entry) -> bytes:
        """One object."""
        return self._HEAD + b'"metadata":' + metadata_of(entry) + b"}"

    def listed(self, entries: Sequence[Entry], metadata: dict[str, Any]) -> bytes:
        """A list with its ListMeta."""
        items = b",".join(self.single(entry) for entry in entries)
        return self._LIST_HEAD + b'"metadata":' + encode(metadata) + b',"items":[' + items + b"]}"

    def bookmark(self, metadata: dict[str, Any]) -> bytes:
        """The object of a BOOKMARK event."""
        return self._HEAD + b'"metadata":' + encode(metadata) + b"}"
