-- $1 types_0, $2 offset
SELECT /* page offset */ k0, k1, k2 FROM (
    SELECT * FROM (
        SELECT * FROM (
            (SELECT created_at AS k0, uid AS k1, type_id AS k2
            FROM resources
            WHERE type_id = ($1::integer[])[1]
            ORDER BY created_at DESC, uid DESC)
        ) AS branch ORDER BY k0 DESC, k1 DESC
    ) AS walked OFFSET greatest($2::bigint - 1, 0) LIMIT 2
) AS walked
ORDER BY k0 DESC, k1 DESC, k2 DESC OFFSET $2::bigint - 1 - greatest($2::bigint - 1, 0) LIMIT 1
