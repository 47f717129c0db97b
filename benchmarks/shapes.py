"""Every shape of page: sort × filter × scope × how far into the list × how large, over one type and over all."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from benchmarks import population as data
from benchmarks.population import NAMESPACES
from presenter.cache.query import Filters, Query, Sort
from presenter.cache.scope import ScanRange

SIZES: dict[str, tuple[int, bool]] = {"5 raw": (5, True), "50 raw": (50, True), "500": (500, False)}
DEEP = 1000
"""The number of the deep page."""

ORDERS = tuple(
    (sort, descending)
    for sort in Sort
    for descending in (True, False)
    if (sort, descending) not in ((Sort.COMPOSITION_ASCENDING, True), (Sort.COMPOSITION_DESCENDING, False))
)
SCOPES: dict[str, tuple[str, ...] | None] = {
    "all": None,
    "1 namespace": ("ns-001",),
    "10 namespaces": NAMESPACES[5:500:50],
    "400 namespaces": tuple(name for number, name in enumerate(NAMESPACES) if number % 5),
}
"""The namespaces that may be seen, in order; None: all."""


def filters(a_name: str, a_composition: str) -> dict[str, Filters]:
    """The filters by what they are, for an object's name and a composition that exist."""
    labels = {
        "label common": (data.COMMON,),
        "label medium": (data.MEDIUM,),
        "label rare": (data.RARE,),
        "label absent": (data.ABSENT,),
        "label old": (data.OLD,),
        "labels overlapping": data.OVERLAPPING,
        "labels disjoint": (data.BLUE, data.GREEN),
    }
    return {
        "none": Filters(),
        **{name: Filters(labels=pairs) for name, pairs in labels.items()},
        "name": Filters(name=a_name),
        "name_contains frequent": Filters(name_contains=data.FREQUENT_NAME),
        "name_contains rare": Filters(name_contains=data.RARE_NAME.upper()),
        "name_contains absent": Filters(name_contains="no-such-name"),
        "since": Filters(since=data.RECENT),
        "since long ago": Filters(since=data.START + data.SPAN / 2),
        "composition_id": Filters(composition_id=a_composition),
        "label and name_contains": Filters(labels=(data.MEDIUM,), name_contains=data.FREQUENT_NAME),
    }


_PLAINEST = ("created_at desc", "none", ("all", "one type"), "50 raw")


@dataclass(frozen=True)
class Shape:
    """What a page is of. `query` is that of the first page."""

    filter: str
    scope: str
    types: Literal["one type", "all types"]
    size: str
    query: Query

    @property
    def order(self) -> str:
        """The sort and its direction."""
        return f"{self.query.sort.name.lower()} {'desc' if self.query.descending else 'asc'}"

    @property
    def is_plain_but_for_two(self) -> bool:
        """Whether it has at most two properties that are not the plainest: all such shapes show every pair.

        Where it looks is one property, of which many are slow in their own way: scope and types together.
        """
        own = (self.order, self.filter, (self.scope, self.types), self.size)
        return sum(one != plain for one, plain in zip(own, _PLAINEST, strict=True)) <= 2

    def __str__(self) -> str:
        return f"{self.order}, {self.filter}, {self.scope}, {self.types}, {self.size}"


def shapes(type_ids: Sequence[int], filters: dict[str, Filters]) -> Iterator[Shape]:
    """All there are: of the largest type, and of all types together with the plainest of sizes."""
    for scope, namespaces in SCOPES.items():
        of_one, *others = (ScanRange(data.CLUSTER, type_id, namespaces) for type_id in type_ids)
        for (name, wanted), (sort, descending) in itertools.product(filters.items(), ORDERS):
            whole = Query((of_one,), sort, descending, 0, wanted)
            for size, (limit, raw) in SIZES.items():
                yield Shape(name, scope, "one type", size, replace(whole, limit=limit, raw=raw))
            if sort in (Sort.CREATED_AT, Sort.NAMESPACE_AND_NAME):
                yield Shape(
                    name, scope, "all types", "50 raw", replace(whole, ranges=(of_one, *others), limit=50, raw=True)
                )
