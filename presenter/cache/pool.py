"""Connections to PostgreSQL: how they are made and waited for. Failures are raised as PresenterErrors."""

from __future__ import annotations

import asyncio
import contextvars
import getpass
import ipaddress
import re
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, unquote, urlencode, urlsplit

import asyncpg
import structlog

from presenter.cache.budget import WeighingConnection, documents_of
from presenter.cache.failures import SettingRefused, translated, translated_with_remedy
from presenter.cache.metrics import Usage
from presenter.config import DatabaseSettings
from presenter.errors import ConfigError, DatabaseBusy, DatabaseUnavailable, PresenterError
from presenter.observability import begin

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

log = structlog.get_logger(__name__)

_ACQUIRE_TIMEOUT = 10.0
"""Seconds after which a wait for a connection ends."""

_RECONNECT_INTERVAL = 1.0
"""Seconds between attempts while there is no connection."""

_CLEARING_TIMEOUT = 5.0
"""Seconds in which the cancelled statement of a connection ends, or else the connection."""

_LEND_TIMEOUT = 1.0
"""Seconds in which a pooler lends a second connection, if it has one."""

_LONGEST_STATEMENT = 2**16
"""Characters of a statement that stays prepared: planning the longest merges takes several times what they do."""

_COMMON_SETTINGS = {"application_name": "resources-presenter", "timezone": "UTC"}
"""Settings of every connection. A pooler takes them, too."""

WITHOUT_JIT = {"jit": "off"}
"""Here no statement runs for as long as it takes to compile one."""

_EFFECTIVE_SETTINGS = "SELECT name, setting, current_user AS role FROM pg_settings WHERE name = ANY ($1::text[])"
_PING = "SELECT 1"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a database is and how to log in to it. `variable` is the setting that names it, for error messages."""

    dsn: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    connect_timeout: float = 10.0
    idle_timeout: float = 300.0
    """Seconds after which, or twice that, a pool closes a connection that nobody uses; 0: never."""
    variable: str = ""

    @classmethod
    def of(cls, settings: DatabaseSettings) -> Address:
        """The address the settings name. Raises ConfigError when DB_HOST is absent or one of them makes no sense."""
        if settings.host is None:
            raise ConfigError("DB_HOST is not set: name the PostgreSQL host")
        return cls._of(settings, "DB_HOST", [settings.host], settings.port, settings.connection_params)

    @classmethod
    def for_reading(cls, settings: DatabaseSettings) -> Address | None:
        """The address of the replicas that the settings name, if any. Raises ConfigError as `of` does."""
        if not settings.read_host:
            if settings.read_port is not None:
                raise ConfigError("DB_READ_PORT is set and DB_READ_HOST is not: name the host to read from, too")
            return None
        if settings.host is None:
            raise ConfigError("DB_READ_HOST is set and DB_HOST is not: name the host that is written to, too")
        # What the connections that write must find at their end is not for these.
        params = settings.connection_params
        params.pop("target_session_attrs", None)
        return cls._of(settings, "DB_READ_HOST", settings.read_host, settings.read_port or settings.port, params)

    @classmethod
    def _of(
        cls, settings: DatabaseSettings, variable: str, hosts: Iterable[str], port: int, params: Mapping[str, str]
    ) -> Address:
        params = dict(params)
        timeout = params.pop("connect_timeout", "10")
        try:
            connect_timeout = float(timeout)
        except ValueError as error:
            raise ConfigError(
                f"DB_PARAMS is not usable: connect_timeout is {timeout!r}, not a number of seconds"
            ) from error
        for name in params.keys() & _FILE_PARAMETERS:
            _require_readable(name, params[name])
        for name in params.keys() & _OWN_VARIABLES.keys():
            raise ConfigError(f"DB_PARAMS is not usable: {name} is set by {_OWN_VARIABLES[name]}")
        if settings.user is None:
            _require_user_name()
        where = ",".join(f"{_url_host(host, variable)}:{port}" for host in hosts)
        dsn = f"postgresql://{where}/{quote(settings.name or '', safe='')}"
        return cls(
            dsn=f"{dsn}?{urlencode(params)}" if params else dsn,
            user=settings.user,
            password=settings.password.get_secret_value() if settings.password else None,
            connect_timeout=connect_timeout,
            idle_timeout=settings.pool.idle.total_seconds(),
            variable=variable,
        )

    @property
    def hosts(self) -> str:
        """The host and port, or several."""
        url = urlsplit(self.dsn)
        return unquote(url.netloc or url.query.removeprefix("host="))

    @property
    def label(self) -> str:
        """The hosts, and the variable that names them."""
        return f"{self.hosts} ({self.variable})" if self.variable else self.hosts

    async def connect(
        self, settings: Mapping[str, str] = WITHOUT_JIT, **options: Any
    ) -> asyncpg.Connection[asyncpg.Record]:
        """One connection, on which PostgreSQL's `settings` hold. `options` are those of asyncpg.connect.

        Raises DatabaseUnavailable, SettingRefused where a pooler refuses one of the settings, and ConfigError for an
        unusable address.
        """
        with translated_with_remedy(self.hosts, self.variable):
            return await asyncpg.connect(
                self.dsn,
                user=self.user,
                password=self.password,
                timeout=self.connect_timeout,
                server_settings={**_COMMON_SETTINGS, **settings},
                **options,
            )


_FILE_PARAMETERS = {"passfile", "sslcert", "sslcrl", "sslkey", "sslrootcert"}
"""Parameters that name a file."""

_OWN_VARIABLES = {
    "host": "DB_HOST",
    "port": "DB_PORT",
    "user": "DB_USER",
    "password": "DB_PASS",
    "dbname": "DB_NAME",
    "database": "DB_NAME",
}
"""Parameters that are variables of their own."""


def _require_readable(parameter: str, path: str) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise ConfigError(f"DB_PARAMS is not usable: {parameter} is {path!r}: {error.strerror}") from error


def _require_user_name() -> None:
    try:
        getpass.getuser()
    except (KeyError, OSError) as error:  # the former up to Python 3.12
        raise ConfigError(
            "DB_USER is not set, and this process has no user's name: name the PostgreSQL user"
        ) from error


def statement_timeout(timeout: timedelta) -> dict[str, str]:
    """PostgreSQL's setting of that name, in milliseconds as it shows it itself."""
    return {"statement_timeout": f"{timeout.total_seconds() * 1000:.0f}"}


def _url_host(host: str, variable: str) -> str:
    """A host as it is written in a URL. Raises ConfigError when it is none."""
    if host.startswith("/"):
        return quote(host, safe="")
    if ":" in host:
        with suppress(ValueError):
            return f"[{ipaddress.IPv6Address(host)}]"
    if not re.fullmatch(r"[^\s:/?#@,\[\]]+", host):
        raise ConfigError(
            f"{variable} is {host!r}, which is no host: write a name or an address alone, and the port into "
            f"{variable.replace('HOST', 'PORT')}"
        )
    return quote(host, safe="")


async def wait_until_ready(address: Address, patience: float, *, through_pooler: bool = False) -> None:
    """Return once the database, or with `through_pooler` the pooler in front of it, accepts a connection.

    Raises DatabaseUnavailable with the last reason when it does not within `patience` seconds.
    """
    deadline = time.monotonic() + patience
    last_logged = ""
    while True:
        try:
            connection = await address.connect({} if through_pooler else WITHOUT_JIT)
        except DatabaseUnavailable as error:
            if time.monotonic() >= deadline:
                raise DatabaseUnavailable(f"{error} (waited {patience:g} s, DB_READY_TIMEOUT)") from error
            if str(error) != last_logged:
                last_logged = str(error)
                log.warning("waiting for the database", error=last_logged)
            await asyncio.sleep(min(0.5, max(0.0, deadline - time.monotonic())))
        else:
            await connection.close()
            return


class Pool:
    """A bounded number of connections whose JSON comes and goes as bytes. Who asks first gets one first.

    asyncpg has a pool, too. It takes a task and three turns of the loop to give a connection back, which is as long as
    a small query, and lets newcomers overtake.
    """

    def __init__(self, connector: _Connector, size: int, command_timeout: float, name: str, least: int = 0) -> None:
        self.connector = connector
        self.patience = min(_ACQUIRE_TIMEOUT, command_timeout)
        self.usage = Usage(name, size)
        self.slots = asyncio.Semaphore(size)
        self._size, self._least = size, least
        self._command_timeout = command_timeout
        self._open: set[Connection] = set()
        self._idle: list[Connection] = []  # the one that was used last at the end
        self._unused = 0  # so many of them have not been used since it was last looked
        self._clearing: set[asyncio.Task[None]] = set()
        self._tidying: asyncio.TimerHandle | None = None

    @classmethod
    async def open(
        cls, address: Address, *, size: int, command_timeout: float = 60, name: str = "other", **settings: str
    ) -> Self:
        """Connect lazily, to at most `size` connections. The metrics know the pool by its `name`.

        No statement may take longer than `command_timeout` seconds, nor may the wait for a connection. `settings` are
        PostgreSQL's.
        """
        return cls(_Connector(address, settings), size, command_timeout, name)

    @classmethod
    @asynccontextmanager
    async def opened(cls, address: Address, **options: Any) -> AsyncIterator[Self]:
        """A pool as `open` makes it, closed at the end."""
        pool = await cls.open(address, **options)
        try:
            yield pool
        finally:
            await pool.close()

    @classmethod
    @asynccontextmanager
    async def reading(
        cls, address: Address, name: str, size: int, timeout: timedelta, *, at_start: int = 0, **planning: str
    ) -> AsyncIterator[Self]:
        """A pool on which no query takes longer than `timeout`: the server ends it, else the client does.

        It connects lazily, but for `at_start` connections.

        It may go through a pooler. Where that refuses the settings, they are the role's to have: what is read is the
        same without.
        """
        connector = _Connector(address, {**statement_timeout(timeout), **planning}, through_pooler=True)
        pool = cls(connector, size, timeout.total_seconds() + 1, name, at_start)
        try:
            async with AsyncExitStack() as stack:
                for _ in range(at_start):
                    await stack.enter_async_context(pool.connection())
            yield pool
        finally:
            await pool.close()

    @property
    def last_error(self) -> PresenterError | None:
        """The error of the last attempt to get a connection; None where it succeeded, or there was none yet."""
        return self.connector.last_error

    async def check(self) -> None:
        """See that statements stay prepared, and warn when settings do not hold: before anything depends on either.

        Raises DatabaseUnavailable.
        """
        async with self.connection() as one:
            wanted = self.connector.settings
            held = await one.fetch(_EFFECTIVE_SETTINGS, list(wanted))
            lacking = [f"{name} = {wanted[name]}" for name, setting, _ in held if setting != wanted[name]]
            if lacking:
                log.warning(
                    "pages may be slow: a pooler lets settings not through that the role has not either",
                    lacking=lacking,
                    remedy=f"presenter migrate --reader {held[0]['role']}",
                )
            await one.fetchval(_PING)
            # Where a pooler lends connections by the transaction, the other one now holds what that was prepared on.
            async with self.connection() as other, other.transaction():
                await other.fetchval(_PING)
                with suppress(TimeoutError):  # there is only one to lend
                    await one.fetchval(_PING, timeout=_LEND_TIMEOUT)

    async def reconnect(self) -> None:
        """While there is a `last_error`, try again, until cancelled: without requests nobody would notice its end."""
        while True:
            await asyncio.sleep(_RECONNECT_INTERVAL)
            if self.last_error is not None:
                with suppress(PresenterError):
                    async with self.connection():
                        pass

    async def close(self) -> None:
        """Close all connections, waiting at most a second for those in use."""
        if self._tidying is not None:
            self._tidying.cancel()
        # Not asyncio.timeout, which does not work in who was cancelled before Python 3.11.3 (python/cpython#102780).
        closing = asyncio.create_task(self._close_one_after_the_other())
        await asyncio.wait((closing,), timeout=1)
        closing.cancel()
        for connection in self._open:
            connection.terminate()

    async def _close_one_after_the_other(self) -> None:
        for _ in range(self._size):
            await self.slots.acquire()
        with suppress(Exception):  # what does not close is terminated
            for connection in self._idle:
                await connection.close()

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """A connection; failures inside the block are raised as PresenterErrors."""
        return _Lent(self)

    def idle(self) -> Connection | None:
        """An idle connection, if there is one, for who has a slot."""
        while self._idle:
            connection = self._idle.pop()
            self._unused = min(self._unused, len(self._idle))
            if not connection.is_closed():
                return connection
            self._drop(connection)
        return None

    async def connect(self) -> Connection:
        """A new connection, for who has a slot."""
        async with asyncio.timeout(self.patience):
            connection = await self.connector.connect(
                command_timeout=self._command_timeout,
                connection_class=WeighingConnection,
                max_cacheable_statement_size=_LONGEST_STATEMENT,
                max_cached_statement_lifetime=0,  # for good, also where nothing changes for minutes
            )
            self._open.add(connection)
            try:
                await _set_json_codec(connection)
            except BaseException:
                self._drop(connection)
                raise
        return connection

    def give_back(self, connection: Connection, *, is_clear: bool) -> None:
        """Keep a connection for the next one, who gets the slot; unless `is_clear`, something may still run on it."""
        if is_clear:
            self._keep(connection)
            return
        clearing = asyncio.create_task(self._clear(connection), context=contextvars.Context())
        self._clearing.add(clearing)
        clearing.add_done_callback(self._clearing.discard)

    async def _clear(self, connection: Connection) -> None:
        is_clear = False
        try:
            with suppress(PresenterError), translated():
                # A statement waits until the one before it is cancelled.
                await connection.execute(_PING, timeout=_CLEARING_TIMEOUT)
                is_clear = True
        finally:
            if not is_clear:
                connection.terminate()
            self._keep(connection)

    def _keep(self, connection: Connection) -> None:
        if connection.is_closed() or connection.is_in_transaction():
            self._drop(connection)
        else:
            self._idle.append(connection)
            if self._tidying is None and self.connector.idle_timeout:
                self._look_later()
        self.slots.release()

    def _drop(self, connection: Connection) -> None:
        self._open.discard(connection)
        connection.terminate()

    def _look_later(self) -> None:
        self._unused = len(self._idle)
        self._tidying = asyncio.get_running_loop().call_later(self.connector.idle_timeout, self._close_unused)

    def _close_unused(self) -> None:
        """Close what has not been used since it was last looked."""
        for connection in self._idle[: max(0, min(self._unused, len(self._open) - self._least))]:
            self._idle.remove(connection)
            self._drop(connection)
        self._tidying = None
        if self._idle:
            self._look_later()


class _Connector:
    """Makes the connections of a pool, with PostgreSQL's `settings` until a pooler refuses these."""

    def __init__(self, address: Address, settings: Mapping[str, str], *, through_pooler: bool = False) -> None:
        self.settings = {**WITHOUT_JIT, **settings}
        self.label = address.label
        self.idle_timeout = address.idle_timeout
        self._address = address
        self._may_be_refused = through_pooler
        self._sent: Mapping[str, str] = self.settings
        self.last_error: PresenterError | None = None

    async def connect(self, **options: Any) -> Connection:
        """Raises as Address.connect does."""
        try:
            return await self._address.connect(self._sent, **options)
        except SettingRefused:
            if not self._may_be_refused or not self._sent:
                raise
        self._sent = {}
        return await self._address.connect(self._sent, **options)


class _Lent(AbstractAsyncContextManager["Connection"]):
    """A connection that goes back to its pool at the end. No generator: nested ones take as long as a small query."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def __aenter__(self) -> Connection:
        pool, since = self._pool, time.perf_counter()
        self._before = begin("wait")
        try:
            if pool.slots.locked():
                await self._wait_for_slot()
            else:
                await pool.slots.acquire()  # at once
            try:
                self._connection = pool.idle() or await self._connect()
            except BaseException:
                pool.slots.release()
                raise
        except BaseException:
            begin(self._before)
            raise
        pool.connector.last_error = None
        pool.usage.waited.observe(time.perf_counter() - since)
        pool.usage.in_use.inc()
        begin("query")
        return self._connection

    async def __aexit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        self._pool.give_back(self._connection, is_clear=error is None)
        begin(self._before)
        self._pool.usage.in_use.dec()
        if error is not None:
            with translated(self._pool.connector.label):
                raise error

    async def _connect(self) -> Connection:
        connector = self._pool.connector
        try:
            with translated(connector.label):
                return await self._pool.connect()
        except PresenterError as error:
            connector.last_error = error
            raise

    async def _wait_for_slot(self) -> None:
        pool = self._pool
        pool.usage.waiting.inc()
        try:
            async with asyncio.timeout(pool.patience):
                await pool.slots.acquire()
        except TimeoutError as late:
            raise DatabaseBusy(
                f"all connections to PostgreSQL were in use for {pool.patience:g} s: try again later"
            ) from late
        finally:
            pool.usage.waiting.dec()


async def _set_json_codec(connection: Connection) -> None:
    """PostgreSQL's binary jsonb is its text behind a version byte, so that no JSON needs to be decoded here."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda document: b"\x01" + document,
        decoder=documents_of(connection).decode,
    )
    await connection.set_type_codec(
        "bytea", schema="pg_catalog", format="binary", encoder=bytes, decoder=documents_of(connection).decode_piece
    )
