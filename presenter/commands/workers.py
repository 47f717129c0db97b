"""Several serving processes on one port: started here, replaced when they are killed, and ended together.

One that is killed again and again, by a limit of memory for example, is replaced after ever longer pauses; the fifth
time within a minute all are ended.

They keep their metrics in files that all of them read, so that each answers `/metrics` for all.
"""

from __future__ import annotations

import asyncio
import ctypes
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence

import structlog
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from presenter.config import environment_of_child
from presenter.errors import ConfigError, PresenterError
from presenter.http.server import listen

_PR_SET_PDEATHSIG = 1

WINDOW, MOST_ENDS = 60.0, 5
"""After so many ends within so many seconds a worker is not replaced any more."""
DELAY = 1.0
"""Seconds until a worker is replaced for the second time in that window, doubled each time; the first is at once."""

log = structlog.get_logger(__name__)


class WorkerFailed(PresenterError):
    """A worker has ended with an error of its own, or was killed too often: so would the next one."""


async def supervise(listeners: Sequence[socket.socket]) -> None:
    """Keep a process of `presenter serve` accepting from each of the listening sockets, until cancelled.

    Then the sockets are closed and the processes asked to end, which they do within SHUTDOWN_GRACE. Raises
    WorkerFailed, and ConfigError when there is no directory for their metrics.
    """
    try:
        directory = tempfile.TemporaryDirectory(prefix="presenter-metrics-")
    except OSError as error:
        raise ConfigError(f"workers write what they measure to files: set TMPDIR, to /dev/shm say ({error})") from error
    with directory as metrics:
        async with asyncio.TaskGroup() as workers:
            for number, listener in enumerate(listeners, 1):
                workers.create_task(_keep(number, listener, metrics), name=f"worker {number}")


async def _keep(number: int, listener: socket.socket, metrics: str) -> None:
    port = listener.getsockname()[1]
    ends: list[float] = []  # within the window, by time.monotonic
    while True:
        status = await _run(listener, metrics)
        if status > 0:
            raise WorkerFailed(f"worker {number} has ended with {status}")
        now = time.monotonic()
        ends = [end for end in ends if end > now - WINDOW] + [now]
        why = signal.Signals(-status).name if status else "itself"
        if len(ends) >= MOST_ENDS:
            raise WorkerFailed(
                f"worker {number} has been ended {len(ends)} times within {WINDOW:g} seconds, at last by {why}"
                + (": more memory than there is for it, perhaps" if -status == signal.SIGKILL else "")
            )
        delay = DELAY * 2 ** (len(ends) - 2) if len(ends) > 1 else 0.0
        log.warning("a worker was ended: another one takes its place", worker=number, by=why, seconds=delay)
        if delay:
            listener.close()  # or the kernel would go on giving it connections, which nobody accepts meanwhile
            await asyncio.sleep(delay)
            listener = listen(port, together=True)


async def _run(listener: socket.socket, metrics: str) -> int:
    descriptor = listener.fileno()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from presenter.commands.main import main; main()", "serve"),
        *("--listener", str(descriptor), "--metrics", metrics),
        pass_fds=[descriptor],
        env=environment_of_child(PROMETHEUS_MULTIPROC_DIR=metrics),  # where prometheus_client writes
        start_new_session=True,  # Ctrl-C is for the one that started it, who passes it on
    )
    try:
        status = await process.wait()
        # What it counted remains, what it held does not.
        mark_process_dead(process.pid, metrics)  # type: ignore[no-untyped-call]  # as the library has it
        return status
    except asyncio.CancelledError:
        listener.close()  # or whoever connects from now on would wait for nobody
        process.terminate()
        await process.wait()
        raise


def inherited(descriptor: int) -> socket.socket:
    """The listening socket of a worker, which from now on ends when the process that started it does."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    return socket.socket(fileno=descriptor)


class RegistryOfWorkers(CollectorRegistry):
    """The metrics of all workers, past ones too, from the directory in which they keep them."""

    def __init__(self, metrics: str) -> None:
        super().__init__()
        self._of_all = MultiProcessCollector(None, metrics)  # type: ignore[no-untyped-call]  # as the library has it

    def collect(self) -> Iterable[Metric]:
        """The sums over all workers, of which this is one."""
        metrics: Iterable[Metric] = self._of_all.collect()  # type: ignore[no-untyped-call]  # as the library has it
        return metrics
