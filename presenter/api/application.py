"""The ASGI application: requests go to the endpoints of their routes, are observed, and failures become Statuses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import structlog
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from presenter.api.cors import shared
from presenter.api.documentation import documentation
from presenter.api.routes import Route
from presenter.api.status import failure
from presenter.errors import CallerGone, MethodNotAllowed, NotFound, PresenterError
from presenter.http.exchange import REFUSED
from presenter.observability import Observation, Observer, observe, observed

_Methods = dict[str, Route]
_SEGMENT = re.compile(r"\{(\w+)\}")
_TRACE_HEADER = b"x-krateo-traceid"
_TRACE_ID = re.compile(rb"[\x21-\x7e]{1,128}")

log = structlog.get_logger(__name__)


class Application:
    """Answers the requests for these routes, and for their documentation.

    HEAD is answered as GET is, by a server that leaves out the body; OPTIONS tells the methods. Scripts of pages from
    these `origins` may read the answers.
    """

    def __init__(self, routes: Iterable[Route], observer: Observer, origins: Sequence[str] = ()) -> None:
        routes = tuple(routes)
        by_path: dict[str, _Methods] = {}
        for route in (*routes, *documentation(routes)):
            by_path.setdefault(route.path, {})[route.method] = route
        for path, methods in by_path.items():
            if (got := methods.get("GET")) is not None and not got.is_endless:
                methods["HEAD"] = got
            allow = Response(status_code=204, headers={"Allow": ", ".join([*methods, "OPTIONS"])})
            methods["OPTIONS"] = Route("OPTIONS", path, allow)
        self._plain = {path: methods for path, methods in by_path.items() if "{" not in path}
        self._patterns = [
            (re.compile(_SEGMENT.sub(r"(?P<\1>[^/]+)", path)), methods)
            for path, methods in by_path.items()
            if path not in self._plain
        ]
        self._observer = observer
        self._respond: ASGIApp = shared(self._answer, origins) if origins else self._answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        headers = scope["headers"]
        observation = Observation(scope["method"], scope["path"], _trace_id(headers))
        observe(observation)

        async def observing(message: Message) -> None:
            if message["type"] == "http.response.start":
                observation.begin(None)
                observation.code = message["status"]
                message["headers"] = [*message["headers"], *_headers(observation)]
            elif scope["method"] != "HEAD":
                observation.body_bytes += len(message.get("body", b""))
            await send(message)

        try:
            await self._respond(scope, receive, observing)
        finally:
            self._observer.end(observation, headers)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have a request answered by the endpoint of its route; failures are Statuses."""
        observation = observed()
        try:
            if REFUSED in scope["state"]:
                raise scope["state"].pop(REFUSED)  # kept there, it and this frame would wait for garbage collection
            methods, scope["path_params"] = self._routes_at(scope["path"])
            route = methods.get(scope["method"])
            observation.route = (route or next(iter(methods.values()))).path
            if route is None:
                raise MethodNotAllowed(f"{scope['method']} is not allowed on {scope['path']}", list(methods))
            await route.endpoint(scope, receive, send)
        except CallerGone as gone:
            observation.code, observation.reason = gone.status, gone.reason
        except PresenterError as error:
            observation.reason = error.reason
            if error.status >= 500:
                log.warning("request failed", error=str(error), reason=error.reason)
            await failure(error)(scope, receive, send)
        except Exception:  # a bug: the caller is told so in general, the server logs it in full
            observation.reason = PresenterError.reason
            await failure(PresenterError("unexpected error: the service's log has the details"))(scope, receive, send)
            raise

    def _routes_at(self, path: str) -> tuple[_Methods, Mapping[str, str]]:
        """The routes of a path by their methods, and what stands for the names in it. Raises NotFound."""
        if (methods := self._plain.get(path)) is not None:
            return methods, {}
        for pattern, methods in self._patterns:
            if match := pattern.fullmatch(path):
                return methods, match.groupdict()
        raise NotFound(f"there is nothing at {path}: see /docs for what there is")


def _headers(observation: Observation) -> Iterable[tuple[bytes, bytes]]:
    """What is told of a request in its answer."""
    if observation.trace_id is not None:
        yield _TRACE_HEADER, observation.trace_id.encode()
    # How long a refusal took might tell what there is.
    if observation.code == 200 and observation.seconds and not observation.is_stream:
        yield b"server-timing", observation.timing.encode()


def _trace_id(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The caller's trace id, if it is fit to be sent back."""
    for name, value in headers:
        if name == _TRACE_HEADER:
            return value.decode() if _TRACE_ID.fullmatch(value) else None
    return None
