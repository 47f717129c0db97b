"""JSON of any depth, taken apart one level at a time.

The decoder gives up at some depth (RecursionError), which is less than an API server and PostgreSQL let an object
have. Such JSON is scanned here instead: that is slow, and checks no more of the grammar than it needs.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_KEY = re.compile(rb"[\s{,]*(" + _STRING + rb")\s*:\s*")
_GAP = re.compile(rb"[\s,]*")
_PLAIN = re.compile(_STRING + rb"|[^][{}\",:\s]+")
_NESTED = re.compile(_STRING + rb"|[][{}]", re.DOTALL)
_STEPS = {b"{": 1, b"[": 1, b"}": -1, b"]": -1}

_Members = dict[str, msgspec.Raw]
_Elements = list[msgspec.Raw]
_decode_key: Callable[[bytes], str] = msgspec.json.Decoder(str).decode
_decode_members: Callable[[bytes | msgspec.Raw], _Members] = msgspec.json.Decoder(_Members).decode
_decode_elements: Callable[[bytes | msgspec.Raw], _Elements] = msgspec.json.Decoder(_Elements).decode


def members(raw: bytes | msgspec.Raw) -> _Members:
    """The members of a JSON object, as bytes. Raises msgspec.DecodeError for what is none."""
    try:
        return _decode_members(raw)
    except (RecursionError, msgspec.DecodeError):
        return _scan_members(bytes(raw).strip())


def elements(raw: bytes | msgspec.Raw) -> _Elements:
    """The elements of a JSON array, as bytes. Raises msgspec.DecodeError for what is none."""
    try:
        return _decode_elements(raw)
    except (RecursionError, msgspec.DecodeError):
        return _scan_elements(bytes(raw).strip())


def compact(raw: bytes) -> bytes:
    """The same JSON without spaces between its parts, or with them where it is nested too deeply."""
    try:
        return msgspec.json.format(raw, indent=-1)
    except (RecursionError, msgspec.DecodeError):
        return raw


def _scan_members(raw: bytes) -> _Members:
    found: _Members = {}
    at = 0
    while key := _KEY.match(raw, at):
        at = _end(raw, key.end())
        found[_decode_key(key[1])] = msgspec.Raw(raw[key.end() : at])
    if not raw.startswith(b"{") or raw[at:].strip(b" \t\r\n{") != b"}":
        raise msgspec.DecodeError("JSON is malformed: not an object")
    return found


def _scan_elements(raw: bytes) -> _Elements:
    if raw[:1] + raw[-1:] != b"[]":
        raise msgspec.DecodeError("JSON is malformed: not an array")
    found, at = [], _after_gap(raw, 1)
    while at < len(raw) - 1:
        end = _end(raw, at)
        found.append(msgspec.Raw(raw[at:end]))
        at = _after_gap(raw, end)
    return found


def _after_gap(raw: bytes, at: int) -> int:
    gap = _GAP.match(raw, at)
    return gap.end() if gap else at


def _end(raw: bytes, start: int) -> int:
    """The index after the value that begins at `start`."""
    if plain := _PLAIN.match(raw, start):
        return plain.end()
    depth = 0
    for token in _NESTED.finditer(raw, start):
        depth += _STEPS.get(token[0], 0)
        if not depth:
            return token.end()
    raise msgspec.DecodeError(f"JSON is malformed: the value at byte {start} does not end")
