-- $1 types_0, $2 types_1, $3 namespaces_1, $4 offset
SELECT /* page offset */ k0, k1, k2 FROM (
    SELECT * FROM (
        SELECT * FROM (
            (SELECT created_at AS k0, uid AS k1, type_id AS k2
            FROM resources
            WHERE type_id = ($1::integer[])[1]
            ORDER BY created_at DESC, uid DESC)
            UNION ALL
            (SELECT created_at AS k0, uid AS k1, type_id AS k2
            FROM resources
            WHERE type_id = ($2::integer[])[1] AND namespace = ($3::text[])[1]
            ORDER BY created_at DESC, uid DESC)
            UNION ALL
            (SELECT created_at AS k0, uid AS k1, type_id AS k2
            FROM resources
            WHERE type_id = ($2::integer[])[2] AND namespace = ($3::text[])[2]
            ORDER BY created_at DESC, uid DESC)
        ) AS branch ORDER BY k0 DESC, k1 DESC
    ) AS walked OFFSET greatest($4::bigint - 3, 0) LIMIT 6
) AS walked
ORDER BY k0 DESC, k1 DESC, k2 DESC OFFSET $4::bigint - 1 - greatest($4::bigint - 3, 0) LIMIT 1
