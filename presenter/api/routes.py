"""Routes: which ASGI application answers which method and path, and how OpenAPI describes that."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from starlette.types import ASGIApp

from presenter.errors import NotFound

_SEGMENT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Route:
    """One method of one path, in which `{name}` stands for a segment: the endpoint finds it in the `path_params`.

    `operation` is OpenAPI's Operation Object, less what the endpoint's name and docstring say; None: not described.
    """

    method: str
    path: str
    endpoint: ASGIApp
    operation: Mapping[str, Any] | None = field(default=None, kw_only=True)


class Found(NamedTuple):
    """What there is at a path: the routes by their methods, and the segments of the path that have names."""

    path: str
    routes: Mapping[str, Route]
    segments: Mapping[str, str]


class Routes:
    """All routes of an application."""

    def __init__(self, routes: Iterable[Route]) -> None:
        by_path: dict[str, dict[str, Route]] = {}
        for route in routes:
            by_path.setdefault(route.path, {})[route.method] = route
        self._plain = {path: Found(path, methods, {}) for path, methods in by_path.items() if "{" not in path}
        self._patterns = [
            (re.compile(_SEGMENT.sub(r"(?P<\1>[^/]+)", path)), path, methods)
            for path, methods in by_path.items()
            if "{" in path
        ]

    def at(self, path: str) -> Found:
        """What there is at a path. Raises NotFound."""
        if (found := self._plain.get(path)) is not None:
            return found
        for pattern, known, methods in self._patterns:
            if match := pattern.fullmatch(path):
                return Found(known, methods, match.groupdict())
        raise NotFound(f"there is nothing at {path}: see /docs for what there is")
