"""What label keys, label values and names may look like, and field errors, in the words of the API server.

Source: k8s.io/apimachinery, pkg/api/validate/content and pkg/util/validation/field.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from presenter.apimachinery import golang

_LABEL_KEY = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = f"({_LABEL_KEY})?"
_DNS_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_SUBDOMAIN = rf"{_DNS_LABEL}(\.{_DNS_LABEL})*"
_ENDS = "and must start and end with an alphanumeric character"
_LABEL_RULE = f"consist of alphanumeric characters, '-', '_' or '.', {_ENDS}"
_TITLES = {
    "FieldValueInvalid": "Invalid value",
    "FieldValueRequired": "Required value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueNotSupported": "Unsupported value",
}


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field; `reason` is a `metav1.CauseType`, such as FieldValueInvalid."""

    field: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def invalid(field: str, value: str, detail: str) -> FieldError:
    """A value that must not be."""
    return _error("FieldValueInvalid", field, detail, golang.quote(value))


def required(field: str, detail: str) -> FieldError:
    """A value that is missing."""
    return _error("FieldValueRequired", field, detail)


def forbidden(field: str, detail: str) -> FieldError:
    """A value that would be good elsewhere."""
    return _error("FieldValueForbidden", field, detail)


def not_supported(field: str, value: str, supported: Sequence[str]) -> FieldError:
    """A value that is none of those there are."""
    detail = f"supported values: {', '.join(map(golang.quote, supported))}"
    return _error("FieldValueNotSupported", field, detail, golang.quote(value))


def _error(reason: str, field: str, detail: str, *value: str) -> FieldError:
    return FieldError(field, reason, ": ".join((_TITLES[reason], *value, detail)))


def aggregate(errors: Sequence[FieldError]) -> str:
    """Several errors as one text."""
    texts = list(dict.fromkeys(map(str, errors)))
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


# -- what is wrong with a text, as texts; nothing when it is good ------------------------------------------------------


def label_key(text: str) -> list[str]:
    """A label's key: a name with, before a slash, an optional DNS subdomain."""
    rule = _rule(f"must {_LABEL_RULE}", _LABEL_KEY, "MyName", "my.name", "123-abc")
    *prefixes, name = text.split("/")
    if len(prefixes) > 1:
        return [f"a valid label key {rule} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"]
    wrong = []
    for prefix in prefixes:
        problems = dns_subdomain(prefix) if prefix else ["must be non-empty"]
        wrong += [f"prefix part {problem}" for problem in problems]
    if not name:
        wrong.append("name part must be non-empty")
    return wrong + [f"name part {problem}" for problem in _checked(name, 63, _LABEL_KEY, rule)]


def label_value(text: str) -> list[str]:
    """A label's value."""
    rule = f"a valid label must be an empty string or {_LABEL_RULE}"
    return _checked(text, 63, _LABEL_VALUE, _rule(rule, _LABEL_VALUE, "MyValue", "my_value", "12345"))


def dns_subdomain(text: str) -> list[str]:
    """A lower-case RFC 1123 subdomain, as most objects are named."""
    rule = f"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', {_ENDS}"
    return _checked(text, 253, _DNS_SUBDOMAIN, _rule(rule, _DNS_SUBDOMAIN, "example.com"))


def dns_label(text: str) -> list[str]:
    """A lower-case RFC 1123 label, as namespaces are named."""
    rule = f"a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', {_ENDS}"
    if re.fullmatch(_DNS_SUBDOMAIN, text):
        return _checked(text, 63, _DNS_LABEL, "must not contain dots")
    return _checked(text, 63, _DNS_LABEL, _rule(rule, _DNS_LABEL, "my-name", "123-abc"))


def path_segment(text: str) -> list[str]:
    """What can stand between two slashes of a path, as RBAC objects are named."""
    if text in (".", ".."):
        return [f"may not be '{text}'"]
    return [f"may not contain '{letter}'" for letter in "/%" if letter in text]


def _checked(text: str, most: int, pattern: str, rule: str) -> list[str]:
    wrong = [f"must be no more than {most} bytes"] if len(text.encode(errors="replace")) > most else []
    return wrong if re.fullmatch(pattern, text) else [*wrong, rule]


def _rule(text: str, pattern: str, *examples: str) -> str:
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{text} (e.g. {shown}regex used for validation is '{pattern}')"
