"""The exception tree. Each error knows the HTTP status and the Kubernetes reason it is answered with.

Reasons are those of Kubernetes' `metav1.StatusReason`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal


class PresenterError(Exception):
    """Whatever this service can say about what went wrong. The message tells the reader what to do."""

    status = 500
    reason = "InternalError"
    retry_after: int | None = None
    """Seconds after which it makes sense to try again, or None."""

    @property
    def message(self) -> str:
        """The text for the caller."""
        return str(self)


class ConfigError(PresenterError):
    """A setting is wrong or missing; the message names the environment variable."""


# -- what a caller did -----------------------------------------------------------------------------------------------


class BadRequest(PresenterError):
    """The request is malformed; the message names the parameter, what came and what is allowed."""

    status = 400
    reason = "BadRequest"


class Unauthorized(PresenterError):
    """No token, or one that cannot be trusted.

    `error` is what is wrong with the one that came, as RFC 6750 §3.1 calls it; None: none came.
    """

    status = 401
    reason = "Unauthorized"

    def __init__(self, message: str, *, error: Literal["invalid_request", "invalid_token"] | None = "invalid_token"):
        super().__init__(message)
        self.error = error


class Forbidden(PresenterError):
    """The caller is known and may not see what was asked for."""

    status = 403
    reason = "Forbidden"


class NotFound(PresenterError):
    """No such object, or no such type in this cache."""

    status = 404
    reason = "NotFound"


class MethodNotAllowed(PresenterError):
    """There is something at this path, but not for this method; `allowed` are those that it is for."""

    status = 405
    reason = "MethodNotAllowed"

    def __init__(self, message: str, allowed: Sequence[str]) -> None:
        super().__init__(message)
        self.allowed = allowed


class NotAcceptable(PresenterError):
    """The answer cannot be given in any form that the caller would take."""

    status = 406
    reason = "NotAcceptable"


class Expired(PresenterError):
    """What changed since then is no longer known: only to read everything anew helps."""

    status = 410
    reason = "Expired"


class PayloadTooLarge(PresenterError):
    """The request body is larger than any request needs to be."""

    status = 413
    reason = "RequestEntityTooLarge"


class RequestTimeout(PresenterError):
    """The request did not come in time."""

    status = 408
    reason = "Timeout"


class UriTooLong(PresenterError):
    """The request line is larger than any needs to be."""

    status = 414
    reason = "RequestURITooLong"


class HeadersTooLarge(PresenterError):
    """The request has more headers, or larger ones, than any needs to have."""

    status = 431
    reason = "RequestHeaderFieldsTooLarge"


class TooManyRequests(PresenterError):
    """As much is being worked on as can be; the same request may succeed in a moment."""

    status = 429
    reason = "TooManyRequests"
    retry_after = 1


class CallerGone(PresenterError):
    """The caller hung up: nobody reads the answer. The status is the one that nginx logs."""

    status = 499
    reason = "ClientClosedRequest"


class CallerTooSlow(CallerGone):
    """The caller took its answer so slowly that it was cut off."""

    reason = "ReadTooSlowly"


# -- what should not be ------------------------------------------------------------------------------------------------


class Damaged(PresenterError):
    """What is stored is not what was written."""


# -- what is not there right now ---------------------------------------------------------------------------------------


class Unavailable(PresenterError):
    """It cannot be answered now; the same request may succeed later."""

    status = 503
    reason = "ServiceUnavailable"
    retry_after = 5


class TooManyConnections(Unavailable):
    """As many connections as may be are open, and none of them is idle."""

    retry_after = 1


class DatabaseUnavailable(Unavailable):
    """PostgreSQL cannot be reached, refuses the connection or went away.

    `remedy` is what can be done about it: for who runs this service, not for who calls it.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(f"{message}: {remedy}" if remedy else message)
        self._message = message

    @property
    def message(self) -> str:
        """Without the remedy."""
        return self._message


class DatabaseBusy(DatabaseUnavailable):
    """PostgreSQL answered, but gave up this transaction: deadlock, serialisation failure, lock or statement timeout."""

    retry_after = 1


class LeaseLost(Unavailable):
    """Another process leads now: this one may not write."""


class UnknownCluster(Unavailable):
    """Which cluster an API server is cannot be told, so that nothing it says may be stored beside what is known."""


class SchemaOutdated(Unavailable):
    """The database's schema is not the one this version works with; `presenter migrate` brings it there."""


class NotSynced(Unavailable):
    """The first list of a type is not complete, so that nothing true can be said about it yet."""

    retry_after = 2


# -- what the Kubernetes API server said -------------------------------------------------------------------------------


class ClusterError(PresenterError):
    """The API server refused a request, or could not be reached.

    `code` is its HTTP status (0: no answer at all), `delay` the seconds of its `Retry-After`.
    """

    def __init__(self, message: str, *, code: int = 0, delay: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.delay = delay


class ClusterUnavailable(ClusterError):
    """No connection, a broken one, 429 or 5xx: the same request may succeed later."""


class ClusterForbidden(ClusterError):
    """401 or 403: this service's own account may not do this."""


class ClusterNotFound(ClusterError):
    """404: the API server does not serve this path."""


class ResourceExpired(ClusterError):
    """410: the resourceVersion or the continue token is too old; only a new list helps."""
