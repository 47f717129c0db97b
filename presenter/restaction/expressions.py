"""Values that may hold an expression: `${ … }`, as snowplow finds it."""

from __future__ import annotations

_OPENING = "${"


def expression(text: str) -> str | None:
    """The jq program in a value, None when it is literal.

    As in snowplow it ends where its braces are balanced, those in strings and comments included; what is around it is
    not looked at.
    """
    start = text.find(_OPENING)
    if start < 0:
        return None
    start += len(_OPENING)
    depth = 1
    for end in range(start, len(text)):
        depth += (text[end] == "{") - (text[end] == "}")
        if depth == 0:
            return text[start:end].strip()
    return None
