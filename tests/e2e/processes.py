"""Real processes of the command line: started with nothing but what a test gives them, read line by line."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock

import psutil

from tests.e2e.forkserver import Forkserver

PRESENTER = Path(sys.executable).with_name("presenter")
READ_EARLY = ("PYTHON", "OTEL_")
"""How the names of variables begin that are read while modules are loaded."""
AFRESH = {"PYTHONNOUSERSITE": "1"}
"""Has a process load its modules itself, where it matters which, and what they take."""
Pipe = tuple[asyncio.ReadTransport, asyncio.StreamReader]
PATIENCE = 40.0
"""Seconds within which a process must say or do what is expected of it; generous, for a busy machine."""


class Process:
    """One running `presenter`, and everything it has printed so far."""

    def __init__(self, pid: int, arguments: tuple[str, ...], pipes: list[Pipe]) -> None:
        self.pid = pid
        self.out: list[str] = []
        self.err: list[str] = []
        self._arguments = arguments
        self._end = os.pidfd_open(pid)
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(self._end, self._ended)
        self._printed = asyncio.Condition()
        self._pipes = [pipe for pipe, _ in pipes]
        self._readers = [
            asyncio.create_task(self._read(reader, lines))
            for (_, reader), lines in zip(pipes, (self.out, self.err), strict=True)
        ]

    @classmethod
    async def start(cls, *arguments: str, home: Path, **variables: str) -> Process:
        """Start `presenter` with these arguments, and these environment variables alone.

        It is forked from one that has loaded its modules, unless there are variables that are read meanwhile.
        """
        (out, its_out), (err, its_err) = os.pipe(), os.pipe()
        with Path(os.devnull).open() as nothing, os.fdopen(its_out, "wb"), os.fdopen(its_err, "wb"):
            pid = await asyncio.to_thread(_start, arguments, home, variables, (nothing.fileno(), its_out, its_err))
        return cls(pid, arguments, [await _pipe(out), await _pipe(err)])

    async def _read(self, stream: asyncio.StreamReader, lines: list[str]) -> None:
        async for line in stream:
            async with self._printed:
                lines.append(line.decode().rstrip("\n"))
                self._printed.notify_all()
        async with self._printed:
            self._printed.notify_all()

    async def line(self, pattern: str, patience: float = PATIENCE) -> re.Match[str]:
        """The first line, printed or to come, in which the pattern is found."""
        async with asyncio.timeout(patience), self._printed:
            while (found := self._find(pattern)) is None:
                assert not all(reader.done() for reader in self._readers), f"ended without {pattern!r}:\n{self.log()}"
                await self._printed.wait()
        return found

    def _find(self, pattern: str) -> re.Match[str] | None:
        return next((found for line in [*self.out, *self.err] if (found := re.search(pattern, line))), None)

    def log(self) -> str:
        """All of its output, for people."""
        return "\n".join([f"--- presenter {' '.join(self._arguments)} (pid {self.pid})", *self.out, "---", *self.err])

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return not self._code.done()

    def _ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._end)
        os.close(self._end)
        self._code.set_result(os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]))

    def descendants(self) -> list[psutil.Process]:
        """What it has started, and what those have."""
        return psutil.Process(self.pid).children(recursive=True)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self.running:
            os.kill(self.pid, number)

    async def ended(self, patience: float = PATIENCE) -> int:
        """Wait for its end; returns the exit code."""
        async with asyncio.timeout(patience):
            await asyncio.wait(self._readers)
            return await asyncio.shield(self._code)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and wait for its end; returns the exit code."""
        self.send(number)
        return await self.ended()

    async def kill(self) -> None:
        """End it in the middle of whatever it does; what it has started lives on."""
        self.send(signal.SIGKILL)
        await asyncio.shield(self._code)
        for reader in self._readers:
            reader.cancel()
        await asyncio.wait(self._readers)
        for pipe in self._pipes:
            pipe.close()


def run(*arguments: str | Path, home: Path, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Let `presenter` run to its end, started as by `Process.start`."""
    with TemporaryFile("w+") as given, TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        given.write(stdin)
        given.seek(0)
        words = tuple(map(str, arguments))
        pid = _start(words, home, variables, (given.fileno(), out.fileno(), err.fileno()))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        for printed in (out, err):
            printed.seek(0)
        return subprocess.CompletedProcess(words, code, out.read(), err.read())


def _start(arguments: Sequence[str], home: Path, variables: Mapping[str, str], standard: tuple[int, int, int]) -> int:
    environment = {"PATH": os.defpath, "HOME": str(home), **variables}
    afresh = any(name.startswith(READ_EARLY) for name in variables)
    with _making:  # of several threads, each might make one
        forkserver = _forkserver()
    return forkserver.start([str(PRESENTER), *arguments], home, environment, standard, afresh=afresh)


_making = Lock()


@cache
def _forkserver() -> Forkserver:
    """That of this test process."""
    return Forkserver()


async def _pipe(descriptor: int) -> Pipe:
    """The end of a pipe that is read from."""
    reader = asyncio.StreamReader(limit=2**24)
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: protocol, os.fdopen(descriptor, "rb", buffering=0)
    )
    return transport, reader


def working_in(directory: Path) -> list[psutil.Process]:
    """All processes that have a path below the directory in their command line."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(directory) in word for word in process.info["cmdline"] or ())
    ]
