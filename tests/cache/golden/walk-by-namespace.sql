-- $1 cluster, $2 types, $3 names, $4 type_sets, $5 type_set_of, $6 from_namespaces, $7 from_names, $8 from_uids, $9 after_0, $10 after_1, $11 after_2, $12 after_3, $13 types_0, $14 limit
SELECT /* page walk by namespace */
    NULL AS type_id, NULL AS uid, NULL AS namespace, NULL AS name, NULL AS version, NULL AS created_at,
    NULL AS updated_at, NULL AS composition_id, NULL AS raw, NULL AS status, NULL AS k0, NULL AS k1, NULL AS k2,
    NULL AS k3, NULL AS found, NULL AS last,
    $1::text AS cluster, max(w.revision) AS revision, sum(w.events - w.numbered)::bigint AS unnumbered, count(*) AS watches,
    (SELECT revision FROM clusters WHERE name = $1::text) AS position
FROM watches w WHERE w.type_id = ANY ($2::integer[])
UNION ALL (
    SELECT r.type_id, r.uid, r.namespace, r.name, r.version, r.created_at, r.updated_at, r.composition_id,
        r.raw AS raw, NULL::jsonb AS status, k0, k1, k2, k3, page.found, page.last, NULL, NULL, NULL, NULL, NULL
    FROM (
        SELECT place, k0, k1, k2, k3, found AND beyond IS NOT TRUE AS found, last FROM (
            SELECT walked.*,
                bool_or(last) OVER (ORDER BY k0 DESC, k1 DESC, k2 DESC GROUPS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS beyond
            FROM (
                SELECT * FROM (
                    SELECT *, row_number() OVER () = 2048 AS last FROM (
                        SELECT walked.*
                        FROM unnest($3::text[], ARRAY(SELECT ($4::jsonb[])[number] FROM unnest($5::integer[]) AS number), $6::text[], $7::text[], $8::text[])
                            AS range (in_namespace, in_types, from_namespaces, from_names, from_uids)
                        CROSS JOIN LATERAL (
                            SELECT * FROM (
                                (SELECT ctid AS place, namespace AS k0, name AS k1, uid AS k2, type_id AS k3,
                                    (namespace, name, uid, type_id) < ($9::text, $10::text, $11::text, $12::integer) AS found
                                FROM resources
                                WHERE cluster = $1::text
                                    AND type_id = ($13::integer[])[1]
                                    AND in_types ? ($13::integer[])[1]::text
                                    AND (namespace, name, uid) <= (from_namespaces, from_names, from_uids)
                                    AND namespace >= in_namespace
                                ORDER BY namespace DESC, name DESC, uid DESC)
                                UNION ALL
                                (SELECT ctid AS place, namespace AS k0, name AS k1, uid AS k2, type_id AS k3,
                                    (namespace, name, uid, type_id) < ($9::text, $10::text, $11::text, $12::integer) AS found
                                FROM resources
                                WHERE cluster = $1::text
                                    AND type_id = ($13::integer[])[2]
                                    AND in_types ? ($13::integer[])[2]::text
                                    AND (namespace, name, uid) <= (from_namespaces, from_names, from_uids)
                                    AND namespace >= in_namespace
                                ORDER BY namespace DESC, name DESC, uid DESC)
                            ) AS branch ORDER BY k0 DESC, k1 DESC, k2 DESC LIMIT 2048
                        ) AS walked LIMIT 2048
                    ) AS walked
                ) AS walked
                WHERE found OR last LIMIT $14::bigint + 1
            ) AS walked
        ) AS walked
        WHERE last OR beyond IS NOT TRUE ORDER BY k0 DESC, k1 DESC, k2 DESC, k3 DESC LIMIT $14::bigint
    ) AS page
    JOIN resources r ON r.cluster = $1::text AND r.ctid = page.place
    ORDER BY k0 DESC, k1 DESC, k2 DESC, k3 DESC
)
