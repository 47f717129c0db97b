"""Connections to PostgreSQL: how they are made, waited for, and how their failures are told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlencode

import asyncpg
import structlog

from presenter import phases
from presenter.cache.metrics import Usage
from presenter.config import DatabaseSettings
from presenter.errors import ConfigError, DatabaseBusy, DatabaseUnavailable, SchemaOutdated

if TYPE_CHECKING:
    from collections.abc import Iterator

    Connection = asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]

log = structlog.get_logger(__name__)

_PATIENCE = 10.0
"""Seconds after which somebody who waits for a connection gives up."""

_LONGEST_STATEMENT = 2**16
"""Characters of a statement that stays prepared: planning the longest merges takes several times what they do."""

_UNREACHABLE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InternalClientError,
    asyncpg.ObjectNotInPrerequisiteStateError,
)
_BUSY = (
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.ActiveSQLTransactionError,
)
_FOREIGN_SCHEMA = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.InvalidSchemaNameError)


@contextmanager
def translated() -> Iterator[None]:
    """Tell PostgreSQL's failures in this project's words.

    Raises DatabaseUnavailable, DatabaseBusy or SchemaOutdated; whatever is a bug of ours passes as it is.
    """
    try:
        yield
    except _BUSY as error:
        raise DatabaseBusy(f"PostgreSQL gave up the transaction: {error}") from error
    except _FOREIGN_SCHEMA as error:
        raise SchemaOutdated(
            f"the database's schema is not this version's ({error}): run `presenter migrate`"
        ) from error
    except _UNREACHABLE as error:
        raise DatabaseUnavailable(f"PostgreSQL cannot be used: {str(error) or type(error).__name__}") from error
    except asyncpg.DataError:
        raise
    except asyncpg.InterfaceError as error:
        # "connection is closed", "pool is closing", "has been released": asyncpg has no class of its own for these.
        if "clos" in str(error) or "released" in str(error):
            raise DatabaseUnavailable(f"PostgreSQL cannot be used: {error}") from error
        raise


@dataclass(frozen=True, slots=True)
class Address:
    """Where a database is and how to log in to it, as asyncpg.connect wants it."""

    dsn: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    connect_timeout: float = 10.0

    @classmethod
    def of(cls, settings: DatabaseSettings) -> Address:
        """The address the settings name. Raises ConfigError when DB_HOST is absent or DB_PARAMS makes no sense."""
        if settings.host is None:
            raise ConfigError("DB_HOST is not set: name the PostgreSQL host")
        return cls._of(settings, [settings.host], settings.port, settings.params)

    @classmethod
    def for_reading(cls, settings: DatabaseSettings) -> Address | None:
        """The address of the replicas that the settings name, if any. Raises ConfigError as `of` does."""
        if not settings.read_host:
            return None
        if settings.host is None:
            raise ConfigError("DB_READ_HOST is set and DB_HOST is not: name the host that is written to, too")
        # What the connections that write must find at their end is not for these.
        params = {name: value for name, value in settings.params.items() if name != "target_session_attrs"}
        return cls._of(settings, settings.read_host, settings.read_port or settings.port, params)

    @classmethod
    def _of(cls, settings: DatabaseSettings, hosts: Iterable[str], port: int, params: Mapping[str, str]) -> Address:
        params = dict(params)
        timeout = params.pop("connect_timeout", "10")
        try:
            connect_timeout = float(timeout)
        except ValueError as error:
            raise ConfigError(
                f"DB_PARAMS is not usable: connect_timeout is {timeout!r}, not a number of seconds"
            ) from error
        escaped = (f"[{host}]" if ":" in host else quote(host, safe="") for host in hosts)
        where = ",".join(f"{host}:{port}" for host in escaped)
        dsn = f"postgresql://{where}/{quote(settings.name or '', safe='')}"
        return cls(
            dsn=f"{dsn}?{urlencode(params)}" if params else dsn,
            user=settings.user,
            password=settings.password.get_secret_value() if settings.password else None,
            connect_timeout=connect_timeout,
        )

    async def connect(self) -> asyncpg.Connection[asyncpg.Record]:
        """One connection outside any pool. Raises DatabaseUnavailable, and ConfigError for an unusable address."""
        with translated():
            try:
                return await asyncpg.connect(**self.arguments())
            except (asyncpg.exceptions.ClientConfigurationError, asyncpg.UndefinedObjectError) as error:
                raise ConfigError(f"DB_PARAMS is not usable: {error}") from error

    def arguments(self) -> dict[str, Any]:
        """What asyncpg.connect and asyncpg.create_pool take."""
        return {
            "dsn": self.dsn,
            "user": self.user,
            "password": self.password,
            "timeout": self.connect_timeout,
            "server_settings": {"application_name": "resources-presenter", "jit": "off", "timezone": "UTC"},
        }


async def wait_until_ready(address: Address, patience: float) -> None:
    """Return once the database accepts a connection.

    Raises DatabaseUnavailable with the last reason when it does not within `patience` seconds.
    """
    deadline = time.monotonic() + patience
    told = ""
    while True:
        try:
            connection = await address.connect()
        except DatabaseUnavailable as error:
            if time.monotonic() >= deadline:
                raise DatabaseUnavailable(f"{error} (waited {patience:g} s, DB_READY_TIMEOUT)") from error
            if str(error) != told:
                told = str(error)
                log.warning("waiting for the database", error=told)
            await asyncio.sleep(min(0.5, max(0.0, deadline - time.monotonic())))
        else:
            await connection.close()
            return


class Pool:
    """A bounded number of connections whose JSON comes and goes as bytes. Who asks first gets one first."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], patience: float, name: str) -> None:
        self._pool = pool
        self._usage = Usage(name, pool.get_max_size())
        self._patience = patience
        self._turns = asyncio.Semaphore(pool.get_max_size())  # asyncpg's own queue lets newcomers overtake

    @classmethod
    async def open(
        cls, address: Address, *, size: int, command_timeout: float, name: str = "other", **server_settings: str
    ) -> Self:
        """Connect lazily, to at most `size` connections. The metrics know the pool by its `name`.

        No statement may take longer than `command_timeout` seconds, nor may the wait for a connection.
        """
        arguments = address.arguments()
        arguments["server_settings"] |= server_settings
        return cls(
            await asyncpg.create_pool(
                **arguments,
                min_size=0,
                max_size=size,
                command_timeout=command_timeout,
                init=_pass_json_as_bytes,
                reset=_as_it_is,
                max_cacheable_statement_size=_LONGEST_STATEMENT,
            ),
            min(_PATIENCE, command_timeout),
            name,
        )

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, address: Address, *, size: int, command_timeout: float = 60, name: str = "other", **server_settings: str
    ) -> AsyncIterator[Self]:
        """The same for a while."""
        pool = await cls.open(address, size=size, command_timeout=command_timeout, name=name, **server_settings)
        try:
            yield pool
        finally:
            await pool.close()

    @classmethod
    def reading(
        cls, address: Address, name: str, size: int, timeout: timedelta, **planning: str
    ) -> AbstractAsyncContextManager[Self]:
        """Connections on which no query takes longer than `timeout`: the server ends it, else the client does."""
        seconds = timeout.total_seconds()
        return cls.opened(
            address,
            name=name,
            size=size,
            command_timeout=seconds + 1,
            statement_timeout=f"{seconds * 1000:.0f}ms",
            **planning,
        )

    async def close(self) -> None:
        """Close all connections, waiting at most a second for those in use."""
        try:
            await asyncio.wait_for(self._pool.close(), timeout=1)
        except TimeoutError:
            self._pool.terminate()

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """One connection for a while; failures inside the block are translated."""
        return _Use(self._pool, self._turns, self._patience, self._usage)


class _Use(AbstractAsyncContextManager["Connection"]):
    """A connection for a while. Not a generator: a few of these within each other take as long as a small query."""

    def __init__(
        self, pool: asyncpg.Pool[asyncpg.Record], turns: asyncio.Semaphore, patience: float, usage: Usage
    ) -> None:
        self._pool = pool
        self._turns = turns
        self._patience = patience
        self._usage = usage

    async def __aenter__(self) -> Connection:
        since = time.perf_counter()
        self._before = phases.begin("wait")
        try:
            await self._turn()
            try:
                with translated():
                    connecting = self._pool.get_idle_size() == 0  # else it is at once, and no clock needs to run
                    self._connection = await self._pool.acquire(timeout=self._patience if connecting else None)
            except BaseException:
                self._turns.release()
                raise
        except BaseException:
            phases.begin(self._before)
            raise
        self._usage.waited.observe(time.perf_counter() - since)
        self._usage.in_use.inc()
        phases.begin("query")
        return self._connection

    async def __aexit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        try:
            with translated():
                await self._pool.release(self._connection)
        finally:
            phases.begin(self._before)
            self._usage.in_use.dec()
            self._turns.release()
        if error is not None:
            with translated():
                raise error

    async def _turn(self) -> None:
        if not self._turns.locked():
            await self._turns.acquire()  # at once
            return
        self._usage.waiting.inc()
        try:
            async with asyncio.timeout(self._patience):
                await self._turns.acquire()
        except TimeoutError as late:
            raise DatabaseBusy(
                f"all connections to PostgreSQL were in use for {self._patience:g} s: try again later"
            ) from late
        finally:
            self._usage.waiting.dec()


async def _as_it_is(_: Connection) -> None:
    """Instead of a round trip before each connection goes back: nobody here leaves more than a transaction behind.

    That one asyncpg ends itself.
    """


async def _pass_json_as_bytes(connection: Connection) -> None:
    """PostgreSQL's binary jsonb is its text behind a version byte, so that no JSON needs to be decoded here."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda document: b"\x01" + document,
        decoder=lambda document: document[1:],
    )
