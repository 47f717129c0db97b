"""How much is worked on at once, and for whom: not for more than can be served, and not for callers who hung up.

What is admitted is held until the last byte of its answer is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from presenter.cache.memory import Memory, Share
from presenter.errors import CallerGone, TooManyRequests
from presenter.http.connection import CONNECTION, Connection


class Inflight:
    """Requests that are worked on or wait for a connection to the database, which they get in the order they came.

    At most `most` of them, the `setting` says: who waits behind many more gives up before the answer comes. Their
    answers share the memory.
    """

    def __init__(self, most: int, memory: Memory, setting: str = "MAX_INFLIGHT") -> None:
        self._most = most
        self._memory = memory
        self._setting = setting
        self._count = 0

    def admit(self, work: Callable[[Share], Awaitable[ASGIApp]]) -> Response:
        """The answer of what the work returns, which begins when it is sent: its request's body has been read.

        To send it raises TooManyRequests when there are too many already, and CallerGone in the middle of the work.
        """
        return _Admitted(self, work)

    async def answer(
        self, work: Callable[[Share], Awaitable[ASGIApp]], scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Work, and send what that returns, until the caller hangs up. Raises TooManyRequests and CallerGone."""
        if self._count >= self._most:
            raise TooManyRequests(
                f"{self._count} requests are being worked on, which is as many as are taken on ({self._setting}): "
                "try again in a moment"
            )
        connection: Connection = scope["state"][CONNECTION]
        working = asyncio.current_task()
        assert working is not None
        left: CallerGone | None = None

        def leave(why: CallerGone) -> None:
            nonlocal left
            left = why
            working.cancel()

        share = Share(self._memory)
        self._count += 1
        connection.on_leaving, connection.is_crowded = leave, self._is_crowded
        try:
            answer = await work(share)
            await answer(scope, receive, send)
            await connection.sent()
        except asyncio.CancelledError:
            if left is None or working.uncancel():
                raise
            raise left from None
        finally:
            left = None  # it refers to this frame, and that to the answer: neither would go before garbage is collected
            connection.on_leaving = None
            share.let_go()
            self._count -= 1

    def _is_crowded(self) -> bool:
        return self._count >= self._most or self._memory.is_waited_for


class _Admitted(Response):
    """An answer that is made when it is sent."""

    def __init__(self, inflight: Inflight, work: Callable[[Share], Awaitable[ASGIApp]]) -> None:
        self._inflight = inflight
        self._work = work
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Make it and send it."""
        await self._inflight.answer(self._work, scope, receive, send)
