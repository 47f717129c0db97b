"""Helm templates as YAML: `{{ … }}` masked so that a YAML reader understands the rest, and restored byte for byte.

An action becomes as many characters as it has: one that stands for it, and a filler. They are private-use characters,
which mean nothing to YAML and which no manifest has; where one has them all the same, they are masked too. What stands
alone on its line becomes a comment, and lines stay where they are.
"""

from __future__ import annotations

import re

_ACTION = re.compile(
    r"""
    \{\{(?:-\s)?/\*.*?\*/(?:\s-)?\}\}                # a comment
    | \{\{(?:
        "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' | `[^`]*`
        | (?!\}\}|\{\{)[^"'`]
      )*\}\}
    """,
    re.VERBOSE | re.DOTALL,
)
_INLINE, _ALONE, _FILLER = 0xF0000, 0x100000, "\ue000"
_ROOM = 0xFFFE  # in each of the two planes
_PRIVATE = "\ue000\U000f0000-\U0010ffff"
_MASKED = re.compile(rf"{_ACTION.pattern}|[{_PRIVATE}]", _ACTION.flags)
_PLACEHOLDER = re.compile(f"[\U000f0000-\U000fffff]{_FILLER}*|#[\U00100000-\U0010ffff]{_FILLER}*")


class TooManyActions(ValueError):
    """More different actions than there are placeholders."""


class Mask:
    """A text with its actions masked: `text`; and the way back."""

    def __init__(self, original: str) -> None:
        self._originals: list[str] = []
        self._numbers: dict[str, int] = {}
        alone = _lines_of_actions(original)
        self.text = _MASKED.sub(lambda found: self._hidden(found[0], found.start(), alone), original)

    def restore(self, text: str) -> str:
        """Any text made of parts of the masked one, with the actions back in it."""
        return _PLACEHOLDER.sub(self._shown, text)

    def _hidden(self, action: str, start: int, alone: set[int]) -> str:
        """An action masked line by line, since lines must stay where they are."""
        hidden = []
        for line in action.splitlines(keepends=True):
            part = line.strip()
            before, after = line.split(part, 1) if part else (line, "")
            hidden.append(before + (self._placeholder(part, start + len(before) in alone) if part else "") + after)
            start += len(line)
        return "".join(hidden)

    def _placeholder(self, part: str, alone: bool) -> str:
        number = self._numbers.setdefault(part, len(self._originals))
        if number == len(self._originals):
            if number >= _ROOM:
                raise TooManyActions(f"more than {_ROOM} different template actions in one file")
            self._originals.append(part)
        head = f"#{chr(_ALONE + number)}" if alone else chr(_INLINE + number)
        return head.ljust(len(part), _FILLER)

    def _shown(self, found: re.Match[str]) -> str:
        number = ord(found[0].lstrip("#")[0]) & 0xFFFF
        return self._originals[number] if number < len(self._originals) else found[0]


def has_action(text: str) -> bool:
    """Whether there is something left for Helm to fill in."""
    return _ACTION.search(text) is not None


def _lines_of_actions(text: str) -> set[int]:
    """Where the first action begins in each line that has nothing else."""
    starts, position = set(), 0
    for line in _ACTION.sub(lambda found: re.sub(r"\S", "\0", found[0]), text).splitlines(keepends=True):
        bare = line.strip()
        if bare and not bare.strip("\0 \t"):
            starts.add(position + line.index("\0"))
        position += len(line)
    return starts
