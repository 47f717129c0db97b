-- $1 types_0, $2 sets_0, $3 set_of_0, $4 cluster, $5 name_contains, $6 trigrams, $7 limit
SELECT /* page probe */
    r.type_id, r.uid, r.namespace, r.name, r.version, r.created_at, r.updated_at, r.composition_id,
    r.raw AS raw, NULL::jsonb AS status, k0, k1, k2, page.found, page.last
FROM (
    WITH probed AS MATERIALIZED (
        SELECT place, k0, k1, k2, found FROM (
            SELECT collected.* FROM unnest($1::integer[], ARRAY(SELECT ($2::jsonb[])[number] FROM unnest($3::integer[]) AS number))
                AS range (in_type, in_namespaces)
            CROSS JOIN LATERAL (
                SELECT ctid AS place, created_at AS k0, uid AS k1, type_id AS k2,
                    cluster = $4::text
                        AND type_id = in_type
                        AND strpos(lower(name), lower($5::text COLLATE "C")) > 0
                        AND coalesce(in_namespaces ? namespace, true) AS found
                FROM resources
                WHERE resource_terms(type_id, namespace, name, labels) @> (resource_terms(in_type, '', ($6::text[])[1] COLLATE "C", '{}') || resource_terms(in_type, '', ($6::text[])[2] COLLATE "C", '{}') || ARRAY(SELECT unnest(resource_terms(in_type, wanted COLLATE "C", '', '{}')) FROM jsonb_object_keys(in_namespaces) AS wanted))
                OFFSET 0
            ) AS collected
        ) AS collected LIMIT 2048
    )
    SELECT place, k0, k1, k2, found AND (NOT more OR number = $7::bigint) AS found, more AS last FROM (
        SELECT *, row_number() OVER () AS number, (SELECT count(*) FROM probed) = 2048 AS more
        FROM (SELECT * FROM probed ORDER BY found DESC, k0 DESC, k1 DESC, k2 DESC LIMIT $7::bigint) AS probed
    ) AS probed
    WHERE CASE WHEN more THEN number IN (1, $7::bigint) ELSE found END
) AS page
JOIN resources r ON r.cluster = $4::text AND r.ctid = page.place
ORDER BY k0 DESC, k1 DESC, k2 DESC
