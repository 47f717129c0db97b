"""The HTTP server: where it listens, how many connections it takes, and how it stops."""

from __future__ import annotations

import asyncio
import resource
import socket
from functools import partial

import structlog

from presenter.errors import ConfigError
from presenter.http.connection import Connection
from presenter.http.connections import Connections
from presenter.http.exchange import Application

BACKLOG = 2048
"""Connections that the kernel holds until they are accepted."""
ACKNOWLEDGEMENT_TIMEOUT = 60
"""Seconds after which the kernel drops a connection whose peer acknowledges nothing (TCP_USER_TIMEOUT)."""
SOCKET_BUFFER = 64 * 1024
"""Bytes that the kernel buffers of an answer, and of a request: only the pod's memory limit counts them.

Linux doubles it. By default it takes up to 4 MiB of each.
"""
OTHER_FILES = 128
"""How many files may be open beside the connections of callers: the program's own, and its connections to others."""

log = structlog.get_logger(__name__)


def listen(port: int, named: str = "PORT", *, together: bool = False) -> socket.socket:
    """A socket that listens on all addresses, IPv6 and IPv4; `together`: others may listen on the same port.

    Raises ConfigError, which names the setting `named`, when the port is taken.
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
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, ACKNOWLEDGEMENT_TIMEOUT * 1000)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
    return listener


def listen_together(port: int, count: int) -> list[socket.socket]:
    """As many sockets on one port, over which the kernel spreads the connections.

    With one socket that all share, one process would accept most of them. Raises ConfigError when the port is taken.
    """
    with listen(port) as alone:  # fails where another service listens together with its own
        port = alone.getsockname()[1]
    return [listen(port, together=True) for _ in range(count)]


def _within_file_limit(connections: int) -> int:
    """This number of connections, or what the limit of open files (RLIMIT_NOFILE) allows, raised as far as possible.

    Beyond that limit nothing could be accepted, nor could the database be connected to.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < wanted:
            connections = max(1, soft - OTHER_FILES)
            log.warning("fewer connections than MAX_CONNECTIONS, by the limit of open files", connections=connections)
    return connections


async def serve_until_cancelled(
    application: Application, listener: socket.socket, *, grace: float, most: int, most_idle: int
) -> None:
    """Serve until cancelled, then let the requests under way finish, within `grace` seconds.

    There are at most `most` connections, and at most `most_idle` of them are idle.
    """
    connections = Connections(_within_file_limit(most), most_idle)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(partial(Connection, application, connections), sock=listener, backlog=BACKLOG)
    try:
        await loop.create_future()
    finally:
        server.close()
        if abandoned := await connections.finish(grace):
            log.warning("requests are abandoned, since they take longer than SHUTDOWN_GRACE", requests=abandoned)
