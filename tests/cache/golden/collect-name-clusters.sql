-- $1 types, $2 types_0, $3 clusters_0, $4 name, $5 limit
SELECT /* page collect */
    NULL AS type_id, NULL AS uid, NULL AS namespace, NULL AS name, NULL AS version, NULL AS created_at,
    NULL AS updated_at, NULL AS composition_id, NULL AS raw, NULL AS status, NULL AS k0, NULL AS k1, NULL AS k2,
    NULL AS found, NULL AS last,
    t.cluster, max(w.revision) AS revision, sum(w.events - w.numbered)::bigint AS unnumbered, count(*) AS watches, c.revision AS position
FROM watches w JOIN resource_types t ON t.id = w.type_id JOIN clusters c ON c.name = t.cluster
WHERE w.type_id = ANY ($1::integer[]) GROUP BY t.cluster, c.revision
UNION ALL (
    SELECT r.type_id, r.uid, r.namespace, r.name, r.version, r.created_at, r.updated_at, r.composition_id,
        r.raw AS raw, NULL::jsonb AS status, k0, k1, k2, page.found, page.last, NULL, NULL, NULL, NULL, NULL
    FROM (
        SELECT *, false AS last FROM (
            SELECT collected.* FROM unnest($2::integer[], $3::text[])
                AS range (in_type, in_cluster)
            CROSS JOIN LATERAL (
                SELECT cluster, ctid AS place, created_at AS k0, uid AS k1, type_id AS k2,
                    cluster = in_cluster AND type_id = in_type AND name = $4::text AS found
                FROM resources
                WHERE type_id = in_type AND name = $4::text
                OFFSET 0
            ) AS collected
        ) AS collected
        WHERE found ORDER BY k0 DESC, k1 DESC, k2 DESC LIMIT $5::bigint
    ) AS page
    JOIN resources r ON r.cluster = page.cluster AND r.ctid = page.place
    ORDER BY k0 DESC, k1 DESC, k2 DESC
)
