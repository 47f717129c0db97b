"""What goes out: rows of the cache as the items callers know, in JSON, with the objects' own bytes passed through."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, NamedTuple, cast

import msgspec
from msgspec import Meta

from presenter import raw_json
from presenter.api.parameters import MAX_LIMIT
from presenter.cache import deflate, items
from presenter.cache.catalog import CachedType
from presenter.cache.items import Item
from presenter.cache.memory import ROW
from presenter.cache.query import Piece, Row
from presenter.resource import ResourceType


class _Rest(msgspec.Struct, omit_defaults=True):
    """What follows the items of a page."""

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
_text: Callable[[msgspec.Raw], str] = msgspec.json.Decoder(str).decode


class Part(NamedTuple):
    """A part of an answer: its bytes, and the bytes of memory that are free when it is sent."""

    body: bytes | bytearray
    size: int


class Plain:
    """A body as it is."""

    inflates = True

    def __init__(self) -> None:
        self._json = bytearray()

    def text(self, json: bytes | bytearray) -> None:
        """Put in JSON."""
        self._json += json

    def pieces(self, pieces: Sequence[Piece]) -> None:
        """Put in items. Raises Damaged."""
        self._json += items.inflated(pieces)

    def end(self) -> None:
        """Nothing more belongs to it."""

    def take(self) -> bytearray:
        """The bytes of what was put in since."""
        taken, self._json = self._json, bytearray()
        return taken


class Gzip:
    """A body that is one gzip member."""

    inflates = False

    def __init__(self) -> None:
        self._member = deflate.Member()
        self.text = self._member.text
        self.end = self._member.end
        self.take = self._member.take

    def pieces(self, pieces: Sequence[Piece]) -> None:
        """Put in items, as they are."""
        items.put(pieces, self._member)


class Envelope(NamedTuple):
    """The JSON object around a list of items: what stands before them, and what follows."""

    head: bytes
    tail: bytes


def envelope(head: bytes, rest: msgspec.Struct) -> Envelope:
    """The members up to the items, and those behind them."""
    tail = _encoder.encode(rest)
    return Envelope(head, b"]}" if tail == b"{}" else b"]," + tail[1:])


def page_of(count: int, cursor: str | None = None, warnings: Sequence[str] = ()) -> Envelope:
    """What is around so many items."""
    return envelope(b'{"count":%d,"items":[' % count, _Rest(cursor, warnings))


def answer(
    body: Plain | Gzip,
    rows: list[Row | Piece],
    types: Mapping[int, CachedType],
    around: Envelope,
    version: str | None = None,
) -> Iterator[Part]:
    """The JSON of a page of rows whose types are given by their ids, in parts of so many rows and bytes.

    They go through the body, which says how they are sent. The list is emptied on the way: a large page shall not be in
    memory twice. With a `version` the objects of all types are given in that one, by its name alone. Raises Damaged.
    """
    inflate = body.inflates or version is not None
    body.text(around.head)
    following = b""
    while True:
        count, size = _at_once(rows, inflate)
        for are_pieces, run in itertools.groupby(rows[:count], _is_piece):
            body.text(following)
            following = b","
            if not are_pieces:
                made = [_item(_renamed(row, types, version), types[row.type_id]) for row in cast("Iterator[Row]", run)]
                body.text(_encoder.encode(made)[1:-1])
            elif version is None:
                body.pieces(cast("list[Piece]", list(run)))
            else:
                body.text(b",".join([_renamed_item(piece, version) for piece in cast("Iterator[Piece]", run)]))
        del rows[:count]
        if not rows:
            break
        yield Part(body.take(), size)
    body.text(around.tail)
    body.end()
    yield Part(body.take(), size)


def one(
    held: Row | Piece, cluster: str, type: ResourceType, *, raw: bool, status: bool, version: str | None = None
) -> bytes:
    """The JSON of one object, held with its document: the item that a list gives of it. Raises Damaged."""
    if isinstance(held, Row):
        json = _encoder.encode(items.item(held, cluster, type, held.updated_at, held.raw))
    else:
        json = items.inflated([held])
    if raw and not status and version is None:
        return json
    item = raw_json.members(json)
    document = item.pop("raw")
    if version is not None and _text(item["version"]) != version:
        item["version"] = msgspec.Raw(_encoder.encode(version))
        document = msgspec.Raw(_renamed_object(document, type.group, version))
    if raw:
        item["raw"] = document
    if status and (part := raw_json.members(document).get("status")) is not None:
        item["status_raw"] = part
    return _encoder.encode(item)


def _is_piece(row: Row | Piece) -> bool:
    return type(row) is bytes


def _at_once(rows: Sequence[Row | Piece], inflate: bool) -> tuple[int, int]:
    """How many of the rows make the next part, and the bytes of memory that these take."""
    size = text = 0
    for count, row in enumerate(rows[:AT_ONCE]):
        if isinstance(row, Row):
            more = taken = len(row.raw or b"") + len(row.status or b"")
        else:
            more = items.length(row)
            taken = more if inflate else len(row)
        if count and text + more > BYTES_AT_ONCE:
            return count, size + count * ROW
        text += more
        size += taken
    return min(len(rows), AT_ONCE), size + min(len(rows), AT_ONCE) * ROW


def _renamed(row: Row, types: Mapping[int, CachedType], version: str | None) -> Row:
    if version in (None, row.version):
        return row
    raw = row.raw and _renamed_object(row.raw, types[row.type_id].type.group, version)
    return msgspec.structs.replace(row, version=version, raw=raw)


def _renamed_item(piece: Piece, version: str) -> bytes:
    json = items.inflated([piece])
    item = raw_json.members(json)
    if _text(item["version"]) == version:
        return json
    raw = _renamed_object(item["raw"], _text(item["group"]), version)
    return _encoder.encode(item | {"version": version, "raw": msgspec.Raw(raw)})


def _renamed_object(raw: bytes | msgspec.Raw, group: str, version: str | None) -> bytes:
    members = raw_json.members(raw)
    members["apiVersion"] = msgspec.Raw(_encoder.encode(f"{group}/{version}"))
    return _encoder.encode(members)


def _item(row: Row, cached: CachedType) -> Item:
    return items.item(row, cached.cluster, cached.type, row.updated_at, row.raw, row.status)
