"""The ingest side, built from the settings: the cluster, the lease, and what is done while it is held."""

from __future__ import annotations

import os
import platform
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from presenter.cache import schema
from presenter.cache.comparison import Comparisons
from presenter.cache.lease import Claim, Lease, Recoveries
from presenter.cache.metrics import OF_WRITING
from presenter.cache.pool import Address, Pool
from presenter.cache.watch_patterns import WatchPatterns
from presenter.cache.writer import Writer
from presenter.config import ClusterSettings, Settings
from presenter.errors import ConfigError
from presenter.kube.client import KubeClient
from presenter.kube.metrics import OF_INGEST
from presenter.kube.supervisor import Supervisor
from presenter.kube.timings import Timings

CONNECTIONS = 4
FORSAKEN = "5s"
"""A process that is paused or cut off in the middle of a transaction holds up the others no longer than this."""

log = structlog.get_logger(__name__)


@asynccontextmanager
async def watching(
    settings: Settings, patterns: WatchPatterns, address: Address, registry: CollectorRegistry
) -> AsyncIterator[Callable[[], Coroutine[Any, Any, None]]]:
    """What watches the cluster, whenever this process is the one to do so, until cancelled."""
    cluster = settings.cluster
    for metric in (*OF_WRITING, *OF_INGEST):
        registry.register(metric)
    async with (
        connected(cluster) as (client, name),
        Pool.opened(address, name="writer", size=CONNECTIONS, idle_in_transaction_session_timeout=FORSAKEN) as pool,
    ):
        if not await schema.may_be_written(pool):
            raise ConfigError(
                f"DB_USER is {address.user!r}, who may not write at {address.there}: name who migrated it"
            )
        recoveries = Recoveries()

        async def watch(epoch: int) -> None:
            supervisor = Supervisor(
                client,
                Writer(pool, name, epoch),
                Comparisons(pool, name),
                patterns,
                namespaces=cluster.namespaces,
                timings=Timings(grace=settings.http.drain_seconds),
                secret_data=cluster.cache_secret_data,
                reconcile_interval=cluster.reconcile_interval.total_seconds(),
                recoveries=recoveries,
            )
            await supervisor.run()

        log.info("watching", cluster=name, watch=patterns.texts, namespaces=cluster.namespaces or "all")
        holder = f"{platform.node()}/{os.getpid()}"
        lease = Lease(pool, name, holder, claim=Claim(name, client.cluster_uid), recoveries=recoveries)
        yield partial(lease.lead, watch)


@asynccontextmanager
async def connected(settings: ClusterSettings) -> AsyncIterator[tuple[KubeClient, str]]:
    """A client for the cluster, and the cluster's name."""
    client = await KubeClient.connect(settings)
    try:
        yield client, settings.name or client.name
    finally:
        await client.close()
