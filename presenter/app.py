"""The composition root: builds everything from the settings, and runs it.

    Kubernetes API → kube → cache → PostgreSQL → cache → access → api → caller

The two sides, watching and serving, never call each other: each has its own connections, and they meet in the database.
Libraries that only one side needs are imported where that side is built, for the memory they take: a process that only
watches does without cryptography, one that only serves without the Kubernetes client.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from presenter.access.authorizer import Authorizer, RbacAuthorizer
from presenter.access.metrics import OF_RBAC, OF_REVIEWS
from presenter.api.application import Application
from presenter.api.entity_tags import EntityTags
from presenter.api.health import Health
from presenter.api.hot_pages import HotPages
from presenter.api.inflight import Inflight
from presenter.api.metrics import OF_HOT_PAGES
from presenter.api.routes import Route
from presenter.cache import schema, writes
from presenter.cache.catalog_reader import CatalogReader
from presenter.cache.clock import SteadyClock
from presenter.cache.cursor import CursorCodec
from presenter.cache.filling import fill
from presenter.cache.lease import Claim, Lease, Recoveries
from presenter.cache.memory import Memory
from presenter.cache.metrics import OF_POOLS, OF_WRITING
from presenter.cache.pages import PLANNING, namespaces_of
from presenter.cache.pool import Address, Pool, wait_until_ready
from presenter.cache.retention import Retention, retain
from presenter.cache.snapshot import Snapshots
from presenter.cache.watch_patterns import WatchPatterns
from presenter.cache.writer import Writer
from presenter.config import AuthSettings, ClusterSettings, LogSettings, Settings
from presenter.errors import ConfigError
from presenter.http.server import listen, serve_until_cancelled
from presenter.kube.metrics import OF_INGEST
from presenter.kube.timings import Timings
from presenter.observability import Observer, Trace

if TYPE_CHECKING:
    from presenter.access.identity import Authenticator
    from presenter.api.changes.reading import Reading
    from presenter.kube.client import KubeClient

CHANGES_CONNECTIONS = 2
"""Connections on which changes are read: for all streams that are up to date, and for those that are not."""
CONTROL_CONNECTIONS = 2
"""Connections for what must not wait behind pages: reading the catalog, and hearing that it has changed."""
WRITER_CONNECTIONS = 4
"""Connections for the lease, the writer, and comparisons."""
IDLE_IN_TRANSACTION_TIMEOUT = "5s"
"""After this PostgreSQL ends a transaction whose process is paused or cut off, and others may write."""
SHORTEST_SAFE_KEY = 32
"""Bytes that a key for HS256 has at least, by RFC 7518 §3.2."""

log = structlog.get_logger(__name__)


async def run(
    settings: Settings,
    database: AbstractAsyncContextManager[Address],
    *,
    watch: bool,
    serve: bool,
    listener: socket.socket | None = None,
    registry: CollectorRegistry | None = None,
    on_listening: Callable[[int], None] = lambda _port: None,
) -> None:
    """Watch the cluster, serve its cache, or both, until cancelled; then finish what was begun.

    `database` gives the address of the primary, and is held open as long as this runs. `listener` is the socket to
    answer on, which is closed in the end; without one, PORT is listened on. `registry` has the metrics of `/metrics`;
    without one, those of this process are registered. `on_listening` is called with the port.

    Raises ConfigError, DatabaseUnavailable or SchemaOutdated when it cannot start.
    """
    # Settings that may be wrong come first, before anything is started or waited for.
    patterns = WatchPatterns(settings.cluster.watch)
    replicas = Address.for_reading(settings.database) if serve else None
    keys = _keys(settings.auth) if serve else None
    registry = registry or _process_registry()
    for name, reason in settings.unneeded.items():
        log.info(f"{name} changes nothing here", because=reason)

    async with AsyncExitStack() as stack:
        listener = stack.enter_context(contextlib.closing(listener or listen(settings.http.port)))
        trace = stack.enter_context(_tracing(settings.log)) if serve else None
        primary = await stack.enter_async_context(database)
        reading = replicas or primary
        patience = settings.database.ready_timeout.total_seconds()
        if watch:
            await wait_until_ready(primary, patience)
        if reading != primary or not watch:
            await wait_until_ready(reading, patience, through_pooler=True)

        control = await stack.enter_async_context(
            Pool.reading(reading, "control", CONTROL_CONNECTIONS, settings.database.query_timeout)
        )
        await schema.check(control)
        catalog = CatalogReader(control)
        lead = await stack.enter_async_context(_watching(settings, patterns, primary, registry)) if watch else None
        served = (
            await stack.enter_async_context(_serving(settings, *keys, reading, catalog, registry)) if keys else None
        )
        await catalog.current()  # so that its state is known from the first answer on
        routes, pages, changes = served or ((), None, None)
        health = Health(catalog, registry, settings.metrics, pages)
        application = Application([*routes, *health.routes], Observer(registry, trace), settings.http.cors_origins)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(catalog.follow(), name="catalog")
            if lead is not None:
                tasks.create_task(lead(), name="lead")
            if pages is not None:
                tasks.create_task(pages.reconnect(), name="pages")
            if changes is not None:
                tasks.create_task(changes.run(), name="changes")
            tasks.create_task(
                serve_until_cancelled(
                    application,
                    listener,
                    grace=settings.http.drain_seconds,
                    most=settings.http.max_connections,
                    most_idle=settings.http.max_idle_connections,
                ),
                name="http",
            )
            port = listener.getsockname()[1]
            log.info("listening", port=port, watch=watch, serve=serve)
            on_listening(port)


def _process_registry() -> CollectorRegistry:
    """What a process tells of itself and of its pools."""
    # The time at which a counter was created would be one more series for each, which Prometheus has no use for.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # as the library has it
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    for metric in OF_POOLS:
        registry.register(metric)
    return registry


def _tracing(settings: LogSettings) -> AbstractContextManager[Trace | None]:
    if settings.otlp_endpoint is None or not settings.otel_enabled:
        return contextlib.nullcontext()
    from presenter.tracing import tracing  # OpenTelemetry's libraries: only for those who want traces, and have them

    return tracing()


# -- watching --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _watching(
    settings: Settings, patterns: WatchPatterns, address: Address, registry: CollectorRegistry
) -> AsyncIterator[Callable[[], Coroutine[Any, Any, None]]]:
    """What runs until cancelled: it waits for the lease, and watches the cluster as long as it holds it."""
    from presenter.kube.supervisor import Supervisor

    for metric in (*OF_WRITING, *OF_INGEST):
        registry.register(metric)
    async with (
        _cluster(settings.cluster) as (client, name),
        Pool.opened(
            address,
            name="writer",
            size=WRITER_CONNECTIONS,
            idle_in_transaction_session_timeout=IDLE_IN_TRANSACTION_TIMEOUT,
            **writes.PLANNING,
        ) as pool,
    ):
        if not await schema.may_be_written(pool):
            raise ConfigError(
                f"DB_USER is {address.user!r}, who may not write at {address.label}: name who migrated it"
            )
        recoveries, clock = Recoveries(), SteadyClock()
        retention = Retention(settings.cluster.changes_retention, settings.cluster.changes_retention_max)

        async def watch(epoch: int) -> None:
            writer = Writer(pool, name, epoch, clock)
            supervisor = Supervisor(
                client,
                writer,
                Snapshots(pool, name),
                patterns,
                namespaces=settings.cluster.namespaces,
                timings=Timings(grace=settings.http.drain_seconds),
                secret_data=settings.cluster.cache_secret_data,
                reconcile_interval=settings.cluster.reconcile_interval.total_seconds(),
                recoveries=recoveries,
            )
            background = [asyncio.create_task(fill(writer)), asyncio.create_task(retain(writer, name, retention))]
            try:
                await supervisor.run()
            finally:
                for task in background:
                    task.cancel()
                await asyncio.wait(background)

        holder = f"{platform.node()}/{os.getpid()}"
        lease = Lease(pool, name, holder, claim=Claim(name, client.cluster_uid), recoveries=recoveries, clock=clock)
        log.info("watching", cluster=name, watch=patterns.texts, namespaces=settings.cluster.namespaces or "all")
        yield partial(lease.lead, watch)


@asynccontextmanager
async def _cluster(settings: ClusterSettings) -> AsyncIterator[tuple[KubeClient, str]]:
    """A client for the cluster, and the cluster's name."""
    from presenter.kube.client import KubeClient

    client = await KubeClient.connect(settings)
    try:
        yield client, settings.name or client.name
    finally:
        await client.close()


# -- serving ---------------------------------------------------------------------------------------------------------


def _keys(settings: AuthSettings) -> tuple[Authenticator, CursorCodec, EntityTags]:
    """What verifies tokens, signs cursors, and makes entity tags.

    Raises ConfigError when the settings have no keys for them.
    """
    from presenter.access.identity import Authenticator

    authenticator = Authenticator.of(settings)
    secret = settings.require_cursor_key()
    if settings.token_key is not None and (size := len(settings.require_sign_key())) < SHORTEST_SAFE_KEY:
        log.warning("SIGN_KEY is short: tokens can be forged by trying keys", bytes=size)
    return authenticator, CursorCodec(secret), EntityTags(secret)


@asynccontextmanager
async def _serving(
    settings: Settings,
    authenticator: Authenticator,
    cursors: CursorCodec,
    tags: EntityTags,
    address: Address,
    catalog: CatalogReader,
    registry: CollectorRegistry,
) -> AsyncIterator[tuple[Sequence[Route], Pool, Reading]]:
    """The endpoints of `/resources` and `/changes`; the pool on which pages are read, and the reading of changes."""
    from presenter.api.changes.endpoint import Changes
    from presenter.api.changes.metrics import OF_CHANGES
    from presenter.api.changes.reading import Reading
    from presenter.api.resources import Resources

    for metric in (*OF_HOT_PAGES, *OF_CHANGES, *(OF_RBAC if settings.access.authorizer == "rbac" else OF_REVIEWS)):
        registry.register(metric)
    size, at_start = settings.database.pool.most, settings.database.pool.at_start
    async with (
        Pool.reading(address, "pages", size, settings.database.query_timeout, at_start=at_start, **PLANNING) as pool,
        Pool.reading(address, "changes", CHANGES_CONNECTIONS, settings.database.query_timeout) as feed,
        _authorizer(settings, pool, catalog) as authorizer,
    ):
        await pool.check()
        log.info("numbered pages", **settings.pagination.model_dump(mode="json"))
        memory = Memory(settings.http.max_inflight_bytes, settings.http.max_page_bytes)
        resources = Resources(
            pool=pool,
            catalog=catalog,
            authenticator=authenticator,
            authorizer=authorizer,
            cursors=cursors,
            tags=tags,
            hot_pages=HotPages(settings.http.page_cache_bytes),
            inflight=Inflight(settings.http.max_inflight, memory),
            pagination=settings.pagination,
            lenient=settings.http.unknown_parameters == "ignore",
            denied_as_empty=settings.access.denied_as_empty,
        )
        reading = Reading(feed, catalog)
        changes = Changes(pool, catalog, authenticator, authorizer, reading, settings.http.streams)
        yield [*resources.routes, *changes.routes], pool, reading


@asynccontextmanager
async def _authorizer(settings: Settings, pool: Pool, catalog: CatalogReader) -> AsyncIterator[Authorizer]:
    access = settings.access
    if access.authorizer == "rbac":
        from presenter.access.rules import RulesOfClusters

        yield RbacAuthorizer(catalog, RulesOfClusters(pool, access.rbac_max_staleness), access.list_verb)
        return
    from presenter.access.review_authorizer import ReviewAuthorizer
    from presenter.kube.subject_access_reviews import SubjectAccessReviews

    async with _cluster(settings.cluster) as (client, name):
        yield ReviewAuthorizer(
            {name: SubjectAccessReviews(client)},
            partial(namespaces_of, pool),
            access.sar_cache_ttl,
            list_verb=access.list_verb,
        )
