"""The schema of every paginated answer. What is asked for decides what `data` is of, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta

from presenter.api.answers import Envelope, envelope

T = TypeVar("T")

_CURSOR = "^[A-Za-z0-9_-]+$"


class Pagination(msgspec.Struct, omit_defaults=True, frozen=True):
    """Where a page lies among all that match."""

    page: Annotated[
        int | None,
        Meta(description="Number of the page, from 1; null where pages follow each other by cursor."),
    ]
    per_page: Annotated[int, Meta(ge=1, description="Items on a full page.")]
    total_items: Annotated[
        int | None,
        Meta(description="How many items there are that match and that the caller may see; null with `total=none`."),
    ]
    total_pages: Annotated[
        int | None, Meta(description="How many pages that makes; null where pages follow each other by cursor.")
    ]
    has_next: bool
    has_prev: bool
    next_cursor: Annotated[
        Annotated[str, Meta(pattern=_CURSOR)] | None, Meta(description="Pass it as `cursor` for the next page.")
    ]
    prev_cursor: Annotated[
        Annotated[str, Meta(pattern=_CURSOR)] | None, Meta(description="Pass it as `cursor` for the page before.")
    ]
    total_items_estimated: Annotated[
        bool, Meta(description="Present and true where there are too many to count: `total_items` is about right.")
    ] = False


class Links(msgspec.Struct, frozen=True, rename={"own": "self"}):
    """The same as URLs, with all filters as they came; null where there is no such page."""

    own: Annotated[str, Meta(description="This page.")]
    first: str
    last: Annotated[str | None, Meta(description="Null where pages follow each other by cursor.")]
    next: str | None
    prev: str | None


class Rest(msgspec.Struct, omit_defaults=True):
    """What follows the items of a page."""

    pagination: Pagination
    links: Links | None = None
    warnings: Annotated[Sequence[str], Meta(description="Why the page may not be what was meant.")] = ()


class PaginatedResponse(Rest, Generic[T], kw_only=True):  # for the documentation: it is written part by part
    """A page of a list."""

    data: list[T]


def paginated(pagination: Pagination, links: Links | None, warnings: Sequence[str]) -> Envelope:
    """What is around the items of a page."""
    return envelope(b'{"data":[', Rest(pagination, links, warnings))
