"""Pieces: the item of each object, compressed as it goes out, and the `updated_at` of the state that it is of."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns. The rows that are there get their pieces from who watches, afterwards.

    EXTERNAL: they are compressed already. PostgreSQL takes the largest value out of a row of more than 2 kB first: that
    is the document, and then the piece of a large object. So scans do not read much for each row they look at.
    """
    op.execute("ALTER TABLE resources ADD COLUMN piece_of timestamptz, ADD COLUMN piece bytea")
    op.execute("ALTER TABLE resources ALTER COLUMN piece SET STORAGE EXTERNAL")


def downgrade() -> None:
    """Drop the columns."""
    op.execute("ALTER TABLE resources DROP COLUMN piece, DROP COLUMN piece_of")
