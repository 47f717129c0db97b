"""Lists: which objects, in which order, and where the next page goes on."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from presenter.apimachinery import continuation, fields
from presenter.apimachinery.errors import StatusError, too_large_resource_version
from presenter.apimachinery.list_options import ListOptions
from presenter.sandbox.cluster import Cluster
from presenter.sandbox.objects import Entry
from presenter.sandbox.registry import Definition

Predicate = Callable[[Entry], bool]


class Continue(continuation.Continue, frozen=True):
    """A continue token that also counts pages, for the faults that befall a later one."""

    page: int = 1


def token_of(query: Mapping[str, str]) -> Continue | None:
    """The token in the query of a list, if it is one."""
    try:
        return Continue.decode(query.get("continue", ""))
    except StatusError:
        return None


@dataclass(frozen=True)
class Page:
    """One page of a list: its entries, the resourceVersion it shows, and the way to the next."""

    entries: list[Entry]
    version: int
    token: str = ""
    remaining: int | None = None


def selection(definition: Definition, options: ListOptions) -> Predicate | None:
    """What selects the objects that match both selectors, or None when everything does. Raises StatusError 400."""
    labels, wanted = options.label_selector, options.field_selector
    metadata = fields.METADATA if definition.namespaced or not definition.custom else fields.METADATA[:1]
    wanted.check((*metadata, *definition.fields), default=not definition.fields and not definition.custom)
    if not labels and not wanted:
        return None

    def selects(entry: Entry) -> bool:
        if not labels.matches(entry.labels):
            return False
        if not wanted:
            return True
        own = {"metadata.name": entry.name, "metadata.namespace": entry.namespace}
        return wanted.matches({**own, **entry.fields} if entry.fields else own)

    return selects


def page(cluster: Cluster, definition: Definition, namespace: str, options: ListOptions) -> Page:
    """One page.

    All pages of a list show the moment of the first. Raises StatusError 410 when that is forgotten, and 504 for a
    moment to come.
    """
    selects = selection(definition, options)
    token = Continue.decode(options.continue_) if options.continue_ else None
    entries, version = _snapshot(cluster, definition, options, token)
    start, end = _range(entries, namespace)
    # Keys in tokens are relative to the list's path: bound to no namespace, and to no type.
    path = f"{namespace}/" if namespace else "" if definition.namespaced else "/"
    if token:
        start = min(max(start, bisect.bisect_left(entries, path + token.start.removeprefix("/"), key=_key)), end)
    if not options.limit:
        shown = entries[start:end]
        return Page([entry for entry in shown if selects(entry)] if selects else shown, version)
    shown, following = _take(entries, start, end, options.limit, selects)
    if following >= end:
        return Page(shown, version)
    cluster.remember(definition, version, entries)
    after = Continue.after(shown[-1].key.removeprefix(path), version)
    number = token.page + 1 if token else 2
    remaining = None if selects else end - following
    return Page(shown, version, msgspec.structs.replace(after, page=number).encode(), remaining)


def _snapshot(
    cluster: Cluster, definition: Definition, options: ListOptions, token: Continue | None
) -> tuple[list[Entry], int]:
    asked = max(token.rv, 0) if token and options.from_now else cluster.version_of(options)
    if asked > cluster.resource_version:
        raise too_large_resource_version(asked, cluster.resource_version)
    if not asked or not (token or options.exact):
        return cluster.store(definition).snapshot(), cluster.resource_version
    kept = cluster.snapshots.get((definition.name, asked))
    store = cluster.store(definition)
    if token and kept is None and asked <= store.floor:
        raise token.expired()
    return store.at(asked) if kept is None else kept, asked


def _take(entries: list[Entry], start: int, end: int, limit: int, selects: Predicate | None) -> tuple[list[Entry], int]:
    """Up to `limit` entries, and the index after the last: it is `end` when no other entry is to come."""
    if selects is None:
        following = min(start + limit, end)
        return entries[start:following], following
    shown: list[Entry] = []
    for index in range(start, end):
        if selects(entries[index]):
            if len(shown) == limit:
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
