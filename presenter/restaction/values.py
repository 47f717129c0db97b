"""Symbolic values: what an expression gives, while the answers of the API server and the slice are not known yet.

`Each` and `Counter` are streams: they stand for every output at once.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any

from presenter.restaction.syntax import Frozen, Node


class Unrecognised(Exception):
    """What this means cannot be told; `node` is where."""

    def __init__(self, node: Node, reason: str) -> None:
        super().__init__(reason)
        self.node = node
        self.reason = reason


class Fails(Exception):
    """An expression that jq would end with an error."""


# -- numbers ---------------------------------------------------------------------------------------------------------

Term = tuple["Symbol", ...]
"""Symbols multiplied with each other; () is 1."""


class Length(Frozen):
    """The number of objects in an array, which is not known."""

    of: Items


Symbol = str | Length


class Number(Frozen):
    """A polynomial. Every symbol stands for a whole number from 0."""

    terms: frozenset[tuple[Term, int]]

    def __add__(self, other: Number) -> Number:
        return _sum([*self.terms, *other.terms])

    def __sub__(self, other: Number) -> Number:
        return self + other * constant(-1)

    def __mul__(self, other: Number) -> Number:
        products = [
            (tuple(sorted((*left, *right), key=repr)), one * two)
            for left, one in self.terms
            for right, two in other.terms
        ]
        return _sum(products)

    @property
    def known(self) -> int | None:
        """What it is, if that does not depend on anything."""
        rest = {term for term, _ in self.terms} - {()}
        return None if rest else dict(self.terms).get((), 0)

    @property
    def least(self) -> int | None:
        """What it is at least, if that is plain to see."""
        amounts = dict(self.terms)
        return amounts.get((), 0) if all(amount >= 0 for amount in amounts.values()) else None

    @property
    def length(self) -> Items | None:
        """What this is the length of, and nothing else."""
        match list(self.terms):
            case [((Length(items),), 1)]:
                return items
        return None


def _sum(terms: list[tuple[Term, int]]) -> Number:
    total: dict[Term, int] = {}
    for term, amount in terms:
        total[term] = total.get(term, 0) + amount
    return Number(frozenset((term, amount) for term, amount in total.items() if amount))


def constant(value: int) -> Number:
    """A number that is known."""
    return _sum([((), value)])


def symbol(name: Symbol) -> Number:
    """A number that is not."""
    return _sum([((name,), 1)])


PER_PAGE = symbol("perPage - 1") + constant(1)
PAGE = symbol("page - 1") + constant(1)
OFFSET = (PAGE - constant(1)) * PER_PAGE

# -- everything else -------------------------------------------------------------------------------------------------


class Known(Frozen):
    """A JSON value that does not depend on anything; `text` is what makes it comparable."""

    value: Any = field(compare=False)
    text: str = ""

    @classmethod
    def of(cls, value: Any) -> Known:
        """The symbol of None, a boolean, a string or []. Whole numbers are Numbers."""
        return cls(value, repr(value))


class Nothing(Frozen):
    """No output at all, as `empty` gives it."""


class Context(Frozen):
    """What the expression is evaluated on: the results of the calls, and the slice."""


class Slice(Frozen):
    """`.slice`, when there is one: page, perPage and offset, and no cursor."""


class Other(Frozen):
    """What comes from the context, but not from any list or the slice: an expression on the context."""

    node: Node


class List(Frozen):
    """The answer to one list: `{items: […]}`."""

    call: str


class Lists(Frozen):
    """An array of such answers, at least two."""

    call: str


class Arrays(Frozen):
    """An array of the arrays of objects in such answers."""

    call: str


class Equal(Frozen):
    """A field of an object that must be a string: `keys` is the way to it."""

    keys: tuple[str, ...]
    value: str


class Order(Frozen):
    """`api`: as the API server lists; else a `sort_by` of the presenter."""

    by: str = "api"
    descending: bool = False


class Items(Frozen):
    """An array of the objects of a call: those that match `conditions`, in `order`, in the `window`.

    Of each the outputs of `stages`, one after the other; of all that, what the expressions `after` make.
    """

    call: str
    conditions: tuple[Equal, ...] = ()
    order: Order = Order()
    window: tuple[Number, Number | None] | None = None
    stages: tuple[Node, ...] = ()
    after: tuple[Node, ...] = ()


class Each(Frozen):
    """Each of an array, in order. `padded`: and then some nulls."""

    of: Lists | Arrays | Items
    padded: bool = False


class Counter(Frozen):
    """Each whole number from `low`, less than `high`, and less than the length of `within` when that is given."""

    low: Number
    high: Number
    within: Items | None = None


class Wrapped(Frozen):
    """An array of one value."""

    value: Value


class Record(Frozen):
    """An object with these keys."""

    entries: tuple[tuple[str, Value], ...]


Value = (
    Known | Number | Nothing | Context | Slice | Other | List | Lists | Arrays | Items | Each | Counter
    | Wrapped | Record
)  # fmt: skip


NULL = Known.of(None)
EMPTY = Known.of([])
