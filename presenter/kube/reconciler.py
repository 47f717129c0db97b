"""Anti-entropy: the proof, now and then, that the cache equals the cluster; and what follows when it does not."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

from presenter.cache.comparison import Comparisons
from presenter.cache.writer import Writer
from presenter.errors import ClusterError, ClusterForbidden, ClusterUnavailable, Unavailable
from presenter.kube.client import KubeClient
from presenter.kube.objects import versions_of
from presenter.resource import Watch

PAGE_OBJECTS = 500
RETRY_SECONDS = 60.0

log = structlog.get_logger(__name__)


class Reconciler:
    """Compares one watch's rows with the cluster every `interval` seconds, more or less.

    The API server lists the metadata of the very version that the rows have, so that whatever differs truly differs:
    it is counted, and `relist` lists everything again, until when nothing is compared: a difference counts once. `turn`
    lets one comparison at a time be made.
    """

    def __init__(
        self,
        client: KubeClient,
        writer: Writer,
        comparisons: Comparisons,
        watch: Watch,
        *,
        interval: float,
        turn: asyncio.Lock,
        relist: Callable[[], Awaitable[None]],
    ) -> None:
        self._client = client
        self._writer = writer
        self._comparisons = comparisons
        self._watch = watch
        self._interval = interval
        self._turn = turn
        self._relist = relist

    async def run(self) -> None:
        """Compare again and again, until cancelled."""
        await asyncio.sleep(random.uniform(0, self._interval))  # noqa: S311 - spreads load, hides nothing
        while True:
            pause = self._interval * random.uniform(0.9, 1.1)  # noqa: S311 - as above
            try:
                async with self._turn:
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
        """How many objects differ. None: not now, the watch is not live."""
        async with self._comparisons.rows(self._watch) as rows:
            if rows is None:
                return None
            token = ""
            while True:
                page = await self._client.list_page(
                    self._watch.type,
                    self._watch.namespace,
                    limit=PAGE_OBJECTS,
                    continue_token=token,
                    exact=rows.checkpoint,
                    metadata_only=True,
                )
                if page.resource_version != rows.checkpoint:
                    raise ClusterError(f"asked for version {rows.checkpoint}, listed was {page.resource_version}")
                await rows.compare(versions_of(page.items))
                token = page.continue_token
                if not token:
                    return await rows.differences()
