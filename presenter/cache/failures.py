"""PostgreSQL's and asyncpg's exceptions as PresenterErrors, with the remedy where a setting is wrong."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from presenter.errors import ConfigError, DatabaseBusy, DatabaseUnavailable, SchemaOutdated

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
_NOT_PREPARED = (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError)
_BAD_PARAMETERS = (
    asyncpg.exceptions.ClientConfigurationError,
    asyncpg.UndefinedObjectError,
    asyncpg.InvalidParameterValueError,
    asyncpg.CantChangeRuntimeParamError,
)

_MORE_RIGHTS = (
    "at {server} DB_USER has to own what is in the database, to migrate it or to watch; to serve, it has to be let "
    "read it by `presenter migrate --reader ROLE`"
)
_A_POOLER_THAT_PREPARES = (
    "the pooler at {server} keeps no prepared statements. Set max_prepared_statements in PgBouncer 1.21 or newer, or "
    "pool_mode = session; or name PostgreSQL itself there"
)
_NO_POOLER = (
    "{server} is a pooler. Who migrates or watches connects to PostgreSQL itself; who only serves has such settings "
    "from its role (`presenter migrate --reader ROLE`), and they have to go from DB_PARAMS"
)
_NO_TLS = "let {server} have TLS, or take sslmode out of DB_PARAMS"
_REMEDIES: tuple[tuple[type[Exception], str], ...] = (
    (socket.gaierror, "set {host} to a host whose name can be resolved, it is {hosts}"),
    (ssl.SSLError, "set sslmode and sslrootcert in DB_PARAMS to what {server} has"),
    (OSError, "set {host} and {port} to where PostgreSQL listens, nothing answers at {hosts}"),  # TimeoutError, too
    (asyncpg.InvalidPasswordError, "set DB_USER and DB_PASS to what {server} accepts"),
    (
        asyncpg.InvalidAuthorizationSpecificationError,
        "set DB_USER, and sslmode in DB_PARAMS, to what {server} accepts by its pg_hba.conf",
    ),
    (asyncpg.InvalidCatalogNameError, "set DB_NAME to a database that {server} has, or create it"),
    (
        asyncpg.InsufficientPrivilegeError,
        "let DB_USER connect to DB_NAME at {server}: GRANT CONNECT, or `presenter migrate --reader ROLE`",
    ),
    (asyncpg.TooManyConnectionsError, "raise max_connections of {server}, or start fewer processes"),
    (asyncpg.CannotConnectNowError, "wait until {server} is up"),
    (
        asyncpg.exceptions.TargetServerAttributeNotMatched,
        "set target_session_attrs in DB_PARAMS to what {server} is",
    ),
    (asyncpg.ProtocolViolationError, "set DB_NAME, DB_USER and DB_PASS to what the pooler at {server} knows"),
    (asyncpg.ConnectionDoesNotExistError, "set {host} and {port} to where PostgreSQL listens, it is not at {hosts}"),
    (Exception, "see to {server}"),
)


class SettingRefused(DatabaseUnavailable):
    """A pooler refuses a setting that comes with the connection; the role may have it."""


@contextmanager
def translated(server: str = "PostgreSQL") -> Iterator[None]:
    """Raise PostgreSQL's failures as DatabaseUnavailable, DatabaseBusy or SchemaOutdated; our own bugs as they are.

    `server`: Address.label.
    """
    try:
        yield
    except _BUSY as error:
        raise DatabaseBusy(f"PostgreSQL gave up the transaction: {_line(error)}") from error
    except _FOREIGN_SCHEMA as error:
        raise SchemaOutdated(
            f"the database's schema is not this version's ({_line(error)}): run `presenter migrate`"
        ) from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise _unavailable(error, _MORE_RIGHTS.format(server=server)) from error
    except _NOT_PREPARED as error:
        raise _unavailable(error, _A_POOLER_THAT_PREPARES.format(server=server)) from error
    except _UNREACHABLE as error:
        raise _unavailable(error) from error
    except asyncpg.DataError:
        raise
    except asyncpg.InterfaceError as error:
        # "connection is closed", "pool is closing", "has been released": asyncpg has no class of its own for these.
        if "clos" in str(error) or "released" in str(error):
            raise _unavailable(error) from error
        raise


@contextmanager
def translated_with_remedy(hosts: str, variable: str) -> Iterator[None]:
    """The same while a connection is made to `hosts`, which the setting `variable` names ("": none does).

    Raises SettingRefused, and ConfigError for parameters that make no sense, too.
    """
    try:
        with translated():
            try:
                yield
            except _BAD_PARAMETERS as error:
                raise ConfigError(f"DB_PARAMS is not usable: {_line(error)}") from error
    except DatabaseBusy:
        raise
    except DatabaseUnavailable as error:
        cause = error.__cause__
        if not variable or not isinstance(cause, Exception):
            raise
        kind = SettingRefused if "startup parameter" in str(cause) else DatabaseUnavailable
        raise _unavailable(cause, _remedy(cause, hosts, variable), kind) from cause


def _remedy(error: Exception, hosts: str, variable: str) -> str:
    """What to change, by the name of the setting."""
    text = str(error)
    if "startup parameter" in text:
        remedy = _NO_POOLER
    elif isinstance(error, ConnectionError) and "SSL" in text:
        remedy = _NO_TLS
    else:
        remedy = next(remedy for kind, remedy in _REMEDIES if isinstance(error, kind))
    port = variable.replace("HOST", "PORT")
    return remedy.format(host=variable, port=port, hosts=hosts, server=f"{hosts} ({variable})")


def _unavailable(
    error: Exception, remedy: str = "", kind: type[DatabaseUnavailable] = DatabaseUnavailable
) -> DatabaseUnavailable:
    return kind(f"PostgreSQL cannot be used: {_line(error)}", remedy)


def _line(error: Exception) -> str:
    """Its message in one line, without the hints that asyncpg appends."""
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno)  # asyncio has its own words in its place
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    return " ".join(str(error).partition("\nHINT:")[0].split()) or type(error).__name__
