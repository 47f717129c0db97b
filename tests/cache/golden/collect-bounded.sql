-- $1 cluster, $2 types, $3 types_0, $4 sets_0, $5 set_of_0, $6 labels, $7 after_0, $8 after_1, $9 after_2, $10 term_labels, $11 end_0, $12 end_1, $13 end_2, $14 limit
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
            SELECT collected.* FROM unnest($3::integer[], ARRAY(SELECT ($4::jsonb[])[number] FROM unnest($5::integer[]) AS number))
                AS range (in_type, in_namespaces)
            CROSS JOIN LATERAL (
                SELECT ctid AS place, created_at AS k0, uid AS k1, type_id AS k2,
                    cluster = $1::text
                        AND type_id = in_type
                        AND labels @> $6::jsonb
                        AND coalesce(in_namespaces ? namespace, true)
                        AND (created_at, uid, type_id) < ($7::timestamptz, $8::text, $9::integer) AS found
                FROM resources
                WHERE resource_terms(type_id, namespace, name, labels) @> (resource_terms(in_type, '', '', $10::jsonb))
                    AND resource_terms(type_id, namespace, name, labels) && ARRAY(SELECT unnest(resource_terms(in_type, wanted COLLATE "C", '', '{}')) FROM jsonb_object_keys(in_namespaces) AS wanted)
                    AND (created_at, uid, type_id) < ($7::timestamptz, $8::text, $9::integer)
                    AND (created_at, uid, type_id) >= ($11::timestamptz, $12::text, $13::integer)
                    AND type_id = in_type
                OFFSET 0
            ) AS collected
        ) AS collected
        WHERE found ORDER BY k0 DESC, k1 DESC, k2 DESC LIMIT $14::bigint
    ) AS page
    JOIN resources r ON r.cluster = $1::text AND r.ctid = page.place
    ORDER BY k0 DESC, k1 DESC, k2 DESC
)
