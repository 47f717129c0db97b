"""Objects as nothing but their metadata: PartialObjectMetadata and its list, of meta.k8s.io."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

import msgspec

from presenter.apimachinery.status import ListMeta


class _Object(msgspec.Struct):
    metadata: msgspec.Raw


_decode = msgspec.json.Decoder(_Object).decode
_parse = json.JSONDecoder().raw_decode
_METADATA = re.compile(r'"metadata"\s*:\s*')


def head(kind: str, api_version: str) -> bytes:
    """How an object begins: the brace, kind and apiVersion, and a comma."""
    return b'{"kind":' + msgspec.json.encode(kind) + b',"apiVersion":' + msgspec.json.encode(api_version) + b","


def metadata_of(object: bytes) -> bytes:
    """The JSON of an object's metadata."""
    try:
        return bytes(_decode(object).metadata)
    except RecursionError:  # some part is nested too deeply; metadata, which is not, goes before it
        text = object.decode()
        if not (found := _METADATA.search(text)):
            raise
        return text[found.end() : _parse(text, found.end())[1]].encode()


class PartialObjectMetadata:
    """Objects, as JSON, as their metadata."""

    def __init__(self, api_version: str = "meta.k8s.io/v1") -> None:
        self._head = head("PartialObjectMetadata", api_version)
        self._list_head = head("PartialObjectMetadataList", api_version)

    def single(self, object: bytes) -> bytes:
        """One object."""
        return self._head + b'"metadata":' + metadata_of(object) + b"}"

    def listed(self, objects: Iterable[bytes], metadata: ListMeta) -> bytes:
        """A list."""
        items = b",".join(map(self.single, objects))
        return self._list_head + b'"metadata":' + msgspec.json.encode(metadata) + b',"items":[' + items + b"]}"
