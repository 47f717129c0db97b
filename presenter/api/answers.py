"""What goes out: rows of the cache as the items callers know, in JSON, with the objects' own bytes passed through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from presenter import raw_json
from presenter.api.parameters import MAX_LIMIT
from presenter.cache.catalog import CachedType
from presenter.cache.memory import ROW
from presenter.cache.query import Row


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


class _Rest(msgspec.Struct, omit_defaults=True):
    """What follows the items."""

    cursor: (
        Annotated[
            str,
            Meta(
                pattern="^[A-Za-z0-9_-]+$",
                description="Pass it as `cursor` for the next page. Absent on the last page.",
            ),
        ]
        | None
    ) = None
    warnings: Annotated[Sequence[str], Meta(description="Why the page may not be what was meant.")] = ()


class ItemPage(_Rest, kw_only=True):  # for the documentation: `answer` makes it in pieces
    """A page of objects."""

    count: Annotated[
        int,
        Meta(
            ge=0,
            le=MAX_LIMIT,
            description="Items on this page: fewer than `limit` on the last, and where objects are large.",
        ),
    ]
    items: list[Item]


AT_ONCE, BYTES_AT_ONCE = 250, 2**20
"""Rows, and bytes of their documents, of which the JSON is made in one go; a larger document is one alone."""

_encoder = msgspec.json.Encoder()


class Piece(NamedTuple):
    """A part of an answer: its JSON, and the bytes of memory that are free when it is sent."""

    json: bytearray
    size: int


def answer(
    rows: list[Row],
    types: Mapping[int, CachedType],
    cursor: str | None = None,
    warnings: Sequence[str] = (),
    versions: Mapping[int, str] = MappingProxyType({}),
) -> Iterator[Piece]:
    """The JSON of a page of rows whose types are given by their ids, in pieces of so many rows and bytes.

    The list is emptied on the way: a large page shall not be in memory twice. `versions` has the types, by their ids,
    whose objects are to be given in another version, by its name alone.
    """
    json = bytearray(b'{"count":%d,"items":' % len(rows))
    while True:
        count, size = _at_once(rows)
        begin = len(json)
        _encoder.encode_into(
            [_item(_renamed(row, types, versions), types[row.type_id]) for row in rows[:count]], json, -1
        )
        if begin == 0:
            json[:1] = b","  # where the brackets of these items alone are
        del rows[:count]
        if not rows:
            break
        del json[-1:]
        yield Piece(json, size)
        json = bytearray()
    rest = _encoder.encode(_Rest(cursor, warnings))
    json += b"}" if rest == b"{}" else b"," + rest[1:]
    yield Piece(json, size)


def _at_once(rows: Sequence[Row]) -> tuple[int, int]:
    """How many of the rows make the next piece, and the bytes of memory that these take."""
    size = 0
    for count, row in enumerate(rows[:AT_ONCE]):
        documents = len(row.raw or b"") + len(row.status or b"")
        if count and size + documents > BYTES_AT_ONCE:
            return count, size + count * ROW
        size += documents
    return min(len(rows), AT_ONCE), size + min(len(rows), AT_ONCE) * ROW


def _renamed(row: Row, types: Mapping[int, CachedType], versions: Mapping[int, str]) -> Row:
    version = versions.get(row.type_id, row.version)
    if version == row.version:
        return row
    raw = row.raw
    if raw is not None:
        members = raw_json.members(raw)
        members["apiVersion"] = msgspec.Raw(_encoder.encode(f"{types[row.type_id].type.group}/{version}"))
        raw = _encoder.encode(members)
    return msgspec.structs.replace(row, version=version, raw=raw)


def _item(row: Row, cached: CachedType) -> Item:
    return Item(
        name=row.name,
        uid=row.uid,
        global_uid=f"{cached.cluster}:{row.uid}",
        namespace=row.namespace,
        group=cached.type.group,
        version=row.version,
        kind=cached.type.kind,
        resource=cached.type.resource,
        cluster_name=cached.cluster,
        created_at=row.created_at,
        updated_at=row.updated_at,
        composition_id=row.composition_id,
        raw=None if row.raw is None else msgspec.Raw(row.raw),
        status_raw=None if row.status is None else msgspec.Raw(row.status),
    )
