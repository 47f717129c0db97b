r"""Field selectors: `metadata.name=a,status.phase!=Running`. A backslash makes the `\`, `,` or `=` after it plain.

Source: k8s.io/apimachinery, pkg/fields/selector.go, from which the grammar and the texts of errors are taken.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from presenter.apimachinery import golang
from presenter.apimachinery.errors import bad_request

METADATA = ("metadata.name", "metadata.namespace")
"""The fields that objects of every namespaced type can be selected by."""

_TERMS = re.compile(r"(?:[^,\\]|\\.?)+", re.DOTALL)
_TERM = re.compile(r"(.*?)(!=|==|=)(.*)", re.DOTALL)
_ESCAPED = re.compile(r"[,=]|\\(.?)", re.DOTALL)


@dataclass(frozen=True)
class Requirement:
    """One condition on a field: that it has a value, or another one."""

    field: str
    value: str
    negated: bool = False

    def matches(self, values: Mapping[str, str]) -> bool:
        """Whether an object with these values meets it. A field without a value has the empty one."""
        return (values.get(self.field, "") == self.value) != self.negated

    def __str__(self) -> str:
        return f"{self.field}{'!=' if self.negated else '='}{escape(self.value)}"


@dataclass(frozen=True)
class Selector:
    """Requirements, all of which must be met; none select everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, values: Mapping[str, str]) -> bool:
        """Whether an object with these values of its fields is selected."""
        return all(requirement.matches(values) for requirement in self.requirements)

    def requires_exact_match(self, field: str) -> str | None:
        """The one value that a field must have, if it must."""
        exact = (r.value for r in self.requirements if r.field == field and not r.negated)
        return next(exact, None)

    def check(self, known: Collection[str], *, default: bool = False) -> None:
        """Raises StatusError 400 for a field that objects cannot be selected by.

        `default`: the type is a built-in one that says nothing about its fields; the words differ.
        """
        for requirement in self.requirements:
            if requirement.field in known:
                continue
            if not default:
                raise bad_request(f"field label not supported: {requirement.field}")
            name = golang.quote(requirement.field)
            raise bad_request(f'{name} is not a known field selector: only "metadata.name", "metadata.namespace"')

    def __bool__(self) -> bool:
        return bool(self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


EVERYTHING = Selector()


def parse(text: str) -> Selector:
    """The selector that a text means. Raises StatusError 400; whether the fields exist is for `check` to say."""
    requirements = []
    for term in sorted(_TERMS.findall(text)):
        match = _TERM.fullmatch(term)
        if not match:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{term}'")
        value = _unescaped(match[3])
        if match[1] or value:
            requirements.append(Requirement(match[1], value, match[2] == "!="))
    return Selector(tuple(requirements))


def escape(value: str) -> str:
    """A value as it stands in a selector."""
    return re.sub(r"[\\,=]", r"\\\g<0>", value)


def _unescaped(value: str) -> str:
    def letter(match: re.Match[str]) -> str:
        escaped = match[1]
        if escaped is None:
            raise bad_request(f"invalid field selector: unescaped character in value: {ord(match[0])}")
        if escaped not in ("\\", ",", "="):
            raise bad_request(f"invalid field selector: invalid escape sequence: \\{escaped}")
        return escaped

    return _ESCAPED.sub(letter, value)
