"""Which pages of a browser may read answers (CORS): those of the origins that a setting names; by default none."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from presenter.api.freshness import LAG, STATE
from presenter.api.parameters import POSITION

_METHODS = ("GET", "HEAD", "POST", "OPTIONS")
_EXPOSED = (
    "ETag",
    "Link",
    "Retry-After",
    "Server-Timing",
    "Warning",
    "WWW-Authenticate",
    "X-Krateo-TraceId",
    STATE,
    LAG,
    POSITION,
)
_MAX_AGE = 300
"""Seconds for which a browser need not ask again."""


def shared(application: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """The application, with answers that scripts of pages from these origins may read; `*`: of all.

    Nobody is known by a cookie here: who asks sends a token.
    """
    return CORSMiddleware(
        application,
        allow_origins=origins,
        allow_methods=_METHODS,
        allow_headers=("*",),
        expose_headers=_EXPOSED,
        max_age=_MAX_AGE,
    )
