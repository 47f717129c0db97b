"""Page after page of a RESTAction: by the cursor that each page gives, or by number."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from presenter.errors import PresenterError
from presenter.restaction.manifest import RestAction
from presenter.restaction.resolver import Problem, Resolved, Services, resolve

_NUMBERED = re.compile(r"\.slice\??\s*\.(offset|page)\b")


class PagingError(PresenterError):
    """Pages that would never end."""


def slice_of(per_page: int | None, page: int | None = None, cursor: str = "") -> dict[str, Any]:
    """The part of the context that says which page, by its number or by a cursor: nothing, without a `per_page`."""
    if per_page is None:
        return {}
    if page is not None:
        return {"slice": {"page": page, "perPage": per_page, "offset": (page - 1) * per_page}}
    return {"slice": {"perPage": per_page, "cursor": cursor}}


def goes_by_number(action: RestAction) -> bool:
    """Whether it asks for the number or the offset of a page, as RESTActions did that page in jq."""
    texts = [action.filter or "", *(text for call in action.calls for text in call.texts)]
    return any(_NUMBERED.search(text) for text in texts)


async def pages(
    action: RestAction,
    context: Mapping[str, Any],
    services: Services,
    per_page: int,
    *,
    page: int | None = None,
    cursor: str = "",
) -> AsyncGenerator[Resolved, None]:
    """Every page from the first, or from the one given, until the last or one that fails.

    Raises PagingError when a page gives a cursor that has been used, or repeats the one before.
    """
    if page is not None or (goes_by_number(action) and not cursor):
        walk = _by_number(action, context, services, per_page, page or 1)
    else:
        walk = _by_cursor(action, context, services, per_page, cursor)
    async with aclosing(walk):
        async for resolved in walk:
            yield resolved


async def _by_number(
    action: RestAction, context: Mapping[str, Any], services: Services, per_page: int, page: int
) -> AsyncGenerator[Resolved, None]:
    last: Any = None
    while True:
        resolved = await resolve(action, {**context, **slice_of(per_page, page)}, services)
        if resolved.result == last:
            raise PagingError(f"page {page} is the same as page {page - 1}: the RESTAction takes no notice of the page")
        yield resolved
        full = any(len(array) == per_page for array in _arrays(resolved.result))  # longer ones are not what is paged
        if resolved.failed or not full:
            return
        last = resolved.result
        page += 1


async def _by_cursor(
    action: RestAction, context: Mapping[str, Any], services: Services, per_page: int, cursor: str
) -> AsyncGenerator[Resolved, None]:
    used = {cursor}
    while True:
        resolved = await resolve(action, {**context, **slice_of(per_page, cursor=cursor)}, services)
        yield resolved
        cursor = next_cursor(action, resolved, services)
        if resolved.failed or not cursor:
            return
        if cursor in used:
            raise PagingError(f"the cursor of a page was used before: the pages would never end: {cursor[:60]}")
        used.add(cursor)


def next_cursor(action: RestAction, resolved: Resolved, services: Services) -> str:
    """The cursor of the next page, "" on the last: of the result's slice, or of an answer when there is no filter."""
    if action.filter is None:
        places = [resolved.context.get(call.name) for call in action.calls]
    else:
        result = resolved.result
        places = [result.get("slice") if isinstance(result, dict) else None]
        if not isinstance(places[0], dict):
            services.observe(Problem("", "the result has no slice: it cannot be known whether there are more", False))
    cursors = [place.get("cursor") for place in places if isinstance(place, dict)]
    return next((cursor for cursor in cursors if isinstance(cursor, str) and cursor), "")


def length(result: Any) -> int:
    """How many items a page has: those of its longest array, at the top or in mappings."""
    return max(map(len, _arrays(result)), default=0)


def joined(results: Sequence[Any]) -> Any:
    """Pages as one: arrays joined, at the top and in mappings; everything else as on the last page, such as `slice`."""
    last = results[-1]
    if isinstance(last, list):
        return [item for result in results if isinstance(result, list) for item in result]
    if not isinstance(last, dict):
        return last
    mappings = [result for result in results if isinstance(result, dict)]
    return {key: joined([mapping[key] for mapping in mappings if key in mapping]) for key in last}


def _arrays(result: Any) -> Iterator[list[Any]]:
    if isinstance(result, list):
        yield result
    elif isinstance(result, dict):
        for value in result.values():
            yield from _arrays(value)
