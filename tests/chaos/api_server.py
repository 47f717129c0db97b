"""The faults that befall the API server and the watches on it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress

from presenter.sandbox import Sandbox
from presenter.sandbox.faults import Fault, Gate
from tests.chaos.journal import Journal
from tests.chaos.plan import Step
from tests.eventually import eventually

PATIENCE = 5.0
"""Seconds that a fault waits at most for a watch, or a request, that it can befall."""

EVERY = 10**9
"""More requests than there will be; a fault that has a number of times tells how many it befell."""


class ApiServer:
    """A sandbox, and what goes wrong with it. Those that act on the next requests break the running watches off first.

    - `restart`, `down`: all connections are cut; the second stays down for a while.
    - `refuse`, `html`, `throttle`: some requests get a 500, 503 or 504, a proxy's 502, a 429 with Retry-After.
    - `hold`: lists are not answered for a while.
    - `compact`: history is gone.
    - `expire`, `expire-stream`: 410 to some watches; `expire-page`: to the second page of a list.
    - `end`, `mid-line`, `abort`, `error`: running watches are cut, in that way.
    - `instant`, `stream-error`: some watches end as soon as they open, cleanly or by an in-stream 500.
    - `stall`: watches open and say nothing, until the connection is cut.
    - `fragment`, `no-bookmarks`: watches in pieces, without bookmarks, for a while.
    - `repeat`: running watches get the last events once more, and many of objects that are gone.
    """

    def __init__(self, sandbox: Sandbox, journal: Journal) -> None:
        self._sandbox = sandbox
        self._journal = journal
        self._armed: list[tuple[str, Fault, int]] = []

    async def befall(self, step: Step) -> None:
        """Let a fault happen, and end after its time; one that waits for requests to come stays on until the next."""
        self._disarm()
        await _within(PATIENCE, lambda: self.watches() > 0)
        match step.kind:
            case "restart" | "down":
                self._journal.count(step.kind)
                await self._sandbox.stop()
                await asyncio.sleep(step.seconds if step.kind == "down" else 0)
                await self._sandbox.start()
            case "end" | "mid-line" | "abort" | "error":
                self._journal.count(step.kind, self._sandbox.faults.cut(step.kind))
            case "repeat":
                self._journal.count(step.kind, self.watches())
                self._sandbox.faults.repeat(step.number)
                self._sandbox.faults.repeat(20 * step.number, gone=True)
            case "compact":
                self._journal.count(step.kind)
                self._compact()
            case "stall" | "hold" | "fragment" | "no-bookmarks":
                await self._for_a_while(step)
            case _:
                fault = self._fault(step)
                self._armed.append((step.kind, fault, step.number))
                self._compact() if step.kind == "expire-page" else self._sandbox.faults.cut("end")
                await _within(PATIENCE, lambda: fault.times != step.number)

    def _fault(self, step: Step) -> Fault:
        """A fault that befalls a number of requests to come."""
        faults, times = self._sandbox.faults, step.number
        match step.kind:
            case "refuse":
                return faults.refuse(random.Random(step.seed).choice((500, 503, 504)), times=times)
            case "html":
                return faults.refuse(502, body="<html>Bad Gateway</html>", times=times)
            case "throttle":
                return faults.refuse(429, retry_after=1, times=times)
            case "expire":
                return faults.expire(times=times, in_stream=False)
            case "expire-stream":
                return faults.expire(times=times)
            case "expire-page":
                return faults.expire_page(times=times)
            case "instant":
                return faults.break_off("end", times=times)
            case "stream-error":
                return faults.stream_error(times=times)
        raise ValueError(step.kind)

    async def _for_a_while(self, step: Step) -> None:
        faults = self._sandbox.faults
        match step.kind:
            case "stall":
                fault = faults.stall()
            case "hold":
                fault = faults.stall(verb="list")
            case "fragment":
                fault = faults.fragment(random.Random(step.seed).randint(1, 50))
            case _:
                fault = faults.no_bookmarks()
        fault.times = EVERY
        self._armed.append((step.kind, fault, EVERY))
        self._compact() if step.kind == "hold" else faults.cut("abort")
        await _within(PATIENCE, lambda: fault.times != EVERY)
        await asyncio.sleep(step.seconds)
        self._disarm()
        if isinstance(fault.action, Gate):
            fault.action.release()
        if step.kind == "stall":
            await self._sandbox.restart()

    async def recover(self) -> None:
        """Clear all faults, and count those that were still waiting for requests."""
        self._disarm()
        self._sandbox.faults.clear()
        await self._sandbox.restart()

    def _disarm(self) -> None:
        """Or else requests, which come ever more rarely when they are refused, would never be done with all of them."""
        for kind, fault, times in self._armed:
            self._journal.count(kind, times - (fault.times or 0))
            self._sandbox.faults.remove(fault)
        self._armed.clear()

    def watches(self) -> int:
        """How many watches run."""
        cluster = self._sandbox.cluster
        return sum(len(cluster.store(definition).watchers) for definition in cluster.registry)

    def _compact(self) -> None:
        """Forget history while nobody watches: whoever is behind has to list."""
        self._sandbox.faults.cut("abort")
        self._sandbox.cluster.compact()


async def _within(seconds: float, condition: Callable[[], bool]) -> None:
    """Wait for somebody to befall, but not for long: watchers have faults of their own."""

    async def look() -> bool:
        return condition()

    with suppress(AssertionError):
        await eventually(look, bool, seconds)
