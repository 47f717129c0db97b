"""The item of an object, as it goes out; and as it is stored: compressed, a part of a gzip answer (a piece).

A piece is stored beside the object by who writes that, so that nobody who answers has to compress, decompress or parse
anything. It says which state it is of by that state's `updated_at`: a version of this program that knows of no pieces
writes another one, and leaves the piece behind, which from then on counts for nothing.

To change what items look like, add a column for the new pieces: those in the old one are what earlier versions send.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from isal import isal_zlib
from msgspec import Meta

from presenter.cache import deflate
from presenter.cache.query import Row
from presenter.resource import Object, ResourceType


class Item(msgspec.Struct, omit_defaults=True):
    """One object of a cluster."""

    name: str
    uid: str
    global_uid: Annotated[str, Meta(description="`<cluster>:<uid>`, which the detail endpoint takes.")]
    namespace: Annotated[str, Meta(description="Empty for cluster-scoped objects.")]
    group: Annotated[str, Meta(description="Empty for the core group.")]
    version: str
    kind: str
    resource: str
    cluster_name: str
    created_at: Annotated[datetime, Meta(tz=True)]
    updated_at: Annotated[datetime, Meta(tz=True, description="When the object's last change was stored.")]
    composition_id: (
        Annotated[str, Meta(description="Only where the object has one.", extra_json_schema={"format": "uuid"})] | None
    ) = None
    raw: (
        Annotated[
            msgspec.Raw,
            Meta(
                description="The object as the API server serves it, less `metadata.managedFields`.",
                extra_json_schema={"type": "object", "additionalProperties": True},
            ),
        ]
        | None
    ) = None
    status_raw: Annotated[msgspec.Raw, Meta(description="The object's `status`, where it has one.")] | None = None


def item(
    object: Object | Row,
    cluster: str,
    type: ResourceType,
    updated_at: datetime,
    raw: bytes | None,
    status: bytes | None = None,
) -> Item:
    """The item of an object of this type; `raw` and `status` are JSON."""
    return Item(
        name=object.name,
        uid=object.uid,
        global_uid=f"{cluster}:{object.uid}",
        namespace=object.namespace,
        group=type.group,
        version=object.version,
        kind=type.kind,
        resource=type.resource,
        cluster_name=cluster,
        created_at=object.created_at,
        updated_at=updated_at,
        composition_id=object.composition_id,
        raw=None if raw is None else msgspec.Raw(raw),
        status_raw=None if status is None else msgspec.Raw(status),
    )


# -- pieces ------------------------------------------------------------------------------------------------------------

_HEAD = struct.Struct(">II")
_COMMA = deflate.stored(b",")
_CRC_OF_COMMA = isal_zlib.crc32(b",")
_encode = msgspec.json.Encoder().encode


def piece(item: Item) -> bytes:
    """The item as it is stored.

    The CRC-32 of a comma and the item's JSON, since all but the first of a page have one before them; the length of
    that JSON; and the JSON, compressed.
    """
    json = _encode(item)
    return _HEAD.pack(isal_zlib.crc32(json, _CRC_OF_COMMA), len(json)) + deflate.compressed(json)


def length(piece: bytes) -> int:
    """How many bytes the JSON of its item has."""
    return int.from_bytes(piece[4:8], "big")


def inflated(pieces: Sequence[bytes]) -> bytes:
    """The JSON of items, with commas between them. Raises deflate.Damaged."""
    size = sum(map(length, pieces)) + len(pieces) - 1
    return deflate.inflated(_COMMA.join([piece[_HEAD.size :] for piece in pieces]), size)


def put(pieces: Sequence[bytes], member: deflate.Member) -> None:
    """The same, put into a gzip member as it is."""
    crc, size = _HEAD.unpack_from(pieces[0])
    # Of the item alone: what a comma before it adds to the checksum is taken away.
    total = crc ^ isal_zlib.crc32_combine(_CRC_OF_COMMA, 0, size)
    for piece in pieces[1:]:
        crc, more = _HEAD.unpack_from(piece)
        total = isal_zlib.crc32_combine(total, crc, more + 1)
        size += more + 1
    member.part(_COMMA.join([piece[_HEAD.size :] for piece in pieces]), total, size)
