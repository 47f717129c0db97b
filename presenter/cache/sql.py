"""The statements that pages are read with: a scan → one whole text, with the names of the values that it takes.

What to scan is written into it, so that little is left to PostgreSQL's planner. A text depends on nothing but the scan,
so that it is written once here and prepared once there; the only numbers in it are bounds, rounded to powers of two.
`@name::text` stands for a value until these are numbered. tests/cache/golden shows every kind of statement.

A comment names it behind its first word: from PostgreSQL 18 on pg_stat_statements leaves out what stands before that.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from functools import lru_cache

from presenter.cache import revisions
from presenter.cache.expressions import COMPOSITION_OR_LAST, TERMS
from presenter.cache.plan import Scan
from presenter.cache.query import Sort

COLUMNS = "r.type_id, r.uid, r.namespace, r.name, r.version, r.created_at, r.updated_at, r.composition_id"
# Where there is a piece of this very state, nothing else of the row is read.
_HAS_PIECE = "r.piece_of = r.updated_at"
_ITEM = ",\n    ".join(
    [
        f"CASE WHEN {_HAS_PIECE} THEN r.piece END AS piece",
        *(
            f"CASE WHEN {_HAS_PIECE} THEN NULL ELSE {column} END AS {column.removeprefix('r.')}"
            for column in (*COLUMNS.split(", "), "r.raw")
        ),
        "NULL::jsonb AS status",
    ]
)

_NO_REVISION = "NULL, NULL, NULL, NULL, NULL"

_REMEMBERED = 256
"""Texts that are not written again. asyncpg keeps no more than 100 prepared on a connection."""

_VALUE = re.compile(r"@([a-z]\w*)")
# The index of the composition ids is on an expression, which the greatest UUID would meet where there is none.
_CONDITIONS = {
    "name": "name = @name::text",
    "composition_id": f"{COMPOSITION_OR_LAST} = @composition_id::uuid AND composition_id IS NOT NULL",
    "since": "updated_at >= @since::timestamptz",
    "name_contains": 'strpos(lower(name), lower(@name_contains::text COLLATE "C")) > 0',
    "labels": "labels @> @labels::jsonb",
}
"""What a row must fulfil, by the filters' names."""


def payload(*, raw: bool, status: bool) -> str:
    """The columns of the documents."""
    whole, part, absent = "r.raw", "r.raw -> 'status'", "NULL::jsonb"
    return f"{whole if raw else absent} AS raw, {part if status else absent} AS status"


@lru_cache(_REMEMBERED)
def statement(scan: Scan) -> tuple[str, tuple[str, ...]]:
    """The text of a scan, and the names of the values that it takes, in the order of their numbers."""
    write = {
        "walk of one": _one,
        "sample of terms": _sample,
        "sample of distance": _sample,
        "sample of keys": _sample_of_keys,
        "sample of matches": _sample_of_matches,
        "offset": _offset,
        "count": _count,
    }.get(scan.kind, _reached if scan.keys else _page)
    text = write(scan)
    numbers = {name: f"${number}" for number, name in enumerate(dict.fromkeys(_VALUE.findall(text)), start=1)}
    return _VALUE.sub(lambda found: numbers[found[1]], text), tuple(numbers)


def _page(scan: Scan) -> str:
    """Keys first, documents last: only the rows of the page are read whole, from the places where they were found."""
    return _with_revisions(
        scan,
        f"""
SELECT {_content(scan)}, {_keys(scan)}, page.found, page.last, {_NO_REVISION}
FROM (
{_in(_found(scan))}
) AS page
JOIN resources r ON r.cluster = {"page.cluster" if scan.clusters else "@cluster::text"} AND r.ctid = page.place
ORDER BY {_order(scan)}
""",
    )


def _reached(scan: Scan) -> str:
    """Of what would be on the page: how many rows, and the keys of the last of them."""
    backward = scan._replace(reverse=not scan.reverse)
    return f"""
SELECT /* page {scan.kind} */ * FROM (
    WITH page AS MATERIALIZED (
{_in(_found(scan), 2)}
    )
    SELECT {_keys(scan)}, coalesce(found, false) AS found, counted.count, counted.last
    FROM (SELECT count(*) FILTER (WHERE found) AS count, coalesce(bool_or(last), false) AS last FROM page) AS counted
    LEFT JOIN (SELECT * FROM page WHERE found ORDER BY {_order(backward)} LIMIT 1) AS page ON true
) AS reached
"""


def _found(scan: Scan) -> str:
    return _collected(scan) if scan.kind in ("collect", "probe") else _walked(scan)


def _one(scan: Scan) -> str:
    """The rows of one range, as many as are asked for, read where they are met."""
    within = ["namespace = (@namespaces_0::text[])[1]"] if scan.ranges[0].within else []
    of_type = ["cluster = @cluster::text", "type_id = (@types_0::integer[])[1]"]
    return _with_revisions(
        scan,
        f"""
SELECT {_content(scan)}, {_key_columns(scan)}, true, false, {_NO_REVISION}
FROM resources r
WHERE {_all(*of_type, *within, *_extent(scan))}
ORDER BY {_ties(scan)} LIMIT @limit::bigint
""",
    )


def _with_revisions(scan: Scan, rows: str) -> str:
    """The rows behind the revision of each cluster, which is there where no row is: one snapshot has both."""
    content = f"{'piece, ' if scan.items else ''}{COLUMNS.replace('r.', '')}, raw, status"
    absent = ", ".join(f"NULL_AS_{name}" for name in f"{content}, {_keys(scan)}, found, last".split(", "))
    return f"""
SELECT /* page {scan.kind} */
{_in(textwrap.fill(absent, 112)).replace("NULL_AS_", "NULL AS ")},
    {_revisions(scan).strip()}
UNION ALL (
{_in(rows)}
)
"""


def _revisions(scan: Scan) -> str:
    of_types = "WHERE w.type_id = ANY (@types::integer[])"
    if not scan.clusters:
        position = "(SELECT revision FROM clusters WHERE name = @cluster::text) AS position"
        return f"""
    @cluster::text AS cluster, {revisions.COLUMNS},
    {position}
FROM watches w {of_types}
"""
    return f"""
    t.cluster, {revisions.COLUMNS}, c.revision AS position
FROM watches w JOIN resource_types t ON t.id = w.type_id JOIN clusters c ON c.name = t.cluster
{of_types} GROUP BY t.cluster, c.revision
"""


def _content(scan: Scan) -> str:
    raw, status = scan.documents
    return _ITEM if scan.items else f"{COLUMNS},\n    {payload(raw=raw, status=status)}"


# -- walks -------------------------------------------------------------------------------------------------------------


def _walked(scan: Scan) -> str:
    """The rows that match, of walks that each end at a row `last`.

    Beyond the first of those rows nothing is known, nor of rows that differ from it by their type only.
    """
    walks = {"walk merge": _merge, "walk by type": _by_type, "walk by namespace": _by_namespace}
    walked = walks.get(scan.kind, _nested)(scan)
    return f"""
SELECT {_place(scan)}, {_keys(scan)}, found AND beyond IS NOT TRUE AS found, last FROM (
    SELECT walked.*,
        bool_or(last) OVER (ORDER BY {_ties(scan)} GROUPS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS beyond
    FROM (
{_in(walked, 2)}
    ) AS walked
) AS walked
WHERE last OR beyond IS NOT TRUE ORDER BY {_order(scan)} LIMIT @limit::bigint
"""


def _nested(scan: Scan) -> str:
    """One range after the other."""
    parts = []
    for part, ranges in enumerate(scan.ranges):
        within = ["namespace = in_namespace"] if ranges.within else []
        wanted = [_WANTED.format("in_namespaces")] if ranges.selective else []
        parts.append(_of_each(scan, part, _rows(scan, [*_type(scan), *within, *_extent(scan)], wanted)))
    return _UNION.join(parts)


def _by_type(scan: Scan) -> str:
    """One type after the other, its namespaces side by side."""
    rows = []
    for name in [f"(@names::text[])[{one}]" for one in range(1, scan.ranges[0].branches + 1)]:
        within = [f"namespace = {name}", f"in_namespaces ? {name}"]
        rows.append(_rows(scan, [*_type(scan), *within, *_extent(scan)]))
    return _of_each(scan, 0, _side_by_side(scan, rows))


def _of_each(scan: Scan, part: int, rows: str) -> str:
    """Of each range the rows that match, until there is a page of them."""
    return f"""
SELECT walked.* FROM {_unnested(scan, part)}
CROSS JOIN LATERAL (
    SELECT * FROM (
        SELECT *, row_number() OVER () = {scan.rows_of_each} AS last FROM (
{_in(rows, 3)} LIMIT {scan.rows_of_each}
        ) AS walked
    ) AS walked WHERE found OR last LIMIT @limit::bigint
) AS walked
"""


def _merge(scan: Scan) -> str:
    """All ranges as if they were one: a merge of index scans, which reads no row before it is wanted.

    Ties are left to the outer query: by the last key, the type, which no index has, PostgreSQL would have to sort.
    """
    rows = []
    for part, ranges in enumerate(scan.ranges):
        for one in range(1, ranges.branches + 1):
            of_type, namespace = _one_type(scan, part, one), f"(@namespaces_{part}::text[])[{one}]"
            if ranges.within and scan.sort is Sort.NAMESPACE_AND_NAME:
                start = ", ".join(f"(@{column}::text[])[{one}]" for column in _FROM)
                rows.append(_rows(scan, [*of_type, *_from(scan, start, namespace)], _after(scan)))
            else:
                within = [f"namespace = {namespace}"] if ranges.within else []
                wanted = (
                    [_WANTED.format(f"(SELECT (@sets_{part}::jsonb[])[(@set_of_{part}::integer[])[{one}]])")]
                    if ranges.selective
                    else []
                )
                rows.append(_rows(scan, [*of_type, *within, *_extent(scan)], wanted))
    return f"""
SELECT * FROM (
    SELECT *, row_number() OVER (ORDER BY {_ties(scan)}) = {scan.rows} AS last FROM (
{_in(_side_by_side(scan, rows), 2)} LIMIT {scan.rows}
    ) AS walked
) AS walked
WHERE found OR last ORDER BY {_ties(scan)} FETCH FIRST (@limit::bigint) ROWS WITH TIES
"""


def _by_namespace(scan: Scan) -> str:
    """One namespace after the other, as they follow each other in the order, the types side by side in each.

    Rows that differ by their type only come in any order, so that some more are taken.
    """
    [types] = scan.ranges
    starts = ", ".join(f"@{column}::text[]" for column in _FROM)
    rows = []
    for one in range(1, types.branches + 1):
        of_type = [*_one_type(scan, 0, one), f"in_types ? (@types_0::integer[])[{one}]::text"]
        rows.append(_rows(scan, [*of_type, *_from(scan, ", ".join(_FROM), "in_namespace")], _after(scan)))
    return f"""
SELECT * FROM (
    SELECT *, row_number() OVER () = {scan.rows} AS last FROM (
        SELECT walked.*
        FROM unnest(@names::text[], {_SETS.format("type_sets", "type_set_of")}, {starts})
            AS range (in_namespace, in_types, {", ".join(_FROM)})
        CROSS JOIN LATERAL (
{_in(_side_by_side(scan, rows), 3)} LIMIT {scan.rows}
        ) AS walked LIMIT {scan.rows}
    ) AS walked
) AS walked
WHERE found OR last LIMIT @limit::bigint + {types.branches - 1}
"""


def _side_by_side(scan: Scan, rows: Sequence[str]) -> str:
    united = _UNION.join(f"({each.strip()})" for each in rows)
    return f"SELECT * FROM (\n{_in(united)}\n) AS branch ORDER BY {_ties(scan)}"


def _rows(scan: Scan, within: Sequence[str], found: Sequence[str] = ()) -> str:
    """The rows of one range, in order, and whether they match."""
    matching = [_CONDITIONS[name] for name in scan.filters if name != "since" or not _stops_at_since(scan)]
    order = _directed(scan, [key.sql for key in scan.sort.keys[:-1]])
    return f"""
SELECT {_place(scan, "ctid AS ")}, {_key_columns(scan)},
    {_all(*matching, *found)} AS found
FROM resources
WHERE {_all(*within)}
ORDER BY {order}
"""


# -- matches -----------------------------------------------------------------------------------------------------------


def _collected(scan: Scan) -> str:
    """The first of all that match. Of a probe that stopped: where as many lie as there can be on the page."""
    collected = _UNION.join(_matches(scan, part) for part in range(len(scan.ranges)))
    if scan.kind == "collect":
        return f"""
SELECT *, false AS last FROM (
{_in(collected)}
) AS collected
WHERE found ORDER BY {_order(scan)} LIMIT @limit::bigint
"""
    return f"""
WITH probed AS MATERIALIZED (
    SELECT {_place(scan)}, {_keys(scan)}, found FROM (
{_in(collected, 2)}
    ) AS collected LIMIT {scan.rows}
)
SELECT {_place(scan)}, {_keys(scan)}, found AND (NOT more OR number = @limit::bigint) AS found, more AS last FROM (
    SELECT *, row_number() OVER () AS number, (SELECT count(*) FROM probed) = {scan.rows} AS more
    FROM (SELECT * FROM probed ORDER BY found DESC, {_order(scan)} LIMIT @limit::bigint) AS probed
) AS probed
WHERE CASE WHEN more THEN number IN (1, @limit::bigint) ELSE found END
"""


def _matches(scan: Scan, part: int) -> str:
    """All matches through an index of the filter's.

    OFFSET 0 keeps every other condition out of there: the planner would look it up in an index of its own, from end to
    end; that of the cluster in the primary key, where there are several. Terms are hashes: all is compared once more.
    """
    ranges = scan.ranges[part]
    between = _between(scan) if scan.bounded else []
    if scan.by == "terms":
        within = [*_looked_up(scan, part), *between, *(["type_id = in_type"] if between else [])]
    else:
        own = [_CONDITIONS[scan.by]] if scan.by in scan.filters else []
        within = ["type_id = in_type", *(["namespace = in_namespace"] if ranges.within else []), *own, *between]
    wanted = [_WANTED.format("in_namespaces")] if ranges.selective else []
    # A type is of one cluster: where matches are only counted, an index without the cluster may do.
    of_type = ["type_id = in_type"] if scan.kind == "count" else _type(scan)
    columns = "" if scan.kind == "count" else f" {_place(scan, 'ctid AS ')}, {_key_columns(scan)},"
    matching = _all(*of_type, *(_CONDITIONS[name] for name in scan.filters), *wanted, *_after(scan))
    return f"""
SELECT collected.* FROM {_unnested(scan, part)}
CROSS JOIN LATERAL (
    SELECT{columns}
{_in(matching, 2)} AS found
    FROM resources
    WHERE {_in(_all(*within)).lstrip()}
    OFFSET 0
) AS collected
"""


def _looked_up(scan: Scan, part: int) -> list[str]:
    trigrams = [f"(@trigrams::text[])[{one}]" for one in range(1, scan.trigrams + 1)]
    lookups = [_TERMS_OF.format("''", f'{trigram} COLLATE "C"', "'{}'") for trigram in trigrams]
    lookups += [_TERMS_OF.format("''", "''", "@term_labels::jsonb")] if scan.labels else []
    terms = " || ".join(lookups)
    of_namespace = _TERMS_OF.format('wanted COLLATE "C"', "''", "'{}'")
    namespaces = f"ARRAY(SELECT unnest({of_namespace}) FROM jsonb_object_keys(in_namespaces) AS wanted)"
    match scan.ranges[part].looked_up:
        case "one":
            return [f"{TERMS} @> ({terms} || {namespaces})"]
        case "few":
            return [f"{TERMS} @> ({terms})", f"{TERMS} && {namespaces}"]
        case _:
            return [f"{TERMS} @> ({terms})"]


def _sample(scan: Scan) -> str:
    """Uids are random, so that the first of them are a fair sample."""
    part = _CONDITIONS["name_contains"]
    conditions = [f"labels @> (@each_label::jsonb[])[{one}]" for one in range(1, scan.labels + 1)]
    conditions += [
        part.replace("@name_contains::text", f"(@trigrams::text[])[{one}]") for one in range(1, scan.trigrams + 1)
    ]
    conditions = conditions or [_all(*(_CONDITIONS[name] for name in scan.filters)), _all(*_between(scan))]
    shares = ",\n    ".join(f"coalesce(avg(({condition})::integer), 0)::float8" for condition in conditions)
    return f"""
SELECT /* page {scan.kind} */ ARRAY[
    {shares}
] AS shares
FROM {_unnested(scan, 0)}
CROSS JOIN LATERAL (
    SELECT * FROM resources WHERE {_all(*_type(scan))} ORDER BY uid LIMIT {scan.rows}
) AS sampled
"""


# -- numbers -----------------------------------------------------------------------------------------------------------


def _offset(scan: Scan) -> str:
    """The keys of the row at an offset, where all rows match: they are read in indexes that have the keys, alone.

    That is why the cluster is not compared, which a type is of one of. Rows that differ by their type only come in any
    order, so that as many are sorted around the offset as there may be of these.
    """
    branches = sum(ranges.branches for ranges in scan.ranges)
    # Within a cluster the order of the global uids is that of the uids, which the primary key has.
    by_uid = scan.sort is Sort.GLOBAL_UID and not scan.clusters and not any(ranges.within for ranges in scan.ranges)
    keys = "@cluster::text || ':' || k0 AS k0, k1" if by_uid else _keys(scan)
    columns = "uid AS k0, type_id AS k1" if by_uid else _key_columns(scan)
    order = ["uid"] if by_uid else [key.sql for key in scan.sort.keys[:-1]]
    rows = []
    for part, ranges in enumerate(scan.ranges):
        for one in range(1, ranges.branches + 1):
            namespace = f"(@namespaces_{part}::text[])[{one}]"
            if ranges.within and scan.sort is Sort.NAMESPACE_AND_NAME:
                within = _from(scan, ", ".join(f"(@{column}::text[])[{one}]" for column in _FROM), namespace)
            else:
                within = [f"namespace = {namespace}"] if ranges.within else []
                within += ["cluster = @cluster::text"] if by_uid else _extent(scan)
            of_type = f"type_id = (@types_{part}::integer[])[{one}]"
            rows.append(
                f"""
SELECT {columns}
FROM resources
WHERE {_all(of_type, *within)}
ORDER BY {_directed(scan, order)}
"""
            )
    start = f"greatest(@offset::bigint - {branches}, 0)"
    return f"""
SELECT /* page {scan.kind} */ {keys} FROM (
    SELECT * FROM (
{_in(_side_by_side(scan, rows), 2)}
    ) AS walked OFFSET {start} LIMIT {2 * branches}
) AS walked
ORDER BY {_order(scan)} OFFSET @offset::bigint - 1 - {start} LIMIT 1
"""


def _count(scan: Scan) -> str:
    """How many match, of a bounded number of candidates, and whether there may be more.

    All objects of a type are counted already. Where an index has all that is compared, it alone is read.
    """
    counted = not scan.filters and not scan.bounded
    whole = [part for part, ranges in enumerate(scan.ranges) if not ranges.within and counted]
    matches = [_matches(scan, part) for part in range(len(scan.ranges)) if part not in whole]
    known = " + ".join(
        f"(SELECT coalesce(sum(objects), 0)::bigint FROM watches WHERE type_id = ANY (@types_{part}::integer[]))"
        for part in whole
    )
    if not matches:
        return f"SELECT /* page {scan.kind} */ {known} AS count, false AS more"
    return f"""
SELECT /* page {scan.kind} */ {f"{known} + " if known else ""}count(*) FILTER (WHERE found) AS count,
    {f"count(*) = {scan.rows}" if scan.rows else "false"} AS more
FROM (
    SELECT found FROM (
{_in(_UNION.join(matches), 2)}
    ) AS collected{f" LIMIT {scan.rows}" if scan.rows else ""}
) AS counted
"""


def _sample_of_keys(scan: Scan) -> str:
    """The keys of an object of which, by a sample of each type, about as many lie before it as are passed over."""
    [types] = scan.ranges
    wanted = _WANTED.format("in_namespaces") if types.selective else "true"
    return f"""
SELECT /* page {scan.kind} */ {_keys(scan)} FROM (
    SELECT *, sum(objects) OVER (ORDER BY {_order(scan)}) AS before FROM (
        SELECT sampled.*, counted.objects::float8 / count(*) OVER (PARTITION BY in_type) AS objects
        FROM {_in(_unnested(scan, 0), 2).lstrip()}
        CROSS JOIN LATERAL (SELECT sum(objects) AS objects FROM watches WHERE type_id = in_type) AS counted
        CROSS JOIN LATERAL (
            SELECT {_key_columns(scan)}, {wanted} AS found
            FROM resources WHERE {_all(*_type(scan))} ORDER BY uid LIMIT {scan.rows}
        ) AS sampled
    ) AS sampled WHERE found
) AS sampled
ORDER BY abs(before - @offset::bigint) LIMIT 1
"""


def _sample_of_matches(scan: Scan) -> str:
    """Of each type as many as its objects times the share of those that match in a sample."""
    [types] = scan.ranges
    wanted = [_WANTED.format("in_namespaces")] if types.selective else []
    matching = _all(*(_CONDITIONS[name] for name in scan.filters), *wanted)
    return f"""
SELECT /* page {scan.kind} */ coalesce(sum(objects * matching::float8 / sampled), 0) AS estimate FROM (
    SELECT in_type, count(*) AS sampled, count(*) FILTER (WHERE {matching}) AS matching,
        (SELECT sum(objects) FROM watches WHERE type_id = in_type) AS objects
    FROM {_unnested(scan, 0)}
    CROSS JOIN LATERAL (
        SELECT * FROM resources WHERE {_all(*_type(scan))} ORDER BY uid LIMIT {scan.rows}
    ) AS sampled
    GROUP BY in_type
) AS of_types
"""


# -- ranges ------------------------------------------------------------------------------------------------------------


def _unnested(scan: Scan, part: int) -> str:
    """The ranges of a part as rows."""
    ranges = scan.ranges[part]
    columns = {"in_type": f"@types_{part}::integer[]"}
    if scan.clusters:
        columns["in_cluster"] = f"@clusters_{part}::text[]"
    if ranges.within:
        columns["in_namespace"] = f"@namespaces_{part}::text[]"
    elif ranges.selective:
        columns["in_namespaces"] = _SETS.format(f"sets_{part}", f"set_of_{part}")
    return f"unnest({', '.join(columns.values())})\n    AS range ({', '.join(columns)})"


def _type(scan: Scan) -> list[str]:
    return [f"cluster = {'in_cluster' if scan.clusters else '@cluster::text'}", "type_id = in_type"]


def _one_type(scan: Scan, part: int, one: int) -> list[str]:
    """The type in one place of the column: that is NULL, and finds nothing, beyond its end."""
    cluster = f"(SELECT (@clusters_{part}::text[])[{one}])" if scan.clusters else "@cluster::text"
    return [f"cluster = {cluster}", f"type_id = (@types_{part}::integer[])[{one}]"]


def _extent(scan: Scan) -> list[str]:
    """Where the walk along an index begins, and where it ends."""
    return [*_after(scan), *([_CONDITIONS["since"]] if _stops_at_since(scan) else [])]


def _stops_at_since(scan: Scan) -> bool:
    # It is one end of the walk, unless the position is there. Given two places to begin, PostgreSQL takes either.
    begins_there = scan.resumed and not scan.reverse
    return scan.sort is Sort.UPDATED_AT and "since" in scan.filters and not begins_there


def _from(scan: Scan, start: str, namespace: str) -> list[str]:
    """One namespace in the order by namespace and name, from a start on: a range with one beginning and one end."""
    onwards, back = ("<=", ">=") if scan.reverse else (">=", "<=")
    return [f"(namespace, name, uid) {onwards} ({start})", f"namespace {back} {namespace}"]


def _after(scan: Scan) -> list[str]:
    return [_compared(scan, "<" if scan.reverse else ">", "after")] if scan.resumed else []


def _between(scan: Scan) -> list[str]:
    return [*_after(scan), *([_compared(scan, ">=" if scan.reverse else "<=", "end")] if scan.ends else [])]


def _compared(scan: Scan, operator: str, position: str) -> str:
    keys = scan.sort.keys
    values = ", ".join(f"@{position}_{number}::{key.type}" for number, key in enumerate(keys))
    return f"({', '.join(key.sql for key in keys)}) {operator} ({values})"


# -- pieces ------------------------------------------------------------------------------------------------------------

_LONG = 80
_UNION = "\nUNION ALL\n"
_FROM = ("from_namespaces", "from_names", "from_uids")
_WANTED = "coalesce({} ? namespace, true)"
_SETS = "ARRAY(SELECT (@{}::jsonb[])[number] FROM unnest(@{}::integer[]) AS number)"
_TERMS_OF = "resource_terms(in_type, {}, {}, {})"


def _place(scan: Scan, of: str = "") -> str:
    """Where a row is found: a ctid is unique within a partition, to which the cluster leads."""
    if scan.keys:
        return "NULL::tid AS place" if of else "place"
    return f"{'cluster, ' if scan.clusters else ''}{of}place"


def _key_columns(scan: Scan) -> str:
    return ", ".join(f"{key.sql} AS k{number}" for number, key in enumerate(scan.sort.keys))


def _keys(scan: Scan) -> str:
    return ", ".join(f"k{number}" for number in range(len(scan.sort.keys)))


def _order(scan: Scan) -> str:
    return _directed(scan, [f"k{number}" for number in range(len(scan.sort.keys))])


def _ties(scan: Scan) -> str:
    """The order without the type, which comes last: all that an index has of it."""
    return _directed(scan, [f"k{number}" for number in range(len(scan.sort.keys) - 1)])


def _directed(scan: Scan, keys: Sequence[str]) -> str:
    return ", ".join(f"{key} {'DESC' if scan.reverse else 'ASC'}" for key in keys)


def _all(*conditions: str) -> str:
    long = sum(map(len, conditions)) > _LONG
    return ("\n    AND " if long else " AND ").join(conditions) or "true"


def _in(text: str, levels: int = 1) -> str:
    return textwrap.indent(text.strip(), "    " * levels)
