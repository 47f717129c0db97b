"""Label and field selectors: text to a predicate on entries."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from presenter.sandbox import errors
from presenter.sandbox.objects import Entry
from presenter.sandbox.registry import Definition

Predicate = Callable[[Entry], bool]

_KEY = r"(?:[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)")
_EQUALITY = re.compile(rf"({_KEY})\s*(==|=|!=)\s*({_VALUE})")
_EXISTS = re.compile(rf"(!?)\s*({_KEY})")
_VALID_VALUE = re.compile(_VALUE)
_FIELD = re.compile(r"^([^=!]+?)(==|=|!=)(.*)$")
_METADATA_FIELDS = ("metadata.name", "metadata.namespace")


@dataclass(frozen=True)
class Requirement:
    """One condition on labels. `values` None asks only whether the key is there.

    An object without the key meets every negated requirement, as in Kubernetes.
    """

    key: str
    values: frozenset[str] | None
    negated: bool

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        value = labels.get(self.key)
        found = value is not None and (self.values is None or value in self.values)
        return found != self.negated


def parse_labels(text: str) -> list[Requirement]:
    """The requirements of a label selector; all must be met. Raises ApiError 400."""
    requirements: list[Requirement] = []
    position, end = _skip_space(text, 0), len(text)
    while position < end:
        requirement, position = _requirement(text, position)
        requirements.append(requirement)
        position = _skip_space(text, position)
        if position == end:
            break
        if text[position] != ",":
            raise errors.bad_request(
                f"unable to parse requirement: found '{text[position:]}', expected: ',' or the end"
            )
        position = _skip_space(text, position + 1)
        if position == end:
            raise errors.bad_request("unable to parse requirement: found '', expected: identifier after ','")
    return requirements


def _requirement(text: str, position: int) -> tuple[Requirement, int]:
    if match := _SET.match(text, position):
        key, operator, listed = match.groups()
        values = [value.strip() for value in listed.split(",")]
        for value in values:
            if not _VALID_VALUE.fullmatch(value):
                raise errors.bad_request(f"unable to parse requirement: values: Invalid value: {value!r}")
        return Requirement(key, frozenset(values), negated=operator == "notin"), match.end()
    if match := _EQUALITY.match(text, position):
        key, operator, value = match.groups()
        return Requirement(key, frozenset({value}), negated=operator == "!="), match.end()
    if match := _EXISTS.match(text, position):
        return Requirement(match[2], None, negated=bool(match[1])), match.end()
    raise errors.bad_request(f"unable to parse requirement: found '{text[position:]}', expected: '!', identifier")


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def parse_fields(text: str, definition: Definition) -> list[Requirement]:
    """The requirements of a field selector.

    Raises ApiError 400 for a field that the type cannot be selected by.
    """
    requirements = []
    for term in filter(None, text.split(",")):
        match = _FIELD.match(term)
        if not match:
            raise errors.bad_request(f"invalid selector: '{term}'; can't understand '{term}'")
        path, operator, value = match.groups()
        if path not in _METADATA_FIELDS and path not in definition.fields:
            raise errors.bad_request(_unknown_field(path, definition))
        requirements.append(Requirement(path, frozenset({value}), negated=operator == "!="))
    return requirements


def _unknown_field(path: str, definition: Definition) -> str:
    if definition.fields:
        return f"field label not supported: {path}"
    return f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"'


def predicate(labels: str, fields: str, definition: Definition) -> Predicate | None:
    """What selects the objects that match both selectors, or None when everything does.

    Raises ApiError 400.
    """
    label_requirements = parse_labels(labels)
    field_requirements = parse_fields(fields, definition)
    if not label_requirements and not field_requirements:
        return None

    def selects(entry: Entry) -> bool:
        if not all(requirement.matches(entry.labels) for requirement in label_requirements):
            return False
        if not field_requirements:
            return True
        values = {"metadata.name": entry.name, "metadata.namespace": entry.namespace, **entry.fields}
        return all(requirement.matches(values) for requirement in field_requirements)

    return selects
