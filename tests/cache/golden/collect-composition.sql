-- $1 types_0, $2 cluster, $3 composition_id, $4 types_1, $5 namespaces_1, $6 limit
SELECT /* page collect */
    r.type_id, r.uid, r.namespace, r.name, r.version, r.created_at, r.updated_at, r.composition_id,
    r.raw AS raw, NULL::jsonb AS status, k0, k1, k2, page.found, page.last
FROM (
    SELECT *, false AS last FROM (
        SELECT collected.* FROM unnest($1::integer[])
            AS range (in_type)
        CROSS JOIN LATERAL (
            SELECT ctid AS place, created_at AS k0, uid AS k1, type_id AS k2,
                cluster = $2::text
                    AND type_id = in_type
                    AND COALESCE(composition_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid) = $3::uuid AND composition_id IS NOT NULL AS found
            FROM resources
            WHERE type_id = in_type
                AND COALESCE(composition_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid) = $3::uuid AND composition_id IS NOT NULL
            OFFSET 0
        ) AS collected

        UNION ALL

        SELECT collected.* FROM unnest($4::integer[], $5::text[])
            AS range (in_type, in_namespace)
        CROSS JOIN LATERAL (
            SELECT ctid AS place, created_at AS k0, uid AS k1, type_id AS k2,
                cluster = $2::text
                    AND type_id = in_type
                    AND COALESCE(composition_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid) = $3::uuid AND composition_id IS NOT NULL AS found
            FROM resources
            WHERE type_id = in_type
                AND namespace = in_namespace
                AND COALESCE(composition_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid) = $3::uuid AND composition_id IS NOT NULL
            OFFSET 0
        ) AS collected
    ) AS collected
    WHERE found ORDER BY k0 DESC, k1 DESC, k2 DESC LIMIT $6::bigint
) AS page
JOIN resources r ON r.cluster = $2::text AND r.ctid = page.place
ORDER BY k0 DESC, k1 DESC, k2 DESC
