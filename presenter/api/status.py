"""Errors as Kubernetes Status objects, which is what callers parse."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.routing import Match

from presenter.api.observed import observed
from presenter.apimachinery.errors import status_of
from presenter.apimachinery.status import Status
from presenter.apimachinery.status import failure as told
from presenter.errors import PresenterError, Unauthorized

log = structlog.get_logger(__name__)

_REASONS = {404: "NotFound", 405: "MethodNotAllowed"}


def _response(request: Request, status: Status, headers: Mapping[str, str] | None = None) -> Response:
    observed(request).reason = status.reason
    return Response(status.encode(), status_code=status.code, headers=headers, media_type="application/json")


def failure(request: Request, error: PresenterError) -> Response:
    """Whatever this project raises on purpose."""
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = _challenge(error)
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("request failed", error=str(error), reason=error.reason)
    return _response(request, status_of(error), headers)


def _challenge(error: Unauthorized) -> str:
    """What a 401 says in its header (RFC 6750 §3), where a description has neither quotes nor anything beyond ASCII."""
    if error.error is None:
        return "Bearer"
    description = re.sub(r"[^ !#-\[\]-~]", "?", error.message.replace('"', "'"))
    return f'Bearer error="{error.error}", error_description="{description}"'


def bug(request: Request) -> Response:
    """A mistake of ours: told in general; the server logs it in full."""
    message = "unexpected error: the service's log has the details"
    return _response(request, told(500, "InternalError", message))


async def _known(request: Request, error: Exception) -> Response:
    assert isinstance(error, PresenterError)
    return failure(request, error)


async def _unknown(request: Request, _error: Exception) -> Response:
    return bug(request)


async def _routing(request: Request, error: Exception) -> Response:
    """What the framework says: no such path, or not with this method."""
    assert isinstance(error, HTTPException)
    messages = {
        404: f"there is nothing at {request.url.path}: see /docs for what there is",
        405: f"{request.method} is not allowed on {request.url.path}",
    }
    reason = _REASONS.get(error.status_code, "InternalError" if error.status_code >= 500 else "BadRequest")
    message = messages.get(error.status_code, error.detail)
    headers = {"Allow": _allowed_methods(request)} if error.status_code == 405 else error.headers
    return _response(request, told(error.status_code, reason, message), headers)


def _allowed_methods(request: Request) -> str:
    """Of all routes on this path: the framework names those of the first one only."""
    return ", ".join(
        method
        for method in ("GET", "HEAD", "POST")
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.router.routes
        )
    )


def answer_errors_as_status(app: FastAPI) -> None:
    """Make every error leave this application as a Status."""
    app.add_exception_handler(PresenterError, _known)
    app.add_exception_handler(HTTPException, _routing)
    app.add_exception_handler(Exception, _unknown)
