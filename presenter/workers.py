"""Several serving processes on one port: started here, replaced when they are killed, and ended together."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import socket
import sys

import structlog

from presenter.errors import PresenterError

_PR_SET_PDEATHSIG = 1

log = structlog.get_logger(__name__)


class WorkerFailed(PresenterError):
    """A worker ended by itself, having said why: so would the next one."""


async def supervise(count: int, listener: socket.socket) -> None:
    """Keep `count` processes of `presenter serve` accepting from a listening socket, until cancelled.

    Then it is closed, and they are asked to end, which they do within SHUTDOWN_GRACE. Raises WorkerFailed.
    """
    async with asyncio.TaskGroup() as workers:
        for number in range(1, count + 1):
            workers.create_task(_keep(number, listener), name=f"worker {number}")


async def _keep(number: int, listener: socket.socket) -> None:
    while True:
        status = await _run(listener)
        if status > 0:
            raise WorkerFailed(f"worker {number} has ended with {status}")
        log.warning("a worker was ended: another one takes its place", worker=number, status=status)


async def _run(listener: socket.socket) -> int:
    descriptor = listener.fileno()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from presenter.cli import main; main()", "serve", "--listener", str(descriptor)),
        pass_fds=[descriptor],
        start_new_session=True,  # Ctrl-C is for the one that started it, who passes it on
    )
    try:
        return await process.wait()
    except asyncio.CancelledError:
        listener.close()  # or whoever connects from now on would wait for nobody
        process.terminate()
        await process.wait()
        raise


def inherited(descriptor: int) -> socket.socket:
    """In a worker: the listening socket. From now on the worker ends when the one that started it does."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    return socket.socket(fileno=descriptor)
