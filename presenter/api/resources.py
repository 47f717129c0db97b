"""`/resources`: who asks → what for → what may be seen → one page → JSON."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from fastapi import APIRouter, Request, Response

from presenter.access.authorizer import Authorizer, decide
from presenter.access.identity import Authenticator, Identity
from presenter.api import openapi
from presenter.api.answers import answer
from presenter.api.freshness import freshness
from presenter.api.inflight import Inflight
from presenter.api.observed import Observed, observed
from presenter.api.parameters import (
    DetailParameters,
    ListParameters,
    parse_detail_query,
    parse_list_body,
    parse_list_query,
)
from presenter.api.pieces import Pieces
from presenter.api.selection import Selection, answering, select
from presenter.cache import cursor as cursors
from presenter.cache.catalog import CachedType, Catalog
from presenter.cache.catalog_reader import CatalogReader
from presenter.cache.conversion import Conversions
from presenter.cache.cursor import CursorCodec
from presenter.cache.memory import Share
from presenter.cache.pages import read_objects, read_page
from presenter.cache.pool import Pool
from presenter.cache.query import Filters, Page, Query, Sort
from presenter.cache.scope import ScanRange, Scope, scan_ranges
from presenter.errors import BadRequest, Forbidden, NotFound, PayloadTooLarge
from presenter.phases import begin

ALL_NAMESPACES = "*"
MAX_BODY = 65_536

_SORTS = {
    "created_at": (Sort.CREATED_AT, Sort.CREATED_AT),
    "updated_at": (Sort.UPDATED_AT, Sort.UPDATED_AT),
    "name": (Sort.NAME, Sort.NAME),
    "resource": (Sort.NAMESPACE_AND_NAME, Sort.NAMESPACE_AND_NAME),
    "global_uid": (Sort.GLOBAL_UID, Sort.GLOBAL_UID),
    "composition_id": (Sort.COMPOSITION_ASCENDING, Sort.COMPOSITION_DESCENDING),
}


@dataclass(frozen=True, slots=True)
class Services:
    """What answering takes."""

    pool: Pool
    catalog: CatalogReader
    authenticator: Authenticator
    authorizer: Authorizer
    cursors: CursorCodec
    inflight: Inflight
    conversions: Conversions = field(default_factory=Conversions)


def resources_router(services: Services) -> APIRouter:
    """The routes, bound to what answers them."""
    router = APIRouter(tags=["resources"])

    @router.get("/resources", **openapi.LIST)
    async def list_resources(request: Request) -> Response:
        """One page of the objects that match all filters and that the caller may see."""
        identity = await _identity(services, request)
        parameters = parse_list_query(request.scope["query_string"])
        return services.inflight.admit(partial(_list, services, identity, parameters, observed(request)))

    @router.post("/resources", **openapi.LIST_BY_BODY)
    async def list_resources_by_body(request: Request) -> Response:
        """The same, with the parameters as a JSON body."""
        identity = await _identity(services, request)
        if request.scope["query_string"]:
            raise BadRequest("a POST takes its parameters in the body: allowed is no query string")
        parameters = parse_list_body(await _body(request))
        return services.inflight.admit(partial(_list, services, identity, parameters, observed(request)))

    @router.get("/resources/{global_uid}", **openapi.DETAIL)
    async def get_resource(request: Request, global_uid: str) -> Response:
        """One object, by its `global_uid`."""
        identity = await _identity(services, request)
        parameters = parse_detail_query(request.scope["query_string"])
        return services.inflight.admit(partial(_get, services, identity, global_uid, parameters, observed(request)))

    return router


async def _identity(services: Services, request: Request) -> Identity:
    begin("auth")
    identity = await services.authenticator.authenticate(request.headers.getlist("authorization"))
    observed(request).user = identity.username
    begin(None)
    return identity


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise PayloadTooLarge(f"the body has more than {MAX_BODY} bytes, which is what is allowed")
    return bytes(body)


async def _list(
    services: Services, identity: Identity, parameters: ListParameters, noted: Observed, share: Share
) -> Response:
    noted.asked = f"{parameters.resource or '*'}.{parameters.group}".rstrip(".")
    begin("scope")
    catalog = await services.catalog.current()
    selection = select(
        catalog,
        group=parameters.group,
        resource=parameters.resource,
        version=parameters.version,
        cluster=parameters.cluster,
    )
    namespace = None if parameters.namespace == ALL_NAMESPACES else parameters.namespace
    scope, undecided = await decide(
        services.authorizer, identity, "list", selection.types, namespace=namespace, name=parameters.name
    )
    query, filters = page_query(services.cursors, parameters, namespace, selection, scope)
    if selection.types and not query.ranges:
        raise next(iter(undecided.values()), forbidden(identity, parameters, selection))
    types, left_out = answering(catalog, [catalog.by_id[scanned.type_id] for scanned in query.ranges], undecided)
    if left_out:
        ids = {cached.id for cached in types}
        query = replace(query, ranges=tuple(scanned for scanned in query.ranges if scanned.type_id in ids))
    warnings = selection.warnings + left_out
    versions = await _versions(services, catalog, types, parameters.version)
    page = await read_page(services.pool, query, share)
    begin("serialise")
    noted.rows = len(page.rows)
    headers = freshness(catalog, query.ranges)
    if warnings:
        headers["Warning"] = ", ".join(f'299 - "{_quotable(text)}"' for text in warnings)
    cursor = _cursor(services.cursors, query, filters, page)
    return Pieces(answer(page.rows, catalog.by_id, cursor, warnings, versions), headers, share)


async def _versions(
    services: Services, catalog: Catalog, types: Iterable[CachedType], version: str | None
) -> Mapping[int, str]:
    """The version asked for, by the types that are cached in another. Raises BadRequest when it cannot be given."""
    if version is None:
        return {}
    others = [cached for cached in types if cached.type.version != version]
    for cached in others:
        if obstacle := await services.conversions.obstacle(services.pool, catalog, cached):
            raise BadRequest(
                f"version is {version!r}, in which {cached.type.name} of cluster {cached.cluster} is served but not "
                f"cached: allowed is {cached.type.version}, since {obstacle}"
            )
    return {cached.id: version for cached in others}


def page_query(
    codec: CursorCodec, parameters: ListParameters, namespace: str | None, selection: Selection, scope: Scope
) -> tuple[Query, bytes]:
    """The query behind the parameters, and the digest of its filters that cursors are bound to."""
    descending = parameters.descending
    sort = _SORTS[parameters.sort_by][descending]
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
    after = None
    if parameters.cursor is not None:
        after = codec.decode(parameters.cursor, sort, descending, digest)
    query = Query(
        ranges=tuple(scan_ranges(scope, selection.types, namespace, parameters.name)),
        sort=sort,
        descending=descending,
        limit=parameters.limit,
        filters=filters,
        after=after,
        raw=parameters.raw,
        status=parameters.status_raw,
    )
    return query, digest


def _cursor(codec: CursorCodec, query: Query, filters: bytes, page: Page) -> str | None:
    if page.next is None:
        return None
    return codec.encode(query.sort, query.descending, filters, page.next)


async def _get(
    services: Services,
    identity: Identity,
    global_uid: str,
    parameters: DetailParameters,
    noted: Observed,
    share: Share,
) -> Response:
    begin("scope")
    cluster, _, uid = global_uid.rpartition(":")
    catalog = await services.catalog.current()
    types = _types(catalog, cluster, parameters)
    refused = ", ".join(cached.type.name for cached in types if catalog.refuses(cached))
    absent = NotFound(
        f"there is no object {global_uid!r} that you may see: global_uid is <cluster>:<uid>, as a list gives it"
        + (f"; not known are the objects of {refused}, whose first lists are not complete" if refused else "")
    )
    if not types or "\x00" in uid:
        raise absent
    rows = await read_objects(
        services.pool,
        cluster,
        [cached.id for cached in types],
        uid,
        raw=parameters.raw,
        status=parameters.status_raw,
        share=share,
    )
    # Whether it exists is nobody's business who may not see it: asked and refused alike, row or no row.
    places = [(catalog.by_id[row.type_id], row.namespace, row.name) for row in rows] or [(types[0], "", "")]
    allowed = [await services.authorizer.allowed(identity, "get", *place) for place in places]
    visible = list(itertools.compress(rows, allowed))
    if not visible:
        for cached in types:
            if parameters.resource is not None or not catalog.refuses(cached):
                cached.require_synced()
        raise absent
    row = next((row for row in visible if catalog.by_id[row.type_id].synced), visible[0])
    asked = catalog.by_id[row.type_id]
    asked.require_synced()  # until then it may be of another cluster, or a Secret whose values are no longer kept
    begin("serialise")
    noted.asked, noted.rows = asked.type.name, 1
    headers = freshness(catalog, [ScanRange(cluster, row.type_id, (row.namespace,))])
    return Pieces(answer([row], catalog.by_id), headers, share)


def _types(catalog: Catalog, cluster: str, parameters: DetailParameters) -> list[CachedType]:
    """The types an object may be of, in an order that says which counts where it is of several."""
    types = (
        cached
        for cached in catalog.of_cluster(cluster)
        if parameters.group in (None, cached.type.group) and parameters.resource in (None, cached.type.resource)
    )
    return sorted(types, key=lambda cached: (cached.type.group, cached.type.resource))


def _quotable(text: str) -> str:
    """As a quoted-string of RFC 9110 §5.6.4. It repeats what the caller sent: a line break must not end the header."""
    return re.sub(r"[^ -~]", "?", text).replace("\\", "\\\\").replace('"', '\\"')


def forbidden(identity: Identity, parameters: ListParameters, selection: Selection) -> Forbidden:
    """In kube-apiserver's words."""
    resource = parameters.resource or "*"
    whole = f"{resource}.{parameters.group}" if parameters.group else resource
    namespaced = any(cached.type.namespaced for cached in selection.types)
    where = (
        f"in the namespace {_quoted(parameters.namespace)}"
        if namespaced and parameters.namespace != ALL_NAMESPACES
        else "at the cluster scope"
    )
    return Forbidden(
        f"{whole} is forbidden: User {_quoted(identity.username)} cannot list resource {_quoted(resource)} "
        f"in API group {_quoted(parameters.group)} {where}"
    )


def _quoted(text: str) -> str:
    """In quotes, and on one line whatever it holds, as Go's %q writes it."""
    return json.dumps(text, ensure_ascii=False)
