"""The plan of a page: every choice of how to read it, as values. There is no SQL and no I/O in it.

A page is walked along an index in its order, from a position on, and costs what it returns. Filters are tried on the
way, for a bounded number of rows. Where their matches are too thin on the ground, all matches are collected through the
filter's own index and sorted; of very many only those that lie before the end of the page, which a few of them tell,
unless a sample says that this costs more. PostgreSQL could not choose so: its estimates for containment are constants.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, Protocol
from uuid import UUID

import msgspec

from presenter.cache.query import Filters, KeyValue, Position, Query, Sort

MANY = 64
"""More ranges than this are scanned as their types: few namespaces of each side by side, otherwise by passing over what
lies in others.

More than this are not merged: in a merge each has its part of the statement, and of PostgreSQL's plan.
"""

WALK_BASE, WALK_PER_ROW = 1000, 20
"""Rows that a walk looks at before it gives up: as many as are cheap to read, more for larger pages."""

FIRST_STEPS = 8
"""The walk first looks at this fraction of them, by which it is decided whether to go on."""

SAMPLE = 512
"""Objects in a sample, by which it is estimated how many match, or have a term."""

PER_MATCH = 20
"""The cost of collecting a match, in index entries looked up."""

COUNTED, COUNTED_ROWS = 2**17, 2**14
"""So many index entries are counted at most, or rows, where a filter needs these; of more it is estimated how many
match."""

SAMPLE_OF_MATCHES = 4096
"""Objects in the sample by which that is estimated: among so many are dozens of those that are too many to count."""

SAMPLE_OF_KEYS = 1024
"""Objects in the sample in which one near an offset is looked for: it is as far away as is cheap to walk."""

TRIGRAM = 3
"""The shortest part of a name that can be looked up."""

_TRIGRAMS = 8
"""So many trigrams of a part of a name are looked up at most."""

_BY_EXPRESSION = (Sort.GLOBAL_UID, Sort.COMPOSITION_ASCENDING, Sort.COMPOSITION_DESCENDING)
"""Orders by an expression, for which PostgreSQL reads rows; and by the uid, of which samples are the least."""

_FILTERS = ("name", "composition_id", "since", "name_contains", "labels")
_json = msgspec.json.encode

ScanKind = Literal[
    "walk of one",
    "walk nested",
    "walk merge",
    "walk by type",
    "walk by namespace",
    "collect",
    "probe",
    "sample of terms",
    "sample of distance",
    "offset",
    "count",
    "sample of keys",
    "sample of matches",
]
LookedUp = Literal["none", "one", "few"]


class Record(Protocol):
    """A row that a statement returned."""

    def __getitem__(self, column: str, /) -> Any: ...


class Ranges(NamedTuple):
    """Scan ranges of one kind: types as a whole, or (`within`) a namespace of a type each.

    `selective`: of some of the types not all namespaces are wanted, and what lies in others is passed over.
    `branches`: so many are the parts of a merge. `looked_up`: how many of the namespaces are terms to look up as well.
    """

    within: bool
    selective: bool
    branches: int = 0
    looked_up: LookedUp = "none"


class Scan(NamedTuple):
    """What is read, and how: all that a statement's text depends on.

    A *walk* looks at so many rows at most, in the order of the page from its position on, and keeps those that match.
    Of one range, all of whose rows match, it reads the page and nothing else. Other ranges are brought together in one
    of four ways. Nested: `rows_of_each`, which are sorted. Merge: as if they
    were one, by a merge of index scans. By type: type by type, merging the namespaces of each. By namespace: one after
    the other, which is the order of the page, merging the types of each.

    To *collect* is to find all that matches `by` an index of the filter's, and to sort it; a *probe* stops at so
    many matches, and then only tells how far is far enough. `bounded`: what lies between the position of the page and
    an end (`ends`), or the end of the order, is looked up in the index of the order, too.

    A *sample* of some objects of each type tells which shares bear each of the terms, or match and lie between; how
    many match in all; or the keys of one that has about so many before it.

    An *offset* passes over rows that all match, in an index alone; a *count* counts matches, up to `rows` if these are
    given.
    `keys`: of all that is found it is told only how much that is, and where the last of it lies.
    """

    kind: ScanKind
    sort: Sort
    reverse: bool
    resumed: bool
    filters: tuple[str, ...]
    clusters: bool
    documents: tuple[bool, bool]
    ranges: tuple[Ranges, ...]
    rows: int = 0
    rows_of_each: int = 0
    by: Literal["", "terms", "name", "composition_id", "since", "type"] = ""
    labels: int = 0
    trigrams: int = 0
    bounded: bool = False
    ends: bool = False
    items: bool = False
    keys: bool = False


class Step(NamedTuple):
    """One statement: the scan, its values by their names, and why it comes next."""

    scan: Scan
    values: Mapping[str, Any]
    why: str


class Terms(NamedTuple):
    """Terms to look up in their index: labels, and trigrams of a part of the name."""

    labels: tuple[tuple[str, str], ...] = ()
    trigrams: tuple[str, ...] = ()


_NO_TERMS = Terms()


class _Part(NamedTuple):
    """Ranges of one kind, each by its cluster, its type, and one namespace or those wanted of the type."""

    within: bool
    ranges: Sequence[tuple[str, int, Any]]
    looked_up: LookedUp = "none"


class _Answer(NamedTuple):
    """The rows that match, and how many: `complete` when they fill the page, or when there are no others."""

    found: Sequence[Record]
    matches: int
    complete: bool


Plan = Generator[Step, Sequence[Record], Sequence[Record]]
Offset = Generator[Step, Sequence[Record], Position | None]


class Total(NamedTuple):
    """How many objects match; `estimated`, where they are too many to count."""

    items: int
    estimated: bool = False


def plan(query: Query) -> Plan:
    """The steps to a page: each is sent what its statement returned, until the rows of the page are returned.

    These are in the order of the walk; where there are more than fit on the page, one of those comes with them.
    """
    bound = WALK_BASE + WALK_PER_ROW * query.limit
    filters, ranges = query.filters, query.index_ranges
    if _every_row_matches(query):
        if ranges > MANY and ranges * query.limit > bound:
            answer = _answer(query, (yield _walk(query, "many ranges, which may fill the page together", bound)))
            if answer.complete:
                return answer.found
        return _answer(query, (yield _walk(query, "every row matches"))).found
    if filters.name is not None or filters.composition_id is not None:
        return _answer(query, (yield _collect(query, "the filter's own index finds little"))).found

    answer = _answer(query, (yield _walk(query, "matches may be frequent", bound // FIRST_STEPS)))
    if not answer.complete and answer.matches * FIRST_STEPS > query.limit:
        answer = _answer(query, (yield _walk(query, "matches were frequent so far", bound)))
    return answer.found if answer.complete else (yield from _rare(query, bound))


def offset(query: Query, rows: int) -> Offset:
    """The steps to the position behind so many rows, from that of the query on; None where there are not so many."""
    query = replace(query, raw=False, status=False, items=False, keys=True)
    if query.index_ranges > MANY and _every_row_matches(query) and query.sort not in _BY_EXPRESSION:
        return (yield from _counted_to(query, rows))
    if query.index_ranges > MANY or not _every_row_matches(query):
        return (yield from _walked_to(query, rows))
    parts, values = _split_ranges(query), dict[str, Any](offset=rows)
    if query.sort is Sort.NAMESPACE_AND_NAME and parts[-1].within:
        values |= _starts(query, [namespace for _, _, namespace in parts[-1].ranges])
    found = yield _step(query, "every row matches", "offset", parts, values)
    return position(query.sort, found[0]) if found else None


def _walked_to(query: Query, rows: int) -> Offset:
    """As to a page of so many rows, of which the last is wanted."""
    found = yield from plan(replace(query, limit=rows - 1))
    return position(query.sort, found[0]) if found and found[0]["count"] == rows else None


def _counted_to(query: Query, rows: int) -> Offset:
    """Of very many ranges: what lies before some object near there is counted, and little has to be walked from it."""
    types, of_each = [_Part(False, query.ranges)], _rounded(SAMPLE_OF_KEYS / len(query.ranges))
    found = yield _step(query, "an object near there", "sample of keys", types, {"offset": rows}, rows=of_each)
    if not found:
        return (yield from _walked_to(query, rows))
    near = position(query.sort, found[0])
    [counted] = yield _collect(query, "how many lie before it", kind="count", bounded=True, end=near)
    ahead = rows - counted["count"]
    if ahead == 0:
        return near
    query = replace(query, after=near, backward=query.backward is (ahead > 0))
    return (yield from _walked_to(query, abs(ahead)))


def total(query: Query) -> Generator[Step, Sequence[Record], Total]:
    """The steps to how many objects match, wherever they lie."""
    query = replace(query, after=None)
    terms = terms_of(query.filters)
    rows = COUNTED_ROWS if any(terms) else COUNTED
    [counted] = yield _collect(query, "matches are counted as far as is cheap", terms, kind="count", rows=rows)
    if not counted["more"]:
        return Total(counted["count"])
    types = [_Part(False, query.ranges)]
    rows = _rounded(SAMPLE_OF_MATCHES / len(query.ranges))
    [sampled] = yield _step(query, "there are more than that", "sample of matches", types, {}, rows=rows)
    return Total(max(counted["count"], round(sampled["estimate"])), True)


def _rare(query: Query, bound: int) -> Plan:
    """The steps to a page of rare matches."""
    terms = terms_of(query.filters)
    if len(terms.labels) + len(terms.trigrams) > 1:
        [shares] = yield _sample(query, "what most objects bear need not be looked up", terms)
        terms = _selective(terms, shares["shares"])
    probed = yield _collect(query, "matches are rare", terms, kind="probe", rows=_rounded(bound))
    answer = _answer(query, probed)
    if not _gave_up(probed):
        return answer.found
    end = position(query.sort, answer.found[0]) if answer.found else None
    if end is not None or query.after is not None:
        far = False
        if query.sort is not Sort.GLOBAL_UID:  # the order of the sample, in which nothing lies together
            [shares] = yield _sample(query, "to collect all may cost less than to pass what lies between", end=end)
            matching, between = shares["shares"]
            far = PER_MATCH * max(matching, 1 / SAMPLE) < between
        if not far:
            why = "many match, and little lies before the end of the page"
            answer = _answer(query, (yield _collect(query, why, terms, bounded=True, end=end)))
            if end is None or answer.matches > query.limit:
                return answer.found
    return _answer(query, (yield _collect(query, "many match, and the page may end anywhere", terms))).found


def position(sort: Sort, record: Record) -> Position:
    """The position of a row in an order."""
    return tuple([_plain(record[f"k{number}"]) for number in range(len(sort.keys))])


def aware(moment: datetime) -> datetime:
    """The moment in UTC: asyncpg leaves the zone out of Python's first and last moment, its infinities."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _plain(value: KeyValue | UUID) -> KeyValue:
    if isinstance(value, UUID):
        return str(value)
    return aware(value) if isinstance(value, datetime) else value


def terms_of(filters: Filters) -> Terms:
    """The terms that objects which match must have.

    Not every trigram of the part of the name, which would be many, but as many as cover its letters.
    """
    part = filters.name_contains or ""
    starts = [*range(0, len(part) - TRIGRAM, TRIGRAM), len(part) - TRIGRAM][-_TRIGRAMS:]
    trigrams = dict.fromkeys(part[start : start + TRIGRAM] for start in starts if start >= 0)
    return Terms(filters.labels or (), tuple(trigrams))


def _selective(terms: Terms, shares: Sequence[float]) -> Terms:
    """The terms that are selective enough to look up: not those that most objects have."""
    kept = iter([share <= max(0.5, min(shares)) for share in shares])
    labels = tuple([label for label in terms.labels if next(kept)])
    return Terms(labels, tuple([trigram for trigram in terms.trigrams if next(kept)]))


def _every_row_matches(query: Query) -> bool:
    """Whether no row is looked at in vain: in the order of the changes `since` is a place to stop."""
    return query.filters == Filters(since=query.filters.since if query.sort is Sort.UPDATED_AT else None)


def _answer(query: Query, records: Sequence[Record]) -> _Answer:
    found = [record for record in records if record["found"]]
    matches = sum(record["count"] for record in found) if query.keys else len(found)
    return _Answer(found, matches, matches > query.limit or not _gave_up(records))


def _gave_up(records: Sequence[Record]) -> bool:
    return any(record["last"] for record in records)


# -- steps -------------------------------------------------------------------------------------------------------------


def _walk(query: Query, why: str, bound: int | None = None) -> Step:
    """Walk over about `bound` rows; without a bound over a page of rows of every range."""
    types = [_Part(False, query.ranges)]
    parts = types if bound is not None and query.index_ranges > MANY else _split_ranges(query)
    count = sum(len(part.ranges) for part in parts)
    if count == 1 and bound is None:
        return _step(query, why, "walk of one", parts, {})
    if bound is None:
        # Besides the page and one more there may be rows that differ by their type only: from the position, and from
        # the last row, of which nothing is known.
        rows = of_each = 1 << (query.limit + 1 + 2 * len(query.ranges)).bit_length()
    else:
        rows, of_each = _rounded(bound), _rounded(min(bound, 2 * bound / count))
    whole = any(scanned.namespaces is None for scanned in query.ranges)
    by_namespace = query.sort is Sort.NAMESPACE_AND_NAME
    values: dict[str, Any] = {}
    if by_namespace and not whole and len(query.ranges) <= MANY:
        types_of = _types_of_namespaces(query)
        values["type_sets"], values["type_set_of"] = _sets(list(types_of.values()))
        values |= {"names": list(types_of), **_starts(query, types_of)}
        return _step(query, why, "walk by namespace", types, values, rows=rows)
    if query.index_ranges > MANY and not whole:
        values["names"] = sorted(set().union(*{scanned.namespaces or () for scanned in query.ranges}))
        if len(values["names"]) <= MANY:
            return _step(query, why, "walk by type", types, values, rows_of_each=of_each)
    if not 1 < count <= MANY:
        return _step(query, why, "walk nested", parts, values, rows_of_each=of_each)
    if by_namespace and parts[-1].within:
        values |= _starts(query, [namespace for _, _, namespace in parts[-1].ranges])
    return _step(query, why, "walk merge", parts, values, rows=rows)


def _collect(
    query: Query, why: str, terms: Terms = _NO_TERMS, *, kind: ScanKind = "collect", rows: int = 0, **bounds: Any
) -> Step:
    """Collect the matches: by the terms, if there are any, else by the filter that has an index."""
    bounds["rows"] = rows
    if not any(terms):
        named = [name for name in ("name", "composition_id", "since") if getattr(query.filters, name) is not None]
        # An index of the namespaces has all that is counted, but of few matches: these are looked at themselves.
        split = query.index_ranges <= MANY or (kind == "count" and named[:1] in ([], ["since"]))
        parts = _split_ranges(query) if split else [_Part(False, query.ranges)]
        return _step(query, why, kind, parts, {}, by=(named or ["type"])[0], **bounds)
    whole = [scanned for scanned in query.ranges if scanned.namespaces is None]
    some = [scanned for scanned in query.ranges if scanned.namespaces is not None]
    # Where few namespaces narrow it down, these are looked up, too: only what all lead to is read.
    most = max((len(scanned.namespaces or ()) for scanned in some), default=0)
    parts = [_Part(False, whole), _Part(False, some, "one" if most == 1 else "few" if most <= MANY else "none")]
    values = {"term_labels": _json(dict(terms.labels)), "trigrams": terms.trigrams}
    counts: dict[str, Any] = {"labels": min(1, len(terms.labels)), "trigrams": len(terms.trigrams)}
    return _step(query, why, kind, [part for part in parts if part.ranges], values, by="terms", **counts, **bounds)


def _sample(query: Query, why: str, terms: Terms = _NO_TERMS, **bounds: Any) -> Step:
    """Estimate the shares of objects that have each term; or of those that match, and that lie before an end."""
    kind: ScanKind = "sample of terms" if any(terms) else "sample of distance"
    values = {"each_label": [_json(dict([label])) for label in terms.labels], "trigrams": terms.trigrams}
    counts: dict[str, Any] = {"labels": len(terms.labels), "trigrams": len(terms.trigrams)}
    types = _Part(False, [(scanned.cluster, scanned.type_id, None) for scanned in query.ranges])
    rows = _rounded(SAMPLE / len(query.ranges))
    return _step(query, why, kind, [types], values, rows=rows, **counts, **bounds)


def _step(
    query: Query,
    why: str,
    kind: ScanKind,
    parts: Sequence[_Part],
    values: dict[str, Any],
    *,
    end: Position | None = None,
    **scan: Any,
) -> Step:
    filters = {name: value for name in _FILTERS if (value := getattr(query.filters, name)) is not None}
    values |= {**filters, "limit": query.limit + 1, "cluster": query.ranges[0].cluster}
    values["types"] = [scanned.type_id for scanned in query.ranges]
    if query.filters.labels is not None:
        values["labels"] = _json(dict(query.filters.labels))
    values |= {f"after_{number}": value for number, value in enumerate(query.after or ())}
    values |= {f"end_{number}": value for number, value in enumerate(end or ())}
    ranges = []
    for number, part in enumerate(parts):
        clusters, types, namespaces = zip(*part.ranges, strict=True)
        values |= {f"clusters_{number}": clusters, f"types_{number}": types, f"namespaces_{number}": namespaces}
        selective = not part.within and any(wanted is not None for wanted in namespaces)
        if selective:
            values[f"sets_{number}"], values[f"set_of_{number}"] = _sets(namespaces)
        merged = {
            "walk merge": types,
            "offset": types,
            "walk by namespace": types,
            "walk by type": values.get("names"),
        }.get(kind)
        # Up to the next power of two: that is as many statements fewer. Beyond the last there is no range.
        branches = 1 << (len(merged) - 1).bit_length() if merged else 0
        ranges.append(Ranges(part.within, selective, branches, part.looked_up))
    return Step(
        Scan(
            kind,
            query.sort,
            query.descending != query.backward,
            query.after is not None,
            tuple(filters),
            len({scanned.cluster for scanned in query.ranges}) > 1,
            (query.raw, query.status),
            tuple(ranges),
            ends=end is not None,
            items=query.items,
            keys=query.keys,
            **scan,
        ),
        values,
        why,
    )


# -- ranges and values -------------------------------------------------------------------------------------------------


def _split_ranges(query: Query) -> list[_Part]:
    """Whole types and namespaces as separate parts, since they are walked on different indexes."""
    whole = [scanned for scanned in query.ranges if scanned.namespaces is None]
    within = [(one.cluster, one.type_id, namespace) for one in query.ranges for namespace in one.namespaces or ()]
    return [part for part in (_Part(False, whole), _Part(True, within)) if part.ranges]


def _types_of_namespaces(query: Query) -> dict[str, tuple[int, ...]]:
    """The type ids of each namespace, in the order of the walk, from its position on."""
    alike: dict[tuple[str, ...], tuple[int, ...]] = {}
    for scanned in query.ranges:
        namespaces = scanned.namespaces or ()
        alike[namespaces] = (*alike.get(namespaces, ()), scanned.type_id)
    types: dict[str, tuple[int, ...]] = {}
    for namespaces, type_ids in alike.items():
        types.update((namespace, types.get(namespace, ()) + type_ids) for namespace in namespaces)
    return {name: types[name] for name in sorted(types, reverse=query.reverse) if _start(query, name)[0] is not None}


def _starts(query: Query, namespaces: Iterable[str]) -> dict[str, list[str | None]]:
    """The start of the walk within each namespace, in the order by namespace and name, as columns."""
    starts = [_start(query, namespace) for namespace in namespaces]
    return {f"from_{key}s": [start[n] for start in starts] for n, key in enumerate(("namespace", "name", "uid"))}


def _start(query: Query, namespace: str) -> tuple[str, str, str] | tuple[None, None, None]:
    """Namespace, name and uid to start at; Nones for a namespace that lies before the position."""
    if query.after is not None:
        here, name, uid, _ = map(str, query.after)
        if namespace == here:
            return here, name, uid
        if (namespace > here) is query.reverse:
            return None, None, None
    # In reverse that is the least of what is greater.
    return namespace + "\x01" if query.reverse else namespace, "", ""


def _sets(sets: Sequence[Sequence[object] | None]) -> tuple[list[bytes | None], list[int]]:
    """The distinct sets, and the number of each one's among them, from 1: most are alike, and are sent once.

    A set is the keys of a JSON object, which PostgreSQL searches by bisection, and an array from its start.
    """
    numbers = {members: number for number, members in enumerate(dict.fromkeys(sets), start=1)}
    encoded = [None if members is None else _json(dict.fromkeys(members, 1)) for members in numbers]
    return encoded, [numbers[members] for members in sets]


def _rounded(rows: float) -> int:
    """The nearest power of two, so that a number in a statement's text makes few different statements."""
    return 1 << max(0, round(math.log2(max(rows, 1))))
