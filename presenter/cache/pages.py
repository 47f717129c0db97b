"""Every read of objects: a query → one page.

A page walks an index in order from a position, and costs what it returns. A filter without an order of its own (labels,
part of a name, since, very many namespaces) is first tried while walking a bounded stretch. Where its matches are too
thin on the ground, they are collected through the filter's own index and sorted, or the namespaces are walked one by
one. That choice is made here and not left to the planner, whose estimates for containment are constants.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from presenter.cache.query import Filters, Page, Position, Query, Row, Sort
from presenter.cache.scope import Leg
from presenter.cache.tables import COMPOSITION_OR_LAST, TYPED_LABELS

if TYPE_CHECKING:
    import asyncpg

    from presenter.cache.pool import Pool

WALK_BASE, WALK_PER_ROW = 1000, 20
"""Rows a filtered walk looks at before it gives up: as many as are cheap to read, more for larger pages."""

CROWD = 64
"""More namespaces than this are first taken for a filter on the whole type: a page's worth of each would be much."""

# -- statements ------------------------------------------------------------------------------------------------------

_OBJECT = """
SELECT {columns}, {payload} FROM resources r WHERE cluster = {cluster} AND type_id = ANY ({types}) AND uid = {uid}
"""

# Keys first, documents last: only the rows of the page are read whole.
_PAGE = """
SELECT {columns}, {payload}, {keys} FROM ({page}) AS page
JOIN resources r ON r.cluster = page.cluster AND r.type_id = page.type_id AND r.uid = page.uid
ORDER BY {order}
"""

# An index is walked from the position on, until the page is full.
_SEEK = """
SELECT cluster, type_id, uid, {keys} FROM resources WHERE {leg} AND {after} ORDER BY {order} LIMIT {limit}
"""

# Several legs are walked for a page each, and the first of them all taken.
_MERGE = """
SELECT page.* FROM unnest({types}, {namespaces}) AS leg (type_id, namespace) CROSS JOIN LATERAL ({seek}) AS page
ORDER BY {order} LIMIT {limit}
"""

# The filter is tried on a bounded stretch of the walk. A full page is the page; anything less proves nothing.
_WALK = """
SELECT * FROM (
    SELECT cluster, type_id, uid, {keys}, namespace, name, labels, updated_at FROM resources
    WHERE {leg} AND {after} ORDER BY {order} LIMIT {budget}
) AS page WHERE {filters} ORDER BY {merged_order} LIMIT {limit}
"""

# All matches, each type's through the filter's own index; OFFSET 0 keeps the planner from walking the order instead.
_MATCH = """
SELECT page.* FROM unnest({types}, {labels}) AS wanted (type_id, labels) CROSS JOIN LATERAL (
    SELECT cluster, type_id, uid, {keys} FROM resources
    WHERE resources.type_id = wanted.type_id AND {namespaces} AND {filters} AND {after} OFFSET 0
) AS page ORDER BY {order} LIMIT {limit}
"""

_COLUMNS = "r.type_id, r.uid, r.namespace, r.name, r.version, r.created_at, r.updated_at, r.composition_id"


_STATUS = "r.raw -> 'status'"


async def read_page(pool: Pool, query: Query) -> Page:
    """Read one page. Raises DatabaseUnavailable and its kin."""
    if not query.legs:
        return Page([], None)
    records: Sequence[asyncpg.Record] = []
    async with pool.connection() as connection:
        for sql, arguments in _attempts(query):
            records = await connection.fetch(sql, *arguments)
            if len(records) > query.limit:
                break
    rows = [_row(record) for record in records[: query.limit]]
    return Page(rows, _position(query.sort, records[query.limit - 1]) if len(records) > query.limit else None)


async def read_object(
    pool: Pool, cluster: str, types: Sequence[int], uid: str, *, raw: bool, status: bool
) -> Row | None:
    """Read one object by its uid, among some types of its cluster. Raises DatabaseUnavailable and its kin."""
    sql = _OBJECT.format(
        columns=_COLUMNS,
        payload=_payload(raw=raw, status=status),
        cluster="$1",
        types="$2::integer[]",
        uid="$3",
    )
    async with pool.connection() as connection:
        record = await connection.fetchrow(sql, cluster, list(types), uid)
    return None if record is None else _row(record)


def _attempts(query: Query) -> Iterator[tuple[str, list[Any]]]:
    """The statements to try, until one fills the page; the last one's answer stands."""
    filters = query.filters
    crowded = len(query.legs) > CROWD and _one_type_by_namespaces(query.legs)
    indexed = filters.name is not None or filters.composition_id is not None
    unfiltered = filters == Filters()
    if not indexed and (crowded or (len(query.legs) == 1 and not unfiltered)):
        yield _Statement(query).walked()
    yield _Statement(query).ordered() if unfiltered else _Statement(query).matched()


class _Statement:
    """One statement in the making: its text, and the arguments in the order of their numbers."""

    def __init__(self, query: Query) -> None:
        self.query = query
        self.arguments: list[Any] = []
        self.direction = "DESC" if query.descending else "ASC"
        self.keys = ", ".join(f"{key.sql} AS k{number}" for number, key in enumerate(query.sort.keys))
        self.order = ", ".join(f"{key.sql} {self.direction}" for key in query.sort.keys)
        self.merged_order = ", ".join(f"page.k{number} {self.direction}" for number in range(len(query.sort.keys)))
        self.limit = self._argument(query.limit + 1, "bigint")

    def ordered(self) -> tuple[str, list[Any]]:
        """Walk the order, without filters."""
        after = self._after()
        if len(self.query.legs) == 1:
            return self._whole(self._seek(self._leg(self.query.legs[0]), after))
        parts = []
        for legs in self._kinds_of_legs():
            within = "type_id = leg.type_id"
            if legs[0].namespace is not None:
                within += " AND namespace = leg.namespace"
            parts.append(
                _MERGE.format(
                    types=self._argument([leg.type_id for leg in legs], "integer[]"),
                    namespaces=self._argument([leg.namespace for leg in legs], "text[]"),
                    seek=self._seek(within, after),
                    order=self.merged_order,
                    limit=self.limit,
                )
            )
        return self._whole(self._first_of(parts))

    def walked(self) -> tuple[str, list[Any]]:
        """Try the filters on the first stretch of the only leg, or of the type that all legs are of."""
        query = self.query
        labels = None if query.filters.labels is None else msgspec.json.encode(dict(query.filters.labels))
        conditions = self._conditions()
        if labels is not None:
            conditions.append(f"labels @> {self._argument(labels, 'jsonb')}")
        leg = query.legs[0]
        if len(query.legs) > 1:
            # The keys of a jsonb object are found by bisection; an array would be searched from its beginning.
            namespaces = msgspec.json.encode(dict.fromkeys((leg.namespace for leg in query.legs), 1))
            conditions.append(f"{self._argument(namespaces, 'jsonb')} ? namespace")
            leg = Leg(leg.type_id)
        return self._whole(
            _WALK.format(
                keys=self.keys,
                leg=self._leg(leg),
                after=self._after(),
                order=self.order,
                merged_order=self.merged_order,
                budget=self._argument(WALK_BASE + WALK_PER_ROW * query.limit, "bigint"),
                filters=" AND ".join(conditions) or "true",
                limit=self.limit,
            )
        )

    def matched(self) -> tuple[str, list[Any]]:
        """Collect what matches, and sort it."""
        labels = self.query.filters.labels
        conditions = self._conditions()
        if labels is not None:
            conditions.append(f"{TYPED_LABELS} @> wanted.labels")
        filters, after = " AND ".join(conditions) or "true", self._after()
        parts = []
        for legs in self._kinds_of_legs():
            types = sorted({leg.type_id for leg in legs})
            wanted = [None if labels is None else _typed_labels(labels, type_id) for type_id in types]
            parts.append(
                _MATCH.format(
                    types=self._argument(types, "integer[]"),
                    labels=self._argument(wanted, "jsonb[]"),
                    keys=self.keys,
                    namespaces=self._in_namespaces(legs),
                    filters=filters,
                    after=after,
                    order=self.merged_order,
                    limit=self.limit,
                )
            )
        return self._whole(self._first_of(parts))

    # -- the pieces ----------------------------------------------------------------------------------------------------

    def _argument(self, value: Any, type: str) -> str:
        self.arguments.append(value)
        return f"${len(self.arguments)}::{type}"

    def _whole(self, page: str) -> tuple[str, list[Any]]:
        keys = ", ".join(f"page.k{number}" for number in range(len(self.query.sort.keys)))
        payload = _payload(raw=self.query.raw, status=self.query.status)
        sql = _PAGE.format(columns=_COLUMNS, payload=payload, keys=keys, page=page, order=self.merged_order)
        return sql, self.arguments

    def _seek(self, leg: str, after: str) -> str:
        return _SEEK.format(keys=self.keys, leg=leg, after=after, order=self.order, limit=self.limit)

    def _first_of(self, parts: Sequence[str]) -> str:
        if len(parts) == 1:
            return parts[0]
        union = " UNION ALL ".join(f"({part})" for part in parts)
        return f"SELECT * FROM ({union}) AS page ORDER BY {self.merged_order} LIMIT {self.limit}"

    def _kinds_of_legs(self) -> Iterator[list[Leg]]:
        """Whole types and namespaces apart, since they are walked on different indexes."""
        for whole in (True, False):
            if legs := [leg for leg in self.query.legs if (leg.namespace is None) is whole]:
                yield legs

    def _leg(self, leg: Leg) -> str:
        within = f"type_id = {self._argument(leg.type_id, 'integer')}"
        if leg.namespace is not None:
            within += f" AND namespace = {self._argument(leg.namespace, 'text')}"
        return within

    def _in_namespaces(self, legs: Sequence[Leg]) -> str:
        if legs[0].namespace is None:
            return "true"
        types = self._argument([leg.type_id for leg in legs], "integer[]")
        namespaces = self._argument([leg.namespace for leg in legs], "text[]")
        return f"(resources.type_id, resources.namespace) IN (SELECT * FROM unnest({types}, {namespaces}))"

    def _after(self) -> str:
        if self.query.after is None:
            return "true"
        keys = self.query.sort.keys
        columns = ", ".join(key.sql for key in keys)
        values = ", ".join(self._argument(value, key.type) for key, value in zip(keys, self.query.after, strict=True))
        return f"({columns}) {'<' if self.query.descending else '>'} ({values})"

    def _conditions(self) -> list[str]:
        """The filters but for labels, which are asked for in two ways."""
        filters = self.query.filters
        conditions = []
        if filters.name is not None:
            conditions.append(f"name = {self._argument(filters.name, 'text')}")
        if filters.name_contains is not None:
            conditions.append(f"strpos(lower(name), lower({self._argument(filters.name_contains, 'text')})) > 0")
        if filters.since is not None:
            conditions.append(f"updated_at >= {self._argument(filters.since, 'timestamptz')}")
        if filters.composition_id is not None:
            # The index is on the expression, which the greatest UUID would meet where there is none.
            conditions.append(f"{COMPOSITION_OR_LAST} = {self._argument(filters.composition_id, 'uuid')}")
            conditions.append("composition_id IS NOT NULL")
        return conditions


def _one_type_by_namespaces(legs: Sequence[Leg]) -> bool:
    return all(leg.type_id == legs[0].type_id and leg.namespace is not None for leg in legs)


def _typed_labels(labels: Sequence[tuple[str, str]], type_id: int) -> bytes:
    return msgspec.json.encode({"": type_id, **dict(labels)})


def _payload(*, raw: bool, status: bool) -> str:
    absent = "NULL::jsonb"
    return f"{'r.raw' if raw else absent} AS raw, {_STATUS if status else absent} AS status"


def _row(record: asyncpg.Record) -> Row:
    composition_id = record["composition_id"]
    return Row(
        type_id=record["type_id"],
        uid=record["uid"],
        namespace=record["namespace"],
        name=record["name"],
        version=record["version"],
        created_at=record["created_at"],
        updated_at=record["updated_at"],
        composition_id=None if composition_id is None else str(composition_id),
        raw=record["raw"],
        status=record["status"],
    )


def _position(sort: Sort, record: asyncpg.Record) -> Position:
    values = (record[f"k{number}"] for number in range(len(sort.keys)))
    return tuple(str(value) if key.type == "uuid" else value for key, value in zip(sort.keys, values, strict=True))
