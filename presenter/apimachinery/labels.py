"""Label selectors: `app=web,tier in (a,b),!legacy`.

Source: k8s.io/apimachinery, pkg/labels/selector.go, from which the grammar and the texts of errors are taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from presenter.apimachinery import golang, validation
from presenter.apimachinery.errors import bad_request
from presenter.apimachinery.validation import FieldError


class Operator(StrEnum):
    """How a requirement relates a key to its values."""

    EXISTS = "exists"
    DOES_NOT_EXIST = "!"
    IN = "in"
    NOT_IN = "notin"
    EQUALS = "="
    DOUBLE_EQUALS = "=="
    NOT_EQUALS = "!="
    GREATER_THAN = ">"
    LESS_THAN = "<"


NEGATED = frozenset({Operator.DOES_NOT_EXIST, Operator.NOT_IN, Operator.NOT_EQUALS})
"""The operators whose requirements objects without the key meet."""

_COMPARED = (Operator.GREATER_THAN, Operator.LESS_THAN)


@dataclass(frozen=True)
class Requirement:
    """One condition on labels. `values` are sorted: none for (not) exists, one or more for (not) in, else one."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels meets it."""
        value = labels.get(self.key)
        if value is None:
            return self.operator in NEGATED
        if not self.values:
            return self.operator is Operator.EXISTS
        if self.operator in _COMPARED:
            return self._compares(value)
        return (value in self.values) != (self.operator in NEGATED)

    def _compares(self, value: str) -> bool:
        try:
            difference = golang.parse_int(value) - golang.parse_int(self.values[0])
        except ValueError:
            return False
        return difference > 0 if self.operator is Operator.GREATER_THAN else difference < 0

    def __str__(self) -> str:
        match self.operator:
            case Operator.EXISTS:
                return self.key
            case Operator.DOES_NOT_EXIST:
                return f"!{self.key}"
            case Operator.IN | Operator.NOT_IN:
                return f"{self.key} {self.operator} ({','.join(self.values)})"
        return f"{self.key}{self.operator}{self.values[0]}"


@dataclass(frozen=True)
class Selector:
    """Requirements, sorted by key, all of which must be met; none select everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __bool__(self) -> bool:
        return bool(self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


EVERYTHING = Selector()


def parse(text: str) -> Selector:
    """The selector that a text means. Raises StatusError 400."""
    return Selector(tuple(sorted(_Parser(text).selector(), key=lambda requirement: requirement.key)))


# -- the grammar -------------------------------------------------------------------------------------------------------

# A symbol takes as many letters as give one, so that `!=` and `==` are one each. Go ends an identifier at a NUL.
_TOKEN = re.compile(r"[ \t\r\n]*(?:(==|!=|[=!(),<>])|([^ \t\r\n=!(),<>\0]+)\0?)")
_IDENTIFIER, _END = "identifier", "end"
_BINARY = {str(operator) for operator in Operator} - {Operator.EXISTS, Operator.DOES_NOT_EXIST}


def _tokens(text: str) -> list[tuple[str, str]]:
    """Kind and text of each token: a symbol is its own kind."""
    tokens, position = [], 0
    while match := _TOKEN.match(text, position):
        tokens.append((match[1] or _IDENTIFIER, match[1] or match[2]))
        position = match.end()
    return [*tokens, (_END, "")]


class _Unparsed(Exception):
    """What is wrong with a requirement; it becomes part of a StatusError."""

    @classmethod
    def found(cls, text: str, expected: str) -> _Unparsed:
        return cls(f"found '{text}', expected: {expected}")


class _Parser:
    """Recursive descent, one token at a time."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._position = 0

    def selector(self) -> list[Requirement]:
        requirements: list[Requirement] = []
        while self._ahead != _END or requirements:
            if self._ahead not in (_IDENTIFIER, "!"):
                expected = "identifier after ','" if requirements else "!, identifier, or 'end of string'"
                raise bad_request(f"found '{self._take()[1]}', expected: {expected}")
            try:
                requirements.append(self._requirement())
            except _Unparsed as problem:
                raise bad_request(f"unable to parse requirement: {problem}") from problem
            kind, text = self._take()
            if kind == _END:
                break
            if kind != ",":
                raise bad_request(f"found '{text}', expected: ',' or 'end of string'")
        return requirements

    @property
    def _ahead(self) -> str:
        return self._tokens[self._position][0]

    def _take(self) -> tuple[str, str]:
        self._position += 1
        return self._tokens[self._position - 1]

    def _requirement(self) -> Requirement:
        kind, key = self._take()
        negated = kind == "!"
        if negated:
            kind, key = self._take()
        if kind != _IDENTIFIER:
            raise _Unparsed.found(key, "identifier")
        if wrong := validation.label_key(key):
            raise _Unparsed(validation.invalid("<nil>", key, "; ".join(wrong)))
        if negated:
            return Requirement(key, Operator.DOES_NOT_EXIST)
        if self._ahead in (_END, ","):
            return Requirement(key, Operator.EXISTS)
        _, text = self._take()
        if text not in _BINARY:
            raise _Unparsed.found(text, "in, notin, =, ==, !=, gt, lt")
        operator = Operator(text)
        values = self._listed() if operator in (Operator.IN, Operator.NOT_IN) else {self._value()}
        return _checked(Requirement(key, operator, tuple(sorted(values))))

    def _value(self) -> str:
        if self._ahead in (_END, ","):
            return ""
        kind, text = self._take()
        if kind != _IDENTIFIER:
            raise _Unparsed.found(text, "identifier")
        return text

    def _listed(self) -> set[str]:
        """Values in parentheses; where nothing stands between two of these and the commas, that is the empty value."""
        kind, text = self._take()
        if kind != "(":
            raise _Unparsed(f"found '{text}' expected: '('")
        values, last = set(), "("
        while True:
            kind, text = self._take()
            if kind in (",", ")"):
                if last != _IDENTIFIER:
                    values.add("")
                if kind == ")":
                    return values
            elif kind == _IDENTIFIER != last:
                values.add(text)
            else:
                expected = {_IDENTIFIER: "',' or ')'", "(": "',', ')' or identifier", ",": "',', or identifier"}
                raise _Unparsed.found(text, expected[last])
            last = kind


def _checked(requirement: Requirement) -> Requirement:
    problems: list[FieldError] = []
    if requirement.operator in _COMPARED:
        try:
            golang.parse_int(requirement.values[0])
        except ValueError:
            why = "for 'Gt', 'Lt' operators, the value must be an integer"
            problems.append(validation.invalid("values[0]", requirement.values[0], why))
    for index, value in enumerate(requirement.values):
        if wrong := validation.label_value(value):
            problems.append(validation.invalid(f"values[{index}][{requirement.key}]", value, "; ".join(wrong)))
    if problems:
        raise _Unparsed(validation.aggregate(problems))
    return requirement
