"""The catalog in memory, read again as it changes: fresh for lists, and without waiting for everything else."""

from __future__ import annotations

import asyncio
import contextvars
import math
import time
from typing import TYPE_CHECKING

import structlog

from presenter.cache.catalog import Catalog, Moment, read_catalog
from presenter.cache.clock import Ages, Reading
from presenter.cache.writes import CATALOG_CHANNEL
from presenter.errors import DatabaseUnavailable, PresenterError, Unavailable

if TYPE_CHECKING:
    from presenter.cache.pool import Connection, Pool

POLL_INTERVAL = 2.0
"""Seconds after which it is read although nobody asks for it."""

EXPIRES_AFTER = 10.0
"""Seconds after which the last reading counts for nothing: the database has not answered since."""

_MIN_INTERVAL = 0.05
_RETRY_INTERVAL = 0.5

log = structlog.get_logger(__name__)


class CatalogReader:
    """The catalog, read again when it changed or is older than `max_age` seconds.

    There is one reading at a time, whose result or failure is that of all who wait for it. Under steady demand the next
    one begins early enough that nobody has to wait.
    """

    def __init__(self, pool: Pool, max_age: float = 0.5) -> None:
        self._pool = pool
        self._max_age = max_age
        self._catalog: Catalog | None = None
        self._failure: PresenterError | None = None
        self._read_at = self._fresh_since = -math.inf
        self._took = 0.0
        self._announcements = 0
        self._announced = asyncio.Event()
        self._reading: asyncio.Task[Catalog] | None = None
        self._refused: list[str] = []
        self._ages: Ages[Moment] = Ages()

    async def current(self) -> Catalog:
        """The catalog as it was at most `max_age` seconds ago, or is when a reading ends that has begun already.

        Raises SchemaOutdated and DatabaseUnavailable.
        """
        age = time.monotonic() - self._fresh_since
        if age < self._max_age and self._catalog is not None:
            if self._reading is None and age > self._max_age - min(2 * self._took, self._max_age / 2):
                self._begin()
            return self._catalog
        reading = self._reading or self._begin()
        await asyncio.wait([reading])  # not awaited itself: a waiter's cancellation would cancel it for all
        return reading.result()

    async def anew(self) -> Catalog:
        """The catalog by a reading that has yet to begin. Raises as `current` does."""
        if self._reading is not None:
            await asyncio.wait([self._reading])
        reading = self._reading or self._begin()
        await asyncio.wait([reading])
        return reading.result()

    @property
    def latest(self) -> Catalog:
        """The catalog as it was last read: the `current` one that was waited for, or a later one."""
        assert self._catalog is not None
        return self._catalog

    def known(self) -> Catalog:
        """The catalog as it was last read, without waiting.

        Raises what the last reading did, and DatabaseUnavailable when none has ended for EXPIRES_AFTER seconds.
        """
        if self._failure is not None:
            raise self._failure
        age = time.monotonic() - self._read_at
        if self._catalog is None:
            raise DatabaseUnavailable("PostgreSQL has not been asked yet")
        if age > EXPIRES_AFTER:
            raise DatabaseUnavailable(f"PostgreSQL has not answered for {age:.0f} s")
        return self._catalog

    async def follow(self) -> None:
        """Keep it read, and read it at once when writers announce changes (NOTIFY), until cancelled.

        A standby server has no announcements, and a pooler passes none on.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._poll(), name="catalog: read")
            tasks.create_task(self._listen(), name="catalog: listen")

    # -- reading -------------------------------------------------------------------------------------------------------

    def _begin(self) -> asyncio.Task[Catalog]:
        # In a context of its own, since it belongs to no request.
        self._reading = asyncio.create_task(self._read(), name="catalog", context=contextvars.Context())
        self._reading.add_done_callback(self._end)
        return self._reading

    async def _read(self) -> Catalog:
        began, announcements = time.monotonic(), self._announcements
        try:
            catalog = await read_catalog(self._pool)
        except PresenterError as error:
            self._failure = error
            raise
        self._read_at = time.monotonic()
        reading = Reading.between(began, self._read_at, catalog.now)
        catalog = catalog.without(self._ages.jumped(reading, catalog.moments))
        self._catalog, self._failure = catalog, None
        self._took = self._read_at - began
        # What was announced meanwhile may not be in it: so it is for those who wait, and stale for all later ones.
        self._fresh_since = self._read_at if announcements == self._announcements else -math.inf
        self._log_refused(catalog)
        return catalog

    def _end(self, reading: asyncio.Task[Catalog]) -> None:
        self._reading = None
        if not reading.cancelled():
            reading.exception()  # else asyncio logs it where the last to wait has just left

    async def _poll(self) -> None:
        while True:
            self._announced.clear()
            pause = POLL_INTERVAL
            try:
                await self.current()
            except PresenterError:
                pause = _RETRY_INTERVAL
            except Exception as error:  # a bug must not stop the server
                log.exception("the catalog cannot be read")
                self._failure, pause = DatabaseUnavailable(f"internal error, see the log: {error!r}"), POLL_INTERVAL
            await asyncio.sleep(_MIN_INTERVAL)
            try:
                async with asyncio.timeout(pause):
                    await self._announced.wait()
            except TimeoutError:
                pass

    def _log_refused(self, catalog: Catalog) -> None:
        refused = sorted(
            f"{cached.type.name} of {cached.cluster}" for cached in catalog.types if catalog.refuses(cached)
        )
        if refused != self._refused:
            self._refused = refused
            log.warning("left out, since the API server refuses to list them", types=refused)

    # -- listening -----------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        while True:
            try:
                async with self._pool.connection() as connection:
                    if not await connection.fetchval("SELECT pg_is_in_recovery()"):
                        await self._listen_on(connection)
            except Unavailable as error:
                log.debug("announcements are not heard", error=error.message)
            await asyncio.sleep(_RETRY_INTERVAL)

    async def _listen_on(self, connection: Connection) -> None:
        closed = asyncio.Event()

        def announced(*_: object) -> None:
            self._announcements += 1
            self._fresh_since = -math.inf
            self._announced.set()

        connection.add_termination_listener(lambda _: closed.set())
        await connection.add_listener(CATALOG_CHANNEL, announced)
        try:
            announced()
            await closed.wait()
        finally:
            if not connection.is_closed():
                await connection.remove_listener(CATALOG_CHANNEL, announced)
