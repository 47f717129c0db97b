"""The feed of changes: what has become of a cluster's objects since a revision, read in batches.

A position is a revision: that of a batch's end, or that of the cluster in the snapshot in which objects were read. Who
follows from there is told what its objects have become, not each state on the way.

A batch that ends before the newest revision of its snapshot leaves to later ones what has changed again since. If a
failover undoes that, nobody would tell of it. So a position is also what was `seen` there, and is lost with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from presenter.cache.pages import row_of
from presenter.cache.query import Piece, Row
from presenter.errors import Expired, Unavailable
from presenter.resource import ResourceType

if TYPE_CHECKING:
    import asyncpg

    from presenter.cache.pool import Pool

ROWS, BYTES = 500, 4 * 2**20
"""What a batch has at most, if its first revision has no more: changes, and bytes of items as they are stored."""

# One statement, so that it sees one state. `places` are the first revisions of changes, of each type that has changed
# and of the past states: as many as there may be changes, and `part` ends where no more of them fit. `found` is all
# that changed up to there, and the batch ends where no more of its bytes fit; both in whole revisions. An object that
# has a row or a past state within the batch changed in it. What it was at a moment says the first past state that ended
# later, and without one its row.
_BATCH = """
WITH feed AS (
    SELECT c.name, c.revision, coalesce($2, c.revision) AS after,
        coalesce(
            $2::bigint < c.feed_begins OR greatest($2, $6::bigint) > c.revision OR c.lost @> $2 OR c.lost @> $6, false
        ) AS lost,
        l.epoch IS NULL OR l.epoch IS NOT DISTINCT FROM c.feed_epoch AS kept
    FROM clusters c LEFT JOIN leases l ON l.cluster = c.name WHERE c.name = $1
),
types AS (
    SELECT DISTINCT w.type_id FROM resource_types t JOIN watches w ON w.type_id = t.id
    WHERE t.cluster = $1 AND w.revision > $2 AND ($3::integer[] IS NULL OR w.type_id = ANY ($3))
),
places AS MATERIALIZED (
    SELECT place.revision FROM feed CROSS JOIN types CROSS JOIN LATERAL (
        SELECT revision FROM resources
        WHERE type_id = types.type_id AND revision > $2 AND revision <= feed.revision
        ORDER BY revision LIMIT $4::bigint + 1
    ) AS place
    UNION ALL
    SELECT place.revision FROM feed CROSS JOIN LATERAL (
        SELECT revision FROM past_states
        WHERE cluster = $1 AND revision > $2 AND revision <= feed.revision
            AND ($3::integer[] IS NULL OR type_id = ANY ($3))
        ORDER BY revision LIMIT $4::bigint + 1
    ) AS place
),
part AS (
    SELECT CASE WHEN coalesce(bool_and(fits), true) THEN (SELECT revision FROM feed)
        ELSE coalesce(max(revision) FILTER (WHERE fits), min(revision)) END AS ends
    FROM (SELECT revision, count(*) OVER (ORDER BY revision) <= $4 AS fits FROM places) AS counted
),
found AS MATERIALIZED (
    SELECT changed.* FROM part CROSS JOIN types CROSS JOIN LATERAL (
        SELECT revision, type_id, uid, coalesce(octet_length(piece), pg_column_size(raw)) AS size FROM resources
        WHERE type_id = types.type_id AND revision > $2 AND revision <= part.ends
    ) AS changed
    UNION ALL
    SELECT p.revision, p.type_id, p.uid, coalesce(octet_length(p.piece), pg_column_size(p.raw), 0)
    FROM part JOIN past_states p ON p.cluster = $1 AND p.revision > $2 AND p.revision <= part.ends
        AND ($3::integer[] IS NULL OR p.type_id = ANY ($3))
),
batch AS (
    SELECT CASE WHEN coalesce(bool_and(fits), true) THEN (SELECT ends FROM part)
        ELSE coalesce(max(revision) FILTER (WHERE fits), min(revision)) END AS ends
    FROM (SELECT revision, sum(size) OVER (ORDER BY revision) <= $5::bigint AS fits FROM found) AS weighed
),
changed AS (
    SELECT type_id, uid, max(found.revision) AS revision FROM found, batch WHERE found.revision <= ends
    GROUP BY type_id, uid
)
SELECT feed.revision AS seen, feed.lost, feed.kept, feed.after, batch.ends,
    changed.revision, changed.type_id, changed.uid, last.revision > batch.ends AS passed, last.gone, last.added,
    last.labels, last.composition_id, last.api_group, last.resource, last.kind, last.namespace, last.name,
    last.version, last.created_at, last.updated_at, last.piece, last.raw, NULL::jsonb AS status,
    before.added AS added_before, before.labels AS labels_before, before.composition_id AS composition_id_before,
    at_end.added AS added_at_end, at_end.labels AS labels_at_end, at_end.composition_id AS composition_id_at_end,
    past.labels AS past_labels, past.composition_ids AS past_composition_ids
FROM feed CROSS JOIN batch LEFT JOIN changed ON true
LEFT JOIN LATERAL (
    SELECT r.revision, false AS gone, r.added, r.labels, r.composition_id, t.api_group, t.resource, t.kind,
        r.namespace, r.name, r.version, r.resource_version, r.created_at, r.updated_at,
        CASE WHEN r.piece_of = r.updated_at THEN r.piece END AS piece,
        CASE WHEN r.piece_of = r.updated_at THEN NULL ELSE r.raw END AS raw
    FROM resources r JOIN resource_types t ON t.id = r.type_id
    WHERE r.cluster = $1 AND r.type_id = changed.type_id AND r.uid = changed.uid
    UNION ALL
    SELECT revision, true, added, labels, composition_id, api_group, resource, kind,
        namespace, name, version, resource_version, created_at, updated_at, piece, raw
    FROM past_states WHERE cluster = $1 AND type_id = changed.type_id AND uid = changed.uid AND gone
    ORDER BY gone, revision DESC LIMIT 1
) AS last ON true
LEFT JOIN LATERAL (
    SELECT added, labels, composition_id FROM past_states
    WHERE cluster = $1 AND type_id = changed.type_id AND uid = changed.uid AND revision > $2 ORDER BY revision LIMIT 1
) AS before ON true
LEFT JOIN LATERAL (
    SELECT added, labels, composition_id FROM past_states
    WHERE cluster = $1 AND type_id = changed.type_id AND uid = changed.uid AND revision > ends
    ORDER BY revision LIMIT 1
) AS at_end ON last.revision > ends
LEFT JOIN LATERAL (
    SELECT array_agg(labels) AS labels, array_agg(composition_id) AS composition_ids FROM past_states
    WHERE cluster = $1 AND type_id = changed.type_id AND uid = changed.uid AND revision > $2 AND revision <= ends
) AS past ON true
ORDER BY changed.revision, last.gone DESC, last.resource_version
"""


_decode = msgspec.json.Decoder(dict[str, Any]).decode


class State(msgspec.Struct, frozen=True):
    """What of an object may change, and objects are chosen by."""

    labels: Mapping[str, Any]
    composition_id: str | None


class Change(msgspec.Struct, frozen=True):
    """What became of an object in a batch. Its uid, namespace and name stay what they are.

    `revision` is that of its last change in the batch. `before` and `after` are its states at the batch's start and
    end; None: it was not there, or is gone. `past` are those that ended within the batch. `item` is what a list gives
    of it now, or gave of it last. `passed`: it changed again after the batch's end, so that `item` is newer, and it
    comes again in a later batch.
    """

    revision: int
    type_id: int
    type: ResourceType
    uid: str
    namespace: str
    name: str
    before: State | None
    after: State | None
    past: tuple[State, ...]
    item: Piece | Row
    passed: bool


class Batch(msgspec.Struct, frozen=True):
    """What changed after the revision `after` up to `revision`: one change of each object, by their revisions.

    `seen` is the cluster's revision when it was read.
    """

    after: int
    revision: int
    seen: int
    changes: list[Change]

    @property
    def more(self) -> bool:
        """Whether there is more to read at once."""
        return self.revision < self.seen


def news(change: Change, matches: Callable[[State], bool]) -> Literal["ADDED", "MODIFIED", "DELETED"] | None:
    """What to tell of a change to who follows the objects that match; None: nothing.

    Who is told so has, once there is no more to read, what a list would give. What has passed is told later, unless it
    has left. What has come and left again has left, too: who comes again in the middle of a batch, or has listed on
    several pages, may have seen it.
    """
    if change.after is None or not matches(change.after):
        return "DELETED" if any(map(matches, change.past)) else None
    if change.passed:
        return None
    return "MODIFIED" if change.before is not None and matches(change.before) else "ADDED"


async def read_batch(
    pool: Pool,
    cluster: str,
    after: int | None,
    *,
    seen: int | None = None,
    types: Collection[int] | None = None,
    rows: int = ROWS,
    size: int = BYTES,
) -> Batch:
    """Read what changed in a cluster after a position, in whole revisions. None: nothing, but where it is now.

    `seen` is that of the batch which ended there, unless it is the same; `types` are the ids of those that are asked
    for. Raises Expired when not all is known that changed since: the position is too old, a failover has undone it, or
    the cluster has been forgotten; what is followed is then to be read anew. Raises Unavailable while nobody keeps the
    feed, DatabaseUnavailable and SchemaOutdated.
    """
    async with pool.connection() as connection:
        found = await connection.fetch(
            _BATCH, cluster, after, None if types is None else list(types), rows, size, seen or after
        )
    if not found:
        raise Expired(f"there is no cluster {cluster} to follow: read everything anew")
    feed = found[0]
    if not feed["kept"]:
        raise Unavailable(f"the changes of cluster {cluster} are not kept until a process of this version watches it")
    if feed["lost"]:
        raise Expired(f"what changed in cluster {cluster} since revision {after} is not known: read everything anew")
    changes = [_change(record) for record in found if record["uid"] is not None]
    return Batch(feed["after"], feed["ends"], feed["seen"], changes)


def _change(record: asyncpg.Record) -> Change:
    row, piece = row_of(record), record["piece"]
    return Change(
        revision=record["revision"],
        type_id=row.type_id,
        type=ResourceType(record["api_group"], row.version, record["resource"], record["kind"], row.namespace != ""),
        uid=row.uid,
        namespace=row.namespace,
        name=row.name,
        before=_state(record, record["after"], "_before"),
        after=None if record["gone"] and not record["passed"] else _state(record, record["ends"], "_at_end"),
        past=tuple(map(_made, record["past_labels"] or (), record["past_composition_ids"] or ())),
        item=row if piece is None else Piece(piece),
        passed=record["passed"],
    )


def _state(record: asyncpg.Record, revision: int, later: str) -> State | None:
    """What an object was at a revision: as the first past state that ended later says, or else its row."""
    which = later if record[f"labels{later}"] is not None else ""
    if record[f"added{which}"] > revision:
        return None
    return _made(record[f"labels{which}"], record[f"composition_id{which}"])


def _made(labels: bytes, composition_id: object) -> State:
    return State(_decode(labels), None if composition_id is None else str(composition_id))
