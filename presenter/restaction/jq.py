"""jq programs, evaluated as gojq does, in a process of their own: without files and environment, within bounds."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import sys
from typing import Any

import msgspec

from presenter.errors import PresenterError
from presenter.restaction import gojq
from presenter.restaction.numbers import without_points

_SHOWN = 120
_WHERE = re.compile(r"at <top-level>, line (\d+), column (\d+)")


class JqError(PresenterError):
    """A program that does not compile, fails on what it was given, or does not end within its bounds.

    `problem` is what jq says; `line` and `column` where in the program it is wrong, from 1, None when it compiles.
    """

    def __init__(self, program: str, problem: str) -> None:
        shown = " ".join(program.encode(errors="replace").decode().split())
        shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
        super().__init__(f"jq: {problem.strip().partition(chr(10))[0].rstrip(':')}, in: {shown}")
        where = _WHERE.search(problem)
        self.program = program
        self.problem = problem.strip()
        self.line = int(where[1]) if where else None
        self.column = int(where[2]) if where else None


class Jq:
    """Evaluates jq programs, one after the other, each within these bounds.

    Each is compiled as it is written, for errors that say where, and evaluated as gojq takes it, which snowplow has.

    A program that takes too long or too much memory costs the process it ran in; the next one gets a new one.
    """

    def __init__(self, *, seconds: float = 10, output_bytes: int = 64 << 20, memory_bytes: int = 2 << 30) -> None:
        self._seconds = seconds
        self._output_bytes = output_bytes
        self._memory_bytes = memory_bytes
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._compiled: set[str] = set()

    async def __aenter__(self) -> Jq:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def check(self, program: str) -> None:
        """Compile it. Raises JqError."""
        await self._ask("check", program, None)

    async def all(self, program: str, value: Any) -> list[Any]:
        """All outputs for a JSON value. Raises JqError."""
        return await self._evaluated("all", program, value)

    async def first(self, program: str, value: Any) -> Any:
        """The first output for a JSON value; the others are not computed. Raises JqError, also when there is none."""
        outputs = await self._evaluated("first", program, value)
        if not outputs:
            raise JqError(program, "gives no output")
        return outputs[0]

    async def _evaluated(self, operation: str, program: str, value: Any) -> list[Any]:
        if program not in self._compiled:
            await self.check(program)
            self._compiled.add(program)
        try:
            rewritten = gojq.for_jq(program)
        except gojq.LackingError as error:
            raise JqError(program, str(error)) from error
        return list(without_points(await self._ask(operation, program, value, rewritten)))

    async def _ask(self, operation: str, program: str, value: Any, rewritten: str | None = None) -> list[Any]:
        try:
            text = (program if rewritten is None else rewritten).encode()
            body = msgspec.json.encode(value, order="deterministic")
        except (UnicodeEncodeError, RecursionError) as error:
            raise JqError(program, f"cannot be given to jq: {error}") from error
        if b"\0" in text:
            raise JqError(program, "a program cannot have a NUL in it")
        header = f"{operation} {len(text)} {len(body)} {self._output_bytes}\n".encode()
        async with self._turn:
            try:
                process = self._process or await self._start()
                async with asyncio.timeout(self._seconds):
                    status, answer = await _exchange(process, header + text + body)
            except TimeoutError as error:
                await self._end()
                raise JqError(program, f"does not end within {self._seconds:g} seconds") from error
            except (OSError, asyncio.IncompleteReadError) as error:
                await self._end()
                raise JqError(program, "needs more memory than is allowed, or crashes jq") from error
            except BaseException:
                await self._end()  # whose answer would be taken for that to the next question
                raise
        if status != b"ok":
            raise JqError(program, answer.decode().removeprefix("jq: ").removeprefix("error: "))
        try:
            return msgspec.json.decode(answer, type=list[Any])
        except (msgspec.DecodeError, RecursionError) as error:
            raise JqError(program, f"gives what cannot be read: {error}") from error

    async def _start(self) -> asyncio.subprocess.Process:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-m", "presenter.restaction.jq_process"),
            *(str(math.ceil(self._seconds)), str(self._memory_bytes)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={},
            cwd="/",
            start_new_session=True,  # Ctrl-C is for us to handle
        )
        assert self._process.stdout is not None
        await self._process.stdout.readuntil(b"\n")  # its start is not the time of a program
        return self._process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if process.stdin is not None:
            process.stdin.close()


async def _exchange(process: asyncio.subprocess.Process, request: bytes) -> tuple[bytes, bytes]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(request)
    await process.stdin.drain()
    status, size = (await process.stdout.readuntil(b"\n")).split()
    return status, await process.stdout.readexactly(int(size))
