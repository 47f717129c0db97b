-- $1 names, $2 type_sets, $3 type_set_of, $4 from_namespaces, $5 from_names, $6 from_uids, $7 after_0, $8 after_1, $9 after_2, $10 after_3, $11 cluster, $12 types_0, $13 limit
SELECT /* page walk by namespace */
    r.type_id, r.uid, r.namespace, r.name, r.version, r.created_at, r.updated_at, r.composition_id,
    r.raw AS raw, NULL::jsonb AS status, k0, k1, k2, k3, page.found, page.last
FROM (
    SELECT place, k0, k1, k2, k3, found AND beyond IS NOT TRUE AS found, last FROM (
        SELECT walked.*,
            bool_or(last) OVER (ORDER BY k0 DESC, k1 DESC, k2 DESC GROUPS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS beyond
        FROM (
            SELECT * FROM (
                SELECT *, row_number() OVER () = 2048 AS last FROM (
                    SELECT walked.*
                    FROM unnest($1::text[], ARRAY(SELECT ($2::jsonb[])[number] FROM unnest($3::integer[]) AS number), $4::text[], $5::text[], $6::text[])
                        AS range (in_namespace, in_types, from_namespaces, from_names, from_uids)
                    CROSS JOIN LATERAL (
                        SELECT * FROM (
                            (SELECT ctid AS place, namespace AS k0, name AS k1, uid AS k2, type_id AS k3,
                                (namespace, name, uid, type_id) < ($7::text, $8::text, $9::text, $10::integer) AS found
                            FROM resources
                            WHERE cluster = $11::text
                                AND type_id = ($12::integer[])[1]
                                AND in_types ? ($12::integer[])[1]::text
                                AND (namespace, name, uid) <= (from_namespaces, from_names, from_uids)
                                AND namespace >= in_namespace
                            ORDER BY namespace DESC, name DESC, uid DESC)
                            UNION ALL
                            (SELECT ctid AS place, namespace AS k0, name AS k1, uid AS k2, type_id AS k3,
                                (namespace, name, uid, type_id) < ($7::text, $8::text, $9::text, $10::integer) AS found
                            FROM resources
                            WHERE cluster = $11::text
                                AND type_id = ($12::integer[])[2]
                                AND in_types ? ($12::integer[])[2]::text
                                AND (namespace, name, uid) <= (from_namespaces, from_names, from_uids)
                                AND namespace >= in_namespace
                            ORDER BY namespace DESC, name DESC, uid DESC)
                        ) AS branch ORDER BY k0 DESC, k1 DESC, k2 DESC LIMIT 2048
                    ) AS walked LIMIT 2048
                ) AS walked
            ) AS walked
            WHERE found OR last LIMIT $13::bigint + 1
        ) AS walked
    ) AS walked
    WHERE last OR beyond IS NOT TRUE ORDER BY k0 DESC, k1 DESC, k2 DESC, k3 DESC LIMIT $13::bigint
) AS page
JOIN resources r ON r.cluster = $11::text AND r.ctid = page.place
ORDER BY k0 DESC, k1 DESC, k2 DESC, k3 DESC
