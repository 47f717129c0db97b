"""The SQL that pages are read with: its parts, which `statements` puts together."""

from __future__ import annotations

# Keys first, documents last: only the rows of the page are read whole, from the places where they were found.
PAGE = """
SELECT {columns}, {payload}, {keys}, page.found, page.last FROM ({page}) AS page
JOIN resources r ON r.ctid = page.place
ORDER BY {order}
"""

# Of each stretch the rows that match, until there is a page of them. `last` is the row at which the walk gave up.
WALK = """
SELECT row.* FROM unnest({types}, {namespaces}) AS stretch (in_type, in_namespace) CROSS JOIN LATERAL (
    SELECT * FROM (
        SELECT place, {keys}, {filters} AS found, row_number() OVER () = {depth} AS last FROM (
            {rows} ORDER BY {order} LIMIT {depth}
        ) AS walked
    ) AS walked WHERE found OR last LIMIT {limit}
) AS row
"""

ROWS = """
SELECT ctid AS place, {key_columns}, namespace, name, labels, updated_at, {namespaces} AS in_namespace
FROM resources WHERE {within}
"""

# The same of a few stretches, as if they were one: a merge of index scans, which reads no row before it is wanted. Ties
# are for those who have all of the order; by the last of its keys, the type, PostgreSQL would have to sort.
WALK_MERGED = """
SELECT * FROM (
    SELECT place, {keys}, {filters} AS found, row_number() OVER (ORDER BY {order}) = {depth} AS last FROM (
        SELECT * FROM ({branches}) AS branch ORDER BY {order} LIMIT {depth}
    ) AS walked
) AS walked WHERE found OR last ORDER BY {order} FETCH FIRST ({limit}) ROWS WITH TIES
"""

# The same of namespaces, which follow each other in the order: one after the other, the types side by side in each.
# Rows that differ by their type only come in any order, so that some more are taken.
WALK_ON = """
SELECT * FROM (
    SELECT place, {keys}, {filters} AS found, row_number() OVER () = {depth} AS last FROM (
        SELECT row.* FROM unnest({namespaces}, {types}, {from_namespaces}, {from_names}, {from_uids})
            AS stretch (in_namespace, in_types, from_namespace, from_name, from_uid)
        CROSS JOIN LATERAL (SELECT * FROM ({branches}) AS branch ORDER BY {order} LIMIT {depth}) AS row LIMIT {depth}
    ) AS walked
) AS walked WHERE found OR last LIMIT {limit}
"""

# Nothing is known of what lies beyond the first row at which a walk gave up, nor of what differs by its type only.
MERGE = """
SELECT place, {keys}, found AND beyond IS NOT TRUE AS found, last FROM (
    SELECT row.*, bool_or(last) OVER (ORDER BY {ties} GROUPS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS beyond
    FROM ({parts}) AS row
) AS row WHERE last OR beyond IS NOT TRUE ORDER BY {order} LIMIT {limit}
"""

# All matches through an index of the filter's. OFFSET 0 keeps every other condition out of there: the planner would
# look it up in an index of its own, from end to end. Terms are hashes, so that all is compared once more.
MATCH = """
SELECT place, {keys}, type_id = in_type AND {filters} AS found
FROM unnest({types}, {namespaces}) AS stretch (in_type, in_namespace) CROSS JOIN LATERAL (
    SELECT ctid AS place, {key_columns}, type_id, namespace, name, labels, updated_at, composition_id
    FROM resources WHERE {indexed} OFFSET 0
) AS row
"""

# Uids are random, so that the first of them are a fair sample.
SHARES = """
SELECT {shares} FROM unnest({types}) AS in_type CROSS JOIN LATERAL (
    SELECT * FROM resources WHERE type_id = in_type ORDER BY {uid} LIMIT {few}
) AS row
"""

# The terms of the namespaces that are wanted of a type.
NAMESPACE_TERMS = """ARRAY(
    SELECT unnest(resource_terms(in_type, wanted COLLATE "C", '', '{}')) FROM jsonb_object_keys(in_namespace) AS wanted
)"""

FIRST = "SELECT *, false AS last FROM ({parts}) AS row WHERE found ORDER BY {order} LIMIT {limit}"

# When there are more than a few, these tell how far is far enough: to where as many lie as there can be on the page.
FIRST_OF_FEW = """
WITH few AS MATERIALIZED (SELECT place, {keys}, found FROM ({parts}) AS row LIMIT {few})
SELECT place, {keys}, found AND (NOT more OR number = {limit}) AS found, more AS last FROM (
    SELECT *, row_number() OVER () AS number, (SELECT count(*) FROM few) = {few} AS more
    FROM (SELECT * FROM few ORDER BY found DESC, {order} LIMIT {limit}) AS row
) AS row WHERE CASE WHEN more THEN number IN (1, {limit}) ELSE found END
"""
