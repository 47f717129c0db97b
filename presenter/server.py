"""The HTTP server: where it listens, and how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from presenter.errors import ConfigError


def listen(port: int, named: str = "PORT") -> socket.socket:
    """A socket on all addresses, IPv6 and IPv4.

    Raises ConfigError when the port is taken; `named` is the setting to blame.
    """
    try:
        if socket.has_dualstack_ipv6():
            listener = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        else:
            listener = socket.create_server(("", port))
    except OSError as error:
        raise ConfigError(f"{named} is {port}, which cannot be listened on: {error.strerror}") from error
    # The connections inherit it: without it, and without uvloop, every answer waits 40 ms for an acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the command line's business: it cancels us."""
        yield


async def serve_until_cancelled(application: Callable[..., Any], listener: socket.socket, grace: int) -> None:
    """Serve until cancelled, then let the requests under way finish, within `grace` seconds."""
    config = uvicorn.Config(
        application,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
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
