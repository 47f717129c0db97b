"""`metav1.Status`: how the API server says that something failed, or that something was done that has no object."""

from __future__ import annotations

import msgspec


class StatusCause(msgspec.Struct, omit_defaults=True):
    """One of several reasons; `field` is the part of the object or of the options that it concerns."""

    reason: str = ""
    message: str = ""
    field: str = ""


class StatusDetails(msgspec.Struct, rename="camel", omit_defaults=True):
    """What it is about. `kind` is the resource's plural, but where an object is invalid."""

    name: str = ""
    group: str = ""
    kind: str = ""
    uid: str = ""
    causes: list[StatusCause] | None = None
    retry_after_seconds: float = 0


class ListMeta(msgspec.Struct, rename={"continue_": "continue"}, omit_defaults=True):
    """The metadata of lists and of Statuses."""

    resource_version: str = msgspec.field(default="", name="resourceVersion")
    continue_: str = ""
    remaining_item_count: int | None = msgspec.field(default=None, name="remainingItemCount")


class Status(msgspec.Struct, rename="camel", omit_defaults=True):
    """As it is received; what is sent is made by `failure` and `success`."""

    kind: str = ""
    api_version: str = ""
    metadata: ListMeta | None = None
    status: str | int = ""  # a number in what some proxies send instead
    message: str = ""
    reason: str = ""
    details: StatusDetails | None = None
    code: int = 0

    def encode(self) -> bytes:
        """Its JSON."""
        return msgspec.json.encode(self)


def failure(
    code: int, reason: str, message: str, details: StatusDetails | None = None, metadata: ListMeta | None = None
) -> Status:
    """What failed: `code` is the HTTP status, `reason` one of `metav1.StatusReason`."""
    return Status("Status", "v1", metadata or ListMeta(), "Failure", message, reason, details, code)


def success(details: StatusDetails | None = None, message: str = "") -> Status:
    """What was done."""
    return Status("Status", "v1", ListMeta(), "Success", message, details=details)
