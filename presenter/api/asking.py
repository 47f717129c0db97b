"""What a list asks for, and what of it its caller may see: all of an answer but the rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, assert_never

from presenter.access.authorizer import Authorizer, decide
from presenter.access.identity import Identity
from presenter.api.changes import position as positions
from presenter.api.changes.position import clusters_of
from presenter.api.encodings import ACCEPT_ENCODING
from presenter.api.entity_tags import EntityTags
from presenter.api.freshness import freshness
from presenter.api.parameters import POSITION, ListParameters, ObjectParameters, SortBy
from presenter.api.selection import Selection, answering, select
from presenter.api.versions import Versions
from presenter.apimachinery.golang import quote
from presenter.cache import cursor as cursors
from presenter.cache.catalog import CachedType, Catalog
from presenter.cache.catalog_reader import CatalogReader
from presenter.cache.cursor import CursorCodec
from presenter.cache.query import Filters, Query, Sort
from presenter.cache.revisions import Revisions
from presenter.cache.scope import ScanRange, Scope, scan_ranges
from presenter.errors import BadRequest, Forbidden

_REMEMBERED = 512
"""Questions whose answers are remembered, until the catalog is read again."""


class Asked(NamedTuple):
    """A list that a caller asks for and may see: what is read for it, and what it says beside that.

    `version` is the one that objects are given in, where that is not the cached one. `headers` are those that every
    answer has. `followed` are the clusters whose changes can be followed from there, and the digest of their position.
    `key` is a digest of all that decides its text, but for the rows of its types.
    """

    catalog: Catalog
    query: Query
    filters: bytes
    types: Sequence[CachedType]
    warnings: Sequence[str]
    version: str | None
    headers: Mapping[str, str]
    followed: tuple[Sequence[str], str]
    key: bytes

    def position(self, revisions: Revisions) -> Mapping[str, str]:
        """The header that says from where changes are followed, of a page at these revisions.

        Of a cluster that has none the catalog tells: what has changed since is told once more.
        """
        if self.query.filters.since is not None:
            return {}
        clusters, digest = self.followed
        known = {each.cluster: each.position for each in revisions}
        found = (known.get(cluster, self.catalog.by_cluster[cluster].revision) for cluster in clusters)
        return {POSITION: str(positions.Position(tuple(found), digest))}


class Asking:
    """Finds out what is asked for. It remembers that as long as the catalog is the same, if that is what decides it."""

    def __init__(
        self,
        catalog: CatalogReader,
        authorizer: Authorizer,
        cursors: CursorCodec,
        tags: EntityTags,
        versions: Versions,
        *,
        denied_as_empty: bool,
    ) -> None:
        self._catalog = catalog
        self._authorizer = authorizer
        self._cursors = cursors
        self._tags = tags
        self._versions = versions
        self._denied_as_empty = denied_as_empty
        self._remembered: dict[tuple[Identity, bytes], Asked] = {}
        self._remembered_of: Catalog | None = None

    async def of(self, identity: Identity, parameters: ListParameters, query_string: bytes | None) -> Asked:
        """What a caller asks for and may see; the parameters are those of a query string, if there is one.

        Raises whatever stands in the way of an answer but the database.
        """
        catalog = await self._catalog.current()
        if query_string is None or not self._authorizer.decides_by_catalog:
            return await self._find(catalog, identity, parameters)
        if catalog is not self._remembered_of or len(self._remembered) >= _REMEMBERED:
            self._remembered, self._remembered_of = {}, catalog
        remembered, question = self._remembered, (identity, query_string)
        asked = remembered.get(question)
        if asked is None:
            asked = remembered[question] = await self._find(catalog, identity, parameters)
        return asked

    async def _find(self, catalog: Catalog, identity: Identity, parameters: ListParameters) -> Asked:
        selection = select(
            catalog,
            group=parameters.group,
            resource=parameters.resource,
            version=parameters.version,
            cluster=parameters.cluster,
        )
        scope, undecided = await decide(
            self._authorizer,
            identity,
            "list",
            selection.types,
            namespace=parameters.one_namespace,
            name=parameters.name,
        )
        query, filters = page_query(self._cursors, parameters, selection, scope)
        clusters = clusters_of(catalog, parameters.cluster, undecided)
        followed = clusters, positions.digest(filters, clusters, query.ranges)
        denial = None
        if selection.types and not query.ranges:
            denial = next(iter(undecided.values()), forbidden(identity, parameters, selection))
            if undecided or not self._denied_as_empty:
                raise denial
        types, left_out = answering(catalog, [catalog.by_id[scanned.type_id] for scanned in query.ranges], undecided)
        if left_out:
            ids = {cached.id for cached in types}
            query = replace(query, ranges=tuple(scanned for scanned in query.ranges if scanned.type_id in ids))
        warnings = selection.warnings + left_out + (() if denial is None else (denial.message,))
        version = await self._versions.other(catalog, types, parameters.version)
        headers = headers_of(catalog, query.ranges, warnings)
        kinds = [cached.type.kind for cached in types]
        key = self._tags.digest(
            (filters, query.ranges, query.sort.name, query.descending, query.limit, query.after),
            (kinds, query.raw, query.status, version, warnings),
        )
        return Asked(catalog, query, filters, types, warnings, version, headers, followed, key)


def headers_of(catalog: Catalog, ranges: Iterable[ScanRange], warnings: Sequence[str] = ()) -> Mapping[str, str]:
    """Those that every answer has, also where nothing has changed.

    Vary need not name Authorization: nobody may use the answer to somebody else (RFC 9110 §12.5.5).
    """
    headers = {**freshness(catalog, ranges), "Cache-Control": "private, no-cache", "Vary": ACCEPT_ENCODING}
    if warnings:
        headers["Warning"] = warning(warnings)
    return headers


def page_query(
    codec: CursorCodec, parameters: ListParameters, selection: Selection, scope: Scope
) -> tuple[Query, bytes]:
    """The query behind the parameters, and the digest of its filters that cursors are bound to."""
    descending = parameters.descending
    sort = _sort(parameters.sort_by, descending)
    filters = Filters(
        name=parameters.name,
        name_contains=parameters.name_contains,
        labels=tuple(parameters.labels.items()) if parameters.labels else None,
        since=parameters.since,
        composition_id=parameters.composition_id,
    )
    digest = cursors.digest(
        filters,
        group=parameters.group,
        resource=parameters.resource,
        version=parameters.version,
        namespace=parameters.namespace,
        cluster=parameters.cluster,
    )
    after, backward = None, False
    if parameters.cursor is not None:
        after, backward = codec.decode(parameters.cursor, sort, descending, digest)
        if backward and not parameters.both_ways:
            raise BadRequest("cursor leads back, as on numbered pages: allowed is that with per_page, not with limit")
    query = Query(
        ranges=tuple(scan_ranges(scope, selection.types, parameters.one_namespace, parameters.name)),
        sort=sort,
        descending=descending,
        limit=parameters.limit,
        filters=filters,
        after=after,
        raw=parameters.raw,
        status=parameters.status_raw,
        items=parameters.raw and not parameters.status_raw,
        backward=backward,
    )
    return query, digest


def _sort(by: SortBy, descending: bool) -> Sort:
    match by:
        case "created_at":
            return Sort.CREATED_AT
        case "updated_at":
            return Sort.UPDATED_AT
        case "name":
            return Sort.NAME
        case "resource":
            return Sort.NAMESPACE_AND_NAME
        case "global_uid":
            return Sort.GLOBAL_UID
        case "composition_id":
            return Sort.COMPOSITION_DESCENDING if descending else Sort.COMPOSITION_ASCENDING
        case _:
            assert_never(by)


def warning(texts: Iterable[str]) -> str:
    """Warnings as the header of that name (RFC 9111 §5.5)."""
    return ", ".join(f'299 - "{_quotable(text)}"' for text in texts)


def _quotable(text: str) -> str:
    """As a quoted-string of RFC 9110 §5.6.4. It repeats what the caller sent: a line break must not end the header."""
    return re.sub(r"[^ -~]", "?", text).replace("\\", "\\\\").replace('"', '\\"')


def forbidden(identity: Identity, parameters: ObjectParameters, selection: Selection) -> Forbidden:
    """In kube-apiserver's words."""
    resource = parameters.resource or "*"
    whole = f"{resource}.{parameters.group}" if parameters.group else resource
    namespaced = any(cached.type.namespaced for cached in selection.types)
    where = (
        f"in the namespace {quote(parameters.namespace)}"
        if namespaced and parameters.one_namespace is not None
        else "at the cluster scope"
    )
    return Forbidden(
        f"{whole} is forbidden: User {quote(identity.username)} cannot list resource {quote(resource)} "
        f"in API group {quote(parameters.group)} {where}"
    )
