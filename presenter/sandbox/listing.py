"""Lists: which objects, in which order, and where the next page goes on."""

from __future__ import annotations

import base64
import bisect
from dataclasses import dataclass

import msgspec

from presenter.sandbox import errors
from presenter.sandbox.cluster import Cluster
from presenter.sandbox.objects import Entry
from presenter.sandbox.registry import Definition
from presenter.sandbox.selectors import Predicate

_INCONSISTENT = "-1"
_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new "
    "list without the continue parameter, or use the continue token in this response to retrieve the "
    "remainder of the results. Continuing with the provided token results in an inconsistent list - "
    "objects that were created, modified, or deleted between the time the first chunk was returned and "
    "now may show up in the list."
)


class Continue(msgspec.Struct, frozen=True):
    """Where a list goes on: the resourceVersion of its first page, the next page's first key and number."""

    rv: str
    start: str
    page: int

    def encode(self) -> str:
        """The opaque token."""
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).rstrip(b"=").decode()

    @classmethod
    def decode(cls, token: str) -> Continue:
        """Raises ApiError 400."""
        try:
            decoded = msgspec.json.decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)), type=cls)
            int(decoded.rv)
        except (ValueError, msgspec.DecodeError) as problem:
            raise errors.bad_request(f"continue key is not valid: {problem}") from problem
        return decoded

    def inconsistent(self) -> Continue:
        """The token that goes on from here with whatever there is now."""
        return Continue(_INCONSISTENT, self.start, self.page)


@dataclass(frozen=True)
class ListOptions:
    """Which part of a type's objects is asked for, as of which version (None: now). `limit` 0 means all."""

    namespace: str = ""
    selects: Predicate | None = None
    limit: int = 0
    token: Continue | None = None
    exact: int | None = None


@dataclass(frozen=True)
class Page:
    """One page of a list: its entries, the resourceVersion it shows, and the way to the next."""

    entries: list[Entry]
    version: int
    token: Continue | None = None
    remaining: int | None = None


def page_expired(token: Continue) -> errors.ApiError:
    """410 for a page whose list is no longer kept, with the token of an inconsistent continuation."""
    return errors.expired(_EXPIRED, continue_token=token.inconsistent().encode())


def page(cluster: Cluster, definition: Definition, options: ListOptions) -> Page:
    """One page.

    All pages of a list show the moment of the first. Raises ApiError 410 when that is forgotten.
    """
    entries, version, number = _snapshot(cluster, definition, options)
    start, end = _range(entries, options.namespace)
    if options.token:
        start = max(start, bisect.bisect_left(entries, options.token.start, key=_key))
    if not options.limit:
        shown = entries[start:end]
        return Page([entry for entry in shown if options.selects(entry)] if options.selects else shown, version)
    shown, following = _take(entries, start, end, options)
    if following >= end:
        return Page(shown, version)
    cluster.remember(definition, version, entries)
    # The least key after the last one shown, so that an inconsistent continuation finds what came in between.
    token = Continue(str(version), shown[-1].key + "\0", number + 1)
    return Page(shown, version, token, None if options.selects else end - following)


def _snapshot(cluster: Cluster, definition: Definition, options: ListOptions) -> tuple[list[Entry], int, int]:
    token = options.token
    if options.exact is not None:
        return cluster.store(definition).at(options.exact), options.exact, 1
    if token is None or token.rv == _INCONSISTENT:
        number = token.page if token else 1
        return cluster.store(definition).snapshot(), cluster.resource_version, number
    version = int(token.rv)
    entries = cluster.snapshots.get((definition.name, version))
    if entries is None:
        raise page_expired(token)
    return entries, version, token.page


def _take(entries: list[Entry], start: int, end: int, options: ListOptions) -> tuple[list[Entry], int]:
    """Up to `limit` entries, and the index after the last: it is `end` when no other entry is to come."""
    if options.selects is None:
        following = min(start + options.limit, end)
        return entries[start:following], following
    shown: list[Entry] = []
    for index in range(start, end):
        if options.selects(entries[index]):
            if len(shown) == options.limit:
                return shown, index
            shown.append(entries[index])
    return shown, end


def _range(entries: list[Entry], namespace: str) -> tuple[int, int]:
    if not namespace:
        return 0, len(entries)
    # All keys of a namespace, and only they, lie between "namespace/" and "namespace0": "0" follows "/" in
    # ASCII.
    return (
        bisect.bisect_left(entries, f"{namespace}/", key=_key),
        bisect.bisect_left(entries, f"{namespace}0", key=_key),
    )


def _key(entry: Entry) -> str:
    return entry.key
