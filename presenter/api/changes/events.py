"""The text of a stream: server-sent events, as WHATWG HTML §9.2 has them.

An `id` without data is an event that is not dispatched: it only moves what the client sends as `Last-Event-ID` when it
comes again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

MEDIA_TYPE = "text/event-stream"

Kind = Literal["ADDED", "MODIFIED", "DELETED"]
"""What became of an object, as it is seen through the filters: in Kubernetes' words."""

Farewell = Literal["expired", "end"]
"""What ends a stream. `expired`: list again; `end`: come again, with the last `id`."""

RETRY = b"retry: 1000\n"
"""How many milliseconds a browser waits before it comes again."""

_ON_ONE_LINE = bytes.maketrans(b"\n\r", b"  ")


def event(kind: Kind | Farewell, json: bytes) -> bytes:
    """An event to which an `id` may be added."""
    if b"\n" in json or b"\r" in json:  # which in JSON are spaces
        json = json.translate(_ON_ONE_LINE)
    return b"event: %b\ndata: %b\n" % (kind.encode(), json)


def ended(event: bytes) -> bytes:
    """The event as it is sent, without an `id`."""
    return event + b"\n"


def together(events: Sequence[bytes]) -> bytes:
    """Events one after the other, the last of which an `id` may be added to."""
    return b"\n".join(events)


def identified(events: bytes, position: object) -> bytes:
    """The same as they are sent: the position is behind all of them, so the last has it. Without events it is alone."""
    return b"%bid: %b\n\n" % (events, str(position).encode())
