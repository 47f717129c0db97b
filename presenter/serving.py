"""The serving side, built from the settings: who asks, what they may see, and what answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import structlog
from prometheus_client import CollectorRegistry

from presenter.access.authorizer import Authorizer, RbacAuthorizer
from presenter.access.identity import Authenticator
from presenter.access.metrics import OF_RBAC, OF_REVIEWS
from presenter.access.reviews import ReviewAuthorizer
from presenter.access.rules import RulesOfClusters
from presenter.api.inflight import Inflight
from presenter.api.resources import Resources
from presenter.cache.catalog_reader import CatalogReader
from presenter.cache.cursor import CursorCodec
from presenter.cache.memory import Memory
from presenter.cache.pages import PLANNING, namespaces_of
from presenter.cache.pool import Address, Pool
from presenter.config import Settings

CONNECTIONS = 6
SHORTEST_SAFE_KEY = 32  # RFC 7518 §3.2: an HS256 key has at least 256 bits

log = structlog.get_logger(__name__)


@asynccontextmanager
async def serving(
    settings: Settings, address: Address, catalog: CatalogReader, registry: CollectorRegistry
) -> AsyncIterator[tuple[Resources, Pool]]:
    """What answers, and the connections that it needs for that."""
    if settings.auth.sign_key is not None and (size := len(settings.auth.require_sign_key())) < SHORTEST_SAFE_KEY:
        log.warning("SIGN_KEY is short: tokens can be forged by trying keys", bytes=size)
    for metric in OF_RBAC if settings.access.authorizer == "rbac" else OF_REVIEWS:
        registry.register(metric)
    async with (
        Pool.reading(address, "pages", CONNECTIONS, settings.database.query_timeout, **PLANNING) as pool,
        _authorizer(settings, pool, catalog) as authorizer,
    ):
        await pool.check()
        resources = Resources(
            pool=pool,
            catalog=catalog,
            authenticator=Authenticator.of(settings.auth),
            authorizer=authorizer,
            cursors=CursorCodec(settings.auth.require_cursor_key()),
            inflight=Inflight(
                settings.http.max_inflight, Memory(settings.http.max_inflight_bytes, settings.http.max_page_bytes)
            ),
        )
        yield resources, pool


@asynccontextmanager
async def _authorizer(settings: Settings, pool: Pool, catalog: CatalogReader) -> AsyncIterator[Authorizer]:
    access = settings.access
    if access.authorizer == "rbac":
        yield RbacAuthorizer(catalog, RulesOfClusters(pool, access.rbac_max_staleness), access.list_verb)
        return
    from presenter.kube.reviews import SubjectAccessReviews
    from presenter.watching import connected

    async with connected(settings.cluster) as (client, name):
        yield ReviewAuthorizer(
            {name: SubjectAccessReviews(client)},
            partial(namespaces_of, pool),
            access.sar_cache_ttl,
            list_verb=access.list_verb,
        )
