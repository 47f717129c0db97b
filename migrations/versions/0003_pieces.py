"""Pieces: the item of each object, compressed as it goes out, and the `updated_at` of the state that it is of."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns. The rows that are there get their pieces from who watches, afterwards.

    Pieces stay in the row as long as that fits into a page, and the large documents go out of it.
    """
    op.execute("ALTER TABLE resources ADD COLUMN piece_of timestamptz, ADD COLUMN piece bytea")
    op.execute("ALTER TABLE resources ALTER COLUMN piece SET STORAGE MAIN")


def downgrade() -> None:
    """Drop the columns."""
    op.execute("ALTER TABLE resources DROP COLUMN piece, DROP COLUMN piece_of")
