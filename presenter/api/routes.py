"""A route: which ASGI application answers a method of a path, and how OpenAPI describes that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp


@dataclass(frozen=True)
class Route:
    """One method of one path, in which `{name}` stands for a segment: the endpoint finds it in the `path_params`.

    `operation` is OpenAPI's Operation Object, less what the endpoint's name and docstring say; None: not described.
    An answer that `is_endless` cannot be had without its body.
    """

    method: str
    path: str
    endpoint: ASGIApp
    operation: Mapping[str, Any] | None = field(default=None, kw_only=True)
    is_endless: bool = field(default=False, kw_only=True)
