-- $1 cluster, $2 types, $3 types_0, $4 since, $5 limit
SELECT /* page collect */
    NULL AS type_id, NULL AS uid, NULL AS namespace, NULL AS name, NULL AS version, NULL AS created_at,
    NULL AS updated_at, NULL AS composition_id, NULL AS raw, NULL AS status, NULL AS k0, NULL AS k1, NULL AS k2,
    NULL AS found, NULL AS last,
    $1::text AS cluster, max(w.revision) AS revision, sum(w.events - w.numbered)::bigint AS unnumbered, count(*) AS watches,
    (SELECT revision FROM clusters WHERE name = $1::text) AS position
FROM watches w WHERE w.type_id = ANY ($2::integer[])
UNION ALL (
    SELECT r.type_id, r.uid, r.namespace, r.name, r.version, r.created_at, r.updated_at, r.composition_id,
        r.raw AS raw, NULL::jsonb AS status, k0, k1, k2, page.found, page.last, NULL, NULL, NULL, NULL, NULL
    FROM (
        SELECT *, false AS last FROM (
            SELECT collected.* FROM unnest($3::integer[])
                AS range (in_type)
            CROSS JOIN LATERAL (
                SELECT ctid AS place, created_at AS k0, uid AS k1, type_id AS k2,
                    cluster = $1::text AND type_id = in_type AND updated_at >= $4::timestamptz AS found
                FROM resources
                WHERE type_id = in_type AND updated_at >= $4::timestamptz
                OFFSET 0
            ) AS collected
        ) AS collected
        WHERE found ORDER BY k0 DESC, k1 DESC, k2 DESC LIMIT $5::bigint
    ) AS page
    JOIN resources r ON r.cluster = $1::text AND r.ctid = page.place
    ORDER BY k0 DESC, k1 DESC, k2 DESC
)
