"""One RESTAction as the rules see it: its text and what its calls ask for; and what they find in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from presenter.restaction.helm import Mask
from presenter.restaction.jq import Jq
from presenter.restaction.manifest import Document, Manifest, RestAction, Where, lines_of, restaction
from presenter.restaction.rules.queries import CallQueries, queries_of

Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """What goes wrong and what to do about it. `line` counts from 1; `rule` is the name of what found it."""

    path: str
    line: int
    level: Level
    rule: str
    what: str
    remedy: str

    def __str__(self) -> str:
        line = f"{self.path}:{self.line}: {self.level}: {self.what} ({self.remedy})"
        return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)


@dataclass(frozen=True, slots=True)
class Subject:
    """A RESTAction of a file. `calls` are those that go to the presenter."""

    manifest: Manifest
    document: Document
    action: RestAction
    jq: Jq
    calls: tuple[CallQueries, ...]

    @classmethod
    async def of(cls, manifest: Manifest, document: Document, jq: Jq) -> Subject:
        """That of a document. Raises ManifestError when it is no RESTAction that could be resolved."""
        action = restaction(document)
        found = [await queries_of(jq, index, call) for index, call in enumerate(action.calls)]
        return cls(manifest, document, action, jq, tuple(each for each in found if each.to_presenter))

    @property
    def follows_cursor(self) -> bool:
        """Whether it pages by cursor."""
        return any(call.behind_cursor for call in self.calls)

    @property
    def filter(self) -> str | None:
        """The final filter, with Helm's actions masked."""
        return None if self.action.filter is None else Mask(self.action.filter).text

    def finding(self, rule: str, level: Level, where: Where, what: str, remedy: str, *near: str) -> Finding:
        """A finding at a path of the document; within it at the line with the first text of `near` that is there."""
        start = self.document.line(*where)
        lines = lines_of(self.manifest.text)[start - 1 : self._end(where)]
        offset = next((offset for text in near for offset, line in enumerate(lines) if text in line), 0)
        return Finding(self.document.path, start + offset, level, rule, what, remedy)

    def values(self) -> Iterator[tuple[Where, str, str, bool]]:
        """What is or may hold a program: where, what to call it, the text, and whether it is all program."""
        for index, call in enumerate(self.action.calls):
            where: Where = ("spec", "api", index)
            yield (*where, "path"), f"path of {call.name}", call.path, False
            for number, header in enumerate(call.headers):
                yield (*where, "headers", number), f"header of {call.name}", header, False
            if call.payload is not None:
                yield (*where, "payload"), f"payload of {call.name}", call.payload, False
            if call.iterator is not None:
                yield (*where, "dependsOn", "iterator"), f"iterator of {call.name}", call.iterator, True
            if call.filter is not None:
                yield (*where, "filter"), f"filter of {call.name}", call.filter, True
        if self.action.filter is not None:
            yield ("spec", "filter"), "filter", self.action.filter, True

    def _end(self, where: Where) -> int | None:
        """The last line of what is at a path: that before the key or document which follows; None when none does."""
        document, start = self.document, self.document.line(*where)
        parents = (document.get(*where[:depth]) for depth in range(len(where)))
        lines = [document.line(*where[:depth], step) for depth, parent in enumerate(parents) for step in _steps(parent)]
        lines += [each.line() for each in self.manifest.documents]
        return min((line - 1 for line in lines if line > start), default=None)


Rule = Callable[[Subject], AsyncIterator[Finding]]


def _steps(node: object) -> Iterable[str | int]:
    return node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
