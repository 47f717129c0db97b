-- $1 cluster, $2 types_0, $3 limit
SELECT /* page walk of one */
    CASE WHEN r.piece_of = r.updated_at THEN r.piece END AS piece,
    CASE WHEN r.piece_of = r.updated_at THEN NULL ELSE r.type_id END AS type_id,
    CASE WHEN r.piece_of = r.updated_at THEN NULL ELSE r.uid END AS uid,
    CASE WHEN r.piece_of = r.updated_at THEN NULL ELSE r.namespace END AS namespace,
    CASE WHEN r.piece_of = r.updated_at THEN NULL ELSE r.name END AS name,
    CASE WHEN r.piece_of = r.updated_at THEN NULL ELSE r.version END AS version,
    CASE WHEN r.piece_of = r.updated_at THEN NULL ELSE r.created_at END AS created_at,
    CASE WHEN r.piece_of = r.updated_at THEN NULL ELSE r.updated_at END AS updated_at,
    CASE WHEN r.piece_of = r.updated_at THEN NULL ELSE r.composition_id END AS composition_id,
    CASE WHEN r.piece_of = r.updated_at THEN NULL ELSE r.raw END AS raw,
    NULL::jsonb AS status, created_at AS k0, uid AS k1, type_id AS k2, true AS found, false AS last
FROM resources r
WHERE cluster = $1::text AND type_id = ($2::integer[])[1]
ORDER BY k0 DESC, k1 DESC LIMIT $3::bigint
