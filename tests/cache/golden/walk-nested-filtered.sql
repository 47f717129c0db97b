-- $1 types_0, $2 namespaces_0, $3 labels, $4 cluster, $5 after_0, $6 after_1, $7 after_2, $8 limit
SELECT /* page walk nested */
    r.type_id, r.uid, r.namespace, r.name, r.version, r.created_at, r.updated_at, r.composition_id,
    r.raw AS raw, NULL::jsonb AS status, k0, k1, k2, page.found, page.last
FROM (
    SELECT place, k0, k1, k2, found AND beyond IS NOT TRUE AS found, last FROM (
        SELECT walked.*,
            bool_or(last) OVER (ORDER BY k0 DESC, k1 DESC GROUPS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS beyond
        FROM (
            SELECT walked.* FROM unnest($1::integer[], $2::text[])
                AS range (in_type, in_namespace)
            CROSS JOIN LATERAL (
                SELECT * FROM (
                    SELECT *, row_number() OVER () = 256 AS last FROM (
                        SELECT ctid AS place, created_at AS k0, uid AS k1, type_id AS k2,
                            labels @> $3::jsonb AS found
                        FROM resources
                        WHERE cluster = $4::text
                            AND type_id = in_type
                            AND namespace = in_namespace
                            AND (created_at, uid, type_id) < ($5::timestamptz, $6::text, $7::integer)
                        ORDER BY created_at DESC, uid DESC LIMIT 256
                    ) AS walked
                ) AS walked WHERE found OR last LIMIT $8::bigint
            ) AS walked
        ) AS walked
    ) AS walked
    WHERE last OR beyond IS NOT TRUE ORDER BY k0 DESC, k1 DESC, k2 DESC LIMIT $8::bigint
) AS page
JOIN resources r ON r.cluster = $4::text AND r.ctid = page.place
ORDER BY k0 DESC, k1 DESC, k2 DESC
