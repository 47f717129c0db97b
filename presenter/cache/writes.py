"""The statements that write: what is watched, how far a watch is, what a list names, and the rows."""

from __future__ import annotations

from presenter.cache.lease import FENCE
from presenter.cache.sql import COLUMNS, payload

CATALOG_CHANNEL = "presenter_catalog"
"""Where readers hear (LISTEN) that the catalog has changed, or that the rules of who may see what have."""

PLANNING = {"plan_cache_mode": "force_generic_plan"}
"""Settings for connections that are written on. After a first list the planner knows of no rows yet: by the values of
one event it may choose to look at every row of a type."""

OPEN_CLUSTER = """
INSERT INTO clusters AS known (name, uid, watch, secret_data) VALUES ($1, $2, $3, $4)
ON CONFLICT (name) DO UPDATE SET uid = excluded.uid, watch = excluded.watch, secret_data = excluded.secret_data,
    discovered_at = CASE WHEN known.uid IN ('', excluded.uid) AND known.watch = excluded.watch
        THEN known.discovered_at END,
    completed_at = CASE WHEN known.uid IN ('', excluded.uid) THEN known.completed_at END
"""
CLUSTER = "SELECT uid, secret_data FROM clusters WHERE name = $1 FOR UPDATE"
OTHER_NAMES = "SELECT name FROM clusters WHERE name <> $1 AND uid = $2"
IS_OPEN = """
SELECT EXISTS (SELECT FROM clusters WHERE name = $1 AND uid = $2 AND watch = $3 AND secret_data = $4)
    AND NOT EXISTS (
        SELECT FROM unnest($5::integer[]) AS type (id)
        WHERE NOT EXISTS (SELECT FROM resource_types t WHERE t.cluster = $1 AND t.id = type.id)
    )
"""

# Whether an earlier version kept more of a Secret's annotations than those whose values may be.
READABLE_SECRETS = """
SELECT EXISTS (
    SELECT FROM resource_types t JOIN resources r ON r.type_id = t.id
    CROSS JOIN LATERAL jsonb_each(
        CASE jsonb_typeof(r.raw #> '{metadata,annotations}') WHEN 'object' THEN r.raw #> '{metadata,annotations}' END
    ) AS annotation
    WHERE t.cluster = $1 AND t.api_group = '' AND t.resource = 'secrets' AND r.cluster = $1
        AND annotation.key <> ALL ($2::text[]) AND annotation.value <> '""'
)
"""

# Types begin anew: nothing is resumed or served before it was listed, and every row is written again.
BEGIN_ANEW = """
WITH types AS (
    UPDATE resource_types SET epoch = epoch + 1
    WHERE cluster = $1 AND ($2::text IS NULL OR (api_group = '' AND resource = $2)) RETURNING id
)
UPDATE watches SET checkpoint = NULL, listing = false, synced_at = NULL, state = 'pending', error = ''
WHERE type_id IN (SELECT id FROM types)
"""

NEW_EPOCH = "UPDATE resource_types SET epoch = epoch + 1 WHERE id = $1"
FORGET_CHECKPOINTS = "UPDATE watches SET checkpoint = NULL WHERE type_id = $1"

TYPES = """
SELECT id, api_group, version, resource, kind, namespaced, versions FROM resource_types t
WHERE cluster = $1 AND EXISTS (SELECT FROM watches WHERE type_id = t.id) ORDER BY id
"""

DECLARE_TYPE = """
INSERT INTO resource_types AS known (cluster, api_group, resource, version, versions, kind, namespaced)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT ON CONSTRAINT resource_types_identity DO UPDATE
SET version = excluded.version, versions = excluded.versions, kind = excluded.kind, namespaced = excluded.namespaced
RETURNING id,
    (SELECT version FROM resource_types WHERE cluster = $1 AND api_group = $2 AND resource = $3) AS previous_version
"""

# Those that stay or come take over the revision of those that go: that of the type does not go down.
DECLARE_WATCHES = """
WITH dropped AS (DELETE FROM watches WHERE type_id = $1 AND namespace <> ALL ($2::text[]) RETURNING true)
INSERT INTO watches (type_id, namespace, revision)
SELECT $1, unnest($2), (SELECT coalesce(max(revision), 0) FROM watches WHERE type_id = $1)
ON CONFLICT (type_id, namespace) DO UPDATE SET revision = excluded.revision WHERE EXISTS (SELECT FROM dropped)
"""

# What is left of an object that goes. Its deletion has a resourceVersion where an event told of it.
_BURY = """
INSERT INTO past_states (cluster, type_id, uid, revision, added, labels, composition_id, gone,
    api_group, resource, kind, namespace, name, version, resource_version, deletion_version, created_at, updated_at,
    piece, raw)
SELECT cluster, type_id, uid, {revision}, added, labels, composition_id, true,
    api_group, resource, kind, namespace, name, version, resource_version, {deletion_version}, created_at, updated_at,
    CASE WHEN piece_of = updated_at THEN piece END, CASE WHEN piece_of = updated_at THEN NULL ELSE raw END
FROM gone CROSS JOIN (SELECT api_group, resource, kind FROM resource_types WHERE id = $2) AS type
"""
# Many at once go in parts, each with a revision of its own: of so many bytes of pieces, each with 8 kB for its rest.
_BURY_IN_PARTS = _BURY.format(
    revision="""$3::bigint + coalesce(sum(8192 + coalesce(octet_length(piece), pg_column_size(raw)))
        OVER (ORDER BY uid ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) / 4194304""",
    deletion_version="NULL",
)
_BURIED_IN_PARTS = f"""
WITH gone AS ({{delete}} RETURNING stored.*), buried AS ({_BURY_IN_PARTS} RETURNING revision)
SELECT count(*) AS gone, coalesce(max(revision), $3) AS revision FROM buried
"""

DROP_OTHER_ROWS = _BURIED_IN_PARTS.format(
    delete="DELETE FROM resources stored WHERE cluster = $1 AND type_id = $2 AND namespace <> ALL ($4::text[])"
)
ROWS_DROPPED = "UPDATE watches SET revision = $2 WHERE type_id = $1"

FORGET_ROWS = _BURIED_IN_PARTS.format(delete="DELETE FROM resources stored WHERE cluster = $1 AND type_id = $2")
FORGET_TYPE = "DELETE FROM resource_types WHERE id = $1"
TYPE_ID = "SELECT id FROM resource_types WHERE cluster = $1 AND api_group = $2 AND resource = $3"

DISCOVERED = "UPDATE clusters SET discovered_at = clock_timestamp() WHERE name = $1 AND discovered_at IS NULL"
# A type that the API server refuses to list is not waited for for ever: it was refused now, a minute after all types
# were known (ten, where a list had begun and broke off), while the API server serves others.
COMPLETED = """
WITH watched AS (SELECT w.* FROM watches w JOIN resource_types t ON t.id = w.type_id WHERE t.cluster = $1)
UPDATE clusters SET completed_at = clock_timestamp()
WHERE name = $1 AND completed_at IS NULL AND discovered_at IS NOT NULL AND NOT EXISTS (
    SELECT FROM watched WHERE synced_at IS NULL AND NOT (
        state IN ('forbidden', 'error') AND EXISTS (SELECT FROM watched WHERE state = 'live')
        AND discovered_at < clock_timestamp() - interval '1 minute' * CASE WHEN listing THEN 10 ELSE 1 END
    )
)
"""

# A type without watches: one that cannot be watched. It has no version either, so that no version of this program finds
# it and takes it for one that it once watched.
FORGET_UNWATCHED = """
DELETE FROM resource_types t WHERE cluster = $1 AND NOT EXISTS (SELECT FROM watches WHERE type_id = t.id)
"""
RECORD_UNWATCHED = """
INSERT INTO resource_types (cluster, api_group, resource, version, versions, kind, namespaced)
VALUES ($1, $2, $3, '', $4, $5, $6) ON CONFLICT ON CONSTRAINT resource_types_identity DO NOTHING
"""

ANNOUNCE = f"NOTIFY {CATALOG_CHANNEL}"

CHECKPOINT = "SELECT checkpoint, listing FROM watches WHERE type_id = $1 AND namespace = $2"
SET_STATE = "UPDATE watches SET state = $3, error = $4 WHERE type_id = $1 AND namespace = $2"

# Until the first list is complete, the error says that one was refused or broken off before.
BEGIN_LIST = """
UPDATE watches SET state = 'syncing', listing = true, error = CASE WHEN synced_at IS NULL THEN error ELSE '' END
WHERE type_id = $1 AND namespace = $2
"""
# If the rows still are what STORED has told of them.
REMEMBER_LISTED = """
WITH unchanged AS (
    SELECT FROM watches w JOIN resource_types t ON t.id = w.type_id
    WHERE w.type_id = $3 AND w.namespace = $4 AND (w.revision, t.epoch) = ($5, $6)
),
remembered AS (INSERT INTO listed (list_id, uid) SELECT $1, unnest($2::text[]) FROM unchanged)
SELECT EXISTS (SELECT FROM unchanged)
"""
FORGET_LISTED = "DELETE FROM listed WHERE list_id = $1"
UNLIST = "DELETE FROM listed WHERE list_id = $1 AND uid = ANY ($2::text[])"
COUNT_LISTED = "SELECT count(*) FROM listed WHERE list_id = $1"
FORGET_ABANDONED = "DELETE FROM listed WHERE listed_at < now() - interval '1 day'"

# Read first, write what differs: a list after a restart finds nearly every row as it left it. Where nothing is stored
# there is one without an object.
STORED = """
SELECT w.revision, t.epoch, r.uid, r.resource_version, r.version
FROM watches w JOIN resource_types t ON t.id = w.type_id
LEFT JOIN resources r ON r.cluster = $1 AND r.type_id = $2 AND r.uid = ANY ($4::text[]) AND r.epoch = t.epoch
WHERE w.type_id = $2 AND w.namespace = $3
"""

CLOCK = "SELECT extract(epoch FROM clock_timestamp())::float8"
LATEST = """
SELECT max(latest.updated_at) FROM resource_types t CROSS JOIN LATERAL (
    SELECT updated_at FROM resources r WHERE r.type_id = t.id ORDER BY r.updated_at DESC, r.uid DESC LIMIT 1
) AS latest WHERE t.cluster = $1
"""

# An old event never undoes a newer state. Where the API server's versions are no numbers, the stream's order decides.
# Equal versions differ only when the type is now watched in another version, and then only in the body.
_WRITTEN = """
INSERT INTO resources AS stored (cluster, type_id, epoch, updated_at, revision, added, piece_of,
    uid, namespace, name, version, resource_version, created_at, composition_id, labels, raw, piece)
SELECT $1, t.id, t.epoch, $13::timestamptz, $14::bigint, $14, $13, o.*
FROM {type} t, unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::numeric[], $8::timestamptz[], $9::uuid[],
    $10::jsonb[], $11::jsonb[], $12::bytea[])
    AS o (uid, namespace, name, version, resource_version, created_at, composition_id, labels, raw, piece)
WHERE t.id = $2
ON CONFLICT (cluster, type_id, uid) DO UPDATE
SET epoch = excluded.epoch, updated_at = excluded.updated_at, revision = excluded.revision,
    namespace = excluded.namespace, name = excluded.name, version = excluded.version,
    resource_version = excluded.resource_version, created_at = excluded.created_at,
    composition_id = excluded.composition_id, labels = excluded.labels, raw = excluded.raw,
    piece_of = excluded.piece_of, piece = excluded.piece
WHERE stored.epoch < excluded.epoch
    OR stored.resource_version IS NULL OR excluded.resource_version IS NULL
    OR stored.resource_version < excluded.resource_version
    OR (stored.resource_version = excluded.resource_version AND stored.version <> excluded.version)
RETURNING uid, labels, composition_id, xmax = 0 AS fresh
"""
# What they were before is what the statement has found. Each is looked up by its key: OFFSET keeps the planner from
# reading the type as a whole instead.
_RELABELLED = """
INSERT INTO past_states (cluster, type_id, uid, revision, added, labels, composition_id, gone)
SELECT $1, $2, uid, $14, before.added, before.labels, before.composition_id, false
FROM (SELECT * FROM written WHERE NOT fresh) AS now CROSS JOIN LATERAL (
    SELECT added, labels, composition_id FROM resources WHERE cluster = $1 AND type_id = $2 AND uid = now.uid OFFSET 0
) AS before
WHERE (before.labels, before.composition_id) IS DISTINCT FROM (now.labels, now.composition_id)
"""
UPSERT = f"""
WITH written AS ({_WRITTEN.format(type="resource_types")}), relabelled AS ({_RELABELLED})
SELECT count(*) FILTER (WHERE fresh) FROM written
"""

# Of rows that have no piece: an earlier version wrote them. What is looked at has an end, whatever is found.
WITHOUT_PIECE = f"""
SELECT {COLUMNS}, {payload(raw=True, status=False)}
FROM resources r
WHERE cluster = $1 AND type_id = $2 AND piece_of IS DISTINCT FROM updated_at
    AND uid > $3 AND uid <= $4 ORDER BY uid LIMIT $5 FOR NO KEY UPDATE
"""
FURTHER_ON = """
SELECT max(uid) FROM (
    SELECT uid FROM resources WHERE cluster = $1 AND type_id = $2 AND uid > $3 ORDER BY uid LIMIT $4
) AS next
"""
PUT_PIECES = """
UPDATE resources r SET piece_of = r.updated_at, piece = made.piece
FROM unnest($3::text[], $4::bytea[]) AS made (uid, piece)
WHERE r.cluster = $1 AND r.type_id = $2 AND r.uid = made.uid
"""
_IS_GONE = """
stored.uid = gone.uid AND (stored.resource_version IS NULL OR gone.resource_version IS NULL
    OR stored.resource_version <= gone.resource_version)
"""
DELETE = f"""
WITH gone AS (
    DELETE FROM resources stored USING unnest($4::text[], $5::numeric[]) AS gone (uid, resource_version)
    WHERE stored.cluster = $1 AND stored.type_id = $2 AND {_IS_GONE}
    RETURNING stored.*, gone.resource_version AS deletion_version
),
buried AS ({_BURY.format(revision="$3::bigint", deletion_version="deletion_version")} RETURNING true)
SELECT count(*) FROM buried
"""

# What the list did not name is gone: it is consistent, and while it was read nobody else wrote.
SWEEP = _BURIED_IN_PARTS.format(
    delete="""DELETE FROM resources stored
    WHERE cluster = $1 AND type_id = $2 AND ($4 = '' OR namespace = $4)
        AND NOT EXISTS (SELECT FROM listed WHERE listed.list_id = $5 AND listed.uid = stored.uid)"""
)
# `listed` is newer than its statistics, by which the planner would compare every row with every other.
SWEEP_BY_HASH = "SET LOCAL enable_nestloop = off"

LIST_FINISHED = """
UPDATE watches SET checkpoint = $3, listing = false, state = 'live', error = '', lists = lists + 1, revision = $6,
    synced_at = clock_timestamp(), last_event_at = statement_timestamp() - $5::interval, objects = (
        SELECT count(*) FROM resources WHERE cluster = $4 AND type_id = $1 AND ($2 = '' OR resources.namespace = $2)
    )
WHERE type_id = $1 AND namespace = $2
"""

# A run of events is one statement, since each round trip delays all who wait for their turn. The lease is held on to;
# what is written depends on it, and on revision and checkpoint being those of the last commit; both move on with it.
APPLY = f"""
WITH lease AS ({FENCE.format(epoch="$15")}),
watch AS (
    SELECT type_id FROM watches
    WHERE type_id = $2 AND namespace = $16 AND ($17::text IS NULL OR checkpoint IS NOT DISTINCT FROM $17)
        AND ($15::bigint IS NULL OR EXISTS (SELECT FROM lease))
),
cluster AS (
    UPDATE clusters SET revision = $14
    WHERE name = $1 AND revision = $25::bigint AND $21 > 0 AND EXISTS (SELECT FROM watch) RETURNING true
),
type AS (
    SELECT t.id, t.epoch FROM watch JOIN resource_types t ON t.id = watch.type_id
    WHERE $21 = 0 OR EXISTS (SELECT FROM cluster)
),
gone AS (
    DELETE FROM resources stored USING type, unnest($18::text[], $19::numeric[]) AS gone (uid, resource_version)
    WHERE stored.cluster = $1 AND stored.type_id = type.id AND {_IS_GONE}
    RETURNING stored.*, gone.resource_version AS deletion_version
),
buried AS ({_BURY.format(revision="$14", deletion_version="deletion_version")}),
written AS ({_WRITTEN.format(type="type")}),
relabelled AS ({_RELABELLED}),
moved AS (
    UPDATE watches w SET checkpoint = coalesce($20::text, checkpoint),
        state = CASE WHEN $24::interval IS NULL THEN state ELSE 'live' END,
        error = CASE WHEN $24 IS NULL THEN error ELSE '' END,
        last_event_at = coalesce(statement_timestamp() - $24, last_event_at),
        events = events + $21::bigint, numbered = numbered + $21, sanitised = sanitised + $22::bigint,
        revision = CASE WHEN $21 > 0 THEN $14::bigint ELSE revision END,
        objects = objects + (SELECT count(*) FROM written WHERE fresh) - (SELECT count(*) FROM gone)
    FROM type WHERE w.type_id = type.id AND w.namespace = $16 RETURNING true
)
SELECT EXISTS (SELECT FROM lease) AS leads, EXISTS (SELECT FROM watch) AS found, EXISTS (SELECT FROM moved) AS moved,
    CASE WHEN $23::boolean THEN pg_notify('{CATALOG_CHANNEL}', '') END
"""
# The first revisions with so many past states, as far as they are too old or too many. Of the revisions that a failover
# may have undone only the last stretches are remembered: there is one more with every leader.
REMOVE_PAST = """
WITH first AS MATERIALIZED (
    SELECT revision, ended_at FROM past_states WHERE cluster = $1 ORDER BY revision FETCH FIRST $4 ROWS WITH TIES
),
too_many AS (
    SELECT revision FROM past_states WHERE cluster = $1 ORDER BY revision DESC OFFSET $3 FETCH FIRST ROW ONLY
),
over AS (
    SELECT max(revision) AS revision FROM first
    WHERE ended_at < now() - $2::interval OR revision <= (SELECT revision FROM too_many)
),
gone AS (DELETE FROM past_states p USING over WHERE p.cluster = $1 AND p.revision <= over.revision RETURNING true),
begins AS (
    SELECT greatest(feed_begins, over.revision, (
        SELECT upper(stretch) FROM unnest(lost) AS stretch ORDER BY stretch DESC OFFSET 1000 FETCH FIRST ROW ONLY
    )) AS revision FROM clusters, over WHERE name = $1
),
moved AS (
    UPDATE clusters SET feed_begins = begins.revision, lost = lost * int8multirange(int8range(begins.revision, NULL))
    FROM begins WHERE name = $1 AND feed_begins < begins.revision
)
SELECT count(*) FROM gone
"""
PAST_STATES = """
SELECT count(*) AS count, coalesce(now() - (
    SELECT ended_at FROM past_states WHERE cluster = $1 ORDER BY revision LIMIT 1
), '0') AS age
FROM past_states WHERE cluster = $1
"""

COUNT = """
UPDATE watches SET objects = objects + $3, sanitised = sanitised + $4, revision = $5
WHERE type_id = $1 AND namespace = $2
"""
REPAIRED = "UPDATE watches SET repairs = repairs + $3 WHERE type_id = $1 AND namespace = $2"
