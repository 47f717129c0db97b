"""Pages as they went out, kept while the rows of their types stay as they are: so many bytes, of those used last."""

from __future__ import annotations

from dataclasses import dataclass

from presenter.access.lru import LruCache
from presenter.api.metrics import PAGE_CACHE_BYTES, PAGE_CACHE_HITS, PAGE_CACHE_MISSES

OVERHEAD = 512
"""Bytes that a page takes beside its body."""

_LARGEST = 8
"""What takes more than this fraction of all is not kept."""


@dataclass(frozen=True, slots=True)
class HotPage:
    """A page as it went out: its body, its tag and how many rows it has, and the state of its types (see `revisions`).

    `steady`: it was the same when it was read before, so that it pays to ask whether it still is. Where its types
    change all the time it does not.
    """

    body: bytes | bytearray
    tag: str
    rows: int
    state: object
    steady: bool


class HotPages:
    """At most so many bytes of pages, by keys that tell all that decides a page but its rows.

    Who sends one accounts for it: it may be forgotten here meanwhile.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._pages = LruCache[bytes, HotPage](most, lambda _, page: _size(page))

    def get(self, key: bytes) -> HotPage | None:
        """The page that was kept, whether or not it has changed since."""
        return self._pages.get(key)

    def count_hit(self) -> None:
        """Count an answer by a page that was kept."""
        PAGE_CACHE_HITS.inc()

    def keep(self, key: bytes, page: HotPage) -> None:
        """Keep a page that was read, in place of the one that was kept."""
        PAGE_CACHE_MISSES.inc()
        if _size(page) * _LARGEST <= self._most:
            self._pages.put(key, page)
        else:
            self._pages.discard(key)
        PAGE_CACHE_BYTES.set(self._pages.weight)


def _size(page: HotPage) -> int:
    return len(page.body) + OVERHEAD
