-- $1 types_0, $2 namespaces_0, $3 end_0, $4 end_1, $5 end_2
SELECT /* page count */ count(*) FILTER (WHERE found) AS count,
    false AS more
FROM (
    SELECT found FROM (
        SELECT collected.* FROM unnest($1::integer[], $2::text[])
            AS range (in_type, in_namespace)
        CROSS JOIN LATERAL (
            SELECT
                type_id = in_type AS found
            FROM resources
            WHERE type_id = in_type
                AND namespace = in_namespace
                AND (created_at, uid, type_id) >= ($3::timestamptz, $4::text, $5::integer)
            OFFSET 0
        ) AS collected
    ) AS collected
) AS counted
