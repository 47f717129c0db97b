-- $1 labels, $2 types_0, $3 sets_0, $4 set_of_0, $5 cluster
SELECT /* page sample of matches */ coalesce(sum(objects * matching::float8 / sampled), 0) AS estimate FROM (
    SELECT in_type, count(*) AS sampled, count(*) FILTER (WHERE labels @> $1::jsonb AND coalesce(in_namespaces ? namespace, true)) AS matching,
        (SELECT sum(objects) FROM watches WHERE type_id = in_type) AS objects
    FROM unnest($2::integer[], ARRAY(SELECT ($3::jsonb[])[number] FROM unnest($4::integer[]) AS number))
    AS range (in_type, in_namespaces)
    CROSS JOIN LATERAL (
        SELECT * FROM resources WHERE cluster = $5::text AND type_id = in_type ORDER BY uid LIMIT 2048
    ) AS sampled
    GROUP BY in_type
) AS of_types
