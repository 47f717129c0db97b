-- $1 cluster, $2 types, $3 sets_0, $4 set_of_0, $5 types_0, $6 limit
SELECT /* page walk merge */
    NULL AS type_id, NULL AS uid, NULL AS namespace, NULL AS name, NULL AS version, NULL AS created_at,
    NULL AS updated_at, NULL AS composition_id, NULL AS raw, NULL AS status, NULL AS k0, NULL AS k1, NULL AS k2,
    NULL AS found, NULL AS last,
    $1::text AS cluster, max(w.revision) AS revision, sum(w.events - w.numbered)::bigint AS unnumbered, count(*) AS watches,
    (SELECT revision FROM clusters WHERE name = $1::text) AS position
FROM watches w WHERE w.type_id = ANY ($2::integer[])
UNION ALL (
    SELECT r.type_id, r.uid, r.namespace, r.name, r.version, r.created_at, r.updated_at, r.composition_id,
        r.raw AS raw, NULL::jsonb AS status, k0, k1, k2, page.found, page.last, NULL, NULL, NULL, NULL, NULL
    FROM (
        SELECT place, k0, k1, k2, found AND beyond IS NOT TRUE AS found, last FROM (
            SELECT walked.*,
                bool_or(last) OVER (ORDER BY k0 DESC, k1 DESC GROUPS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS beyond
            FROM (
                SELECT * FROM (
                    SELECT *, row_number() OVER (ORDER BY k0 DESC, k1 DESC) = 8192 AS last FROM (
                        SELECT * FROM (
                            (SELECT ctid AS place, created_at AS k0, uid AS k1, type_id AS k2,
                                coalesce((SELECT ($3::jsonb[])[($4::integer[])[1]]) ? namespace, true) AS found
                            FROM resources
                            WHERE cluster = $1::text AND type_id = ($5::integer[])[1]
                            ORDER BY created_at DESC, uid DESC)
                            UNION ALL
                            (SELECT ctid AS place, created_at AS k0, uid AS k1, type_id AS k2,
                                coalesce((SELECT ($3::jsonb[])[($4::integer[])[2]]) ? namespace, true) AS found
                            FROM resources
                            WHERE cluster = $1::text AND type_id = ($5::integer[])[2]
                            ORDER BY created_at DESC, uid DESC)
                        ) AS branch ORDER BY k0 DESC, k1 DESC LIMIT 8192
                    ) AS walked
                ) AS walked
                WHERE found OR last ORDER BY k0 DESC, k1 DESC FETCH FIRST ($6::bigint) ROWS WITH TIES
            ) AS walked
        ) AS walked
        WHERE last OR beyond IS NOT TRUE ORDER BY k0 DESC, k1 DESC, k2 DESC LIMIT $6::bigint
    ) AS page
    JOIN resources r ON r.cluster = $1::text AND r.ctid = page.place
    ORDER BY k0 DESC, k1 DESC, k2 DESC
)
