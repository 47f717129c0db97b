-- $1 cluster, $2 types_0, $3 namespaces_0, $4 after_0, $5 after_1, $6 after_2, $7 limit
SELECT /* page walk of one */
    r.type_id, r.uid, r.namespace, r.name, r.version, r.created_at, r.updated_at, r.composition_id,
    r.raw AS raw, NULL::jsonb AS status, created_at AS k0, uid AS k1, type_id AS k2, true AS found, false AS last
FROM resources r
WHERE cluster = $1::text
    AND type_id = ($2::integer[])[1]
    AND namespace = ($3::text[])[1]
    AND (created_at, uid, type_id) > ($4::timestamptz, $5::text, $6::integer)
ORDER BY k0 ASC, k1 ASC LIMIT $7::bigint
