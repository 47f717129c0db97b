"""What goes out: rows of the cache as the items callers know, in JSON, with the objects' own bytes passed through."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

import msgspec

from presenter import nesting
from presenter.cache.catalog import CachedType
from presenter.cache.query import Row


class Item(msgspec.Struct, omit_defaults=True):
    """One object. `global_uid` is `<cluster>:<uid>`."""

    name: str
    uid: str
    global_uid: str
    namespace: str
    group: str
    version: str
    kind: str
    resource: str
    cluster_name: str
    created_at: datetime
    updated_at: datetime
    composition_id: str | None = None
    raw: msgspec.Raw | None = None
    status_raw: msgspec.Raw | None = None


class _Rest(msgspec.Struct, omit_defaults=True):
    """What follows the items. `cursor` leads to the next page and is absent on the last."""

    cursor: str | None = None
    warnings: Sequence[str] = ()


AT_ONCE = 250
"""Rows of which the JSON is made in one go."""

_encoder = msgspec.json.Encoder()


def answer(
    rows: list[Row],
    types: Mapping[int, CachedType],
    cursor: str | None = None,
    warnings: Sequence[str] = (),
    versions: Mapping[int, str] = MappingProxyType({}),
) -> Iterator[bytes]:
    """The JSON of a page of rows whose types are given by their ids, in pieces of so many rows.

    The list is emptied on the way: a large page shall not be in memory twice. `versions` has the types, by their ids,
    whose objects are to be given in another version, by its name alone.
    """
    before = b'{"count":%d,"items":[' % len(rows)
    while len(rows) > AT_ONCE:
        yield before + _json(rows[:AT_ONCE], types, versions)
        del rows[:AT_ONCE]
        before = b","
    rest = _encoder.encode(_Rest(cursor, warnings))
    yield before + _json(rows, types, versions) + (b"]}" if rest == b"{}" else b"]," + rest[1:])


def _json(rows: Iterable[Row], types: Mapping[int, CachedType], versions: Mapping[int, str]) -> bytes:
    """The items of some rows, with commas between them."""
    return _encoder.encode([_item(_renamed(row, types, versions), types[row.type_id]) for row in rows])[1:-1]


def _renamed(row: Row, types: Mapping[int, CachedType], versions: Mapping[int, str]) -> Row:
    version = versions.get(row.type_id, row.version)
    if version == row.version:
        return row
    raw = row.raw
    if raw is not None:
        members = nesting.members(raw)
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
