"""The API server's refusals, in its own words.

Source: k8s.io/apimachinery, pkg/api/errors, and k8s.io/apiserver.
"""

from __future__ import annotations

from collections.abc import Sequence

from presenter.apimachinery import validation
from presenter.apimachinery.status import ListMeta, Status, StatusCause, StatusDetails, failure
from presenter.apimachinery.validation import FieldError
from presenter.errors import PresenterError


class StatusError(PresenterError):
    """A failure that is answered with a Status; `object` is that Status."""

    def __init__(self, object: Status) -> None:
        super().__init__(object.message)
        self.object = object
        self.status = object.code
        self.reason = object.reason
        wait = object.details.retry_after_seconds if object.details else 0
        self.retry_after = int(wait) or None


def status_of(error: PresenterError) -> Status:
    """How any error of ours is told."""
    return error.object if isinstance(error, StatusError) else failure(error.status, error.reason, error.message)


def bad_request(message: str) -> StatusError:
    """400."""
    return StatusError(failure(400, "BadRequest", message))


def unauthorized() -> StatusError:
    """401."""
    return StatusError(failure(401, "Unauthorized", "Unauthorized"))


def forbidden(message: str, *, group: str = "", resource: str = "", name: str = "") -> StatusError:
    """403."""
    return StatusError(failure(403, "Forbidden", message, StatusDetails(name, group, resource)))


def not_found(group: str, resource: str, name: str) -> StatusError:
    """404 for an object."""
    message = f'{qualified(group, resource)} "{name}" not found'
    return StatusError(failure(404, "NotFound", message, StatusDetails(name, group, resource)))


def unknown_path() -> StatusError:
    """404 for a path that leads nowhere."""
    return StatusError(failure(404, "NotFound", "the server could not find the requested resource", StatusDetails()))


def method_not_allowed() -> StatusError:
    """405."""
    message = "the server does not allow this method on the requested resource"
    return StatusError(failure(405, "MethodNotAllowed", message, StatusDetails()))


def not_acceptable(message: str) -> StatusError:
    """406."""
    return StatusError(failure(406, "NotAcceptable", message))


def already_exists(group: str, resource: str, name: str) -> StatusError:
    """409 for a create."""
    message = f'{qualified(group, resource)} "{name}" already exists'
    return StatusError(failure(409, "AlreadyExists", message, StatusDetails(name, group, resource)))


def conflict(group: str, resource: str, name: str, why: str | None = None) -> StatusError:
    """409 for an update of something that has changed meanwhile, or is not what it was."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {qualified(group, resource)} "{name}": {why}'
    return StatusError(failure(409, "Conflict", message, StatusDetails(name, group, resource)))


def expired(message: str, *, continue_: str = "") -> StatusError:
    """410 for a version, or a page of a list, that is no longer kept; `continue_` goes on with what there is now."""
    return StatusError(failure(410, "Expired", message, metadata=ListMeta(continue_=continue_)))


def unsupported_media_type(accepted: Sequence[str]) -> StatusError:
    """415."""
    message = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(accepted)
    return StatusError(failure(415, "UnsupportedMediaType", message))


def invalid(group: str, kind: str, name: str, *errors: FieldError) -> StatusError:
    """422: fields of the object have values that they must not have."""
    causes = [StatusCause(error.reason, error.message, error.field) for error in errors]
    message = f'{qualified(group, kind)} "{name}" is invalid: {validation.aggregate(errors)}'
    return StatusError(failure(422, "Invalid", message, StatusDetails(name, group, kind, causes=causes)))


def too_large_resource_version(asked: int, current: int) -> StatusError:
    """504: a list was asked to be at least as new as something that has not happened yet."""
    causes = [StatusCause("ResourceVersionTooLarge", "Too large resource version")]
    message = f"Timeout: Too large resource version: {asked}, current: {current}"
    return StatusError(failure(504, "Timeout", message, StatusDetails(causes=causes, retry_after_seconds=1)))


def qualified(group: str, resource: str) -> str:
    """A group-resource or group-kind as one word: `panels.widgets.templates.krateo.io`, `pods`."""
    return f"{resource}.{group}" if group else resource
