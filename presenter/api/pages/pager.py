"""One page by its number or by a cursor, and what is told beside it: where it lies, and where the others are."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from presenter.api.pages.links import Place
from presenter.api.pages.paginated import Links, Pagination
from presenter.api.pages.parameters import PageParameters
from presenter.api.pages.totals import Totals
from presenter.cache.cursor import CursorCodec
from presenter.cache.memory import Share
from presenter.cache.numbers import position_behind
from presenter.cache.pages import read_items
from presenter.cache.plan import Total
from presenter.cache.pool import Pool
from presenter.cache.query import Items, Position, Query
from presenter.config import PaginationSettings
from presenter.errors import BadRequest


class Numbered(NamedTuple):
    """A page, and what is told beside it."""

    items: Items
    pagination: Pagination
    links: Links | None


class Pager:
    """Reads pages, as the settings have it."""

    def __init__(self, pool: Pool, cursors: CursorCodec, settings: PaginationSettings) -> None:
        self._pool = pool
        self._cursors = cursors
        self._settings = settings
        self._totals = Totals(pool, settings.count_cache_ttl)

    async def read(
        self, query: Query, filters: bytes, parameters: PageParameters, place: Place, share: Share, *, inflate: bool
    ) -> Numbered:
        """The page of a query whose `limit` and position are those of the parameters; `filters` is their digest.

        Raises BadRequest for a page that is too far away, DatabaseUnavailable, SchemaOutdated and TooManyRequests.
        """
        number = None if parameters.cursor is not None else parameters.page or 1
        items = await self._items(query, number, share, inflate=inflate)
        total = None if parameters.total == "none" else await self._totals.of(query, items.revisions)
        found = _Found(self._settings, query, number, items, total)
        cursors = self._given(query, filters, found)
        pagination = found.pagination(*cursors)
        return Numbered(items, pagination, found.links(place, pagination) if self._settings.include_links else None)

    async def _items(self, query: Query, number: int | None, share: Share, *, inflate: bool) -> Items:
        rows = 0 if number is None else (number - 1) * query.limit
        if rows > self._settings.max_offset:
            onwards = "go on from an earlier page by its next_cursor, or " if self._settings.cursor_enabled else ""
            raise BadRequest(
                f"page is {number}, before which are {rows} items: allowed is a page with at most "
                f"{self._settings.max_offset} before it; {onwards}narrow the list down by filters"
            )
        if rows:
            after = await position_behind(self._pool, query, rows)
            if after is None:
                return Items([], None)
            query = replace(query, after=after)
        items = await read_items(self._pool, query, share, inflate=inflate)
        if items.is_cut and not self._settings.cursor_enabled:
            raise BadRequest(
                f"per_page is {query.limit}, but {len(items.rows)} of these objects are as many bytes as a page may "
                f"have (MAX_PAGE_BYTES): allowed is what fits"
            )
        return items

    def _given(self, query: Query, filters: bytes, found: _Found) -> tuple[str | None, str | None]:
        """The cursors of the next page and of the one before, where there are such and cursors are given."""

        def encode(there: bool, position: Position | None, *, backward: bool) -> str | None:
            if not there or position is None or not self._settings.cursor_enabled:
                return None
            return self._cursors.encode(query.sort, query.descending, filters, position, backward=backward)

        on, back = found.items.next, found.items.start
        if query.backward:
            on, back = back, on
        return encode(found.has_next, on, backward=False), encode(found.has_prev, back, backward=True)


class _Found(NamedTuple):
    """A page as it was read; `number` is None where it was asked for by a cursor."""

    settings: PaginationSettings
    query: Query
    number: int | None
    items: Items
    total: Total | None

    @property
    def has_next(self) -> bool:
        return self.items.next is not None or self.query.backward

    @property
    def has_prev(self) -> bool:
        if self.query.backward:
            return self.items.next is not None
        return self.number is None or self.number > 1

    @property
    def by_number(self) -> bool:
        """Whether pages follow each other by number: they are asked for so, and are not too many."""
        if not self.settings.cursor_enabled:
            return True
        return self.number is not None and (self.total is None or self.total.items <= self.settings.cursor_threshold)

    @property
    def pages(self) -> int | None:
        """How many pages there are, where that is told."""
        if self.total is None or (self.settings.cursor_enabled and self.total.items > self.settings.cursor_threshold):
            return None
        return max(1, -(-self.total.items // self.query.limit))

    def pagination(self, next_cursor: str | None, prev_cursor: str | None) -> Pagination:
        return Pagination(
            page=self.number if self.by_number else None,
            per_page=self.query.limit,
            total_items=None if self.total is None else self.total.items,
            total_pages=self.pages,
            has_next=self.has_next,
            has_prev=self.has_prev,
            next_cursor=next_cursor,
            prev_cursor=prev_cursor,
            total_items_estimated=self.total is not None and self.total.estimated,
        )

    def links(self, place: Place, told: Pagination) -> Links:
        size = self.query.limit

        def numbered(number: int) -> str | None:
            """The link to the page of a number, unless it is too far away."""
            return place.page(number, size) if (number - 1) * size <= self.settings.max_offset else None

        def cursor(cursor: str | None) -> str | None:
            return None if cursor is None else place.cursor(cursor, size)

        following = before = None
        if self.number is not None and self.by_number:
            # A page that was cut has fewer items than its number says: the next number would leave some out.
            following = numbered(self.number + 1) if self.has_next and not self.items.is_cut else None
            before = numbered(min(self.number - 1, self.pages or self.number)) if self.has_prev else None
        return Links(
            own=place.own,
            first=place.page(1, size) if self.by_number else place.cursor(None, size),
            last=None if self.pages is None else numbered(self.pages),
            next=following or cursor(told.next_cursor),
            prev=before or cursor(told.prev_cursor),
        )
