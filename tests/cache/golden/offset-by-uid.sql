-- $1 cluster, $2 types_0, $3 offset
SELECT /* page offset */ $1::text || ':' || k0 AS k0, k1 FROM (
    SELECT * FROM (
        SELECT * FROM (
            (SELECT uid AS k0, type_id AS k1
            FROM resources
            WHERE type_id = ($2::integer[])[1] AND cluster = $1::text
            ORDER BY uid DESC)
        ) AS branch ORDER BY k0 DESC
    ) AS walked OFFSET greatest($3::bigint - 1, 0) LIMIT 2
) AS walked
ORDER BY k0 DESC, k1 DESC OFFSET $3::bigint - 1 - greatest($3::bigint - 1, 0) LIMIT 1
