"""`/livez`, `/readyz` and `/metrics`: is it alive, can it be asked, how is it doing.

They are answered from memory, so that nobody who asks them takes from those who ask for resources. Anybody is told yes
or no; what clusters and types there are, how many objects they have and what went wrong takes a token.
"""

from __future__ import annotations

import asyncio
import hmac
import time

import msgspec
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from presenter.api.inflight import Inflight
from presenter.api.metrics import cache_metrics, verdict_metrics
from presenter.cache.catalog import Catalog
from presenter.cache.catalog_reader import CatalogReader
from presenter.cache.memory import Memory, Share
from presenter.cache.pool import Pool
from presenter.cache.report import report, report_of_failure, verdict, verdict_of_failure
from presenter.config import MetricsSettings
from presenter.errors import PresenterError, Unauthorized

AT_ONCE = 20
"""So many a second who have no token are answered at once, which is more than probes and scrapes are."""

HELD = 1.0
"""Seconds the others wait, so that a flood of them takes little from those who ask for resources."""

SCRAPES = 16
"""How many scrapes at once are told everything, which may be much; in the way of probes nobody may stand."""


def health_router(
    catalog: CatalogReader, registry: CollectorRegistry, settings: MetricsSettings, pages: Pool | None = None
) -> APIRouter:
    """The routes, on what is known of the cache, a metrics registry and, where there are any, connections for pages."""
    router = APIRouter(tags=["health"])
    door = _Door(settings)
    scrapes = Inflight(SCRAPES, Memory(0, 0), "these are scrapes")

    def answered() -> Catalog | None:
        try:
            return _known(catalog, pages)
        except PresenterError:
            return None

    async def every_metric(_share: Share) -> Response:
        known = answered()
        # In a thread: there may be very many series.
        return _metrics(await asyncio.to_thread(lambda: cache_metrics(known) + generate_latest(registry)))

    @router.get("/livez", summary="Is the process alive?", response_class=Response)
    async def livez(_request: Request) -> Response:
        """200 as long as the event loop turns; what the process depends on is `/readyz`'s concern."""
        return Response(b"ok", media_type="text/plain")

    @router.get("/readyz", summary="Can it answer?", responses={503: {"description": "Not yet; `reason` says why."}})
    async def readyz(request: Request) -> Response:
        """200 when the database answers, also for pages, its schema is right and a cluster can be asked.

        That is one whose first lists were once complete, but for types that its API server refuses to list. `reason`
        is a word: `ok`, `database`, `schema`, `unwatched` (no cluster was ever watched) or `listing`. With the token
        of METRICS_TOKEN the body says how everything stands.
        """
        knows = await door.is_open_to(request)
        try:
            known = _known(catalog, pages)
            standing = report(known) if knows else verdict(known)
        except PresenterError as error:
            standing = report_of_failure(error) if knows else verdict_of_failure(error)
        return Response(
            msgspec.json.encode(standing),
            status_code=200 if standing["ready"] else 503,
            media_type="application/json",
            headers=None if standing["ready"] else {"Retry-After": "2"},
        )

    @router.get("/metrics", summary="Prometheus metrics", response_class=Response)
    async def metrics(request: Request) -> Response:
        """The metrics of the cache and of this process, in Prometheus' text format.

        Without the token of METRICS_TOKEN only `presenter_database_up` and `presenter_ready`.
        """
        if await door.is_open_to(request):
            return scrapes.admit(every_metric)
        return _metrics(verdict_metrics(answered()))

    return router


def _metrics(text: bytes) -> Response:
    return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _known(catalog: CatalogReader, pages: Pool | None) -> Catalog:
    if pages is not None and pages.trouble is not None:
        raise pages.trouble
    return catalog.known()


class _Door:
    """Who is told everything. The others are let through at once while they are few, each after a while when many."""

    def __init__(self, settings: MetricsSettings) -> None:
        self._open = settings.anonymous
        self._token = settings.token.get_secret_value().encode() if settings.token is not None else None
        self._second = 0
        self._count = 0

    async def is_open_to(self, request: Request) -> bool:
        """Whether the caller is told everything. Raises Unauthorized for a token that is not the one."""
        if self._open:
            return True
        authorization = request.headers.get("authorization")
        if self._token is None or authorization is None:
            await self._wait()
            return False
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token):
            return True
        await self._wait()
        raise Unauthorized("the token is not that of METRICS_TOKEN: send that one, or none to be told yes or no")

    async def _wait(self) -> None:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._count = second, 0
        self._count += 1
        if self._count > AT_ONCE:
            await asyncio.sleep(HELD)
