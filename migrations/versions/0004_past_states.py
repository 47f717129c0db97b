"""Past states: what objects were until a revision, and the revisions of which all of them are kept."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add columns and a table. Until a version leads that keeps past states, there is no feed (`feed_epoch` is NULL).

    Constant defaults are kept with a table's description: no row is written anew. EXTERNAL: pieces are compressed.
    """
    op.execute(
        "ALTER TABLE clusters ADD COLUMN revision bigint NOT NULL DEFAULT 0,"
        " ADD COLUMN feed_begins bigint NOT NULL DEFAULT 0, ADD COLUMN feed_epoch bigint,"
        " ADD COLUMN lost int8multirange NOT NULL DEFAULT '{}'"
    )
    op.execute("ALTER TABLE resources ADD COLUMN added bigint NOT NULL DEFAULT 0")
    op.execute(
        """
        CREATE TABLE past_states (
            cluster text COLLATE "C" NOT NULL,
            type_id integer NOT NULL,
            uid text COLLATE "C" NOT NULL,
            revision bigint NOT NULL,
            ended_at timestamptz NOT NULL DEFAULT now(),
            added bigint NOT NULL,
            labels jsonb NOT NULL,
            composition_id uuid,
            gone boolean NOT NULL,
            api_group text COLLATE "C",
            resource text COLLATE "C",
            kind text COLLATE "C",
            namespace text COLLATE "C",
            name text COLLATE "C",
            version text COLLATE "C",
            resource_version numeric,
            deletion_version numeric,
            created_at timestamptz,
            updated_at timestamptz,
            piece bytea,
            raw jsonb,
            PRIMARY KEY (cluster, type_id, uid, revision)
        )
        """
    )
    op.execute("ALTER TABLE past_states ALTER COLUMN piece SET STORAGE EXTERNAL")
    op.execute("CREATE INDEX past_states_revision ON past_states (cluster, revision)")


def downgrade() -> None:
    """Drop them."""
    op.execute("DROP TABLE past_states")
    op.execute("ALTER TABLE resources DROP COLUMN added")
    op.execute(
        "ALTER TABLE clusters DROP COLUMN lost, DROP COLUMN feed_epoch, DROP COLUMN feed_begins, DROP COLUMN revision"
    )
