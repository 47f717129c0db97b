-- $1 cluster, $2 types, $3 types_0, $4 types_1, $5 from_namespaces, $6 from_names, $7 from_uids, $8 namespaces_1, $9 limit
SELECT /* page walk merge */
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
                bool_or(last) OVER (ORDER BY k0 ASC, k1 ASC, k2 ASC GROUPS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS beyond
            FROM (
                SELECT * FROM (
                    SELECT *, row_number() OVER (ORDER BY k0 ASC, k1 ASC, k2 ASC) = 64 AS last FROM (
                        SELECT * FROM (
                            (SELECT ctid AS place, namespace AS k0, name AS k1, uid AS k2, type_id AS k3,
                                true AS found
                            FROM resources
                            WHERE cluster = $1::text AND type_id = ($3::integer[])[1]
                            ORDER BY namespace ASC, name ASC, uid ASC)
                            UNION ALL
                            (SELECT ctid AS place, namespace AS k0, name AS k1, uid AS k2, type_id AS k3,
                                true AS found
                            FROM resources
                            WHERE cluster = $1::text
                                AND type_id = ($4::integer[])[1]
                                AND (namespace, name, uid) >= (($5::text[])[1], ($6::text[])[1], ($7::text[])[1])
                                AND namespace <= ($8::text[])[1]
                            ORDER BY namespace ASC, name ASC, uid ASC)
                            UNION ALL
                            (SELECT ctid AS place, namespace AS k0, name AS k1, uid AS k2, type_id AS k3,
                                true AS found
                            FROM resources
                            WHERE cluster = $1::text
                                AND type_id = ($4::integer[])[2]
                                AND (namespace, name, uid) >= (($5::text[])[2], ($6::text[])[2], ($7::text[])[2])
                                AND namespace <= ($8::text[])[2]
                            ORDER BY namespace ASC, name ASC, uid ASC)
                        ) AS branch ORDER BY k0 ASC, k1 ASC, k2 ASC LIMIT 64
                    ) AS walked
                ) AS walked
                WHERE found OR last ORDER BY k0 ASC, k1 ASC, k2 ASC FETCH FIRST ($9::bigint) ROWS WITH TIES
            ) AS walked
        ) AS walked
        WHERE last OR beyond IS NOT TRUE ORDER BY k0 ASC, k1 ASC, k2 ASC, k3 ASC LIMIT $9::bigint
    ) AS page
    JOIN resources r ON r.cluster = $1::text AND r.ctid = page.place
    ORDER BY k0 ASC, k1 ASC, k2 ASC, k3 ASC
)
