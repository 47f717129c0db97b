-- $1 types_0, $2 sets_0, $3 set_of_0, $4 cluster, $5 names, $6 limit
SELECT /* page walk by type */
    r.type_id, r.uid, r.namespace, r.name, r.version, r.created_at, r.updated_at, r.composition_id,
    r.raw AS raw, NULL::jsonb AS status, k0, k1, k2, page.found, page.last
FROM (
    SELECT place, k0, k1, k2, found AND beyond IS NOT TRUE AS found, last FROM (
        SELECT walked.*,
            bool_or(last) OVER (ORDER BY k0 DESC, k1 DESC GROUPS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS beyond
        FROM (
            SELECT walked.* FROM unnest($1::integer[], ARRAY(SELECT ($2::jsonb[])[number] FROM unnest($3::integer[]) AS number))
                AS range (in_type, in_namespaces)
            CROSS JOIN LATERAL (
                SELECT * FROM (
                    SELECT *, row_number() OVER () = 512 AS last FROM (
                        SELECT * FROM (
                            (SELECT ctid AS place, created_at AS k0, uid AS k1, type_id AS k2,
                                true AS found
                            FROM resources
                            WHERE cluster = $4::text
                                AND type_id = in_type
                                AND namespace = ($5::text[])[1]
                                AND in_namespaces ? ($5::text[])[1]
                            ORDER BY created_at DESC, uid DESC)
                            UNION ALL
                            (SELECT ctid AS place, created_at AS k0, uid AS k1, type_id AS k2,
                                true AS found
                            FROM resources
                            WHERE cluster = $4::text
                                AND type_id = in_type
                                AND namespace = ($5::text[])[2]
                                AND in_namespaces ? ($5::text[])[2]
                            ORDER BY created_at DESC, uid DESC)
                        ) AS branch ORDER BY k0 DESC, k1 DESC LIMIT 512
                    ) AS walked
                ) AS walked WHERE found OR last LIMIT $6::bigint
            ) AS walked
        ) AS walked
    ) AS walked
    WHERE last OR beyond IS NOT TRUE ORDER BY k0 DESC, k1 DESC, k2 DESC LIMIT $6::bigint
) AS page
JOIN resources r ON r.cluster = $4::text AND r.ctid = page.place
ORDER BY k0 DESC, k1 DESC, k2 DESC
