"""A short way to the routes that nearly every request is for: past the framework, which documents them."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import Request
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from presenter.api.observed import observed
from presenter.api.status import bug, failure
from presenter.errors import PresenterError
from presenter.phases import measured


class Direct:
    """ASGI middleware: calls the endpoint of the route that matches, and has its phases measured.

    All else is the framework's. An endpoint takes the request, and what its path holds, and returns the response.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._routes = [route for route in routes if isinstance(route, Route)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on."""
        for route in self._routes:
            match, found = route.matches(scope)
            if match is Match.FULL:
                scope.update(found, route=route)
                await _answer(route, scope, receive, send)
                return
        await self._app(scope, receive, send)


async def _answer(route: Route, scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    measured.set(observed(request).phases)
    try:
        response = await route.endpoint(request, **request.path_params)
    except PresenterError as error:
        response = failure(request, error)
    except Exception:  # a bug: said to the caller as a Status here, and raised for whoever logs it
        await bug(request)(scope, receive, send)
        raise
    await response(scope, receive, send)
