"""The API server's refusals as ClusterErrors: HTTP statuses, and Status objects in answers and watches."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from http.client import responses

import msgspec

from presenter.apimachinery.status import Status
from presenter.errors import ClusterError, ClusterForbidden, ClusterNotFound, ClusterUnavailable, ResourceExpired


class InStreamError(ClusterUnavailable):
    """An ERROR event other than 410, within an answer of 200: the server gave this watch up."""


_KINDS: Mapping[int, type[ClusterError]] = {
    HTTPStatus.UNAUTHORIZED: ClusterForbidden,
    HTTPStatus.FORBIDDEN: ClusterForbidden,
    HTTPStatus.NOT_FOUND: ClusterNotFound,
    HTTPStatus.GONE: ResourceExpired,
    HTTPStatus.TOO_MANY_REQUESTS: ClusterUnavailable,
}
_EXPIRED_REASONS = {"Expired", "Gone"}
_UNREADABLE_VERSION = "resourceVersion: Invalid value"
"""How kube-apiserver refuses to watch from a version that is no number to it: by a 500, as if it might pass."""


def refusal(request: str, code: int, headers: Mapping[str, str], body: bytes) -> ClusterError:
    """The error that an answer with an HTTP status of 400 or more stands for."""
    status = _status(body)
    text = f"{request} was answered with {code} {responses.get(code, '(unknown)')}"
    if status.message:
        text = f"{text}: {status.message}"
    unreadable = code == HTTPStatus.INTERNAL_SERVER_ERROR and status.message.startswith(_UNREADABLE_VERSION)
    kind = ResourceExpired if unreadable else _kind(code)
    return kind(text, code=code, delay=_delay(headers, status))


def stream_error(request: str, body: bytes | msgspec.Raw) -> ClusterError:
    """The error that the Status of an ERROR event stands for."""
    status = _status(body)
    said = f"{status.code or 'no code'} {status.message or status.reason}".rstrip()
    text = f"{request} was ended by the API server: {said}"
    if status.code == HTTPStatus.GONE or status.reason in _EXPIRED_REASONS:
        return ResourceExpired(text, code=HTTPStatus.GONE)
    return InStreamError(text, code=status.code, delay=_delay({}, status))


def _status(body: bytes | msgspec.Raw) -> Status:
    try:
        return msgspec.json.decode(body, type=Status)
    except msgspec.DecodeError:
        return Status()  # a proxy's HTML page: the HTTP status says all there is to know


def _kind(code: int) -> type[ClusterError]:
    return _KINDS.get(code, ClusterUnavailable if code >= HTTPStatus.INTERNAL_SERVER_ERROR else ClusterError)


def _delay(headers: Mapping[str, str], status: Status) -> float | None:
    text = headers.get("Retry-After", "")
    if text.isdigit():
        return float(text)
    return (status.details.retry_after_seconds or None) if status.details else None
