"""Errors as Kubernetes Status objects, which is what callers parse."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
import structlog
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.routing import Match

from presenter.errors import PresenterError

log = structlog.get_logger(__name__)

_REASONS = {404: "NotFound", 405: "MethodNotAllowed"}


def status_body(code: int, reason: str, message: str) -> bytes:
    """A failure as `metav1.Status` JSON."""
    return msgspec.json.encode(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
        }
    )


def _response(code: int, reason: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        status_body(code, reason, message), status_code=code, headers=headers, media_type="application/json"
    )


async def _known(_: Request, error: Exception) -> Response:
    """Whatever this project raises on purpose."""
    assert isinstance(error, PresenterError)
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("request failed", error=error.message, reason=error.reason)
    return _response(error.status, error.reason, error.message, headers)


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
    return _response(error.status_code, reason, message, headers)


def _allowed_methods(request: Request) -> str:
    """Of all routes on this path: the framework names those of the first one only."""
    return ", ".join(
        method
        for method in ("GET", "HEAD", "POST")
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.router.routes
        )
    )


async def _bug(_: Request, _error: Exception) -> Response:
    """A mistake of ours: told in general; the server logs it in full."""
    return _response(500, "InternalError", "unexpected error: the service's log has the details")


def answer_errors_as_status(app: FastAPI) -> None:
    """Make every error leave this application as a Status."""
    app.add_exception_handler(PresenterError, _known)
    app.add_exception_handler(HTTPException, _routing)
    app.add_exception_handler(Exception, _bug)
