"""Connections to PostgreSQL: how they are made and waited for. Failures are raised as PresenterErrors."""

from __future__ import annotations

import asyncio
import getpass
import ipaddress
import re
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
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
    Connection = asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]

log = structlog.get_logger(__name__)

_ACQUIRE_TIMEOUT = 10.0
"""Seconds after which a wait for a connection ends."""

_RECONNECT_INTERVAL = 1.0
"""Seconds between attempts while there is no connection."""

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
    """Seconds after which a pool closes a connection that nobody uses; 0: never."""
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
    """A bounded number of connections whose JSON comes and goes as bytes. Who asks first gets one first."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], connector: _Connector, patience: float, name: str) -> None:
        self._pool = pool
        self._connector = connector
        self._usage = Usage(name, pool.get_max_size())
        self._patience = patience
        self._slots = asyncio.Semaphore(pool.get_max_size())  # asyncpg's own queue lets newcomers overtake

    @classmethod
    async def open(
        cls, address: Address, *, size: int, command_timeout: float = 60, name: str = "other", **settings: str
    ) -> Self:
        """Connect lazily, to at most `size` connections. The metrics know the pool by its `name`.

        No statement may take longer than `command_timeout` seconds, nor may the wait for a connection. `settings` are
        PostgreSQL's.
        """
        return await cls._open(_Connector(address, settings), size, command_timeout, name)

    @classmethod
    async def _open(
        cls, connector: _Connector, size: int, command_timeout: float, name: str, at_start: int = 0
    ) -> Self:
        return cls(
            await asyncpg.create_pool(
                connect=connector.connect,
                min_size=at_start,
                max_size=size,
                max_inactive_connection_lifetime=connector.idle_timeout,
                command_timeout=command_timeout,
                connection_class=WeighingConnection,
                init=_set_json_codec,
                reset=_no_reset,
                max_cacheable_statement_size=_LONGEST_STATEMENT,
            ),
            connector,
            min(_ACQUIRE_TIMEOUT, command_timeout),
            name,
        )

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
        pool = await cls._open(connector, size, timeout.total_seconds() + 1, name, at_start)
        try:
            yield pool
        finally:
            await pool.close()

    @property
    def last_error(self) -> PresenterError | None:
        """The error of the last attempt to get a connection; None where it succeeded, or there was none yet."""
        return self._connector.last_error

    async def check(self) -> None:
        """See that statements stay prepared, and warn when settings do not hold: before anything depends on either.

        Raises DatabaseUnavailable.
        """
        async with self.connection() as one:
            wanted = self._connector.settings
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
        try:
            await asyncio.wait_for(self._pool.close(), timeout=1)
        except TimeoutError:
            self._pool.terminate()

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """A connection; failures inside the block are raised as PresenterErrors."""
        return _Acquired(self._pool, self._connector, self._slots, self._patience, self._usage)


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

    async def connect(self, *_: object, **options: Any) -> asyncpg.Connection[asyncpg.Record]:
        """As asyncpg.create_pool calls it. Raises as Address.connect does."""
        try:
            return await self._address.connect(self._sent, **options)
        except SettingRefused:
            if not self._may_be_refused or not self._sent:
                raise
        self._sent = {}
        return await self._address.connect(self._sent, **options)


class _Acquired(AbstractAsyncContextManager["Connection"]):
    """A connection that goes back to its pool at the end. No generator: nested ones take as long as a small query."""

    def __init__(
        self,
        pool: asyncpg.Pool[asyncpg.Record],
        connector: _Connector,
        slots: asyncio.Semaphore,
        patience: float,
        usage: Usage,
    ) -> None:
        self._pool = pool
        self._connector = connector
        self._slots = slots
        self._patience = patience
        self._usage = usage

    async def __aenter__(self) -> Connection:
        since = time.perf_counter()
        self._before = begin("wait")
        try:
            await self._wait_for_slot()
            try:
                with translated(self._connector.label):
                    connecting = self._pool.get_idle_size() == 0  # else it is at once, and no clock needs to run
                    self._connection = await self._pool.acquire(timeout=self._patience if connecting else None)
            except BaseException as error:
                if isinstance(error, PresenterError):
                    self._connector.last_error = error
                self._slots.release()
                raise
        except BaseException:
            begin(self._before)
            raise
        self._connector.last_error = None
        self._usage.waited.observe(time.perf_counter() - since)
        self._usage.in_use.inc()
        begin("query")
        return self._connection

    async def __aexit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        try:
            with translated(self._connector.label):
                await self._pool.release(self._connection)
        finally:
            begin(self._before)
            self._usage.in_use.dec()
            self._slots.release()
        if error is not None:
            with translated(self._connector.label):
                raise error

    async def _wait_for_slot(self) -> None:
        if not self._slots.locked():
            await self._slots.acquire()  # at once
            return
        self._usage.waiting.inc()
        try:
            async with asyncio.timeout(self._patience):
                await self._slots.acquire()
        except TimeoutError as late:
            raise DatabaseBusy(
                f"all connections to PostgreSQL were in use for {self._patience:g} s: try again later"
            ) from late
        finally:
            self._usage.waiting.dec()


async def _no_reset(_: Connection) -> None:
    """In place of asyncpg's RESET, which is a round trip: only transactions are left behind, and asyncpg ends those."""


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
