"""A short way to the routes that nearly every request is for: past the framework, which documents them."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from presenter.api.inflight import Inflight
from presenter.api.observed import observed
from presenter.api.status import bug, failure
from presenter.cache.memory import Memory, Share
from presenter.errors import CallerGone, PresenterError, TooManyRequests
from presenter.http.connection import REFUSED
from presenter.phases import measured

OTHERS = 16
"""How many requests for what needs no token are answered at once: the documentation, which is large."""


class Direct:
    """ASGI middleware: calls the endpoint of the route that matches, and has its phases measured.

    All else is the framework's. An endpoint takes the request, and what its path holds, and returns the response.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._others = Inflight(OTHERS, Memory(0, 0), "these need no token")
        self._routes = [route for route in routes if isinstance(route, Route)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on."""
        if (refused := scope["state"].get(REFUSED)) is not None:
            await failure(Request(scope), refused)(scope, receive, send)
            return
        for route in self._routes:
            match, found = route.matches(scope)
            if match is Match.FULL:
                scope.update(found, route=route)
                await _answer(route, scope, receive, send)
                return
        request = Request(scope)
        try:
            await self._others.answer(self._other, scope, receive, send)
        except CallerGone as gone:
            observed(request).left(gone)
        except TooManyRequests as error:
            await failure(request, error)(scope, receive, send)

    async def _other(self, _share: Share) -> ASGIApp:
        return self._app


async def _answer(route: Route, scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    measured.set(observed(request).phases)
    try:
        response = await route.endpoint(request, **request.path_params)
        await response(scope, receive, send)
    except CallerGone as gone:
        observed(request).left(gone)
    except PresenterError as error:
        await failure(request, error)(scope, receive, send)
    except ClientDisconnect:  # while its body was read
        if (refused := scope["state"].get(REFUSED)) is not None:
            await failure(request, refused)(scope, receive, send)
        else:
            observed(request).left(CallerGone("the caller hung up"))
    except Exception:  # a bug: said to the caller as a Status here, and raised for whoever logs it
        await bug(request)(scope, receive, send)
        raise
