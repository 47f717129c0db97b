"""Anti-entropy: now and then the cache is compared with the cluster, and listed anew where it differs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

from presenter.cache.snapshot import Snapshots
from presenter.cache.writer import Writer
from presenter.errors import ClusterError, ClusterForbidden, ClusterUnavailable, Unavailable
from presenter.kube.client import KubeClient
from presenter.kube.objects import versions_of
from presenter.resource import Watch

PAGE_OBJECTS = 500
RETRY_SECONDS = 60.0

log = structlog.get_logger(__name__)


class Reconciler:
    """Compares one watch's rows with the cluster about every `interval` seconds.

    The API server lists the metadata as of the rows' own checkpoint, so that whatever differs truly differs. It is
    counted, and `relist` lists everything again; nothing is compared until that is done: a difference counts once.
    `lock`: one comparison at a time.
    """

    def __init__(
        self,
        client: KubeClient,
        writer: Writer,
        snapshots: Snapshots,
        watch: Watch,
        *,
        interval: float,
        lock: asyncio.Lock,
        relist: Callable[[], Awaitable[None]],
    ) -> None:
        self._client = client
        self._writer = writer
        self._snapshots = snapshots
        self._watch = watch
        self._interval = interval
        self._lock = lock
        self._relist = relist

    async def run(self) -> None:
        """Compare again and again, until cancelled."""
        await asyncio.sleep(random.uniform(0, self._interval))  # noqa: S311 - spreads load, hides nothing
        while True:
            pause = self._interval * random.uniform(0.9, 1.1)  # noqa: S311 - as above
            try:
                async with self._lock:
                    differences = await self._compare()
                if differences:
                    log.warning(
                        "cache and cluster differ, listing again", type=str(self._watch), differences=differences
                    )
                    await self._writer.count_repairs(self._watch, differences)
                    await self._relist()
                compared = differences is not None  # else the watch is not live
            except (ClusterUnavailable, ClusterForbidden, Unavailable) as error:
                log.debug("not compared", type=str(self._watch), error=str(error))
                compared = False
            except ClusterError as error:  # its version is too old, or the server has no lists of the past
                log.info("cannot be compared, listing again", type=str(self._watch), error=str(error))
                await self._relist()
                compared = True
            except Exception:  # a bug that one comparison meets must not be the end of all
                log.exception("comparison crashed", type=str(self._watch))
                compared = True
            await asyncio.sleep(pause if compared else min(pause, RETRY_SECONDS))

    async def _compare(self) -> int | None:
        """The number of objects that differ; None while the watch is not live."""
        async with self._snapshots.take(self._watch) as snapshot:
            if snapshot is None:
                return None
            token = ""
            while True:
                page = await self._client.list_page(
                    self._watch.type,
                    self._watch.namespace,
                    limit=PAGE_OBJECTS,
                    continue_token=token,
                    exact=snapshot.checkpoint,
                    metadata_only=True,
                )
                if page.resource_version != snapshot.checkpoint:
                    raise ClusterError(f"asked for version {snapshot.checkpoint}, listed was {page.resource_version}")
                await snapshot.compare(versions_of(page.items))
                token = page.continue_token
                if not token:
                    return await snapshot.differences()
