-- $1 cluster, $2 types_0, $3 after_0, $4 after_1, $5 after_2, $6 since, $7 limit
SELECT /* page walk of one */
    r.type_id, r.uid, r.namespace, r.name, r.version, r.created_at, r.updated_at, r.composition_id,
    r.raw AS raw, NULL::jsonb AS status, updated_at AS k0, uid AS k1, type_id AS k2, true AS found, false AS last
FROM resources r
WHERE cluster = $1::text
    AND type_id = ($2::integer[])[1]
    AND (updated_at, uid, type_id) < ($3::timestamptz, $4::text, $5::integer)
    AND updated_at >= $6::timestamptz
ORDER BY k0 DESC, k1 DESC LIMIT $7::bigint
