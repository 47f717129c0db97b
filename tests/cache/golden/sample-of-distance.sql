-- $1 labels, $2 after_0, $3 after_1, $4 after_2, $5 end_0, $6 end_1, $7 end_2, $8 types_0, $9 cluster
SELECT /* page sample of distance */ ARRAY[
    coalesce(avg((labels @> $1::jsonb)::integer), 0)::float8,
    coalesce(avg(((created_at, uid, type_id) < ($2::timestamptz, $3::text, $4::integer)
    AND (created_at, uid, type_id) >= ($5::timestamptz, $6::text, $7::integer))::integer), 0)::float8
] AS shares
FROM unnest($8::integer[])
    AS range (in_type)
CROSS JOIN LATERAL (
    SELECT * FROM resources WHERE cluster = $9::text AND type_id = in_type ORDER BY uid LIMIT 16
) AS sampled
