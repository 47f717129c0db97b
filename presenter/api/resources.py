"""`/resources`: who asks → what for → what may be seen → one page → JSON."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as ASGIScope

from presenter.access.authorizer import Authorizer
from presenter.access.identity import Authenticator, Identity
from presenter.api import openapi
from presenter.api.answers import Gzip, Part, Plain, answer, page_of
from presenter.api.asking import Asked, Asking, headers_of
from presenter.api.encodings import wants_gzip
from presenter.api.entity_tags import EntityTags, named
from presenter.api.hot_pages import HotPage, HotPages
from presenter.api.inflight import Inflight
from presenter.api.pages.links import Place, Places, header
from presenter.api.pages.pager import Pager
from presenter.api.pages.paginated import paginated
from presenter.api.pages.parameters import PageParameters, asks_for_numbers, parse_page_query
from presenter.api.parameters import (
    DetailParameters,
    ListParameters,
    parse_detail_query,
    parse_list_body,
    parse_list_query,
)
from presenter.api.parts import Parts
from presenter.api.routes import Route
from presenter.api.versions import Versions
from presenter.cache.catalog import CachedType, Catalog
from presenter.cache.catalog_reader import CatalogReader
from presenter.cache.cursor import CursorCodec
from presenter.cache.memory import Share
from presenter.cache.pages import read_items, read_objects
from presenter.cache.pool import Pool
from presenter.cache.query import Position, Query, Row
from presenter.cache.revisions import RevisionReader, state
from presenter.cache.scope import ScanRange
from presenter.config import PaginationSettings
from presenter.errors import BadRequest, CallerGone, NotFound, PayloadTooLarge
from presenter.http.connection import MAX_BODY_BYTES
from presenter.http.exchange import REFUSED
from presenter.observability import observed


class Resources:
    """The endpoints, and what answering takes."""

    def __init__(
        self,
        pool: Pool,
        catalog: CatalogReader,
        authenticator: Authenticator,
        authorizer: Authorizer,
        cursors: CursorCodec,
        tags: EntityTags,
        hot_pages: HotPages,
        inflight: Inflight,
        pagination: PaginationSettings,
        *,
        lenient: bool = False,
        denied_as_empty: bool = False,
    ) -> None:
        self._pool = pool
        self._catalog = catalog
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._asking = Asking(catalog, authorizer, cursors, tags, Versions(pool), denied_as_empty=denied_as_empty)
        self._cursors = cursors
        self._tags = tags
        self._revisions = RevisionReader(pool)
        self._hot_pages = hot_pages
        self._inflight = inflight
        self._pagination = pagination
        self._pager = Pager(pool, cursors, pagination)
        self._places = Places(pagination.base_url, pagination.trusted_proxies)
        self._lenient = lenient

    @property
    def routes(self) -> Sequence[Route]:
        """Where they are."""
        return (
            Route("GET", "/resources", self.list_resources, operation=openapi.LIST),
            Route("POST", "/resources", self.list_resources_by_body, operation=openapi.LIST_BY_BODY),
            Route("GET", "/resources/{global_uid}", self.get_resource, operation=openapi.DETAIL),
        )

    async def list_resources(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        """One page of the objects that match all filters and that the caller may see.

        With `page` or `per_page` it is a numbered page: it has `data`, `pagination` and `links`. With `limit`, or with
        neither, it has `count`, `items` and `cursor`.
        """
        identity = await self._identity(scope)
        if asks_for_numbers(scope["query_string"], lenient=self._lenient):
            asked_for = parse_page_query(scope["query_string"], self._pagination, lenient=self._lenient)
            place = self._places.of(scope)
            await self._answer(
                scope, receive, send, partial(self._numbered_page, identity, asked_for, scope["query_string"], place)
            )
            return
        parameters = parse_list_query(scope["query_string"], lenient=self._lenient)
        known = _fields(scope, b"if-none-match")
        await self._answer(
            scope, receive, send, partial(self._page, identity, parameters, scope["query_string"], known)
        )

    async def list_resources_by_body(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        """The same, with the parameters as a JSON body."""
        identity = await self._identity(scope)
        if scope["query_string"]:
            raise BadRequest("a POST takes its parameters in the body: allowed is no query string")
        parameters = parse_list_body(await _received(scope, receive), lenient=self._lenient)
        # What POST answers is no representation of `/resources`: it has no tag, and no condition is on it.
        await self._answer(scope, receive, send, partial(self._page, identity, parameters, None, None))

    async def get_resource(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        """One object, by its `global_uid`."""
        identity = await self._identity(scope)
        parameters = parse_detail_query(scope["query_string"], lenient=self._lenient)
        known = _fields(scope, b"if-none-match")
        uid = scope["path_params"]["global_uid"]
        await self._answer(scope, receive, send, partial(self._object, identity, uid, parameters, known))

    async def _answer(
        self, scope: ASGIScope, receive: Receive, send: Send, answer: Callable[..., Awaitable[ASGIApp]]
    ) -> None:
        compress = wants_gzip(_fields(scope, b"accept-encoding"))
        async with self._inflight.admitted(scope) as share:
            response = await answer(share, compress=compress)
            await response(scope, receive, send)

    async def _identity(self, scope: ASGIScope) -> Identity:
        observation = observed()
        observation.begin("auth")
        identity = await self._authenticator.authenticate(_fields(scope, b"authorization"))
        observation.user = identity.username
        observation.begin(None)
        return identity

    async def _asked(self, identity: Identity, parameters: ListParameters, query_string: bytes | None) -> Asked:
        observation = observed()
        observation.type = f"{parameters.resource or '*'}.{parameters.group}".rstrip(".")
        observation.begin("scope")
        return await self._asking.of(identity, parameters, query_string)

    async def _page(
        self,
        identity: Identity,
        parameters: ListParameters,
        query_string: bytes | None,
        known: Sequence[str] | None,
        share: Share,
        *,
        compress: bool,
    ) -> ASGIApp:
        """`known` are the tags of what the caller has; None: there are none, as what is answered has no tag."""
        asked = await self._asked(identity, parameters, query_string)
        query, has_tag = asked.query, known is not None
        key = asked.key + (b"gzip" if compress else b"")
        hot = self._hot_pages.get(key)
        if known or (hot is not None and hot.steady):
            revisions = await self._revisions.current(query.ranges)
            headers = {**asked.headers, **asked.position(revisions)}
            if known and (tag := named(known, self._tags.tag(key, state(revisions)))):
                return _not_modified(headers, tag)
            if hot is not None and hot.state == state(revisions):
                self._hot_pages.count_hit()
                observed().rows = hot.rows
                await share.hold(len(hot.body))  # however slowly it is taken, and whether it is forgotten meanwhile
                sent = _of_body(headers, hot.tag if has_tag else None, compress=compress)
                return Parts(iter([Part(hot.body, 0)]), sent, share)

        page = await read_items(self._pool, query, share, inflate=not compress or asked.version is not None)
        headers = {**asked.headers, **asked.position(page.revisions)}
        observation = observed()
        observation.begin("serialise")
        observation.rows = rows = len(page.rows)
        # A page that was cut may be longer another time, and what has no piece yet is written otherwise then.
        is_settled = not (query.items and any(isinstance(row, Row) for row in page.rows))
        read_tag = None if page.is_cut else self._tags.tag(key, state(page.revisions), weak=not is_settled)
        cursor = _cursor(self._cursors, query, asked.filters, page.next)
        around = page_of(rows, cursor, asked.warnings)
        parts = answer(_body(compress=compress), page.rows, asked.catalog.by_id, around, asked.version)
        response = Parts(parts, _of_body(headers, read_tag if has_tag else None, compress=compress), share)
        if response.whole is not None and read_tag is not None:
            steady = hot is None or hot.state == state(page.revisions)
            self._hot_pages.keep(key, HotPage(response.whole, read_tag, rows, state(page.revisions), steady))
        return response

    async def _numbered_page(
        self,
        identity: Identity,
        parameters: PageParameters,
        query_string: bytes,
        place: Place,
        share: Share,
        *,
        compress: bool,
    ) -> ASGIApp:
        asked = await self._asked(identity, parameters, query_string)
        inflate = not compress or asked.version is not None
        page = await self._pager.read(asked.query, asked.filters, parameters, place, share, inflate=inflate)
        observation = observed()
        observation.begin("serialise")
        observation.rows = len(page.items.rows)
        headers = {**asked.headers, **asked.position(page.items.revisions)}
        if page.links is not None:
            headers |= header(page.links)
        around = paginated(page.pagination, page.links, asked.warnings)
        parts = answer(_body(compress=compress), page.items.rows, asked.catalog.by_id, around, asked.version)
        return Parts(parts, _of_body(headers, None, compress=compress), share)

    async def _object(
        self,
        identity: Identity,
        global_uid: str,
        parameters: DetailParameters,
        known: Sequence[str],
        share: Share,
        *,
        compress: bool,
    ) -> ASGIApp:
        observation = observed()
        observation.begin("scope")
        catalog = await self._catalog.current()
        read = partial(self._visible, identity, catalog, global_uid, parameters, share)
        if known:  # whether it has changed is told without its documents
            row, revision = await read(raw=False, status=False)
            tag = self._tag_of(catalog.by_id[row.type_id], row, revision, parameters, compress=compress)
            if (known_tag := named(known, tag)) is not None:
                return _not_modified(headers_of(catalog, [_range_of(catalog, row)]), known_tag)
        row, revision = await read(raw=parameters.raw, status=parameters.status_raw)
        cached = catalog.by_id[row.type_id]
        observation.begin("serialise")
        observation.type, observation.rows = cached.type.name, 1
        tag = self._tag_of(cached, row, revision, parameters, compress=compress)
        headers = _of_body(headers_of(catalog, [_range_of(catalog, row)]), tag, compress=compress)
        return Parts(answer(_body(compress=compress), [row], catalog.by_id, page_of(1)), headers, share)

    async def _visible(
        self,
        identity: Identity,
        catalog: Catalog,
        global_uid: str,
        parameters: DetailParameters,
        share: Share,
        *,
        raw: bool,
        status: bool,
    ) -> tuple[Row, int]:
        """The object, if the caller may see it, and its revision. Raises NotFound otherwise."""
        cluster, _, uid = global_uid.rpartition(":")
        types = _types(catalog, cluster, parameters)
        refused = ", ".join(cached.type.name for cached in types if catalog.refuses(cached))
        absent = NotFound(
            f"there is no object {global_uid!r} that you may see: global_uid is <cluster>:<uid>, as a list gives it"
            + (f"; not known are the objects of {refused}, whose first lists are not complete" if refused else "")
        )
        if not types or "\x00" in uid:
            raise absent
        ids = [cached.id for cached in types]
        found = await read_objects(self._pool, cluster, ids, uid, raw=raw, status=status, share=share)
        # Whether it exists is nobody's business who may not see it: asked and refused alike, row or no row.
        places = [(catalog.by_id[row.type_id], row.namespace, row.name) for row, _ in found] or [(types[0], "", "")]
        allowed = [await self._authorizer.allowed(identity, "get", *place) for place in places]
        visible = list(itertools.compress(found, allowed))
        if not visible:
            for cached in types:
                if parameters.resource is not None or not catalog.refuses(cached):
                    cached.require_synced()
            raise absent
        chosen = next((each for each in visible if catalog.by_id[each[0].type_id].synced), visible[0])
        # Until then it may be of another cluster, or a Secret whose values are no longer kept.
        catalog.by_id[chosen[0].type_id].require_synced()
        return chosen

    def _tag_of(
        self, cached: CachedType, row: Row, revision: int, parameters: DetailParameters, *, compress: bool
    ) -> str:
        type = cached.type
        form = (parameters.raw, parameters.status_raw, compress)
        return self._tags.tag(
            cached.cluster, type.group, type.resource, type.kind, form, row.uid, revision, row.updated_at
        )


def _of_body(headers: Mapping[str, str], tag: str | None, *, compress: bool) -> Mapping[str, str]:
    """Those of an answer with a body."""
    encoding = {"Content-Encoding": "gzip"} if compress else {}
    return {**headers, **encoding, **({} if tag is None else {"ETag": tag})}


def _body(*, compress: bool) -> Plain | Gzip:
    return Gzip() if compress else Plain()


def _not_modified(headers: Mapping[str, str], tag: str) -> Response:
    """The caller has it."""
    return Response(status_code=304, headers={**headers, "ETag": tag})


def _fields(scope: ASGIScope, name: bytes) -> list[str]:
    """The header fields of a name."""
    return [value.decode("latin-1") for known, value in scope["headers"] if known == name]


async def _received(scope: ASGIScope, receive: Receive) -> bytes:
    """The body, as it comes. Raises PayloadTooLarge, CallerGone, and what the connection refused it with."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise scope["state"].pop(REFUSED, None) or CallerGone("the caller hung up")
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise PayloadTooLarge(f"the body has more than {MAX_BODY_BYTES} bytes, which is what is allowed")
        if not message.get("more_body", False):
            return bytes(body)


def _cursor(codec: CursorCodec, query: Query, filters: bytes, following: Position | None) -> str | None:
    if following is None:
        return None
    return codec.encode(query.sort, query.descending, filters, following)


def _range_of(catalog: Catalog, row: Row) -> ScanRange:
    return ScanRange(catalog.by_id[row.type_id].cluster, row.type_id, (row.namespace,))


def _types(catalog: Catalog, cluster: str, parameters: DetailParameters) -> list[CachedType]:
    """The types an object may be of, in an order that says which counts where it is of several."""
    types = (
        cached
        for cached in catalog.of_cluster(cluster)
        if parameters.group in (None, cached.type.group) and parameters.resource in (None, cached.type.resource)
    )
    return sorted(types, key=lambda cached: (cached.type.group, cached.type.resource))
