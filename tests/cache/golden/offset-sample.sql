-- $1 types_0, $2 sets_0, $3 set_of_0, $4 cluster, $5 offset
SELECT /* page sample of keys */ k0, k1, k2 FROM (
    SELECT *, sum(objects) OVER (ORDER BY k0 DESC, k1 DESC, k2 DESC) AS before FROM (
        SELECT sampled.*, counted.objects::float8 / count(*) OVER (PARTITION BY in_type) AS objects
        FROM unnest($1::integer[], ARRAY(SELECT ($2::jsonb[])[number] FROM unnest($3::integer[]) AS number))
            AS range (in_type, in_namespaces)
        CROSS JOIN LATERAL (SELECT sum(objects) AS objects FROM watches WHERE type_id = in_type) AS counted
        CROSS JOIN LATERAL (
            SELECT created_at AS k0, uid AS k1, type_id AS k2, coalesce(in_namespaces ? namespace, true) AS found
            FROM resources WHERE cluster = $4::text AND type_id = in_type ORDER BY uid LIMIT 512
        ) AS sampled
    ) AS sampled WHERE found
) AS sampled
ORDER BY abs(before - $5::bigint) LIMIT 1
