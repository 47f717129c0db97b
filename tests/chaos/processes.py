"""The processes that watch the cluster, and the one that serves it, and the faults that befall them."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from contextlib import suppress

from tests.chaos.journal import Journal
from tests.chaos.plan import Step
from tests.e2e.processes import PATIENCE, Process
from tests.e2e.system import Launch, Variables

_LISTENING = '"event": "listening"'


class Processes:
    """Some processes of a command, each started again when it could not start, as Kubernetes would.

    - `kill`, `kill-server`: SIGKILL; `terminate`, `terminate-server`: SIGTERM, upon which it must end with 0. Either
      is started again after a while.
    - `pause`: SIGSTOP for longer than the lease, then SIGCONT.

    `name` is what they are called in the story; each has its own `variables`.
    """

    def __init__(
        self, launch: Launch, command: str, name: str, variables: Sequence[Variables], journal: Journal
    ) -> None:
        self.ended: list[Process] = []
        self._launch = launch
        self._command = command
        self._name = name
        self._variables = variables
        self._journal = journal
        self._processes: dict[int, Process] = {}
        self._changed_at = 0.0
        self._turns = [asyncio.Lock() for _ in variables]
        """Who has the turn of a process may end it, start it, and find it ended."""

    async def start(self) -> None:
        """Start all that are not running."""
        for number, turn in enumerate(self._turns):
            async with turn:
                if number not in self._processes:
                    await self._start(number)

    def adopt(self, processes: Sequence[Process]) -> None:
        """Have these, which run already."""
        self._processes = dict(enumerate(processes))

    def may_be_away(self, moment: float) -> bool:
        """Whether one may have been ending, or not have begun to listen, at or after a moment of the story."""
        return moment < self._changed_at + PATIENCE

    async def _start(self, number: int) -> None:
        self._processes[number] = process = await self._launch(self._command, **self._variables[number])
        self._changed_at = self._journal.elapsed()
        self._journal.note(f"{self._name} {number}", f"started, pid {process.pid}")

    async def befall(self, number: int, step: Step) -> None:
        """Let a fault happen to one of them, and end after its time."""
        async with self._turns[number]:
            if step.kind == "pause":
                await self._pause(number, step.seconds)
            else:
                await self._end(number, signal.SIGKILL if step.kind.startswith("kill") else signal.SIGTERM)
                await asyncio.sleep(step.seconds)
                await self._start(number)
                self._journal.count(step.kind)

    async def _pause(self, number: int, seconds: float) -> None:
        process = self._processes[number]
        with suppress(ProcessLookupError):  # it could not start, a moment ago
            process.send(signal.SIGSTOP)
            await asyncio.sleep(seconds)
            process.send(signal.SIGCONT)
            self._journal.note(f"{self._name} {number}", "goes on")
            self._journal.count("pause")

    async def _end(self, number: int, how: signal.Signals) -> None:
        process = self._processes.pop(number)
        self._changed_at = self._journal.elapsed()
        if how == signal.SIGTERM:
            await process.line(".")  # before it says anything, Python has not begun to listen for signals
        with suppress(ProcessLookupError):  # it could not start, a moment ago
            process.send(how)
        code = await process.ended()
        self.ended.append(process)
        expected = 0 if how == signal.SIGTERM else -how
        assert code == expected or self._could_not_start(process), f"ended with {code}:\n{process.log()}"

    async def look_after(self) -> None:
        """Start again whoever could not start, until cancelled. Ending later than that is a failure."""
        while True:
            for number, turn in enumerate(self._turns):
                if not turn.locked():  # or else something befalls it
                    async with turn:
                        await self._look_after(number)
            await asyncio.sleep(0.2)

    async def _look_after(self, number: int) -> None:
        process = self._processes[number]
        if process.running:
            return
        code = await process.ended()
        assert self._could_not_start(process), f"{self._name} {number} ended with {code}:\n{process.log()}"
        self.ended.append(process)
        self._journal.count("could not start")
        self._journal.note(f"{self._name} {number}", f"could not start: {process.err[-1]}")
        await self._start(number)

    def _could_not_start(self, process: Process) -> bool:
        told = process.err[-1] if process.err else ""
        return told.startswith("presenter: ") and not any(_LISTENING in line for line in process.err)

    async def stop(self) -> None:
        """SIGTERM to all; each must end with 0."""
        for number in list(self._processes):
            await self._end(number, signal.SIGTERM)
