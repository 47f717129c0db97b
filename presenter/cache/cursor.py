"""The opaque token of the next page, or of the one before.

It carries a position, the sort it belongs to and a digest of the filters, signed: misuse is an error.
It consists of `A-Za-z0-9-_` only (base64url without padding, RFC 4648 §5), since callers put it into URLs unescaped.
It is a position and never a permission: what may be seen is decided anew on every page.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import msgspec

from presenter.cache.query import Filters, KeyValue, Position, Sort
from presenter.errors import BadRequest

_VERSION, _BACKWARD = 1, 2
"""The second leads back: to whoever does not know that, it is of another version."""

_MAC_BYTES = 16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SORTS = tuple(Sort)


class _Body(msgspec.Struct, array_like=True, frozen=True):
    version: int
    sort: int
    descending: bool
    filters: bytes
    position: tuple[str | int, ...]


class CursorCodec:
    """Encodes and decodes cursors, signed with a key that is derived from the service's secret."""

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(secret, b"resources-presenter cursor", "sha256")

    def encode(
        self, sort: Sort, descending: bool, filters: bytes, position: Position, *, backward: bool = False
    ) -> str:
        """The token for the page after `position`, or before it. `filters`: the `digest` of the request."""
        version = _BACKWARD if backward else _VERSION
        body = msgspec.msgpack.encode(
            _Body(version, _SORTS.index(sort), descending, filters, tuple(_plain(value) for value in position))
        )
        return base64.urlsafe_b64encode(self._mac(body) + body).rstrip(b"=").decode()

    def decode(self, cursor: str, sort: Sort, descending: bool, filters: bytes) -> tuple[Position, bool]:
        """The position in a token, and whether it leads back from there.

        Raises BadRequest when it is not ours, or was made for another request.
        """
        body = self._open(cursor)
        if (body.sort, body.descending) != (_SORTS.index(sort), descending):
            raise BadRequest("cursor was made for another sort_by or sort_order: repeat those of the page it came with")
        if not hmac.compare_digest(body.filters, filters):
            raise BadRequest(
                "cursor was made for other filters: repeat those of the page it came with, or leave it out"
            )
        position = tuple(_typed(value, key.type) for value, key in zip(body.position, sort.keys, strict=True))
        return position, body.version == _BACKWARD

    def _open(self, cursor: str) -> _Body:
        foreign = BadRequest(
            f"cursor {cursor[:20]!r}… is not one this service gave out, or it was altered: "
            "pass the cursor of the previous page as it came, or leave it out for the first page"
        )
        try:
            token = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error) as error:
            raise foreign from error
        mac, body = token[:_MAC_BYTES], token[_MAC_BYTES:]
        # Base64 has spare bits at the end: of the spellings of the same bytes only ours is taken.
        canonical = base64.urlsafe_b64encode(token).rstrip(b"=").decode() == cursor
        if not canonical or not hmac.compare_digest(mac, self._mac(body)):
            raise foreign
        try:
            opened = msgspec.msgpack.decode(body, type=_Body)
        except msgspec.DecodeError as error:
            raise foreign from error
        if opened.version not in (_VERSION, _BACKWARD):
            raise BadRequest("cursor was made by another version of this service: leave it out for the first page")
        return opened

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, "sha256")[:_MAC_BYTES]


def digest(filters: Filters, **others: str | None) -> bytes:
    """A digest of all that decides which objects match; the page size does not."""
    described = (
        filters.name,
        filters.name_contains,
        None if filters.labels is None else sorted(filters.labels),
        filters.since,
        filters.composition_id,
        sorted(others.items()),
    )
    return hashlib.sha256(msgspec.msgpack.encode(described)).digest()[:12]


def _plain(value: KeyValue) -> str | int:
    return (value - _EPOCH) // timedelta(microseconds=1) if isinstance(value, datetime) else value


def _typed(value: str | int, type: str) -> KeyValue:
    return _EPOCH + timedelta(microseconds=int(value)) if type == "timestamptz" else value
