"""How Go reads and prints values, where the API server's answers show it."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

MIN_INT64, MAX_INT64, MAX_UINT64 = -(2**63), 2**63 - 1, 2**64 - 1

_ESCAPES = {"\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v", "\\": r"\\"}
_HTML = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}


def quote(text: str, mark: str = '"') -> str:
    """`strconv.Quote`."""
    return mark + "".join(_escaped(letter, mark) for letter in text) + mark


def _escaped(letter: str, mark: str) -> str:
    if letter == mark:
        return f"\\{letter}"
    if letter in _ESCAPES or letter.isprintable():
        return _ESCAPES.get(letter, letter)
    code = ord(letter)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def parse_int(text: str) -> int:
    """`strconv.ParseInt` of 64 bits. Raises ValueError with its text."""
    return _parsed("ParseInt", r"[+-]?[0-9]+", text, MIN_INT64, MAX_INT64)


def parse_uint(text: str) -> int:
    """`strconv.ParseUint` of 64 bits. Raises ValueError with its text."""
    return _parsed("ParseUint", r"[0-9]+", text, 0, MAX_UINT64)


def _parsed(function: str, pattern: str, text: str, least: int, most: int) -> int:
    if not re.fullmatch(pattern, text):
        raise ValueError(f"strconv.{function}: parsing {quote(text)}: invalid syntax")
    # Python refuses to read integers of thousands of digits; 20 digits and a sign are enough to be out of range.
    digits = text.lstrip("+-").lstrip("0")
    value = int(text) if len(digits) <= 20 else None
    if value is None or not least <= value <= most:
        raise ValueError(f"strconv.{function}: parsing {quote(text)}: value out of range")
    return value


def parse_bool(text: str) -> bool:
    """A boolean of a query string: whatever is not `0` or `false` is true, the empty text too."""
    return text != "0" and text.lower() != "false"


def sprint(value: str | float | bool) -> str:
    """`fmt.Sprint` of a JSON scalar."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return _float(value, -4, 6) if isinstance(value, float) else str(value)


def marshal(value: Any) -> str:
    """`json.Marshal`: compact, sorted by key, with the letters escaped that HTML gives a meaning to."""
    match value:
        case dict():
            return "{" + ",".join(f"{_string(key)}:{marshal(value[key])}" for key in sorted(value)) + "}"
        case list():
            return "[" + ",".join(map(marshal, value)) + "]"
        case str():
            return _string(value)
        case None:
            return "null"
        case float():
            return _float(value, -6, 21).replace("e-0", "e-")
    return sprint(value)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).translate(_HTML)


def _float(value: float, least: int, most: int) -> str:
    """The shortest decimal that reads back the same; with an exponent if that is below `least`, or `most` or more."""
    number = Decimal(repr(value)).normalize()
    exponent = number.adjusted()
    if not number or least <= exponent < most:
        return f"{number:f}"
    return f"{number.scaleb(-exponent):f}e{exponent:+03d}"
