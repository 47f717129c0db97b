-- $1 types_0, $2 cluster, $3 after_0, $4 after_1, $5 after_2, $6 since, $7 limit
SELECT /* page walk nested */
    r.type_id, r.uid, r.namespace, r.name, r.version, r.created_at, r.updated_at, r.composition_id,
    r.raw AS raw, NULL::jsonb AS status, k0, k1, k2, page.found, page.last
FROM (
    SELECT place, k0, k1, k2, found AND beyond IS NOT TRUE AS found, last FROM (
        SELECT walked.*,
            bool_or(last) OVER (ORDER BY k0 DESC, k1 DESC GROUPS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS beyond
        FROM (
            SELECT walked.* FROM unnest($1::integer[])
                AS range (in_type)
            CROSS JOIN LATERAL (
                SELECT * FROM (
                    SELECT *, row_number() OVER () = 64 AS last FROM (
                        SELECT ctid AS place, updated_at AS k0, uid AS k1, type_id AS k2,
                            true AS found
                        FROM resources
                        WHERE cluster = $2::text
                            AND type_id = in_type
                            AND (updated_at, uid, type_id) < ($3::timestamptz, $4::text, $5::integer)
                            AND updated_at >= $6::timestamptz
                        ORDER BY updated_at DESC, uid DESC LIMIT 64
                    ) AS walked
                ) AS walked WHERE found OR last LIMIT $7::bigint
            ) AS walked
        ) AS walked
    ) AS walked
    WHERE last OR beyond IS NOT TRUE ORDER BY k0 DESC, k1 DESC, k2 DESC LIMIT $7::bigint
) AS page
JOIN resources r ON r.cluster = $2::text AND r.ctid = page.place
ORDER BY k0 DESC, k1 DESC, k2 DESC
