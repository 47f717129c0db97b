-- $1 types_0, $2 cluster, $3 since, $4 limit
SELECT /* page collect */
    r.type_id, r.uid, r.namespace, r.name, r.version, r.created_at, r.updated_at, r.composition_id,
    r.raw AS raw, NULL::jsonb AS status, k0, k1, k2, page.found, page.last
FROM (
    SELECT *, false AS last FROM (
        SELECT collected.* FROM unnest($1::integer[])
            AS range (in_type)
        CROSS JOIN LATERAL (
            SELECT ctid AS place, created_at AS k0, uid AS k1, type_id AS k2,
                cluster = $2::text AND type_id = in_type AND updated_at >= $3::timestamptz AS found
            FROM resources
            WHERE type_id = in_type AND updated_at >= $3::timestamptz
            OFFSET 0
        ) AS collected
    ) AS collected
    WHERE found ORDER BY k0 DESC, k1 DESC, k2 DESC LIMIT $4::bigint
) AS page
JOIN resources r ON r.cluster = $2::text AND r.ctid = page.place
ORDER BY k0 DESC, k1 DESC, k2 DESC
