-- $1 types_0, $2 types_1, $3 namespaces_1
SELECT /* page count */ (SELECT coalesce(sum(objects), 0)::bigint FROM watches WHERE type_id = ANY ($1::integer[])) + count(*) FILTER (WHERE found) AS count,
    count(*) = 131072 AS more
FROM (
    SELECT found FROM (
        SELECT collected.* FROM unnest($2::integer[], $3::text[])
            AS range (in_type, in_namespace)
        CROSS JOIN LATERAL (
            SELECT
                type_id = in_type AS found
            FROM resources
            WHERE type_id = in_type AND namespace = in_namespace
            OFFSET 0
        ) AS collected
    ) AS collected LIMIT 131072
) AS counted
