-- $1 cluster, $2 types, $3 types_0, $4 namespaces_0, $5 labels, $6 limit
SELECT /* page walk nested */
    NULL AS piece, NULL AS type_id, NULL AS uid, NULL AS namespace, NULL AS name, NULL AS version,
    NULL AS created_at, NULL AS updated_at, NULL AS composition_id, NULL AS raw, NULL AS status, NULL AS k0,
    NULL AS k1, NULL AS k2, NULL AS found, NULL AS last,
    $1::text AS cluster, max(w.revision) AS revision, sum(w.events - w.numbered)::bigint AS unnumbered, count(*) AS watches,
    (SELECT revision FROM clusters WHERE name = $1::text) AS position
FROM watches w WHERE w.type_id = ANY ($2::integer[])
UNION ALL (
    SELECT CASE WHEN r.piece_of = r.updated_at THEN r.piece END AS piece,
        CASE WHEN r.piece_of = r.updated_at THEN NULL ELSE r.type_id END AS type_id,
        CASE WHEN r.piece_of = r.updated_at THEN NULL ELSE r.uid END AS uid,
        CASE WHEN r.piece_of = r.updated_at THEN NULL ELSE r.namespace END AS namespace,
        CASE WHEN r.piece_of = r.updated_at THEN NULL ELSE r.name END AS name,
        CASE WHEN r.piece_of = r.updated_at THEN NULL ELSE r.version END AS version,
        CASE WHEN r.piece_of = r.updated_at THEN NULL ELSE r.created_at END AS created_at,
        CASE WHEN r.piece_of = r.updated_at THEN NULL ELSE r.updated_at END AS updated_at,
        CASE WHEN r.piece_of = r.updated_at THEN NULL ELSE r.composition_id END AS composition_id,
        CASE WHEN r.piece_of = r.updated_at THEN NULL ELSE r.raw END AS raw,
        NULL::jsonb AS status, k0, k1, k2, page.found, page.last, NULL, NULL, NULL, NULL, NULL
    FROM (
        SELECT place, k0, k1, k2, found AND beyond IS NOT TRUE AS found, last FROM (
            SELECT walked.*,
                bool_or(last) OVER (ORDER BY k0 DESC, k1 DESC GROUPS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS beyond
            FROM (
                SELECT walked.* FROM unnest($3::integer[], $4::text[])
                    AS range (in_type, in_namespace)
                CROSS JOIN LATERAL (
                    SELECT * FROM (
                        SELECT *, row_number() OVER () = 256 AS last FROM (
                            SELECT ctid AS place, created_at AS k0, uid AS k1, type_id AS k2,
                                labels @> $5::jsonb AS found
                            FROM resources
                            WHERE cluster = $1::text AND type_id = in_type AND namespace = in_namespace
                            ORDER BY created_at DESC, uid DESC LIMIT 256
                        ) AS walked
                    ) AS walked WHERE found OR last LIMIT $6::bigint
                ) AS walked
            ) AS walked
        ) AS walked
        WHERE last OR beyond IS NOT TRUE ORDER BY k0 DESC, k1 DESC, k2 DESC LIMIT $6::bigint
    ) AS page
    JOIN resources r ON r.cluster = $1::text AND r.ctid = page.place
    ORDER BY k0 DESC, k1 DESC, k2 DESC
)
