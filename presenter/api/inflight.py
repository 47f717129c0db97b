"""How much is worked on at once, and for whom: not for more than can be served, and not for callers who hung up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import Scope

from presenter.cache.memory import Memory, Share
from presenter.errors import CallerGone, TooManyRequests
from presenter.http.connection import CONNECTION, Connection


class Inflight:
    """Requests that are worked on or wait for a connection to the database, which they get in the order they came.

    At most `most` of them, the `setting` says: who waits behind many more gives up before the answer comes. Their
    answers share the memory, where they take any.
    """

    def __init__(self, most: int, memory: Memory | None = None, setting: str = "MAX_INFLIGHT") -> None:
        self._most = most
        self._memory = memory or Memory(0, 0)
        self._setting = setting
        self._count = 0

    @asynccontextmanager
    async def admitted(self, scope: Scope) -> AsyncIterator[Share]:
        """Work on a request, whose body has been read, and answer it, within; with a share of the memory.

        It is held until the last byte of the answer is sent. Raises TooManyRequests when there are too many already,
        and CallerGone as soon as the caller hangs up.
        """
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
            yield share
            await connection.sent()
        except asyncio.CancelledError:
            if left is None or working.uncancel():
                raise
            raise left from None
        finally:
            left = None  # it refers to this frame, and that to the answer: neither would go before garbage is collected
            connection.on_leaving = None
            share.release()
            self._count -= 1

    def _is_crowded(self) -> bool:
        return self._count >= self._most or self._memory.is_waited_for
