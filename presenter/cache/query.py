"""The model of a read: filters, sort, scope and position, and the page that answers it.

It knows nothing of HTTP's parameter names, so that other dialects can be spoken on top of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Literal, NewType

import msgspec

from presenter.cache.expressions import COMPOSITION_OR_FIRST, COMPOSITION_OR_LAST, GLOBAL_UID
from presenter.cache.revisions import Revisions
from presenter.cache.scope import ScanRange

KeyValue = datetime | str | int
Position = tuple[KeyValue, ...]
"""Where a page ended: the values of the sort's keys in its last row."""


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key of an order: its SQL over `resources`, and its PostgreSQL type."""

    sql: str
    type: Literal["timestamptz", "text", "uuid", "integer"]


_UID = SortKey("uid", "text")
_TYPE = SortKey("type_id", "integer")


class Sort(Enum):
    """The orders there are. Each is total and never NULL, and has two indexes: over a type, and within a namespace.

    Objects without a composition id sort last: as the greatest id when ascending, as the least when descending.
    """

    CREATED_AT = (SortKey("created_at", "timestamptz"), _UID, _TYPE)
    UPDATED_AT = (SortKey("updated_at", "timestamptz"), _UID, _TYPE)
    NAME = (SortKey("name", "text"), _UID, _TYPE)
    NAMESPACE_AND_NAME = (SortKey("namespace", "text"), SortKey("name", "text"), _UID, _TYPE)
    GLOBAL_UID = (SortKey(GLOBAL_UID, "text"), _TYPE)
    COMPOSITION_ASCENDING = (SortKey(COMPOSITION_OR_LAST, "uuid"), _UID, _TYPE)
    COMPOSITION_DESCENDING = (SortKey(COMPOSITION_OR_FIRST, "uuid"), _UID, _TYPE)

    @property
    def keys(self) -> tuple[SortKey, ...]:
        """What is compared, in this order."""
        keys: tuple[SortKey, ...] = self.value
        return keys


@dataclass(frozen=True, slots=True)
class Filters:
    """What an object must be like; None: anything. `labels` are pairs it must carry, all of them."""

    name: str | None = None
    name_contains: str | None = None
    labels: tuple[tuple[str, str], ...] | None = None
    since: datetime | None = None
    composition_id: str | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """One page: at most `limit` objects that match, in order; `raw`, `status`: with documents.

    `items`: as pieces, whole items with `raw` and without `status` (see `items`), where there are such.
    `keys`: nothing of them but how many there are, and the position of the last.

    It is walked from the position `after` on, or from the beginning. A walk `backward` meets the same objects in the
    opposite order, from the position or from the end on: that is not the order by the opposite sort direction.
    There is one range at most to each type.
    """

    ranges: tuple[ScanRange, ...]
    sort: Sort
    descending: bool
    limit: int
    filters: Filters = field(default_factory=Filters)
    after: Position | None = None
    raw: bool = False
    status: bool = False
    items: bool = False
    keys: bool = False
    backward: bool = False

    @property
    def reverse(self) -> bool:
        """Whether it is walked from great to small."""
        return self.descending != self.backward

    @property
    def index_ranges(self) -> int:
        """How many ranges of indexes it is on: whole types, and namespaces of types."""
        return sum(1 if scanned.namespaces is None else len(scanned.namespaces) for scanned in self.ranges)


class Row(msgspec.Struct, frozen=True):
    """An object as the cache has it. `raw` and `status` are JSON, None when not asked for or not there."""

    type_id: int
    uid: str
    namespace: str
    name: str
    version: str
    created_at: datetime
    updated_at: datetime
    composition_id: str | None
    raw: bytes | None
    status: bytes | None


Piece = NewType("Piece", bytes)
"""An object's item as it goes out, compressed (see `items`)."""


class Page(msgspec.Struct, frozen=True):
    """Rows in order, whichever way they were walked.

    `next` is where to go on the same way, None at its end; `start` is where to turn: from there the other way lie the
    rows before these, or None when there are no rows here. `revisions` are those of its types in its snapshot.
    """

    rows: list[Row]
    next: Position | None
    start: Position | None = None
    revisions: Revisions = ()


class Items(msgspec.Struct, frozen=True):
    """The same for a page that goes out: of what is there, pieces in the place of rows.

    `is_cut`: it has fewer rows than fit, as these would be too many bytes; at the same revisions it may have others.
    """

    rows: list[Row | Piece]
    next: Position | None
    start: Position | None = None
    revisions: Revisions = ()
    is_cut: bool = False
