-- $1 types_0, $2 cluster, $3 labels, $4 term_labels, $5 limit
SELECT /* page probe */
    r.type_id, r.uid, r.namespace, r.name, r.version, r.created_at, r.updated_at, r.composition_id,
    r.raw AS raw, NULL::jsonb AS status, k0, k1, k2, page.found, page.last
FROM (
    WITH probed AS MATERIALIZED (
        SELECT place, k0, k1, k2, found FROM (
            SELECT collected.* FROM unnest($1::integer[])
                AS range (in_type)
            CROSS JOIN LATERAL (
                SELECT ctid AS place, created_at AS k0, uid AS k1, type_id AS k2,
                    cluster = $2::text AND type_id = in_type AND labels @> $3::jsonb AS found
                FROM resources
                WHERE resource_terms(type_id, namespace, name, labels) @> (resource_terms(in_type, '', '', $4::jsonb))
                OFFSET 0
            ) AS collected
        ) AS collected LIMIT 2048
    )
    SELECT place, k0, k1, k2, found AND (NOT more OR number = $5::bigint) AS found, more AS last FROM (
        SELECT *, row_number() OVER () AS number, (SELECT count(*) FROM probed) = 2048 AS more
        FROM (SELECT * FROM probed ORDER BY found DESC, k0 DESC, k1 DESC, k2 DESC LIMIT $5::bigint) AS probed
    ) AS probed
    WHERE CASE WHEN more THEN number IN (1, $5::bigint) ELSE found END
) AS page
JOIN resources r ON r.cluster = $2::text AND r.ctid = page.place
ORDER BY k0 DESC, k1 DESC, k2 DESC
