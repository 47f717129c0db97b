"""The composition root: builds everything from the settings and runs it. It reads as the data flows.

    Kubernetes API → kube → cache → PostgreSQL → cache → access → api → caller

Ingest and serving never call each other: each has its own connections, and they meet in the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TYPE_CHECKING, Any

import structlog
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from presenter.api.application import Application
from presenter.api.health import Health
from presenter.cache import schema
from presenter.cache.catalog_reader import CatalogReader
from presenter.cache.metrics import OF_POOLS
from presenter.cache.pool import Address, Pool, wait_until_ready
from presenter.cache.watch_patterns import WatchPatterns
from presenter.config import Settings
from presenter.http.server import listen, serve_until_cancelled
from presenter.observability import Observer, Trace

if TYPE_CHECKING:
    from presenter.api.resources import Resources

CONNECTIONS_ASIDE = 2
"""For what must not wait behind pages: what is cached and how fresh it is, and the news that it has changed."""

log = structlog.get_logger(__name__)


async def run(
    settings: Settings,
    address: Address,
    *,
    watch: bool,
    serve: bool,
    reading: Address | None = None,
    listener: socket.socket | None = None,
    registry: CollectorRegistry | None = None,
    on_listening: Callable[[int], None] = lambda _port: None,
) -> None:
    """Watch the cluster, serve its cache, or both, until cancelled; then finish what was begun.

    `reading` is where the cache is read, if that is not `address`. `listener` is where to serve, for those who have
    taken a port already; without it that is PORT. It is closed. `registry` has the metrics to tell, for those who tell
    of more than this process.

    Raises ConfigError, DatabaseUnavailable or SchemaOutdated when it cannot start.
    """
    if serve:
        settings.auth.require_token_keys()
        settings.auth.require_cursor_key()
    patterns = WatchPatterns(settings.cluster.watch)  # before anything is waited for: it may be wrong
    reading = reading or address
    with (
        contextlib.closing(listener or listen(settings.http.port)) as listener,
        _tracing(settings) if serve else contextlib.nullcontext() as trace,
    ):
        patience = settings.database.ready_timeout.total_seconds()
        if watch:
            await wait_until_ready(address, patience)
        if reading != address or not watch:
            await wait_until_ready(reading, patience, through_pooler=True)
        registry = registry or _registry()
        async with (
            _catalog(settings, reading) as catalog,
            _watching(settings, patterns, address, registry) if watch else contextlib.nullcontext() as lead,
            _serving(settings, reading, catalog, registry) if serve else contextlib.nullcontext() as served,
        ):
            await catalog.current()  # so that it is told from the beginning how it stands
            resources, pages = served or (None, None)
            health = Health(catalog, registry, settings.metrics, pages)
            routes = [*(resources.routes if resources is not None else ()), *health.routes]
            application = Application(routes, Observer(registry, trace))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(catalog.follow(), name="catalog")
                if pages is not None:
                    tasks.create_task(pages.reconnect(), name="pages")
                if lead is not None:
                    tasks.create_task(lead(), name="lead")
                tasks.create_task(
                    serve_until_cancelled(
                        application,
                        listener,
                        settings.http.drain_seconds,
                        settings.http.max_connections,
                        settings.http.max_idle_connections,
                    ),
                    name="http",
                )
                port = listener.getsockname()[1]
                log.info("listening", port=port, watch=watch, serve=serve)
                on_listening(port)


def _tracing(settings: Settings) -> AbstractContextManager[Trace | None]:
    if settings.log.otlp_endpoint is None:
        return contextlib.nullcontext()
    from presenter.tracing import tracing  # OpenTelemetry's libraries: only for those who want traces, and have them

    return tracing()


@contextlib.asynccontextmanager
async def _catalog(settings: Settings, address: Address) -> AsyncIterator[CatalogReader]:
    async with Pool.reading(address, "aside", CONNECTIONS_ASIDE, settings.database.query_timeout) as aside:
        await schema.check(aside)
        yield CatalogReader(aside)


def _serving(
    settings: Settings, address: Address, catalog: CatalogReader, registry: CollectorRegistry
) -> AbstractAsyncContextManager[tuple[Resources, Pool]]:
    from presenter.serving import serving  # cryptography and all that answers: not where nothing is answered

    return serving(settings, address, catalog, registry)


def _watching(
    settings: Settings, patterns: WatchPatterns, address: Address, registry: CollectorRegistry
) -> AbstractAsyncContextManager[Callable[[], Coroutine[Any, Any, None]]]:
    from presenter.watching import watching  # aiohttp and the Kubernetes client: not where nothing is watched

    return watching(settings, patterns, address, registry)


def _registry() -> CollectorRegistry:
    # They are one more series for each, that Prometheus has no use for.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # as the library has it
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    for metric in OF_POOLS:
        registry.register(metric)
    return registry
