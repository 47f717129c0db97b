"""`/livez`, `/readyz` and `/metrics`: is it alive, can it be asked, how is it doing. No token needed."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from presenter.api.metrics import cache_metrics
from presenter.cache import schema
from presenter.cache.catalog import read_catalog
from presenter.cache.pool import Pool
from presenter.cache.report import report, report_of_failure
from presenter.errors import PresenterError


def health_router(pool: Pool, registry: CollectorRegistry) -> APIRouter:
    """The routes, on a database and a metrics registry."""
    router = APIRouter(tags=["health"])

    @router.get("/livez", summary="Is the process alive?", response_class=Response)
    async def livez() -> Response:
        """200 as long as the event loop turns; what the process depends on is `/readyz`'s concern."""
        return Response(b"ok", media_type="text/plain")

    @router.get("/readyz", summary="Can it answer?", responses={503: {"description": "Not yet; the body says why."}})
    async def readyz() -> Response:
        """200 when the database answers, its schema is right and the first lists of all types were once complete.

        A type that fails later, or is new and cannot be listed, does not make it unready, but the body says so.
        """
        try:
            await schema.check(pool)
            standing = report(await read_catalog(pool))
        except PresenterError as error:
            standing = report_of_failure(error)
        return Response(
            msgspec.json.encode(standing),
            status_code=200 if standing["ready"] else 503,
            media_type="application/json",
            headers=None if standing["ready"] else {"Retry-After": "2"},
        )

    @router.get("/metrics", summary="Prometheus metrics", response_class=Response)
    async def metrics() -> Response:
        """The metrics of the cache and of this process, in Prometheus' text format."""
        body = await cache_metrics(pool) + generate_latest(registry)
        return Response(body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    return router
