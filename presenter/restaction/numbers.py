"""Numbers as snowplow has them: float64, as Go decodes JSON, and written as Go writes them."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

_LARGEST_WRITTEN_OUT = 1e21
_EXACT = 2**53
_STRING_OR_EXPONENT = re.compile(rb'"(?:[^"\\]|\\.)*"|(?<=\d)e(?=\d)')


def as_float64(value: Any) -> Any:
    """A JSON value whose numbers are rounded as Go does when it decodes, in place. Whole ones are ints here."""
    return _each_number(value, lambda number: without_point(float(number)))


def without_points(value: Any) -> Any:
    """A JSON value whose whole floats are ints, in place: `1.0` is `1`. Ints stay as exact as they are."""
    return _each_number(value, lambda number: without_point(number) if isinstance(number, float) else number)


def as_json(value: Any) -> bytes:
    """JSON as Go writes it: keys sorted, no `.0`, `1e+21`."""
    text = msgspec.json.encode(without_points(value), order="deterministic")
    return _STRING_OR_EXPONENT.sub(lambda found: b"e+" if found[0] == b"e" else found[0], text)


def without_point(number: float) -> int | float:
    """Of a whole number the fewest digits that tell it from its neighbours, then zeros."""
    return int(Decimal(repr(number))) if number.is_integer() and abs(number) < _LARGEST_WRITTEN_OUT else number


def _each_number(value: Any, convert: Callable[[int | float], int | float]) -> Any:
    """Convert all that may change. Without recursion, for an answer may be nested to any depth."""
    whole = [value]
    left: list[Any] = [whole]
    while left:
        node = left.pop()
        for key, item in node.items() if isinstance(node, dict) else enumerate(node):
            kind = type(item)
            if kind is dict or kind is list:
                left.append(item)
            elif kind is float or (kind is int and not -_EXACT <= item <= _EXACT):
                node[key] = convert(item)
    return whole[0]
