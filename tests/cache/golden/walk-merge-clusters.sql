-- $1 clusters_0, $2 types_0, $3 limit
SELECT /* page walk merge */
    r.type_id, r.uid, r.namespace, r.name, r.version, r.created_at, r.updated_at, r.composition_id,
    r.raw AS raw, NULL::jsonb AS status, k0, k1, k2, page.found, page.last
FROM (
    SELECT cluster, place, k0, k1, k2, found AND beyond IS NOT TRUE AS found, last FROM (
        SELECT walked.*,
            bool_or(last) OVER (ORDER BY k0 DESC, k1 DESC GROUPS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS beyond
        FROM (
            SELECT * FROM (
                SELECT *, row_number() OVER (ORDER BY k0 DESC, k1 DESC) = 64 AS last FROM (
                    SELECT * FROM (
                        (SELECT cluster, ctid AS place, created_at AS k0, uid AS k1, type_id AS k2,
                            true AS found
                        FROM resources
                        WHERE cluster = (SELECT ($1::text[])[1]) AND type_id = ($2::integer[])[1]
                        ORDER BY created_at DESC, uid DESC)
                        UNION ALL
                        (SELECT cluster, ctid AS place, created_at AS k0, uid AS k1, type_id AS k2,
                            true AS found
                        FROM resources
                        WHERE cluster = (SELECT ($1::text[])[2]) AND type_id = ($2::integer[])[2]
                        ORDER BY created_at DESC, uid DESC)
                    ) AS branch ORDER BY k0 DESC, k1 DESC LIMIT 64
                ) AS walked
            ) AS walked
            WHERE found OR last ORDER BY k0 DESC, k1 DESC FETCH FIRST ($3::bigint) ROWS WITH TIES
        ) AS walked
    ) AS walked
    WHERE last OR beyond IS NOT TRUE ORDER BY k0 DESC, k1 DESC, k2 DESC LIMIT $3::bigint
) AS page
JOIN resources r ON r.cluster = page.cluster AND r.ctid = page.place
ORDER BY k0 DESC, k1 DESC, k2 DESC
