"""How much is worked on at once, and for whom: not for more than can be served, and not for callers who hung up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request

from presenter.errors import CallerGone, TooManyRequests
from presenter.server import ON_LEAVING


class Inflight:
    """Requests that are worked on or wait for a connection to the database, which they get in the order they came.

    At most `most` of them: who waits behind many more gives up before the answer comes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0

    @asynccontextmanager
    async def admitted(self, request: Request) -> AsyncIterator[None]:
        """Work on a request whose body has been read, until its caller hangs up.

        Raises TooManyRequests when there are too many already, and CallerGone, in the middle of the work.
        """
        if self._count >= self._most:
            raise TooManyRequests(
                f"{self._count} requests are being worked on, which is as many as are taken on (MAX_INFLIGHT): "
                "try again in a moment"
            )
        self._count += 1
        working = asyncio.current_task()
        assert working is not None
        left = False

        def leave() -> None:
            nonlocal left
            left = True
            working.cancel()

        request.scope["state"][ON_LEAVING] = leave
        try:
            yield
        except asyncio.CancelledError:
            if not left or working.uncancel():
                raise
            raise CallerGone("the caller hung up") from None
        finally:
            self._count -= 1
            request.scope["state"][ON_LEAVING] = None
