"""The process of a command: its settings, its log, and how it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import uvloop

from presenter import logs
from presenter.config import Settings
from presenter.errors import ConfigError

T = TypeVar("T")


def read_settings(*, quiet: bool = False) -> Settings:
    """The settings of this process, by which its log is set up; `quiet`: only warnings are logged.

    Raises ConfigError.
    """
    settings = Settings.from_environment()
    logs.configure(debug=settings.log.debug, quiet=quiet)
    return settings


def run_until_done(action: Coroutine[Any, Any, T], grace: float | None = None) -> T | None:
    """Run it to its end, or until Ctrl-C or SIGTERM, which cancel it: it then finishes what it began.

    Returns its result, or None when it was cancelled. Of several errors at once, the first is raised. Where it takes
    longer than `grace` seconds to finish, as when the database does not even refuse, the process ends with 1.
    """

    async def guarded() -> T | None:
        task = asyncio.ensure_future(action)
        loop = asyncio.get_running_loop()

        def stop() -> None:
            task.cancel()
            if grace is not None:
                loop.call_later(grace, _abandon)

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        with contextlib.suppress(asyncio.CancelledError):
            return await task
        return None

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(guarded())
    except BaseExceptionGroup as group:
        raise _first(group) from None


def _abandon() -> None:
    logs.write_out()
    sys.stderr.write("presenter: SHUTDOWN_GRACE is over, what is under way is abandoned\n")
    sys.stderr.flush()
    os._exit(1)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


@contextlib.contextmanager
def blaming(option: str, value: object) -> Iterator[None]:
    """What the operating system refuses inside the block is raised as a mistake in an option: ConfigError."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{option} is {str(value)!r}, which cannot be used: {error.strerror}") from error
