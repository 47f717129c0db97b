"""Whether two results say the same: the same objects, in the same order, in the same shape.

Results are JSON. Their lists are compared object by object, wherever in a mapping they are; an object is known by its
uid, or by its namespace and name. A sort leaves open how objects that are equal in it follow each other: where
only those differ, the order is the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import msgspec

_LONGEST_VALUE = 80
_NAMED_OBJECTS = 3
_NOTHING = object()

Aspect = Literal["calls", "pages", "objects", "order", "shape"]


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs at a JSON path, and what each of the two has there, shortened."""

    aspect: Aspect
    path: str
    old: str
    new: str


@dataclass(slots=True)
class Comparison:
    """What two results have in common, and what not: of each list and aspect the first difference.

    `objects`: how many the old one has. `ties`: lists in which only objects that are equal in the sort have changed
    places, each with what they are equal in.
    """

    objects: int = 0
    differences: list[Difference] = field(default_factory=list)
    ties: dict[str, str] = field(default_factory=dict)

    @property
    def equivalent(self) -> bool:
        """Whether nothing differs that was ever defined."""
        return not self.differences

    def first(self, aspect: Aspect) -> Difference | None:
        """The first difference in one aspect."""
        return next((difference for difference in self.differences if difference.aspect == aspect), None)


def compare(old: Any, new: Any, times: Mapping[str, str] | None = None) -> Comparison:
    """Compare two results. `times`, of `times_in`, help with objects that were stripped of their creationTimestamp."""
    comparison = Comparison()
    _compare(comparison, "$", old, new, times or {})
    return comparison


def times_in(value: Any) -> dict[str, str]:
    """When the objects in a context were created, by uid and by `namespace/name`."""
    times: dict[str, str] = {}
    left = [value]
    while left:
        match left.pop():
            case {"metadata": {"creationTimestamp": str(created)} as metadata}:
                times |= dict.fromkeys(_keys(metadata), created)
            case dict() as mapping:
                left.extend(mapping.values())
            case list() as items:
                left.extend(items)
    return times


def _compare(comparison: Comparison, path: str, old: Any, new: Any, times: Mapping[str, str]) -> None:
    if isinstance(old, list) and isinstance(new, list):
        _compare_lists(comparison, path, old, new, times)
    elif isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
        for key in old:
            _compare(comparison, _below(path, key), old[key], new[key], times)
    elif not _same(old, new):
        comparison.differences.append(_first_difference(path, old, new))


def _compare_lists(
    comparison: Comparison, path: str, old: Sequence[Any], new: Sequence[Any], times: Mapping[str, str]
) -> None:
    comparison.objects += len(old)
    named = _have_names(old) and _have_names(new)
    before, after = ([_name(item) if named else _json(item) for item in items] for items in (old, new))
    missing, added = Counter(before) - Counter(after), Counter(after) - Counter(before)
    if (missing or added) and not any(map(_name, (*old, *new))):
        comparison.differences.append(_first_difference(path, old, new))
    elif missing or added:
        sides = _counted(before, old, missing), _counted(after, new, added)
        comparison.differences.append(Difference("objects", path, *sides))
    elif before != after:
        _compare_order(comparison, path, old, new, times)
    there = dict(zip(after, new, strict=True)) if named else {}
    for index, (name, item) in enumerate(zip(before, old, strict=True)):
        if name in there and not _same(item, there[name]):
            comparison.differences.append(_first_difference(f"{path}[{index}]", item, there[name]))
            break


def _compare_order(
    comparison: Comparison, path: str, old: Sequence[Any], new: Sequence[Any], times: Mapping[str, str]
) -> None:
    for key in ("creationTimestamp", "name"):
        before, after = ([_sorted_by(key, item, times) for item in items] for items in (old, new))
        if before == after and _is_sorted(before):
            comparison.ties[path] = key
            return
    place = next(place for place, pair in enumerate(zip(old, new, strict=True)) if not _same(*map(_label, pair)))
    comparison.differences.append(Difference("order", f"{path}[{place}]", _label(old[place]), _label(new[place])))


def _is_sorted(keys: list[Any]) -> bool:
    """Whether they rise or fall, as far as they are text at all."""
    if not all(isinstance(key, str) for key in keys):
        return False
    return all(a <= b for a, b in pairwise(keys)) or all(a >= b for a, b in pairwise(keys))


def _first_difference(path: str, old: Any, new: Any) -> Difference:
    """The first place in which two values that are not the same differ; keys that only one of them has come first."""
    if isinstance(old, dict) and isinstance(new, dict):
        key = min(old.keys() ^ new.keys() or (key for key in old if not _same(old[key], new[key])))
        return _first_difference(_below(path, key), old.get(key, _NOTHING), new.get(key, _NOTHING))
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        place = next(place for place, pair in enumerate(zip(old, new, strict=True)) if not _same(*pair))
        return _first_difference(f"{path}[{place}]", old[place], new[place])
    return Difference("shape", path, _shown(old), _shown(new))


def _same(old: Any, new: Any) -> bool:
    """Whether they are the same JSON: in Python, 1 is True."""
    if old is _NOTHING or new is _NOTHING:
        return old is new
    return _json(old) == _json(new)


def _json(value: Any) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


# -- what is known of an object, or of what was made of one ----------------------------------------------------------


def _metadata(item: Any) -> Mapping[str, Any]:
    metadata = item.get("metadata") if isinstance(item, dict) else None
    return metadata if isinstance(metadata, dict) else item if isinstance(item, dict) else {}


def _keys(metadata: Mapping[str, Any]) -> list[str]:
    """What it is known by: its uid, and its namespace and name."""
    name = f"{metadata.get('namespace') or ''}/{metadata['name']}" if metadata.get("name") else ""
    return [str(key) for key in (metadata.get("uid"), name) if key]


def _name(item: Any) -> str:
    """All it is known by, "" when it has no name."""
    return " ".join(_keys(_metadata(item)))


def _have_names(items: Sequence[Any]) -> bool:
    """Whether each can be told from the others by its name."""
    names = {_name(item) for item in items} - {""}
    return len(names) == len(items)


def _sorted_by(key: str, item: Any, times: Mapping[str, str]) -> Any:
    """What an object may have been sorted by; of one that was stripped of its creationTimestamp, that of `times`."""
    metadata = _metadata(item)
    known = (times[each] for each in _keys(metadata) if each in times) if key == "creationTimestamp" else ()
    return metadata.get(key) or next(iter(known), None)


def _label(item: Any) -> str:
    """How to speak of it."""
    keys = _keys(_metadata(item))
    return keys[-1].removeprefix("/") if keys else _shown(item)


def _counted(names: Sequence[str], items: Sequence[Any], extra: Counter[str]) -> str:
    """How many objects there are, and which of them only here, or more often."""
    of = dict(zip(names, items, strict=True))
    labels = [_label(of[name]) for name in extra.elements()]
    if not labels:
        return f"{len(items)} objects"
    more = f", and {len(labels) - _NAMED_OBJECTS} more" if len(labels) > _NAMED_OBJECTS else ""
    return f"{len(items)} objects, only here: {', '.join(labels[:_NAMED_OBJECTS])}{more}"


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if key.replace("_", "a").isalnum() else f"{path}[{msgspec.json.encode(key).decode()}]"


def _shown(value: Any) -> str:
    if value is _NOTHING:
        return "nothing"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "…"
