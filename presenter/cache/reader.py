"""The role of processes that only serve: it may read, and has the settings that pages need.

Each connection sends these settings. But a pooler refuses them, and what is set later, on a connection that it lends by
the transaction, is the next borrower's. What PostgreSQL keeps for the role holds however it is reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import asyncpg
import sqlalchemy as sa

from presenter.cache.migration import driver_errors, exclusively
from presenter.cache.pages import PLANNING
from presenter.cache.pool import Address, statement_timeout
from presenter.cache.tables import metadata
from presenter.errors import ConfigError

_MIGRATES = "SELECT rolname = current_user FROM pg_roles WHERE rolname = $1"
_CREATE = "SELECT format('CREATE ROLE %I LOGIN PASSWORD ''…''', $1::text)"

_GRANTS = """
WITH own AS (SELECT relnamespace, relowner FROM pg_class WHERE oid = 'alembic_version'::regclass)
SELECT format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), $1::text)
WHERE NOT has_database_privilege($1::name, current_database(), 'CONNECT')
UNION ALL
SELECT format('GRANT USAGE ON SCHEMA %s TO %I', relnamespace::regnamespace, $1) FROM own
WHERE NOT has_schema_privilege($1::name, relnamespace, 'USAGE')
UNION ALL
SELECT format('GRANT SELECT ON TABLE %s TO %I', oid::regclass, $1) FROM pg_class
WHERE relnamespace = (SELECT relnamespace FROM own) AND relname = ANY ($2::text[])
UNION ALL
SELECT format('GRANT EXECUTE ON FUNCTION %s TO %I', oid::regprocedure, $1) FROM pg_proc
WHERE (pronamespace, proowner) = (TABLE own) AND NOT has_function_privilege($1::name, oid, 'EXECUTE')
UNION ALL
SELECT format('ALTER DEFAULT PRIVILEGES IN SCHEMA %s GRANT %s TO %I', relnamespace::regnamespace, later, $1)
FROM own, unnest(ARRAY['SELECT ON TABLES', 'EXECUTE ON FUNCTIONS']) AS later
"""

_SETTINGS = """
SELECT format('ALTER ROLE %I IN DATABASE %I SET %I = %L', $1::text, current_database(), wanted.name, wanted.value)
FROM unnest($2::text[], $3::text[]) AS wanted (name, value)
WHERE NOT EXISTS (
    SELECT FROM pg_db_role_setting
    WHERE setrole = (SELECT oid FROM pg_roles WHERE rolname = $1)
    AND setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND wanted.name || '=' || wanted.value = ANY (setconfig)
)
"""


async def grant_reading(address: Address, role: str, query_timeout: timedelta) -> list[str]:
    """Let a role read the cache, also what later migrations add, and give it its settings. Safe to repeat.

    Returns the statements that only an administrator or the role itself may run: those of its settings, if any.
    Raises ConfigError when there is no such role, or when it is the one that migrates, and else as `exclusively` does.
    """
    settings = {**PLANNING, **statement_timeout(query_timeout)}

    def work(connection: sa.Connection) -> list[str]:
        with connection.begin():
            _require_reader(connection, role, address)
            for grant in _column(connection, _GRANTS, role, [*metadata.tables, "alembic_version"]):
                connection.exec_driver_sql(grant)
            return [
                statement
                for statement in _column(connection, _SETTINGS, role, list(settings), list(settings.values()))
                if not _run_if_permitted(connection, statement)
            ]

    return await exclusively(address, work)


def _require_reader(connection: sa.Connection, role: str, address: Address) -> None:
    migrates = _column(connection, _MIGRATES, role)
    if not migrates:
        [create] = _column(connection, _CREATE, role)
        raise ConfigError(f"--reader is {role!r}, which {address.label} has no role for. Make it first: {create}")
    if migrates[0]:
        raise ConfigError(f"--reader is {role!r}, who migrates (DB_USER): name another role, one that only reads")


def _run_if_permitted(connection: sa.Connection, statement: str) -> bool:
    """Run a statement. Returns whether this role may."""
    try:
        with driver_errors(), connection.begin_nested():
            connection.exec_driver_sql(statement)
    except asyncpg.InsufficientPrivilegeError:
        return False
    return True


def _column(connection: sa.Connection, statement: str, *arguments: object) -> Sequence[Any]:
    return connection.exec_driver_sql(statement, arguments).scalars().all()
