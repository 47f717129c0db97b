-- $1 types_0, $2 labels, $3 term_labels, $4 types_1, $5 sets_1, $6 set_of_1
SELECT /* page count */ count(*) FILTER (WHERE found) AS count,
    count(*) = 16384 AS more
FROM (
    SELECT found FROM (
        SELECT collected.* FROM unnest($1::integer[])
            AS range (in_type)
        CROSS JOIN LATERAL (
            SELECT
                type_id = in_type AND labels @> $2::jsonb AS found
            FROM resources
            WHERE resource_terms(type_id, namespace, name, labels) @> (resource_terms(in_type, '', '', $3::jsonb))
            OFFSET 0
        ) AS collected

        UNION ALL

        SELECT collected.* FROM unnest($4::integer[], ARRAY(SELECT ($5::jsonb[])[number] FROM unnest($6::integer[]) AS number))
            AS range (in_type, in_namespaces)
        CROSS JOIN LATERAL (
            SELECT
                type_id = in_type
                    AND labels @> $2::jsonb
                    AND coalesce(in_namespaces ? namespace, true) AS found
            FROM resources
            WHERE resource_terms(type_id, namespace, name, labels) @> (resource_terms(in_type, '', '', $3::jsonb))
                AND resource_terms(type_id, namespace, name, labels) && ARRAY(SELECT unnest(resource_terms(in_type, wanted COLLATE "C", '', '{}')) FROM jsonb_object_keys(in_namespaces) AS wanted)
            OFFSET 0
        ) AS collected
    ) AS collected LIMIT 16384
) AS counted
