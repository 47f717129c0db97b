-- $1 cluster, $2 types, $3 types_0, $4 after_0, $5 after_1, $6 after_2, $7 since, $8 limit
SELECT /* page walk of one */
    NULL AS type_id, NULL AS uid, NULL AS namespace, NULL AS name, NULL AS version, NULL AS created_at,
    NULL AS updated_at, NULL AS composition_id, NULL AS raw, NULL AS status, NULL AS k0, NULL AS k1, NULL AS k2,
    NULL AS found, NULL AS last,
    $1::text AS cluster, max(w.revision) AS revision, sum(w.events - w.numbered)::bigint AS unnumbered, count(*) AS watches,
    (SELECT revision FROM clusters WHERE name = $1::text) AS position
FROM watches w WHERE w.type_id = ANY ($2::integer[])
UNION ALL (
    SELECT r.type_id, r.uid, r.namespace, r.name, r.version, r.created_at, r.updated_at, r.composition_id,
        r.raw AS raw, NULL::jsonb AS status, updated_at AS k0, uid AS k1, type_id AS k2, true, false, NULL, NULL, NULL, NULL, NULL
    FROM resources r
    WHERE cluster = $1::text
        AND type_id = ($3::integer[])[1]
        AND (updated_at, uid, type_id) < ($4::timestamptz, $5::text, $6::integer)
        AND updated_at >= $7::timestamptz
    ORDER BY k0 DESC, k1 DESC LIMIT $8::bigint
)
