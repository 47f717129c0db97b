"""The HTTP server: where it listens, and how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from uvicorn._types import HTTPScope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from presenter.errors import ConfigError

ARRIVAL = 30.0
"""Seconds in which a request must have come, from its connection or its first byte on, with its body."""
IDLE = 100
"""Seconds a connection is kept for the next request: longer than Go's clients (90) and nginx (60) keep theirs."""
STALLED = 60
"""Seconds after which a client that takes nothing of its answer is cut off."""
ON_LEAVING = "on_leaving"
"""In the ASGI scope's `state`: what to call when the caller hangs up. To wait for that would take a task each time."""


def listen(port: int, named: str = "PORT", *, together: bool = False) -> socket.socket:
    """A socket on all addresses, IPv6 and IPv4; `together` with others on the same port.

    Raises ConfigError when the port is taken; `named` is the setting to blame.
    """
    try:
        if socket.has_dualstack_ipv6():
            listener = socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True, reuse_port=together
            )
        else:
            listener = socket.create_server(("", port), reuse_port=together)
    except OSError as error:
        raise ConfigError(f"{named} is {port}, which cannot be listened on: {error.strerror}") from error
    # The connections inherit it: without it, and without uvloop, every answer waits 40 ms for an acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED * 1000)
    return listener


def listen_together(port: int, count: int) -> list[socket.socket]:
    """Sockets on one port over which the kernel spreads the connections: of one, the first to look would take all.

    Raises ConfigError when the port is taken.
    """
    with listen(port) as alone:  # which it could not be where another service listens together with its own
        port = alone.getsockname()[1]
    return [listen(port, together=True) for _ in range(count)]


class _Punctual(HttpToolsProtocol):
    """Closes a connection on which a request does not come in time; uvicorn itself would wait for ever."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._late = self.loop.call_later(ARRIVAL, transport.close)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._late.cancel()
        self._late = self.loop.call_later(ARRIVAL, self.transport.close)

    def on_message_complete(self) -> None:
        self._late.cancel()
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._late.cancel()
        super().connection_lost(exc)
        scope: HTTPScope | None = self.scope  # None before the first request
        if scope is not None and (leave := scope["state"].get(ON_LEAVING)) is not None:
            leave()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the command line's business: it cancels us."""
        yield


async def serve_until_cancelled(application: Callable[..., Any], listener: socket.socket, grace: int) -> None:
    """Serve until cancelled, then let the requests under way finish, within `grace` seconds."""
    config = uvicorn.Config(
        application,
        http=_Punctual,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=IDLE,
        timeout_graceful_shutdown=grace,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        await serving
        raise
