"""What goes out: rows of the cache as the items callers know, in JSON, with the objects' own bytes passed through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

import msgspec

from presenter.cache.catalog import CachedType
from presenter.cache.query import Row

_Members = dict[str, msgspec.Raw]


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


class Answer(msgspec.Struct, omit_defaults=True):
    """A page. `cursor` leads to the next one and is absent on the last."""

    count: int
    items: list[Item]
    cursor: str | None = None
    warnings: Sequence[str] = ()


_encoder = msgspec.json.Encoder()
_members = msgspec.json.Decoder(_Members)


def answer(
    rows: Iterable[Row],
    types: Mapping[int, CachedType],
    cursor: str | None = None,
    warnings: Sequence[str] = (),
    versions: Mapping[int, str] = MappingProxyType({}),
) -> bytes:
    """The JSON of a page of rows whose types are given by their ids.

    `versions` has the types, by their ids, whose objects are to be given in another version, by its name alone.
    """
    items = [_item(_renamed(row, types, versions), types[row.type_id]) for row in rows]
    return _encoder.encode(Answer(len(items), items, cursor, warnings))


def _renamed(row: Row, types: Mapping[int, CachedType], versions: Mapping[int, str]) -> Row:
    version = versions.get(row.type_id, row.version)
    if version == row.version:
        return row
    raw = row.raw
    if raw is not None:
        members = _members.decode(raw)
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
