"""The ASGI application, assembled from its routers."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi_offline import FastAPIOffline
from prometheus_client import CollectorRegistry
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp

from presenter import __version__
from presenter.api import openapi
from presenter.api.direct import Direct
from presenter.api.observe import Observe, Trace
from presenter.api.status import answer_errors_as_status

_DESCRIPTION = """
Objects of Kubernetes clusters, as sorted and filtered pages. Follow `cursor` until it is absent. Send the token of your
portal session, or one from `presenter token`, as `Authorization: Bearer …`.
"""


def create_application(
    health: APIRouter, registry: CollectorRegistry, resources: APIRouter | None, trace: Trace | None = None
) -> ASGIApp:
    """The application. Without `resources` it only tells its health, as a process that does not serve them."""
    app = FastAPIOffline(  # its /docs loads nothing from elsewhere: clusters are behind firewalls
        title="resources-presenter",
        version=__version__,
        description=_DESCRIPTION,
        redirect_slashes=False,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},  # `observe` does these
    )
    if resources is not None:
        app.include_router(resources)
    app.include_router(health)
    answer_errors_as_status(app)
    openapi.describe(app)

    @app.get("/", include_in_schema=False)
    async def home() -> RedirectResponse:
        return RedirectResponse("docs")

    direct = [*(resources.routes if resources is not None else ()), *health.routes]
    return Observe(Direct(app, direct), registry, trace)
