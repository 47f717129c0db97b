-- $1 cluster, $2 types, $3 types_0, $4 limit
SELECT /* page walk of one */
    NULL AS piece, NULL AS type_id, NULL AS uid, NULL AS namespace, NULL AS name, NULL AS version,
    NULL AS created_at, NULL AS updated_at, NULL AS composition_id, NULL AS raw, NULL AS status, NULL AS k0,
    NULL AS k1, NULL AS k2, NULL AS found, NULL AS last,
    $1::text AS cluster, max(w.revision) AS revision, sum(w.events - w.numbered)::bigint AS unnumbered, count(*) AS watches,
    (SELECT revision FROM clusters WHERE name = $1::text) AS position
FROM watches w WHERE w.type_id = ANY ($2::integer[])
UNION ALL (
    SELECT CASE WHEN r.piece_of = r.updated_at THEN r.piece END AS piece,
        CASE WHEN r.piece_of = r.updated_at THEN NULL ELSE r.type_id END AS type_id,
        CASE WHEN r.piece_of = r.updated_at THEN NULL ELSE r.uid END AS uid,
        CASE WHEN r.piece_of = r.updated_at THEN NULL ELSE r.namespace END AS namespace,
        CASE WHEN r.piece_of = r.updated_at THEN NULL ELSE r.name END AS name,
        CASE WHEN r.piece_of = r.updated_at THEN NULL ELSE r.version END AS version,
        CASE WHEN r.piece_of = r.updated_at THEN NULL ELSE r.created_at END AS created_at,
        CASE WHEN r.piece_of = r.updated_at THEN NULL ELSE r.updated_at END AS updated_at,
        CASE WHEN r.piece_of = r.updated_at THEN NULL ELSE r.composition_id END AS composition_id,
        CASE WHEN r.piece_of = r.updated_at THEN NULL ELSE r.raw END AS raw,
        NULL::jsonb AS status, created_at AS k0, uid AS k1, type_id AS k2, true, false, NULL, NULL, NULL, NULL, NULL
    FROM resources r
    WHERE cluster = $1::text AND type_id = ($3::integer[])[1]
    ORDER BY k0 DESC, k1 DESC LIMIT $4::bigint
)
