"""The statements that answer a page: a query → SQL and its arguments.

What to walk and what to search is written into them, so that little is left to the planner, whose estimates for
containment are constants. A text depends on the shape of the query only, so that it is prepared once; the only numbers
in it are bounds, rounded to powers of two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from presenter.cache.expressions import COMPOSITION_OR_LAST, TERMS
from presenter.cache.query import Query, Sort
from presenter.cache.scope import Leg

MANY = 64
"""More legs than this are looked at as their types, and what lies in other namespaces is passed over.

More stretches than this are walked side by side: in a merge each has its part of the statement, and of its plan.
"""

TRIGRAM = 3
"""The shortest part of a name that can be looked up."""

Statement = tuple[str, list[Any]]

# Keys first, documents last: only the rows of the page are read whole, from the places where they were found.
_PAGE = """
SELECT {columns}, {payload}, {keys}, page.found, page.last FROM ({page}) AS page
JOIN resources r ON r.ctid = page.place
ORDER BY {order}
"""

# Of each stretch the rows that match, until there is a page of them. `last` is the row at which the walk gave up.
_WALK = """
SELECT row.* FROM unnest({types}, {namespaces}) AS stretch (in_type, in_namespace) CROSS JOIN LATERAL (
    SELECT * FROM (
        SELECT place, {keys}, {filters} AS found, row_number() OVER () = {depth} AS last FROM (
            SELECT ctid AS place, {key_columns}, namespace, name, labels, updated_at FROM resources
            WHERE {within} ORDER BY {order} LIMIT {depth}
        ) AS walked
    ) AS walked WHERE found OR last LIMIT {limit}
) AS row
"""

# The same of a few stretches, as if they were one: a merge of index scans, which reads no row before it is wanted. Ties
# are for those who have all of the order; by the last of its keys, the type, PostgreSQL would have to sort.
_WALK_MERGED = """
SELECT * FROM (
    SELECT place, {keys}, {filters} AS found, row_number() OVER (ORDER BY {order}) = {depth} AS last FROM (
        SELECT * FROM ({branches}) AS branch ORDER BY {order} LIMIT {depth}
    ) AS walked
) AS walked WHERE found OR last ORDER BY {order} FETCH FIRST ({limit}) ROWS WITH TIES
"""

_BRANCH = """
SELECT ctid AS place, {key_columns}, namespace, name, labels, updated_at, {namespaces} AS in_namespace
FROM resources WHERE type_id = {type} AND {within} ORDER BY {order}
"""

# The same of stretches that follow each other in the order: one after the other, until there is a page.
_WALK_ON = """
SELECT * FROM (
    SELECT place, {keys}, {filters} AS found, row_number() OVER () = {depth} AS last FROM (
        SELECT row.* FROM unnest({types}, {namespaces}) AS stretch (in_type, in_namespace) CROSS JOIN LATERAL (
            SELECT ctid AS place, {key_columns}, namespace, name, labels, updated_at FROM resources
            WHERE {within} ORDER BY {order} LIMIT {depth}
        ) AS row LIMIT {depth}
    ) AS walked
) AS walked WHERE found OR last LIMIT {limit}
"""

# Nothing is known of what lies beyond the first row at which a walk gave up.
_MERGE = """
SELECT * FROM (
    SELECT row.*, bool_or(last) OVER (ORDER BY {order} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS beyond
    FROM ({parts}) AS row
) AS row WHERE beyond IS NOT TRUE ORDER BY {order} LIMIT {limit}
"""

# What was found in another order than the page's, provided that all of it was; otherwise where that was given up.
_ALL_OR_NOTHING = """
SELECT place, {keys}, found AND NOT given_up AS found, last FROM (
    SELECT row.*, bool_or(last) OVER () AS given_up FROM ({parts}) AS row
) AS row WHERE last OR NOT given_up ORDER BY {order} LIMIT {limit}
"""

# All matches through an index of the filter's. OFFSET 0 keeps every other condition out of there: the planner would
# look it up in an index of its own, from end to end. Terms are hashes, so that all is compared once more.
_MATCH = """
SELECT place, {keys}, true AS found, false AS last FROM (
    SELECT *, {terms} AS terms FROM unnest({types}, {namespaces}) AS stretch (in_type, in_namespace)
) AS stretch CROSS JOIN LATERAL (
    SELECT ctid AS place, {key_columns}, type_id, namespace, name, labels, updated_at, composition_id
    FROM resources WHERE {indexed} OFFSET 0
) AS row WHERE type_id = in_type AND {filters}
"""

_FIRST = "SELECT * FROM ({parts}) AS row ORDER BY {order} LIMIT {limit}"

COLUMNS = "r.type_id, r.uid, r.namespace, r.name, r.version, r.created_at, r.updated_at, r.composition_id"


def payload(*, raw: bool, status: bool) -> str:
    """The columns of the documents."""
    whole, part, absent = "r.raw", "r.raw -> 'status'", "NULL::jsonb"
    return f"{whole if raw else absent} AS raw, {part if status else absent} AS status"


@dataclass(frozen=True, slots=True)
class _Stretches:
    """Stretches of one kind of index: whole types, or (`within`) namespaces of types.

    The namespaces of a whole type are those that are wanted of it, as the keys of a JSON object; None: all.
    `consecutive`: they follow each other in the order of the page.
    """

    types: list[int]
    namespaces: list[str] | list[bytes | None]
    within: bool
    consecutive: bool = False

    @property
    def picky(self) -> bool:
        """Whether some of the namespaces of a type are to be passed over."""
        return not self.within and any(namespaces is not None for namespaces in self.namespaces)

    def padded(self) -> list[tuple[int | None, Any]]:
        """Each stretch, and up to the next power of two such as nothing is on: that is as many statements fewer."""
        missing = (1 << (len(self.types) - 1).bit_length()) - len(self.types)
        return [*zip(self.types, self.namespaces, strict=True), *[(None, None)] * missing]


def _types(legs: Sequence[Leg]) -> _Stretches:
    """The types of the legs, whole."""
    wanted: dict[int, dict[str, int] | None] = {}
    for leg in legs:
        if leg.namespace is None:
            wanted[leg.type_id] = None
        elif (namespaces := wanted.setdefault(leg.type_id, {})) is not None:
            namespaces[leg.namespace] = 1
    # The keys of a jsonb object are found by bisection; an array would be searched from its beginning.
    sets = [None if namespaces is None else msgspec.json.encode(namespaces) for namespaces in wanted.values()]
    return _Stretches(list(wanted), sets, within=False)


def _legs(legs: Sequence[Leg]) -> list[_Stretches]:
    """The legs themselves: whole types and namespaces apart, since they are walked on different indexes."""
    kinds = []
    if whole := [leg for leg in legs if leg.namespace is None]:
        kinds.append(_types(whole))
    if within := [leg for leg in legs if leg.namespace is not None]:
        kinds.append(_Stretches([leg.type_id for leg in within], [leg.namespace or "" for leg in within], within=True))
    return kinds


class StatementMaker:
    """Makes one statement: its text, and the arguments in the order of their numbers."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._arguments: list[Any] = []
        self._keys = [f"k{number}" for number in range(len(query.sort.keys))]
        self._key_columns = [f"{key.sql} AS k{number}" for number, key in enumerate(query.sort.keys)]
        self._limit = self._argument(query.limit + 1, "bigint")
        self._filters = self._conditions()

    def ordered(self) -> Statement:
        """Walk every leg for a page of rows, whatever they are like: it finds all there is."""
        stretches = self._consecutive_legs() or _legs(self._query.legs)
        return self._walked(stretches, 1 << (self._query.limit + 1).bit_length())

    def walked(self, rows: int) -> Statement:
        """Walk about so many rows."""
        stretches = self._consecutive_legs() or self._stretches_to_search()
        apart = 1 if any(some.consecutive for some in stretches) or _can_merge(stretches) else _count(stretches)
        return self._walked(stretches, _rounded(rows / apart))

    def recent(self, rows: int) -> Statement:
        """Collect what was updated since, and sort it; given up where a stretch has more than so many rows of that."""
        since, after = self._filters["since"], self._after(self._keys)
        parts = [
            self._walk(some, _rounded(rows), since, "updated_at DESC, uid DESC", after)
            for some in self._stretches_to_search()
        ]
        return self._page(_ALL_OR_NOTHING, parts)

    def matched(self) -> Statement:
        """Collect what matches, through the index of the filter that has one, and sort it."""
        own = next((self._filters[name] for name in ("name", "composition_id") if name in self._filters), None)
        terms = self._terms() if own is None else None
        after = self._after(self._keys)
        parts = [
            _MATCH.format(
                keys=", ".join(self._keys),
                key_columns=", ".join(self._key_columns),
                terms=terms or "NULL",
                indexed=f"{TERMS} @> stretch.terms" if terms else f"{_within(some)} AND {own or self._since()}",
                filters=self._all_filters(some.picky, after),
                **self._unnested(some),
            )
            for some in ([_types(self._query.legs)] if terms else self._stretches_to_search())
        ]
        return self._page(_FIRST, parts)

    # -- where to look -------------------------------------------------------------------------------------------------

    def _consecutive_legs(self) -> list[_Stretches]:
        """The legs in the page's order, when that is the order of their namespaces; from where the last page ended."""
        query = self._query
        if query.sort is not Sort.NAMESPACE_AND_NAME or any(leg.namespace is None for leg in query.legs):
            return []
        if len({leg.type_id for leg in query.legs}) > 1:
            return []
        namespaces = sorted({leg.namespace or "" for leg in query.legs}, reverse=query.descending)
        if query.after is not None:
            here = str(query.after[0])
            namespaces = [name for name in namespaces if (name <= here if query.descending else name >= here)]
        type_id = query.legs[0].type_id
        return [_Stretches([type_id] * len(namespaces), namespaces, within=True, consecutive=True)]

    def _stretches_to_search(self) -> list[_Stretches]:
        legs = self._query.legs
        return [_types(legs)] if len(legs) > MANY else _legs(legs)

    # -- the pieces ----------------------------------------------------------------------------------------------------

    def _argument(self, value: Any, type: str) -> str:
        self._arguments.append(value)
        return f"${len(self._arguments)}::{type}"

    def _walked(self, stretches: Sequence[_Stretches], rows: int) -> Statement:
        within = self._walked_part()
        if _can_merge(stretches):
            return self._page(_MERGE, [self._walk_merged(stretches, rows, within)])
        order = self._ordered([key.sql for key in self._query.sort.keys])
        return self._page(_MERGE, [self._walk(some, rows, within, order, "true") for some in stretches])

    def _walked_part(self) -> str:
        """Where the walk along an index begins, and where it ends."""
        after = self._after([key.sql for key in self._query.sort.keys])
        return f"{after} AND {self._since()}" if self._query.sort is Sort.UPDATED_AT else after

    def _walk_merged(self, stretches: Sequence[_Stretches], rows: int, within: str) -> str:
        order = self._ordered(self._keys[:-1])
        key_columns = ", ".join(self._key_columns)
        branches = [
            _BRANCH.format(
                key_columns=key_columns,
                type=self._argument(type_id, "integer"),
                namespaces="NULL::jsonb" if some.within else self._argument(namespaces, "jsonb"),
                within=f"namespace = {self._argument(namespaces, 'text')} AND {within}" if some.within else within,
                order=order,
            )
            for some in stretches
            for type_id, namespaces in some.padded()
        ]
        return _WALK_MERGED.format(
            keys=", ".join(self._keys),
            filters=self._all_filters(any(some.picky for some in stretches), "true"),
            branches=" UNION ALL ".join(f"({branch})" for branch in branches),
            order=order,
            depth=rows,
            limit=self._limit,
        )

    def _walk(self, some: _Stretches, rows: int, within: str, order: str, also: str) -> str:
        return (_WALK_ON if some.consecutive else _WALK).format(
            keys=", ".join(self._keys),
            key_columns=", ".join(self._key_columns),
            filters=self._all_filters(some.picky, also),
            within=f"{_within(some)} AND {within}",
            order=order,
            depth=rows,
            limit=self._limit,
            **self._unnested(some),
        )

    def _page(self, merge: str, parts: Sequence[str]) -> Statement:
        order, keys = self._ordered(self._keys), ", ".join(self._keys)
        page = merge.format(parts=" UNION ALL ".join(parts), keys=keys, order=order, limit=self._limit)
        documents = payload(raw=self._query.raw, status=self._query.status)
        return _PAGE.format(columns=COLUMNS, payload=documents, keys=keys, page=page, order=order), self._arguments

    def _unnested(self, some: _Stretches) -> dict[str, str]:
        return {
            "types": self._argument(some.types, "integer[]"),
            "namespaces": self._argument(some.namespaces, "text[]" if some.within else "jsonb[]"),
        }

    def _ordered(self, keys: Sequence[str]) -> str:
        return ", ".join(f"{key} {'DESC' if self._query.descending else 'ASC'}" for key in keys)

    def _after(self, keys: Sequence[str]) -> str:
        if self._query.after is None:
            return "true"
        position = zip(self._query.sort.keys, self._query.after, strict=True)
        values = ", ".join(self._argument(value, key.type) for key, value in position)
        return f"({', '.join(keys)}) {'<' if self._query.descending else '>'} ({values})"

    def _conditions(self) -> dict[str, str]:
        """What every row must fulfil, by the filters' names."""
        filters = self._query.filters
        conditions = {}
        if filters.name is not None:
            conditions["name"] = f"name = {self._argument(filters.name, 'text')}"
        if filters.composition_id is not None:
            # The index is on the expression, which the greatest UUID would meet where there is none.
            composition_id = self._argument(filters.composition_id, "uuid")
            conditions["composition_id"] = f"{COMPOSITION_OR_LAST} = {composition_id} AND composition_id IS NOT NULL"
        if filters.since is not None:
            conditions["since"] = f"updated_at >= {self._argument(filters.since, 'timestamptz')}"
        if filters.name_contains is not None:
            part = self._argument(filters.name_contains, "text")
            conditions["name_contains"] = f'strpos(lower(name), lower({part} COLLATE "C")) > 0'
        if filters.labels is not None:
            labels = msgspec.json.encode(dict(filters.labels))
            conditions["labels"] = f"labels @> {self._argument(labels, 'jsonb')}"
        return conditions

    def _all_filters(self, picky: bool, *others: str) -> str:
        conditions = [*self._filters.values(), *others]
        if picky:
            conditions.append("(in_namespace IS NULL OR in_namespace ? namespace)")
        return " AND ".join(conditions)

    def _since(self) -> str:
        return self._filters.get("since", "true")

    def _terms(self) -> str | None:
        """What the index of terms is to be asked for, of each type; None: nothing that it knows of."""
        filters = self._query.filters
        part = filters.name_contains or ""
        if not filters.labels and len(part) < TRIGRAM:
            return None
        labels = msgspec.json.encode(dict(filters.labels or ()))
        return f"resource_terms(in_type, {self._argument(part, 'text')}, {self._argument(labels, 'jsonb')})"


def _within(some: _Stretches) -> str:
    return "type_id = in_type AND namespace = in_namespace" if some.within else "type_id = in_type"


def _count(stretches: Sequence[_Stretches]) -> int:
    return sum(len(some.types) for some in stretches)


def _can_merge(stretches: Sequence[_Stretches]) -> bool:
    return 1 < _count(stretches) <= MANY and not any(some.consecutive for some in stretches)


def _rounded(rows: float) -> int:
    """The nearest power of two: that a number is in a statement must not make it another one each time."""
    return 1 << max(0, round(math.log2(max(rows, 1))))
