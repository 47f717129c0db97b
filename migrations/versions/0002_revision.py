"""The revision: the number of the transaction that changed a row last, and of the last that a watch brought."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns. What is there, and what a version writes that does not count, has the revision 0.

    A constant default is kept with the table's description: no row is written anew.
    """
    op.execute("ALTER TABLE resources ADD COLUMN revision bigint NOT NULL DEFAULT 0")
    op.execute(
        "ALTER TABLE watches ADD COLUMN revision bigint NOT NULL DEFAULT 0,"
        " ADD COLUMN numbered bigint NOT NULL DEFAULT 0"
    )


def downgrade() -> None:
    """Drop the columns."""
    op.execute("ALTER TABLE watches DROP COLUMN numbered, DROP COLUMN revision")
    op.execute("ALTER TABLE resources DROP COLUMN revision")
