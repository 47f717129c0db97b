"""`/livez`, `/readyz` and `/metrics`: is it alive, can it be asked, how is it doing.

They are answered from memory, so that nobody who asks them takes from those who ask for resources. Anybody is told yes
or no; what clusters and types there are, how many objects they have and what went wrong takes a token.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Sequence

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from presenter.api import openapi
from presenter.api.inflight import Inflight
from presenter.api.metrics import cache_metrics, verdict_metrics
from presenter.api.routes import Route
from presenter.cache.catalog import Catalog
from presenter.cache.catalog_reader import CatalogReader
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


class Health:
    """The endpoints, on what is known of the cache, a registry and, where there are any, connections for pages."""

    def __init__(
        self,
        catalog: CatalogReader,
        registry: CollectorRegistry,
        settings: MetricsSettings,
        pages: Pool | None = None,
    ) -> None:
        self._catalog = catalog
        self._registry = registry
        self._pages = pages
        self._door = _Door(settings)
        self._scrapes = Inflight(SCRAPES, setting="these are scrapes")

    @property
    def routes(self) -> Sequence[Route]:
        """Where they are."""
        return (
            Route("GET", "/livez", self.livez, operation=openapi.LIVEZ),
            Route("GET", "/readyz", self.readyz, operation=openapi.READYZ),
            Route("GET", "/metrics", self.metrics, operation=openapi.METRICS),
        )

    async def livez(self, scope: Scope, receive: Receive, send: Send) -> None:
        """200 as long as the event loop turns; what the process depends on is `/readyz`'s concern."""
        await Response(b"ok", media_type="text/plain")(scope, receive, send)

    async def readyz(self, scope: Scope, receive: Receive, send: Send) -> None:
        """200 when the database answers, also for pages, its schema is right and a cluster can be asked.

        That is one whose first lists were once complete, but for types that its API server refuses to list. `reason`
        is a word: `ok`, `database`, `schema`, `unwatched` (no cluster was ever watched) or `listing`. With the token
        of METRICS_TOKEN the body says how everything stands.
        """
        knows = await self._door.is_open_to(scope)
        try:
            known = self._known()
            readiness = report(known) if knows else verdict(known)
        except PresenterError as error:
            readiness = report_of_failure(error) if knows else verdict_of_failure(error)
        response = Response(
            msgspec.json.encode(readiness),
            status_code=200 if readiness["ready"] else 503,
            media_type="application/json",
            headers=None if readiness["ready"] else {"Retry-After": "2"},
        )
        await response(scope, receive, send)

    async def metrics(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The metrics of the cache and of this process, in Prometheus' text format.

        Without the token of METRICS_TOKEN only `presenter_database_up` and `presenter_ready`.
        """
        if not await self._door.is_open_to(scope):
            await _metrics(verdict_metrics(self._answered()))(scope, receive, send)
            return
        async with self._scrapes.admitted(scope):
            known = self._answered()
            # In a thread: there may be very many series.
            text = await asyncio.to_thread(lambda: cache_metrics(known) + generate_latest(self._registry))
            await _metrics(text)(scope, receive, send)

    def _known(self) -> Catalog:
        if self._pages is not None and self._pages.last_error is not None:
            raise self._pages.last_error
        return self._catalog.known()

    def _answered(self) -> Catalog | None:
        try:
            return self._known()
        except PresenterError:
            return None


def _metrics(text: bytes) -> Response:
    return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})


class _Door:
    """Who is told everything. The others are let through at once while they are few, each after a while when many."""

    def __init__(self, settings: MetricsSettings) -> None:
        self._open = settings.anonymous
        self._token = settings.token.get_secret_value().encode() if settings.token is not None else None
        self._second = 0
        self._count = 0

    async def is_open_to(self, scope: Scope) -> bool:
        """Whether the caller is told everything. Raises Unauthorized for a token that is not the one."""
        if self._open:
            return True
        authorization = next((value for name, value in scope["headers"] if name == b"authorization"), None)
        if self._token is None or authorization is None:
            await self._wait()
            return False
        scheme, _, given = authorization.partition(b" ")
        if scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(), self._token):
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
