"""What the handlers see of HTTP: the parts of a request beyond method, path and query, and a complete response."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """A complete HTTP response."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] | None = None


@dataclass(frozen=True)
class Incoming:
    """The parts of an HTTP request that carry the object."""

    body: bytes
    content_type: str
    accept: str
    user_agent: str
    known_tag: str
