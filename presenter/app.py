"""The composition root: builds everything from the settings and runs it. It reads as the data flows.

    Kubernetes API → kube → cache → PostgreSQL → cache → access → api → caller

Ingest and serving never call each other: each has its own connections, and they meet in the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from presenter.access.authorizer import Authorizer, RbacAuthorizer
from presenter.access.identity import Authenticator
from presenter.access.reviews import ReviewAuthorizer
from presenter.access.rules import RulesOfClusters
from presenter.api.application import create_application
from presenter.api.inflight import Inflight
from presenter.api.resources import Services
from presenter.cache import schema
from presenter.cache.catalog import CatalogReader
from presenter.cache.cursor import CursorCodec
from presenter.cache.namespaces import namespaces_of
from presenter.cache.pages import PLANNING
from presenter.cache.pool import Address, Pool, wait_until_ready
from presenter.config import Settings
from presenter.patterns import Patterns
from presenter.server import listen, serve_until_cancelled

PAGE_CONNECTIONS = 6
CONNECTIONS_ASIDE = 2
"""For what must not wait behind pages: what is cached and how fresh it is, for answers, probes and scrapes."""
SHORTEST_SAFE_KEY = 32  # RFC 7518 §3.2: an HS256 key has at least 256 bits

log = structlog.get_logger(__name__)


async def run(
    settings: Settings,
    address: Address,
    *,
    watch: bool,
    serve: bool,
    reading: Address | None = None,
    listener: socket.socket | None = None,
    on_listening: Callable[[int], None] = lambda _port: None,
) -> None:
    """Watch the cluster, serve its cache, or both, until cancelled; then finish what was begun.

    `reading` is where the cache is read, if that is not `address`. `listener` is where to serve, for those who have
    taken a port already; without it that is PORT. It is closed.

    Raises ConfigError, DatabaseUnavailable or SchemaOutdated when it cannot start.
    """
    if serve:
        settings.auth.require_token_keys()
        settings.auth.require_cursor_key()
    patterns = Patterns(settings.cluster.watch)  # before anything is waited for: it may be wrong
    reading = reading or address
    with contextlib.closing(listener or listen(settings.http.port)) as listener:
        for used in {reading, address} if watch else {reading}:
            await wait_until_ready(used, settings.database.ready_timeout.total_seconds())
        async with (
            _reading(settings, reading, CONNECTIONS_ASIDE) as aside,
            _watching(settings, patterns, address) if watch else contextlib.nullcontext() as lead,
            _services(settings, reading, CatalogReader(aside)) if serve else contextlib.nullcontext() as services,
        ):
            await schema.check(aside)
            application = create_application(aside, _registry(), services)
            async with asyncio.TaskGroup() as tasks:
                if services is not None:
                    tasks.create_task(services.catalog.follow(), name="catalog")
                if lead is not None:
                    tasks.create_task(lead(), name="lead")
                tasks.create_task(
                    serve_until_cancelled(application, listener, settings.http.drain_seconds), name="http"
                )
                port = listener.getsockname()[1]
                log.info("listening", port=port, watch=watch, serve=serve)
                on_listening(port)


def _reading(settings: Settings, address: Address, size: int, **planning: str) -> AbstractAsyncContextManager[Pool]:
    """Connections on which no query takes longer than QUERY_TIMEOUT: the server ends it, else the client does."""
    seconds = settings.database.query_timeout.total_seconds()
    return Pool.opened(
        address, size=size, command_timeout=seconds + 1, statement_timeout=f"{seconds * 1000:.0f}ms", **planning
    )


@asynccontextmanager
async def _services(settings: Settings, address: Address, catalog: CatalogReader) -> AsyncIterator[Services]:
    if settings.auth.sign_key is not None and (size := len(settings.auth.require_sign_key())) < SHORTEST_SAFE_KEY:
        log.warning("SIGN_KEY is short: tokens can be forged by trying keys", bytes=size)
    async with (
        _reading(settings, address, PAGE_CONNECTIONS, **PLANNING) as pool,
        _authorizer(settings, pool, catalog) as authorizer,
    ):
        yield Services(
            pool=pool,
            catalog=catalog,
            authenticator=Authenticator.of(settings.auth),
            authorizer=authorizer,
            cursors=CursorCodec(settings.auth.require_cursor_key()),
            inflight=Inflight(settings.http.max_inflight),
        )


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


def _watching(
    settings: Settings, patterns: Patterns, address: Address
) -> AbstractAsyncContextManager[Callable[[], Coroutine[Any, Any, None]]]:
    from presenter.watching import watching  # the Kubernetes client's models take 40 MB: not where they are not needed

    return watching(settings, patterns, address)


def _registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry
