"""Clusters, resource types, watches, leases and the resources themselves."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

_TABLES = """
CREATE TABLE clusters (
    name text COLLATE "C" PRIMARY KEY,
    uid text COLLATE "C" NOT NULL,
    watch text[] NOT NULL,
    secret_data boolean NOT NULL,
    discovered_at timestamptz,
    completed_at timestamptz
);
CREATE TABLE resource_types (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cluster text COLLATE "C" NOT NULL REFERENCES clusters,
    api_group text COLLATE "C" NOT NULL,
    resource text COLLATE "C" NOT NULL,
    version text COLLATE "C" NOT NULL,
    versions text[] NOT NULL,
    kind text COLLATE "C" NOT NULL,
    namespaced boolean NOT NULL,
    epoch integer NOT NULL DEFAULT 0,
    CONSTRAINT resource_types_identity UNIQUE (cluster, api_group, resource)
);
CREATE TABLE watches (
    type_id integer NOT NULL REFERENCES resource_types ON DELETE CASCADE,
    namespace text COLLATE "C" NOT NULL,
    state text NOT NULL DEFAULT 'pending',
    error text NOT NULL DEFAULT '',
    checkpoint text,
    listing boolean NOT NULL DEFAULT false,
    synced_at timestamptz,
    last_event_at timestamptz,
    objects bigint NOT NULL DEFAULT 0,
    events bigint NOT NULL DEFAULT 0,
    lists bigint NOT NULL DEFAULT 0,
    repairs bigint NOT NULL DEFAULT 0,
    sanitised bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (type_id, namespace)
);
CREATE TABLE leases (
    cluster text COLLATE "C" PRIMARY KEY,
    epoch bigint NOT NULL,
    holder text NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT leases_epoch UNIQUE (cluster, epoch)
);
CREATE UNLOGGED TABLE listed (
    list_id bigint NOT NULL,
    uid text COLLATE "C" NOT NULL,
    listed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX listed_list ON listed (list_id);
CREATE TABLE resources (
    cluster text COLLATE "C" NOT NULL,
    type_id integer NOT NULL,
    uid text COLLATE "C" NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    version text COLLATE "C" NOT NULL,
    epoch integer NOT NULL,
    resource_version numeric,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    composition_id uuid,
    labels jsonb NOT NULL,
    raw jsonb NOT NULL,
    PRIMARY KEY (cluster, type_id, uid)
);
"""

_ORDERS = {
    "created_at": "created_at, uid",
    "updated_at": "updated_at, uid",
    "name": "name, uid",
    "global_uid": "(cluster || ':'::text || uid)",
    "composition_asc": "COALESCE(composition_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid), uid",
    "composition_desc": "COALESCE(composition_id, '00000000-0000-0000-0000-000000000000'::uuid), uid",
}

_TERMS = """
CREATE FUNCTION resource_terms(type_id integer, namespace text, name text, labels jsonb) RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    lowered text := lower(name);
    terms bigint[] := ARRAY(SELECT hashtextextended(key || '=' || value, type_id) FROM jsonb_each_text(labels));
BEGIN
    IF namespace <> '' THEN
        terms := terms || hashtextextended(namespace || '/', type_id);
    END IF;
    FOR start IN 1 .. length(lowered) - 2 LOOP
        terms := terms || hashtextextended(substr(lowered, start, 3), type_id);
    END LOOP;
    RETURN terms;
END $$
"""

_TERMS_INDEX = """
CREATE INDEX resources_terms ON resources
USING gin (resource_terms(type_id, namespace, name, labels)) WITH (gin_pending_list_limit = 256)
"""


def upgrade() -> None:
    """Make the tables, and two indexes for each order: over a whole type and within one namespace."""
    for statement in filter(str.strip, _TABLES.split(";")):
        op.execute(statement)
    for name, columns in _ORDERS.items():
        op.execute(f"CREATE INDEX resources_{name} ON resources (type_id, {columns})")
        op.execute(f"CREATE INDEX resources_namespace_{name} ON resources (type_id, namespace, {columns})")
    op.execute(_TERMS)
    op.execute(_TERMS_INDEX)


def downgrade() -> None:
    """Drop everything: the cache can be filled again from the cluster."""
    for table in ("resources", "listed", "leases", "watches", "resource_types", "clusters"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION resource_terms")
