"""Stored objects: immutable, encoded once, with the few fields parsed that lists and selectors need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from presenter.apimachinery import golang
from presenter.sandbox.registry import Definition

Manifest = dict[str, Any]
"""A Kubernetes object as decoded JSON."""

encode = msgspec.json.encode
decode = msgspec.json.decode


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One state of one object.

    `tail` is its JSON less the opening brace, apiVersion and kind, so that any served version of it is
    `head(...) + tail` and a list is one join. Nothing in an entry refers back to it, so the garbage collector, which
    would otherwise walk 100,000 of them, need not know of it. `key` orders a list as etcd does: `namespace/name`.
    """

    key: str
    namespace: str
    name: str
    uid: str
    version: int
    labels: Mapping[str, str]
    fields: Mapping[str, str]
    tail: bytes

    def manifest(self, api_version: str, kind: str) -> Manifest:
        """The object as decoded JSON."""
        return {"apiVersion": api_version, "kind": kind, **decode(b"{" + self.tail)}


def key_of(namespace: str, name: str) -> str:
    """The key of an object within its type."""
    return f"{namespace}/{name}"


def head(api_version: str, kind: str) -> bytes:
    """What stands before the tail of an entry: the opening brace, apiVersion and kind."""
    return b'{"apiVersion":' + encode(api_version) + b',"kind":' + encode(kind) + b","


def bookmark_of(resource_version: str, annotations: Mapping[str, str]) -> Entry:
    """What a bookmark shows: an object with nothing but a resourceVersion and, where it ends a list, an annotation."""
    metadata = {"resourceVersion": resource_version, **({"annotations": annotations} if annotations else {})}
    return Entry("", "", "", "", 0, {}, {}, b'"metadata":' + encode(metadata) + b"}")


def restamped(entry: Entry, resource_version: str) -> Entry:
    """The same state under another resourceVersion, as a watch shows what has left its selection."""
    body = decode(b"{" + entry.tail)
    body["metadata"]["resourceVersion"] = resource_version
    return msgspec.structs.replace(entry, tail=encode(body)[1:])


def entry_of(definition: Definition, manifest: Manifest, version: int) -> Entry:
    """Encode a manifest whose metadata is complete."""
    metadata = manifest["metadata"]
    body = {key: value for key, value in manifest.items() if key not in ("apiVersion", "kind", "metadata")}
    # Metadata goes first and is never absent: the tail is a member, not a bare closing brace.
    tail = encode({"metadata": metadata, **body})[1:]
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    return Entry(
        key=key_of(namespace, name),
        namespace=namespace,
        name=name,
        uid=metadata["uid"],
        version=version,
        labels=metadata.get("labels") or {},
        fields={path: _text_at(manifest, path) for path in definition.fields},
        tail=tail,
    )


def _text_at(manifest: Manifest, path: str) -> str:
    value: Any = manifest
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return "" if value is None else golang.sprint(value)
