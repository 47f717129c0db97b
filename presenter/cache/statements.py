"""The statements that answer a page: a query → SQL and its arguments.

What to walk and what to search is written into them, so that little is left to the planner, whose estimates for
containment are constants. A text depends on the shape of the query only, so that it is prepared once; the only numbers
in it are bounds, rounded to powers of two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import msgspec

from presenter.cache import reads
from presenter.cache.conditions import Arguments, conditions
from presenter.cache.expressions import GLOBAL_UID, TERMS
from presenter.cache.query import Filters, Position, Query, Sort
from presenter.cache.scope import Leg

MANY = 64
"""More stretches than this are looked at as their types: few namespaces of each side by side, otherwise by passing over
what lies in others.

More than this are not walked side by side: in a merge each has its part of the statement, and of its plan.
"""

Statement = tuple[str, list[Any]]
T = TypeVar("T")

COLUMNS = "r.type_id, r.uid, r.namespace, r.name, r.version, r.created_at, r.updated_at, r.composition_id"


def payload(*, raw: bool, status: bool) -> str:
    """The columns of the documents."""
    whole, part, absent = "r.raw", "r.raw -> 'status'", "NULL::jsonb"
    return f"{whole if raw else absent} AS raw, {part if status else absent} AS status"


@dataclass(frozen=True, slots=True)
class _Stretches:
    """Stretches of one kind of index: whole types, or (`within`) namespaces of types.

    The namespaces of a whole type are those that are wanted of it; None: all.
    """

    types: list[int]
    namespaces: list[str] | list[tuple[str, ...] | None]
    within: bool

    @property
    def picky(self) -> bool:
        """Whether some of the namespaces of a type are to be passed over."""
        return not self.within and any(namespaces is not None for namespaces in self.namespaces)

    def padded(self) -> list[tuple[int | None, Any]]:
        """Each stretch, and up to the next power of two such as nothing is on."""
        return [pair or (None, None) for pair in _padded(list(zip(self.types, self.namespaces, strict=True)))]


def _padded(values: Sequence[T]) -> list[T | None]:
    """Up to the next power of two with None: that is as many statements fewer."""
    return [*values, *[None] * ((1 << (len(values) - 1).bit_length()) - len(values))]


def _types(legs: Sequence[Leg]) -> _Stretches:
    """The types of the legs, whole."""
    return _Stretches([leg.type_id for leg in legs], [leg.namespaces for leg in legs], within=False)


def _apart(legs: Sequence[Leg]) -> list[_Stretches]:
    """All stretches: whole types and namespaces apart, since they are walked on different indexes."""
    kinds = []
    if whole := [leg for leg in legs if leg.namespaces is None]:
        kinds.append(_types(whole))
    if within := [(leg.type_id, namespace) for leg in legs for namespace in leg.namespaces or ()]:
        types, namespaces = zip(*within, strict=True)
        kinds.append(_Stretches(list(types), list(namespaces), within=True))
    return kinds


def _set(members: Sequence[object] | None) -> bytes | None:
    """Members as the keys of a JSON object, which are found by bisection; an array would be searched from its start."""
    return None if members is None else msgspec.json.encode(dict.fromkeys(members, 1))


class StatementMaker:
    """Makes one statement: its text, and the arguments in the order of their numbers.

    `terms` are those of the query's filters that are looked up, where the index of terms is used.
    """

    def __init__(self, query: Query, terms: Sequence[Filters] = ()) -> None:
        self._query = query
        self._terms = terms
        self._arguments = Arguments()
        self._keys = [f"k{number}" for number in range(len(query.sort.keys))]
        self._key_columns = [f"{key.sql} AS k{number}" for number, key in enumerate(query.sort.keys)]

    @cached_property
    def _limit(self) -> str:
        return self._arguments.add(self._query.limit + 1, "bigint")

    @cached_property
    def _filters(self) -> dict[str, str]:
        return conditions(self._query.filters, self._arguments)

    def ordered(self) -> Statement:
        """Walk every stretch for a page of rows, whatever they are like: it finds all there is.

        Besides the page and one more there may be rows that differ by their type only: from the position, and from the
        last row, of which nothing is known.
        """
        page = 1 << (self._query.limit + 1 + 2 * len(self._type_ids)).bit_length()
        return self._walked(_apart(self._query.legs), page, page)

    def walked(self, rows: int) -> Statement:
        """Walk about so many rows."""
        stretches = self._stretches_to_search()
        return self._walked(stretches, _rounded(rows), _rounded(min(rows, 2 * rows / _count(stretches))))

    def matched(self) -> Statement:
        """Collect what matches, through the index of the filter that has one, and sort it."""
        return self._page(reads.FIRST, self._matches())

    def few_matched(self, few: int) -> Statement:
        """The same, but when there are as many as that, find only how far is far enough."""
        return self._page(reads.FIRST_OF_FEW, self._matches(), few=_rounded(few))

    def matched_up_to(self, end: Position | None) -> Statement:
        """The same, through the index of the order, too: from the position to an end, if there is one."""
        return self._page(reads.FIRST, self._matches(*self._stretch(end)))

    def shares(self, terms: Sequence[Filters], objects: int) -> Statement:
        """Of about so many objects the shares that bear each of the terms."""
        bearing = (condition for term in terms for condition in conditions(term, self._arguments).values())
        return self._sampled(list(bearing), objects)

    def shares_up_to(self, end: Position | None, objects: int) -> Statement:
        """Of about so many objects the share that matches, and the share that lies between the position and an end."""
        return self._sampled([" AND ".join(self._filters.values()), " AND ".join(self._stretch(end))], objects)

    # -- where to look -------------------------------------------------------------------------------------------------

    @property
    def _type_ids(self) -> list[int]:
        return sorted(leg.type_id for leg in self._query.legs)

    @property
    def _namespaces(self) -> list[str]:
        sets = {leg.namespaces or () for leg in self._query.legs}
        return sorted(set().union(*sets), reverse=self._query.descending)

    def _are_in_order(self) -> bool:
        """Whether the page's order is that of the namespaces, each of few types."""
        in_order = self._query.sort is Sort.NAMESPACE_AND_NAME
        return in_order and not self._has_whole_types and len(self._query.legs) <= MANY

    def _are_few(self) -> bool:
        """Whether there are many stretches, but only few namespaces to each type."""
        return self._query.stretches > MANY >= len(self._namespaces) and not self._has_whole_types

    @property
    def _has_whole_types(self) -> bool:
        return any(leg.namespaces is None for leg in self._query.legs)

    def _start(self, namespace: str) -> tuple[str, str, str] | None:
        """Where in the order by namespace and name to begin within a namespace; None: the last page was beyond it."""
        if self._query.after is not None:
            here, name, uid, _ = map(str, self._query.after)
            if namespace == here:
                return here, name, uid
            if (namespace > here) is self._query.descending:
                return None
        # In descending order that is the least of what is greater.
        return namespace + "\x01" if self._query.descending else namespace, "", ""

    def _stretches_to_search(self) -> list[_Stretches]:
        legs = self._query.legs
        return [_types(legs)] if self._query.stretches > MANY else _apart(legs)

    def _stretches_to_match(self) -> list[_Stretches]:
        """Types, since terms are of a type: the whole ones and the others apart, which are found by an index more."""
        legs = self._query.legs
        kinds = ([leg for leg in legs if leg.namespaces is None], [leg for leg in legs if leg.namespaces is not None])
        return [_types(kind) for kind in kinds if kind]

    # -- the pieces ----------------------------------------------------------------------------------------------------

    def _walked(self, stretches: Sequence[_Stretches], rows: int, rows_of_each: int) -> Statement:
        """Walk so many rows side by side, or so many of each stretch."""
        if self._are_in_order():
            part = [self._walk_on(rows)]
        elif self._are_few():
            part = [self._walk_types(rows_of_each)]
        elif 1 < _count(stretches) <= MANY:
            part = [self._walk_merged(stretches, rows)]
        else:
            part = [self._walk(some, rows_of_each) for some in stretches]
        return self._page(reads.MERGE, part)

    def _walked_part(self) -> str:
        """Where the walk along an index begins, and where it ends."""
        after = self._after([key.sql for key in self._query.sort.keys])
        return f"{after} AND {self._since()}" if self._query.sort is Sort.UPDATED_AT else after

    def _walk_merged(self, stretches: Sequence[_Stretches], rows: int) -> str:
        within = self._walked_part()
        merged = [branch for some in stretches for branch in self._branches(some, within)]
        return reads.WALK_MERGED.format(
            keys=", ".join(self._keys),
            filters=self._all_filters(any(some.picky for some in stretches), self._after(self._keys)),
            branches=self._side_by_side(merged),
            order=self._ordered(self._keys[:-1]),
            depth=rows,
            limit=self._limit,
        )

    def _branches(self, some: _Stretches, within: str) -> Iterator[str]:
        shared = None
        if not some.within and len(set(some.namespaces)) == 1:
            shared = self._arguments.add(_set(some.namespaces[0]), "jsonb")
        for type_id, namespaces in some.padded():
            of_type = f"type_id = {self._arguments.add(type_id, 'integer')}"
            if some.within:
                yield self._rows(f"{of_type} AND {self._within_one(namespaces, within)}")
            else:
                yield self._rows(f"{of_type} AND {within}", shared or self._arguments.add(_set(namespaces), "jsonb"))

    def _within_one(self, namespace: str | None, within: str) -> str:
        if self._query.sort is not Sort.NAMESPACE_AND_NAME:
            return f"namespace = {self._arguments.add(namespace, 'text')} AND {within}"
        start = None if namespace is None else self._start(namespace)
        values = (self._arguments.add(value, "text") for value in start or (None, None, None))
        return self._from(", ".join(values), self._arguments.add(namespace, "text"))

    def _walk_on(self, rows: int) -> str:
        starts = {name: start for name in self._namespaces if (start := self._start(name)) is not None}
        types_of = self._types_of_namespaces()
        within = self._from("from_namespace, from_name, from_uid", "in_namespace")
        types = [self._arguments.add(type_id, "integer") for type_id in _padded(self._type_ids)]
        merged = [self._rows(f"type_id = {type_id} AND in_types ? {type_id}::text AND {within}") for type_id in types]
        return reads.WALK_ON.format(
            keys=", ".join(self._keys),
            filters=self._all_filters(False, self._after(self._keys)),
            namespaces=self._arguments.add(list(starts), "text[]"),
            types=self._sets([types_of[namespace] for namespace in starts]),
            from_namespaces=self._arguments.add([start[0] for start in starts.values()], "text[]"),
            from_names=self._arguments.add([start[1] for start in starts.values()], "text[]"),
            from_uids=self._arguments.add([start[2] for start in starts.values()], "text[]"),
            branches=self._side_by_side(merged),
            order=self._ordered(self._keys[:-1]),
            depth=rows,
            limit=f"{self._limit} + {len(merged) - 1}",
        )

    def _types_of_namespaces(self) -> dict[str, tuple[int, ...]]:
        alike: dict[tuple[str, ...], tuple[int, ...]] = {}
        for leg in self._query.legs:
            alike[leg.namespaces or ()] = (*alike.get(leg.namespaces or (), ()), leg.type_id)
        types: dict[str, tuple[int, ...]] = {}
        for namespaces, type_ids in alike.items():
            types.update((namespace, types.get(namespace, ()) + type_ids) for namespace in namespaces)
        return types

    def _walk_types(self, rows: int) -> str:
        """One type after the other, its namespaces side by side."""
        within = f"type_id = in_type AND {self._walked_part()}"
        namespaces = [self._arguments.add(name, "text") for name in _padded(self._namespaces)]
        merged = [self._rows(f"namespace = {name} AND in_namespace ? {name} AND {within}") for name in namespaces]
        rows_of_type = f"SELECT * FROM ({self._side_by_side(merged)}) AS branch"
        return self._walked_apart(_types(self._query.legs), rows_of_type, self._keys[:-1], rows, picky=False)

    def _walk(self, some: _Stretches, rows: int) -> str:
        order = [key.sql for key in self._query.sort.keys]
        rows_of_each = self._rows(f"{_within(some)} AND {self._walked_part()}", "stretch.in_namespace")
        return self._walked_apart(some, rows_of_each, order, rows, picky=some.picky)

    def _walked_apart(
        self, some: _Stretches, rows_of_each: str, order: Sequence[str], rows: int, *, picky: bool
    ) -> str:
        return reads.WALK.format(
            keys=", ".join(self._keys),
            rows=rows_of_each,
            filters=self._all_filters(picky, "true"),
            order=self._ordered(order),
            depth=rows,
            limit=self._limit,
            **self._unnested(some),
        )

    def _rows(self, within: str, namespaces: str = "NULL::jsonb") -> str:
        return reads.ROWS.format(key_columns=", ".join(self._key_columns), within=within, namespaces=namespaces)

    def _side_by_side(self, merged: Sequence[str]) -> str:
        order = self._ordered([key.sql for key in self._query.sort.keys][:-1])
        return " UNION ALL ".join(f"({rows} ORDER BY {order})" for rows in merged)

    def _from(self, start: str, namespace: str) -> str:
        """One namespace in the order by namespace and name, from a start on: a range with one beginning and one end.

        Given a namespace and a position, PostgreSQL would begin at either.
        """
        onwards, back = ("<=", ">=") if self._query.descending else (">=", "<=")
        return f"(namespace, name, uid) {onwards} ({start}) AND namespace {back} {namespace}"

    def _matches(self, *stretch: str) -> list[str]:
        if self._terms:
            return self._matches_of_terms(*stretch)
        found = self._own_filter() or self._since()
        stretches = self._stretches_to_search()
        return [self._found(some, " AND ".join([_within(some), found, *stretch])) for some in stretches]

    def _matches_of_terms(self, *stretch: str) -> list[str]:
        """Where few namespaces or a stretch narrow it down, these are looked up, too: only what all lead to is read."""
        parts = []
        for some in self._stretches_to_match():
            namespaces = max(len(wanted or ()) for wanted in some.namespaces)
            terms = self._looked_up()
            if namespaces == 1:
                asked = [f"{TERMS} @> ({terms} || {reads.NAMESPACE_TERMS})"]
            elif 1 < namespaces <= MANY:
                asked = [f"{TERMS} @> ({terms})", f"{TERMS} && {reads.NAMESPACE_TERMS}"]
            else:
                asked = [f"{TERMS} @> ({terms})"]
            if stretch:
                asked += [*stretch, "type_id = in_type"]
            parts.append(self._found(some, " AND ".join(asked)))
        return parts

    def _found(self, some: _Stretches, indexed: str) -> str:
        return reads.MATCH.format(
            keys=", ".join(self._keys),
            key_columns=", ".join(self._key_columns),
            indexed=indexed,
            filters=self._all_filters(some.picky, self._after(self._keys)),
            **self._unnested(some),
        )

    def _sampled(self, conditions: Sequence[str], objects: int) -> Statement:
        sql = reads.SHARES.format(
            shares=", ".join(f"coalesce(avg(({condition})::integer), 0)::float8" for condition in conditions),
            types=self._arguments.add(self._type_ids, "integer[]"),
            uid=GLOBAL_UID,
            few=_rounded(objects / len(self._type_ids)),
        )
        return sql, self._arguments

    def _page(self, merge: str, parts: Sequence[str], **more: int) -> Statement:
        order, keys = self._ordered(self._keys), ", ".join(self._keys)
        page = merge.format(
            parts=" UNION ALL ".join(parts),
            keys=keys,
            order=order,
            ties=self._ordered(self._keys[:-1]),
            limit=self._limit,
            **more,
        )
        documents = payload(raw=self._query.raw, status=self._query.status)
        return reads.PAGE.format(columns=COLUMNS, payload=documents, keys=keys, page=page, order=order), self._arguments

    def _unnested(self, some: _Stretches) -> dict[str, str]:
        return {
            "types": self._arguments.add(some.types, "integer[]"),
            "namespaces": self._arguments.add(some.namespaces, "text[]")
            if some.within
            else self._sets(some.namespaces),
        }

    def _sets(self, sets: Sequence[Any]) -> str:
        """Sets in this order; those that are alike, as most are, are sent and understood once."""
        numbers = {members: number for number, members in enumerate(dict.fromkeys(sets), start=1)}
        distinct = self._arguments.add([_set(members) for members in numbers], "jsonb[]")
        order = self._arguments.add([numbers[members] for members in sets], "integer[]")
        return f"ARRAY(SELECT ({distinct})[number] FROM unnest({order}) AS number)"

    def _ordered(self, keys: Sequence[str]) -> str:
        return ", ".join(f"{key} {'DESC' if self._query.descending else 'ASC'}" for key in keys)

    def _after(self, keys: Sequence[str]) -> str:
        return "true" if self._query.after is None else self._compared(keys, self._query.after, ">", "<")

    def _stretch(self, end: Position | None) -> tuple[str, str]:
        columns = [key.sql for key in self._query.sort.keys]
        return self._after(columns), "true" if end is None else self._compared(columns, end, "<=", ">=")

    def _compared(self, keys: Sequence[str], position: Position, ascending: str, descending: str) -> str:
        values = zip(self._query.sort.keys, position, strict=True)
        there = ", ".join(self._arguments.add(value, key.type) for key, value in values)
        return f"({', '.join(keys)}) {descending if self._query.descending else ascending} ({there})"

    def _all_filters(self, picky: bool, *others: str) -> str:
        conditions = [*self._filters.values(), *others]
        if picky:
            conditions.append("(in_namespace IS NULL OR in_namespace ? namespace)")
        return " AND ".join(conditions)

    def _since(self) -> str:
        return self._filters.get("since", "true")

    def _own_filter(self) -> str | None:
        """The condition of a filter that finds little through an index of its own."""
        return next((self._filters[name] for name in ("name", "composition_id") if name in self._filters), None)

    def _looked_up(self) -> str:
        """The terms as the index has them."""
        pieces = [(term.name_contains, b"{}") for term in self._terms if term.name_contains]
        labels = dict(pair for term in self._terms for pair in term.labels or ())
        asked = [*pieces, *([("", msgspec.json.encode(labels))] if labels else [])]
        add = self._arguments.add
        return " || ".join(
            f"resource_terms(in_type, '', {add(name, 'text')} COLLATE \"C\", {add(labels, 'jsonb')})"
            for name, labels in asked
        )


def _within(some: _Stretches) -> str:
    return "type_id = in_type AND namespace = in_namespace" if some.within else "type_id = in_type"


def _count(stretches: Sequence[_Stretches]) -> int:
    return sum(len(some.types) for some in stretches)


def _rounded(rows: float) -> int:
    """The nearest power of two: that a number is in a statement must not make it another one each time."""
    return 1 << max(0, round(math.log2(max(rows, 1))))
