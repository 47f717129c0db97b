"""Errors as Kubernetes Status objects, which is what callers parse."""

from __future__ import annotations

import re

from starlette.responses import Response

from presenter.apimachinery.errors import status_of
from presenter.errors import MethodNotAllowed, PresenterError, Unauthorized


def failure(error: PresenterError) -> Response:
    """The answer to a request that fails with an error."""
    status = status_of(error)
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = _challenge(error)
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(error.allowed)
    return Response(status.encode(), status_code=status.code, headers=headers, media_type="application/json")


def _challenge(error: Unauthorized) -> str:
    """What a 401 says in its header (RFC 6750 §3), where a description has neither quotes nor anything beyond ASCII."""
    if error.error is None:
        return "Bearer"
    description = re.sub(r"[^ !#-\[\]-~]", "?", error.message.replace('"', "'"))
    return f'Bearer error="{error.error}", error_description="{description}"'
