"""Real processes of the command line: started with nothing but what a test gives them, read line by line."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import psutil

PRESENTER = Path(sys.executable).with_name("presenter")
PATIENCE = 40.0
"""Seconds within which a process must say or do what is expected of it; generous, for a busy machine."""


class Process:
    """One running `presenter`, and everything it has printed so far."""

    def __init__(self, process: asyncio.subprocess.Process, arguments: tuple[str, ...]) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self.pid = process.pid
        self.out: list[str] = []
        self.err: list[str] = []
        self._arguments = arguments
        self._process = process
        self._printed = asyncio.Condition()
        self._readers = [
            asyncio.create_task(self._read(process.stdout, self.out)),
            asyncio.create_task(self._read(process.stderr, self.err)),
        ]

    @classmethod
    async def start(cls, *arguments: str, home: Path, **variables: str) -> Process:
        """Start `presenter` with these arguments, and these environment variables alone."""
        process = await asyncio.create_subprocess_exec(
            PRESENTER,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.defpath, "HOME": str(home), **variables},
            cwd=home,
            limit=2**24,
        )
        return cls(process, arguments)

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
        return self._process.returncode is None

    def descendants(self) -> list[psutil.Process]:
        """What it has started, and what those have."""
        return psutil.Process(self.pid).children(recursive=True)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    async def ended(self, patience: float = PATIENCE) -> int:
        """Wait for its end; returns the exit code."""
        async with asyncio.timeout(patience):
            await asyncio.wait(self._readers)
            return await self._process.wait()

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and wait for its end; returns the exit code."""
        self.send(number)
        return await self.ended()

    async def kill(self) -> None:
        """End it in the middle of whatever it does; what it has started lives on."""
        if self.running:
            self._process.kill()
        await self._process.wait()
        for reader in self._readers:
            reader.cancel()
        await asyncio.wait(self._readers)


def working_in(directory: Path) -> list[psutil.Process]:
    """All processes that have a path below the directory in their command line."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(directory) in word for word in process.info["cmdline"] or ())
    ]
