"""Whether an answer goes out compressed: what the header Accept-Encoding asks for (RFC 9110 §12.5.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from presenter.errors import NotAcceptable

ACCEPT_ENCODING = "Accept-Encoding"

_CODING = re.compile(
    r"[ \t]*(?P<coding>[!#$%&'*+.^_`|~0-9a-z-]+)[ \t]*"
    r"(?:;[ \t]*q=(?P<weight>0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*)?",
    re.IGNORECASE,
)
_ALIASES = {"x-gzip": "gzip"}  # §8.4.1.3
_LEAST = 0.0001
"""Less than any weight that can be given: that of what is acceptable although nobody has asked for it."""


def wants_gzip(fields: Sequence[str]) -> bool:
    """Whether these fields ask for gzip rather than for the JSON as it is.

    Nothing is compressed unasked. Who gives both the same weight gets gzip. What is malformed, and any other coding,
    counts for nothing. Raises NotAcceptable where neither may be sent.
    """
    return bool(fields) and _wants_gzip(",".join(fields))


@lru_cache(256)
def _wants_gzip(field: str) -> bool:
    weights: dict[str, float] = {}
    for element in field.split(","):
        if found := _CODING.fullmatch(element):
            coding = found["coding"].lower()
            weights[_ALIASES.get(coding, coding)] = float(found["weight"] or 1)
    others = weights.get("*")
    gzip = weights.get("gzip", others or 0)
    identity = weights.get("identity", _LEAST if others is None else others)
    if not gzip and not identity:
        raise NotAcceptable(
            f"{ACCEPT_ENCODING} is {field[:256]!r}, which leaves nothing: allowed are gzip and identity"
        )
    return gzip > 0 and gzip >= identity
