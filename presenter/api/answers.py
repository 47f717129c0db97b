"""What goes out: rows of the cache as the items callers know, in JSON, with the objects' own bytes passed through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

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


class Answer(msgspec.Struct, omit_defaults=True):
    """A page. `cursor` leads to the next one and is absent on the last."""

    count: int
    items: list[Item]
    cursor: str | None = None
    warnings: Sequence[str] = ()


_encoder = msgspec.json.Encoder()


def answer(
    rows: Iterable[Row],
    types: Mapping[int, CachedType],
    cursor: str | None = None,
    warnings: Sequence[str] = (),
) -> bytes:
    """The JSON of a page of rows whose types are given by their ids."""
    items = [_item(row, types[row.type_id]) for row in rows]
    return _encoder.encode(Answer(len(items), items, cursor, warnings))


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
