-- $1 each_label, $2 trigrams, $3 types_0, $4 cluster
SELECT /* page sample of terms */ ARRAY[
    coalesce(avg((labels @> ($1::jsonb[])[1])::integer), 0)::float8,
    coalesce(avg((labels @> ($1::jsonb[])[2])::integer), 0)::float8,
    coalesce(avg((strpos(lower(name), lower(($2::text[])[1] COLLATE "C")) > 0)::integer), 0)::float8
] AS shares
FROM unnest($3::integer[])
    AS range (in_type)
CROSS JOIN LATERAL (
    SELECT * FROM resources WHERE cluster = $4::text AND type_id = in_type ORDER BY uid LIMIT 512
) AS sampled
