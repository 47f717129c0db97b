-- $1 types_0, $2 types_1, $3 from_namespaces, $4 from_names, $5 from_uids, $6 namespaces_1, $7 offset
SELECT /* page offset */ k0, k1, k2, k3 FROM (
    SELECT * FROM (
        SELECT * FROM (
            (SELECT namespace AS k0, name AS k1, uid AS k2, type_id AS k3
            FROM resources
            WHERE type_id = ($1::integer[])[1]
            ORDER BY namespace DESC, name DESC, uid DESC)
            UNION ALL
            (SELECT namespace AS k0, name AS k1, uid AS k2, type_id AS k3
            FROM resources
            WHERE type_id = ($2::integer[])[1]
                AND (namespace, name, uid) <= (($3::text[])[1], ($4::text[])[1], ($5::text[])[1])
                AND namespace >= ($6::text[])[1]
            ORDER BY namespace DESC, name DESC, uid DESC)
            UNION ALL
            (SELECT namespace AS k0, name AS k1, uid AS k2, type_id AS k3
            FROM resources
            WHERE type_id = ($2::integer[])[2]
                AND (namespace, name, uid) <= (($3::text[])[2], ($4::text[])[2], ($5::text[])[2])
                AND namespace >= ($6::text[])[2]
            ORDER BY namespace DESC, name DESC, uid DESC)
        ) AS branch ORDER BY k0 DESC, k1 DESC, k2 DESC
    ) AS walked OFFSET greatest($7::bigint - 3, 0) LIMIT 6
) AS walked
ORDER BY k0 DESC, k1 DESC, k2 DESC, k3 DESC OFFSET $7::bigint - 1 - greatest($7::bigint - 3, 0) LIMIT 1
