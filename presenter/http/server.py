"""The HTTP server: where it listens, how many connections it has, and how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import structlog
import uvicorn

from presenter.errors import ConfigError
from presenter.http.connection import Connection
from presenter.http.connections import Connections

IDLE = 100
"""Seconds a connection is kept for the next request: longer than Go's clients (90) and nginx (60) keep theirs."""
STALLED = 60
"""Seconds after which a client is cut off that acknowledges nothing of what the kernel has sent it."""
KERNEL_BUFFER = 64 * 1024
"""Bytes of an answer that the kernel takes, of which nobody keeps account but the pod's memory limit; and of a request.

Linux doubles it. Left to itself, it takes up to 4 MiB of each.
"""
FILES_BESIDE = 128
"""Files that are open beside connections of callers: the program's own, and its connections to others."""

log = structlog.get_logger(__name__)


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
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BUFFER)
    return listener


def listen_together(port: int, count: int) -> list[socket.socket]:
    """Sockets on one port over which the kernel spreads the connections: of one, the first to look would take all.

    Raises ConfigError when the port is taken.
    """
    with listen(port) as alone:  # which it could not be where another service listens together with its own
        port = alone.getsockname()[1]
    return [listen(port, together=True) for _ in range(count)]


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the command line's business: it cancels us."""
        yield


def _as_many_as_can_be_open(connections: int) -> int:
    """So many connections, or as many as the limit of open files allows, which is raised as far as need be.

    Beyond it nothing could be accepted, nor could the database be connected to.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + FILES_BESIDE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < wanted:
            connections = max(1, soft - FILES_BESIDE)
            log.warning("fewer connections than MAX_CONNECTIONS, by the limit of open files", connections=connections)
    return connections


async def serve_until_cancelled(
    application: Callable[..., Any], listener: socket.socket, *, grace: int, most: int, most_idle: int
) -> None:
    """Serve until cancelled, then let the requests under way finish, within `grace` seconds.

    There are at most `most` connections, and at most `most_idle` of them are idle.
    """
    connections = Connections(_as_many_as_can_be_open(most), most_idle)
    config = uvicorn.Config(
        application,
        http=partial(Connection, connections=connections),  # type: ignore[arg-type]  # it is called like a class
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
