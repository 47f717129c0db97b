"""What is known of one request, noted by those who work on it, where they learn it."""

from __future__ import annotations

from time import perf_counter

from fastapi import Request
from starlette.types import Scope

from presenter.errors import CallerGone
from presenter.phases import Phases

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OBSERVED = "observed"


class Observed:
    """One request. `method` and `route` are few: `other`, where it has none that this service knows."""

    __slots__ = (
        "asked",
        "body_bytes",
        "code",
        "ended",
        "method",
        "phases",
        "reason",
        "route",
        "rows",
        "started",
        "trace_id",
        "user",
    )

    def __init__(self, scope: Scope, trace_id: str | None) -> None:
        self.started = self.ended = perf_counter()
        self.phases = Phases()
        self.method = scope["method"] if scope["method"] in _METHODS else "other"
        self.route = "other"
        self.trace_id = trace_id
        """The caller's X-Krateo-TraceId, as far as it is fit to be sent back."""
        self.user: str | None = None
        self.asked: str | None = None
        """The resource type that was asked for; `*` and the group where it was all of one."""
        self.rows: int | None = None
        self.code = 500
        self.reason: str | None = None
        """Why it failed: a reason of Kubernetes' Status."""
        self.body_bytes = 0
        scope.setdefault("state", {})[_OBSERVED] = self

    def left(self, gone: CallerGone) -> None:
        """Note that the caller did not wait for the end of its answer."""
        self.code, self.reason = gone.status, gone.reason

    def end(self, scope: Scope) -> None:
        """Note what is known when it is over."""
        self.ended = perf_counter()
        self.route = getattr(scope.get("route"), "path", "other")

    @property
    def seconds(self) -> float:
        """How long it took, from its head to its answer's last byte."""
        return self.ended - self.started


def observed(request: Request) -> Observed:
    """What is known of a request."""
    known: Observed = request.scope["state"][_OBSERVED]
    return known
