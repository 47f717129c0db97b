"""Changes to the text of a manifest, line by line: what is not changed stays as it was, comments and all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import FoldedScalarString, LiteralScalarString

from presenter.restaction.manifest import Document, Refused, Where, lines_of


@dataclass(frozen=True, slots=True)
class Edit:
    """New lines in the place of those from `start` to before `end`, counted from 0."""

    start: int
    end: int
    lines: tuple[str, ...]


def applied(text: str, edits: Iterable[Edit]) -> str:
    """The text with its edits, which do not overlap."""
    lines = lines_of(text)
    for edit in sorted(edits, key=lambda each: each.start, reverse=True):
        lines[edit.start : edit.end] = edit.lines
    return "".join(lines)


def check_is_block(node: Any, where: Where) -> None:
    """Refuse what is written in braces or brackets. Raises Refused."""
    if isinstance(node, CommentedMap | CommentedSeq) and node.fa.flow_style():
        raise Refused(
            "it is written as JSON is: only lines of block style can be changed, as `kubectl get -o yaml` prints them",
            where,
        )


@dataclass(frozen=True, slots=True)
class Block:
    """A mapping in block style, and the lines of its entries. Its column is where its keys begin."""

    document: Document
    where: Where
    lines: list[str]

    @classmethod
    def at(cls, document: Document, lines: list[str], *where: str | int) -> Block:
        """The mapping at a path. Raises Refused."""
        block = cls(document, where, lines)
        node = block._node
        check_is_block(node, where)
        if isinstance(node, CommentedMap) and node.merge:
            raise Refused("some of its keys come from elsewhere, with `<<`: write them out", where)
        if not isinstance(node, CommentedMap) or not len(node):
            raise Refused("it is not written as a block of `key: value` lines", where)
        return block

    @property
    def _node(self) -> Any:
        return self.document.get(*self.where)

    @property
    def _column(self) -> int:
        column: int = self._node.lc.key(next(iter(self._node)))[1]
        return column

    @property
    def newline(self) -> str:
        """How its lines end."""
        return "\r\n" if self.lines[self.span(next(iter(self._node)))[0]].endswith("\r\n") else "\n"

    def span(self, key: str) -> tuple[int, int]:
        """The lines of an entry, from its key to the last that is neither blank nor a comment."""
        start: int = self._node.lc.key(key)[0]
        value = self._node[key]
        in_dashes = isinstance(value, CommentedSeq)
        is_block = isinstance(value, LiteralScalarString | FoldedScalarString)
        last = start
        for number in range(start + 1, len(self.lines)):
            text = self.lines[number].strip()
            column = len(self.lines[number]) - len(self.lines[number].lstrip())
            if not text or (text.startswith("#") and not (is_block and column > self._column)):
                continue
            if column <= self._column and not (in_dashes and column == self._column and text.startswith("-")):
                break
            last = number
        return start, last + 1

    def replaced(self, key: str, text: str) -> Edit:
        """An entry that becomes other lines, given without their indentation."""
        start, end = self.span(key)
        prefix = self._prefix(start)
        lines = self._indented(text, " " * len(prefix))
        comments = self._comments_from(end)
        return Edit(start, end + len(comments), (prefix + lines[0][len(prefix) :], *lines[1:], *comments))

    def _comments_from(self, line: int) -> list[str]:
        """Blank lines and comments from here on, none so far in that it would belong to a block of text before it."""
        following = takewhile(lambda each: each.strip()[:1] in ("", "#"), self.lines[line:])
        margin = " " * self._column
        return [
            margin + each.lstrip() if each.startswith(f"{margin} ") and each.strip() else each for each in following
        ]

    def _prefix(self, line: int) -> str:
        return self.lines[line][: self._column]

    def removed(self) -> Edit:
        """The whole of it, an item of a list."""
        start, end = self._extent()
        if not self._prefix(start).strip().startswith("-"):
            raise Refused("the dash stands on a line of its own", self.where)
        return Edit(start, end, ())

    def changed(self, changes: Mapping[str, str | None], before: Mapping[str, str]) -> Edit:
        """An item of a list with entries that become other lines, or None.

        `before` are lines put before an entry.
        """
        start, end = self._extent()
        dash = self._prefix(start)
        spaces = " " * len(dash)
        lines: list[str] = []
        position = start
        for key in sorted(self._node, key=lambda each: self.span(each)[0]):
            first, after = self.span(key)
            lines += self.lines[position:first]
            lines += self._indented(before.get(key, ""), spaces)
            new = changes.get(key, "")
            if new:
                lines += self._indented(new, spaces)
            elif new is not None:
                lines += [spaces + self.lines[first][len(spaces) :], *self.lines[first + 1 : after]]
            position = after
        for number, line in enumerate(lines):
            if line.strip() and not line.strip().startswith("#"):
                lines[number] = dash + line[len(dash) :]
                break
        return Edit(start, end, tuple(lines))

    def _indented(self, text: str, spaces: str) -> list[str]:
        return [f"{spaces}{line}{self.newline}" if line else self.newline for line in text.splitlines()]

    def _extent(self) -> tuple[int, int]:
        spans = [self.span(key) for key in self._node]
        return min(first for first, _ in spans), max(last for _, last in spans)


def block_scalar(key: str, text: str) -> str:
    """The lines of an entry whose value is a text of several lines."""
    return "\n".join([f"{key}: |", *(f"  {line}" if line else "" for line in text.removesuffix("\n").split("\n"))])
