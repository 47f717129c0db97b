"""`/livez`, `/readyz` and `/metrics`: is it alive, can it be asked, how is it doing. No token needed."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from presenter.cache import schema
from presenter.cache.catalog import Catalog, read_catalog
from presenter.cache.pool import Pool
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
        """200 when the database answers, its schema is at head and every watched type has finished its first list."""
        report = await readiness(pool)
        return Response(
            msgspec.json.encode(report),
            status_code=200 if report["ready"] else 503,
            media_type="application/json",
            headers=None if report["ready"] else {"Retry-After": "2"},
        )

    @router.get("/metrics", summary="Prometheus metrics", response_class=Response)
    async def metrics() -> Response:
        """The metrics of this process, in Prometheus' text format."""
        return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return router


async def readiness(pool: Pool) -> dict[str, Any]:
    """What `/readyz` says. `waiting` names every type whose first list is not complete."""
    try:
        await schema.check(pool)
        catalog = await read_catalog(pool)
    except PresenterError as error:
        return {"ready": False, "database": error.message, "clusters": [], "waiting": []}
    waiting = _waiting(catalog)
    return {
        "ready": bool(catalog.clusters) and not waiting and all(cluster.discovered for cluster in catalog.clusters),
        "database": "ok",
        "clusters": [
            {
                "name": cluster.name,
                "discovered": cluster.discovered,
                "types": sum(cached.cluster == cluster.name for cached in catalog.types),
            }
            for cluster in catalog.clusters
        ],
        "waiting": waiting,
    }


def _waiting(catalog: Catalog) -> list[dict[str, str]]:
    return [
        {
            "cluster": cached.cluster,
            "type": cached.type.name,
            "namespace": watch.namespace,
            "state": watch.state,
            "error": watch.error,
        }
        for cached in catalog.types
        for watch in cached.watches
        if not watch.synced
    ]
