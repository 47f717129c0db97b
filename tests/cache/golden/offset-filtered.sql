-- $1 labels, $2 cluster, $3 types_0, $4 types_1, $5 namespaces_1, $6 limit
SELECT /* page walk merge */ * FROM (
    WITH page AS MATERIALIZED (
        SELECT place, k0, k1, k2, found AND beyond IS NOT TRUE AS found, last FROM (
            SELECT walked.*,
                bool_or(last) OVER (ORDER BY k0 DESC, k1 DESC GROUPS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS beyond
            FROM (
                SELECT * FROM (
                    SELECT *, row_number() OVER (ORDER BY k0 DESC, k1 DESC) = 128 AS last FROM (
                        SELECT * FROM (
                            (SELECT NULL::tid AS place, created_at AS k0, uid AS k1, type_id AS k2,
                                labels @> $1::jsonb AS found
                            FROM resources
                            WHERE cluster = $2::text AND type_id = ($3::integer[])[1]
                            ORDER BY created_at DESC, uid DESC)
                            UNION ALL
                            (SELECT NULL::tid AS place, created_at AS k0, uid AS k1, type_id AS k2,
                                labels @> $1::jsonb AS found
                            FROM resources
                            WHERE cluster = $2::text
                                AND type_id = ($4::integer[])[1]
                                AND namespace = ($5::text[])[1]
                            ORDER BY created_at DESC, uid DESC)
                            UNION ALL
                            (SELECT NULL::tid AS place, created_at AS k0, uid AS k1, type_id AS k2,
                                labels @> $1::jsonb AS found
                            FROM resources
                            WHERE cluster = $2::text
                                AND type_id = ($4::integer[])[2]
                                AND namespace = ($5::text[])[2]
                            ORDER BY created_at DESC, uid DESC)
                        ) AS branch ORDER BY k0 DESC, k1 DESC LIMIT 128
                    ) AS walked
                ) AS walked
                WHERE found OR last ORDER BY k0 DESC, k1 DESC FETCH FIRST ($6::bigint) ROWS WITH TIES
            ) AS walked
        ) AS walked
        WHERE last OR beyond IS NOT TRUE ORDER BY k0 DESC, k1 DESC, k2 DESC LIMIT $6::bigint
    )
    SELECT k0, k1, k2, coalesce(found, false) AS found, counted.count, counted.last
    FROM (SELECT count(*) FILTER (WHERE found) AS count, coalesce(bool_or(last), false) AS last FROM page) AS counted
    LEFT JOIN (SELECT * FROM page WHERE found ORDER BY k0 ASC, k1 ASC, k2 ASC LIMIT 1) AS page ON true
) AS reached
