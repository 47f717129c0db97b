"""The JSONPath of kubectl and of printer columns: `.spec.size`, `.status.conditions[?(@.type=="Ready")].status`.

Source: k8s.io/client-go, util/jsonpath. `range` and text around the path are left out: a column has one path. Go walks
the members of objects in random order; here `*` and `..` walk them as they stand.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from presenter.apimachinery import golang

Step = Callable[[list[Any]], list[Any]]
"""One part of a path: from the values so far to the next."""

_TERMINATORS = " \t\r\n.,[]$@{}"
_NAME = re.compile(rf"(?:\\.|[^\\{re.escape(_TERMINATORS)}])*", re.DOTALL)
_NUMBER = re.compile(r"[+-]?[0-9.]*")
_QUOTED = re.compile(r"""(["'])((?:(?!\1)[^\\\n]|\\.)*)\1""")
_SLICE = re.compile(r"(-?[0-9]*)(:-?[0-9]*)?(:-?[0-9]*)?")
_FILTER = re.compile(r"""\[\?\(((?:[^"')\n]|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')*)\)\]""")
_COMPARISON = re.compile(r"([^!<>=]+)([!<>=]+)(.+)", re.DOTALL)
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class JSONPathError(ValueError):
    """A text is no path, or a path does not go with a value: then it finds nothing, not even in other parts of it."""


class JSONPath:
    """A path, parsed once. Raises JSONPathError."""

    def __init__(self, text: str) -> None:
        self._steps = _parse(text)

    def find(self, value: Any) -> list[Any]:
        """All it leads to; None is an explicit null. Raises JSONPathError."""
        return _walk(self._steps, [value])


def _walk(steps: tuple[Step, ...], values: list[Any]) -> list[Any]:
    for step in steps:
        values = step(values)
    return values


# -- the grammar -------------------------------------------------------------------------------------------------------


@lru_cache(1024)
def _parse(text: str) -> tuple[Step, ...]:
    steps: list[Step] = []
    position = 0
    while position < len(text):
        step, position = _step(text, position)
        if step:
            steps.append(step)
    return tuple(steps)


def _step(text: str, position: int) -> tuple[Step | None, int]:
    letter = text[position]
    if letter in " @$":
        return None, position + 1
    if match := _FILTER.match(text, position):
        return _filter(match[1]), match.end()
    if text.startswith("..", position):
        if (match := _NAME.match(text, position + 2)) and re.match(r"\w", match[0]):
            return _then(_recursive, _field(match[0])), match.end()
        return _recursive, position + 2
    if letter == "[":
        end = text.find("]", position)
        if end < 0:
            raise JSONPathError("unterminated array")
        return _array(text[position + 1 : end]), end + 1
    if letter == "." and (match := _NAME.match(text, position + 1)):
        return _field(match[0]), match.end()
    if match := _QUOTED.match(text, position):
        return _constant(re.sub(r"\\(.)", r"\1", match[2])), match.end()
    if (letter in "+-" or letter.isdigit()) and (match := _NUMBER.match(text, position)):
        return _constant(_number(match[0])), match.end()
    if (match := _NAME.match(text, position)) and match[0] in ("true", "false"):
        return _constant(match[0] == "true"), match.end()
    raise JSONPathError(f"unrecognized character in action: {golang.quote(letter)}")


def _number(text: str) -> float:
    try:
        return int(text) if re.fullmatch(r"[+-]?[0-9]+", text) else float(text)
    except ValueError as problem:
        raise JSONPathError(f"cannot parse number {text}") from problem


def _array(text: str) -> Step:
    if "," in text:
        return _union([_parse(f"[{part.strip(' ')}]") for part in text.split(",")])
    if match := re.fullmatch(r"'([^']*)'", text):
        return _then(*_parse(f".{match[1]}"))
    match = _SLICE.fullmatch(":" if text == "*" else text)
    if not match:
        raise JSONPathError(f"invalid array index {text}")
    start, end, step = ((part or "").lstrip(":") for part in match.groups())
    if "-" in (start, end, step):
        raise JSONPathError("array index - is not a number")
    return _slice(_index(start), _index(end), _index(step), one=match[2] is None)


def _index(text: str) -> int | None:
    return int(text) if text else None


# -- the steps ---------------------------------------------------------------------------------------------------------


def _then(*steps: Step) -> Step:
    return lambda values: _walk(steps, values)


def _constant(value: str | float | bool) -> Step:
    return lambda values: [value for _ in values]


def _union(paths: list[tuple[Step, ...]]) -> Step:
    return lambda values: [found for path in paths for found in _walk(path, values)]


def _field(name: str) -> Step:
    if name == "*":
        return lambda values: [child for value in values for child in _children(value)]
    key = name.replace("\\", "")
    return lambda values: [value[key] for value in values if isinstance(value, dict) and key in value]


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _recursive(values: list[Any]) -> list[Any]:
    def inner(value: Any) -> Iterator[Any]:
        children = _children(value)
        if children:
            yield value
            for child in children:
                yield from inner(child)

    return [found for value in values for found in inner(value)]


def _slice(start: int | None, end: int | None, step: int | None, *, one: bool) -> Step:
    def sliced(values: list[Any]) -> list[Any]:
        found: list[Any] = []
        for value in values:
            if value is None:
                continue
            if not isinstance(value, list):
                raise JSONPathError("it is not array or slice")
            length = len(value)
            first = start or 0
            last = first + 1 if one else length if end is None else end
            first += length if first < 0 else 0
            last += length if last < 0 or (last == 0 and one) else 0
            if first == last:
                return found  # as the API server does: what other values hold is left out
            if not (0 <= first < length and first <= last <= length):
                raise JSONPathError("array index out of bounds")
            if step is not None and step <= 0:
                raise JSONPathError("step must be > 0")
            found += value[first : last : step or 1]
        return found

    return sliced


def _filter(text: str) -> Step:
    comparison = _COMPARISON.fullmatch(text)
    if comparison is None:
        return _filtered(_exists(_parse(text)))
    sides = _parse(comparison[1]), _parse(comparison[3])
    compare = _COMPARISONS.get(comparison[2])
    ordered = comparison[2] not in ("==", "!=")

    def compared(item: Any) -> bool:
        operands = []
        for side in sides:
            found = _walk(side, [item])
            if not found:
                return False
            if len(found) > 1:
                raise JSONPathError("can only compare one element at a time")
            operands += found
        if compare is None:
            raise JSONPathError(f"unrecognized filter operator {comparison[2]}")
        one, other = operands
        # A text is no number, and not even 1 and 1.0 can be compared.
        if type(one) is not type(other) or not isinstance(one, str | bool | int | float):
            raise JSONPathError("incompatible types for comparison")
        if isinstance(one, bool) and ordered:
            raise JSONPathError("invalid type for comparison")
        return compare(one, other)

    return _filtered(compared)


def _exists(path: tuple[Step, ...]) -> Callable[[Any], bool]:
    def exists(item: Any) -> bool:
        try:
            return bool(_walk(path, [item]))
        except JSONPathError:
            return True  # as the API server does

    return exists


def _filtered(keep: Callable[[Any], bool]) -> Step:
    def kept(values: list[Any]) -> list[Any]:
        if not all(isinstance(value, list) for value in values):
            raise JSONPathError("it is not array or slice and cannot be filtered")
        return [item for value in values for item in value if keep(item)]

    return kept
