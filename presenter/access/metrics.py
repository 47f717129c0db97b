"""Prometheus metrics of deciding who may see what."""

from __future__ import annotations

import time
from collections.abc import Awaitable

from prometheus_client import Gauge, Histogram

from presenter.errors import Unavailable

RBAC_COMPILE_SECONDS = Histogram(
    "presenter_rbac_compile_seconds",
    "Time to read the RBAC objects that changed and to take them into the rules.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
    registry=None,
)
RBAC_OBJECTS = Gauge(
    "presenter_rbac_objects",
    "RBAC objects that this process decides by.",
    ["cluster", "kind"],
    registry=None,
    multiprocess_mode="livemax",
)
OF_RBAC = (RBAC_COMPILE_SECONDS, RBAC_OBJECTS)

REVIEW_SECONDS = Histogram(
    "presenter_access_review_seconds",
    "Time until a SubjectAccessReview was answered.",
    ["answer"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
    registry=None,
)
OF_REVIEWS = (REVIEW_SECONDS,)

_NONE, _ALLOWED, _DENIED = map(REVIEW_SECONDS.labels, ("none", "allowed", "denied"))


async def timed_review(review: Awaitable[bool]) -> bool:
    """A review's verdict, timed. Raises Unavailable when there is none."""
    started = time.perf_counter()
    try:
        allowed = await review
    except Unavailable:
        _NONE.observe(time.perf_counter() - started)
        raise
    (_ALLOWED if allowed else _DENIED).observe(time.perf_counter() - started)
    return allowed
