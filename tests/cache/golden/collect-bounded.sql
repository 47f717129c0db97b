-- $1 types_0, $2 sets_0, $3 set_of_0, $4 cluster, $5 labels, $6 after_0, $7 after_1, $8 after_2, $9 term_labels, $10 end_0, $11 end_1, $12 end_2, $13 limit
SELECT /* page collect */
    r.type_id, r.uid, r.namespace, r.name, r.version, r.created_at, r.updated_at, r.composition_id,
    r.raw AS raw, NULL::jsonb AS status, k0, k1, k2, page.found, page.last
FROM (
    SELECT *, false AS last FROM (
        SELECT collected.* FROM unnest($1::integer[], ARRAY(SELECT ($2::jsonb[])[number] FROM unnest($3::integer[]) AS number))
            AS range (in_type, in_namespaces)
        CROSS JOIN LATERAL (
            SELECT ctid AS place, created_at AS k0, uid AS k1, type_id AS k2,
                cluster = $4::text
                    AND type_id = in_type
                    AND labels @> $5::jsonb
                    AND coalesce(in_namespaces ? namespace, true)
                    AND (created_at, uid, type_id) < ($6::timestamptz, $7::text, $8::integer) AS found
            FROM resources
            WHERE resource_terms(type_id, namespace, name, labels) @> (resource_terms(in_type, '', '', $9::jsonb))
                AND resource_terms(type_id, namespace, name, labels) && ARRAY(SELECT unnest(resource_terms(in_type, wanted COLLATE "C", '', '{}')) FROM jsonb_object_keys(in_namespaces) AS wanted)
                AND (created_at, uid, type_id) < ($6::timestamptz, $7::text, $8::integer)
                AND (created_at, uid, type_id) >= ($10::timestamptz, $11::text, $12::integer)
                AND type_id = in_type
            OFFSET 0
        ) AS collected
    ) AS collected
    WHERE found ORDER BY k0 DESC, k1 DESC, k2 DESC LIMIT $13::bigint
) AS page
JOIN resources r ON r.cluster = $4::text AND r.ctid = page.place
ORDER BY k0 DESC, k1 DESC, k2 DESC
