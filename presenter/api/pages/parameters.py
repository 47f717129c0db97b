"""The parameters of numbered pages: those of `/resources`, with `page` and `per_page` in the place of `limit`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar, Literal

from presenter.api.declarations import choice, parameter, query_string_fields, read, shown, whole_number
from presenter.api.parameters import MAX_LIMIT, ListParameters, fields_of, that_agree
from presenter.config import PaginationSettings
from presenter.errors import BadRequest

_MOST = 10**9 - 1
_REMEMBERED = 1024
_NUMBERED = ("page", "per_page")


@dataclass(frozen=True, kw_only=True)
class PageParameters(ListParameters):
    """What may be asked of a numbered page. `limit` is what `per_page` says."""

    both_ways: ClassVar = True

    page: int | None = parameter(
        whole_number(1, _MOST),
        "Number of the page; with it or `per_page` the answer is a numbered page (`data`, `pagination`, `links`). Not "
        "together with `cursor` or `limit`.",
        example=2,
        default=None,
    )
    per_page: int | None = parameter(
        whole_number(1, MAX_LIMIT),
        "Items on a numbered page, within the bounds that PAGINATION_MIN_PAGE_SIZE and _MAX_PAGE_SIZE set. Not "
        "together with `limit`.",
        example=50,
        default=None,
    )
    total: Literal["count", "none"] = parameter(
        choice("count", "none"),
        "Whether a numbered page tells how many items there are.",
        example="none",
        default="count",
    )


@lru_cache(_REMEMBERED)
def asks_for_numbers(query_string: bytes, *, lenient: bool = False) -> bool:
    """Whether a query string speaks of numbered pages. What is malformed does not.

    `lenient`: where there is a `limit`, these are parameters like others that it does not know, and ignores.
    """
    if b"page" not in query_string and b"%" not in query_string:
        return False
    try:
        given = query_string_fields(query_string, lenient=True)
    except BadRequest:
        return False
    return any(name in given for name in _NUMBERED) and not (lenient and given.get("limit"))


def parse_page_query(query_string: bytes, settings: PaginationSettings, *, lenient: bool = False) -> PageParameters:
    """The parameters of a numbered page; what is not given is as the settings have it.

    Raises BadRequest naming the parameter, what came and what is allowed.
    """
    given = fields_of(query_string, lenient=lenient)
    if given.get("limit"):
        named = next(name for name in _NUMBERED if name in given)
        raise BadRequest(
            f"limit is {shown(given['limit'])} and {named} is {shown(given[named])}: allowed is one of the two, "
            "limit for pages as Krateo's components read them, page and per_page for numbered ones"
        )
    defaults = {
        "per_page": f"{settings.default_page_size}",
        "sort_by": settings.default_sort_field,
        "sort_order": settings.default_sort_order,
    }
    given |= {name: value for name, value in defaults.items() if not given.get(name)}
    per_page = whole_number(settings.min_page_size, settings.max_page_size)
    try:
        limit = per_page.read(given["per_page"], True)
    except ValueError as error:
        raise BadRequest(f"per_page is {shown(given['per_page'])}: allowed is {per_page.allowed}") from error
    parameters = read(PageParameters, given, in_query_string=True, lenient=lenient)
    if parameters.cursor is not None and parameters.page is not None:
        raise BadRequest(
            f"page is {parameters.page} and cursor is {shown(parameters.cursor)}: allowed is one of the two"
        )
    if parameters.cursor is not None and not settings.cursor_enabled:
        raise BadRequest("cursor is given, but pages go by number here (PAGINATION_CURSOR_ENABLED): allowed is page")
    return that_agree(replace(parameters, limit=limit))
