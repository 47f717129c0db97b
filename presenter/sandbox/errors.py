"""The failures of the sandbox API, each a metav1.Status in the words of kube-apiserver."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """An answer other than success; `status()` is its body.

    `headers` go out with it, `metadata` becomes the ListMeta of the Status (a continue token, for one).
    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.metadata = metadata or {}
        self.headers = headers or {}

    def status(self) -> dict[str, Any]:
        """The metav1.Status that tells of this failure."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if self.details:
            body["details"] = self.details
        body["code"] = self.code
        return body


def bad_request(message: str) -> ApiError:
    """400."""
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    """401."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(message: str, *, group: str = "", resource: str = "", name: str = "") -> ApiError:
    """403."""
    return ApiError(403, "Forbidden", message, details=_details(name, group, resource))


def unknown_path() -> ApiError:
    """404 for a path that leads nowhere."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", details={})


def not_found(group: str, resource: str, name: str) -> ApiError:
    """404 for an object."""
    message = f'{_qualified(group, resource)} "{name}" not found'
    return ApiError(404, "NotFound", message, details=_details(name, group, resource))


def method_not_allowed() -> ApiError:
    """405."""
    return ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def not_acceptable() -> ApiError:
    """406."""
    message = "only the following media types are accepted: application/json, application/yaml"
    return ApiError(406, "NotAcceptable", message)


def already_exists(group: str, resource: str, name: str) -> ApiError:
    """409 for a create."""
    message = f'{_qualified(group, resource)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, details=_details(name, group, resource))


def conflict(group: str, resource: str, name: str, why: str | None = None) -> ApiError:
    """409 for an update of something that has changed meanwhile, or is not what it was."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {_qualified(group, resource)} "{name}": {why}'
    return ApiError(409, "Conflict", message, details=_details(name, group, resource))


def expired(message: str, *, continue_token: str | None = None) -> ApiError:
    """410 for a version, or a page of a list, that is no longer kept."""
    return ApiError(410, "Expired", message, metadata={"continue": continue_token} if continue_token else None)


def unsupported_media_type(accepted: list[str]) -> ApiError:
    """415."""
    message = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(accepted)
    return ApiError(415, "UnsupportedMediaType", message)


def invalid(group: str, kind: str, name: str, field: str, why: str, reason: str = "FieldValueInvalid") -> ApiError:
    """422: a field of the object has a value that it must not have."""
    qualified = f"{kind}.{group}" if group else kind
    details = {
        "name": name,
        "group": group,
        "kind": kind,
        "causes": [{"reason": reason, "message": why, "field": field}],
    }
    return ApiError(422, "Invalid", f'{qualified} "{name}" is invalid: {field}: {why}', details=details)


def too_large_resource_version(asked: int, current: int) -> ApiError:
    """504: a list was asked to be at least as new as something that has not happened yet."""
    details = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    message = f"Timeout: Too large resource version: {asked}, current: {current}"
    return ApiError(504, "Timeout", message, details=details, headers={"Retry-After": "1"})


_REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


def refused(code: int, headers: dict[str, str]) -> ApiError:
    """Any error on demand."""
    reason = _REASONS.get(code, "Unknown")
    return ApiError(code, reason, f"the sandbox was told to answer {code} {reason}", headers=headers)


def _qualified(group: str, resource: str) -> str:
    return f"{resource}.{group}" if group else resource


def _details(name: str, group: str, resource: str) -> dict[str, Any]:
    details = {"name": name, "group": group, "kind": resource}
    return {key: value for key, value in details.items() if value}
