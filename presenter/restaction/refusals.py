"""Refusals as snowplow puts them into the context: as Status objects, where it takes them for failures at all."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec

_READ = 2048
"""Bytes that snowplow reads of a refusal."""

_REASONS: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "BadRequest",
    HTTPStatus.UNAUTHORIZED: "Unauthorized",
    HTTPStatus.FORBIDDEN: "Forbidden",
    HTTPStatus.NOT_FOUND: "NotFound",
    HTTPStatus.METHOD_NOT_ALLOWED: "MethodNotAllowed",
    HTTPStatus.NOT_ACCEPTABLE: "NotAcceptable",
    HTTPStatus.CONFLICT: "Conflict",
    HTTPStatus.GONE: "Gone",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "RequestEntityTooLarge",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "UnsupportedMediaType",
    HTTPStatus.UNPROCESSABLE_ENTITY: "UnprocessableEntity",
    HTTPStatus.INTERNAL_SERVER_ERROR: "InternalError",
    HTTPStatus.NOT_IMPLEMENTED: "Invalid",
    HTTPStatus.SERVICE_UNAVAILABLE: "ServiceUnavailable",
}
"""The reasons of the statuses that snowplow takes for failures when their body says nothing of it."""


class _Status(msgspec.Struct, omit_defaults=True):
    kind: str | None = ""
    api_version: str | None = msgspec.field(default="", name="apiVersion")
    status: str | None = ""
    message: str | None = ""
    reason: str | None = ""
    code: int | None = 0


def refused(code: int, body: bytes) -> dict[str, Any] | None:
    """What a refusal becomes, None when snowplow takes no notice of it."""
    read = body[:_READ]
    try:
        said = msgspec.json.decode(read, type=_Status)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return status(code, read.decode(errors="replace"))
    fields: dict[str, Any] = msgspec.to_builtins(said)
    return {key: value for key, value in fields.items() if value is not None} if said.status == "Failure" else None


def status(code: int, message: str) -> dict[str, Any] | None:
    """The Status that stands for an HTTP status, None when that is no failure to snowplow."""
    if code not in _REASONS:
        return None
    fields = {"message": message} if message else {}
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", **fields, "reason": _REASONS[code], "code": code}
