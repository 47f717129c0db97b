"""An index of objects by the revision that changed them last, within a type: what changed since is read by it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

revision = "0005"
down_revision = "0004"

_PARTS = sa.text("""
SELECT relid::regclass::text AS table, format('%I', left(relname, 54) || '_revision') AS index
FROM pg_partition_tree('resources') JOIN pg_class ON pg_class.oid = relid WHERE isleaf
""")


def upgrade() -> None:
    """Make it while others read and write. One that was begun and not finished goes first: it would count for nothing.

    It waits for every transaction that was there before it, as long as that takes, and holds up nobody meanwhile.
    """
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        parts = [] if context.is_offline_mode() else [(part, index) for part, index in op.get_bind().execute(_PARTS)]
        for table, index in parts or [("resources", "resources_revision")]:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index}")
            op.execute(f"CREATE INDEX CONCURRENTLY {index} ON {table} (type_id, revision)")
        # Of a table that is divided by cluster it is made of those of its parts.
        op.execute("CREATE INDEX IF NOT EXISTS resources_revision ON resources (type_id, revision)")
        op.execute("SET lock_timeout = '500ms'")


def downgrade() -> None:
    """Drop it."""
    op.execute("DROP INDEX resources_revision")
