"""Widgets that page through a RESTAction: `slice.page` in a reference to them means the old pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from presenter.restaction.line_edits import Block, Edit
from presenter.restaction.manifest import API_GROUP, Document, Refused, Where

_WIDGETS = f"widgets.{API_GROUP}"
_FLOW_PAGE = re.compile(r"(?P<before>[{,]\s*)(?:page|\"page\"|'page')\s*:\s*[^,}]*(?P<after>,\s*|(?=\}))")

Name = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An item of `resourcesRefs` with a slice: to a widget of some kind, or to a RESTAction itself."""

    document: Document
    where: Where
    resource: str
    target: Name

    @property
    def slice(self) -> Any:
        """Which page it asks for, a mapping."""
        return self.document.get(*self.where, "slice")


def sliced_references(document: Document) -> Iterator[Reference]:
    """The references of a widget that ask for pages."""
    if document.text("apiVersion").partition("/")[0] != _WIDGETS:
        return
    for where in (("spec", "resourcesRefs", "items"), ("spec", "resourcesRefs")):
        items = document.get(*where)
        for index, item in enumerate(items if isinstance(items, list) else ()):
            if isinstance(item, dict) and isinstance(item.get("slice"), dict):
                at = (*where, index)
                target = (_namespace(document, *at, "namespace"), document.text(*at, "name"))
                yield Reference(document, at, document.text(*at, "resource"), target)


def widgets_of(documents: Iterable[Document], actions: set[Name] | None = None) -> set[tuple[str, Name]]:
    """The widgets that show one of these RESTActions, as (kind in lower case, name); without those: all widgets."""
    return {
        (document.kind.lower(), (_namespace(document, "metadata", "namespace"), document.name))
        for document in documents
        if document.text("apiVersion").partition("/")[0] == _WIDGETS
        and (actions is None or _action(document) in actions)
    }


def _action(document: Document) -> Name:
    return _namespace(document, "spec", "apiRef", "namespace"), document.text("spec", "apiRef", "name")


def shows(reference: Reference, widgets: set[tuple[str, Name]], actions: set[Name]) -> bool:
    """Whether a reference leads to one of these widgets or actions; plurals are the kind and a few letters."""
    if reference.resource == "restactions":
        return reference.target in actions
    return any(target == reference.target and _is_plural(reference.resource, kind) for kind, target in widgets)


def _is_plural(resource: str, kind: str) -> bool:
    return resource in (f"{kind}s", f"{kind}es", f"{kind.removesuffix('y')}ies")


def _namespace(document: Document, *where: str | int) -> str:
    """A namespace, or that of the object itself."""
    return document.text(*where) or document.text("metadata", "namespace")


def without_page(reference: Reference, lines: list[str]) -> Edit:
    """The change that takes the page out. Raises Refused."""
    where, slice = (*reference.where, "slice"), reference.slice
    if not slice.fa.flow_style():
        block = Block.at(reference.document, lines, *where)
        if len(slice) == 1:
            raise Refused("a slice with nothing but a page", where)
        start, end = block.span("page")
        return Edit(start, end, ())
    line = slice.lc.line
    changed, count = _FLOW_PAGE.subn(_cut, lines[line])
    if count != 1:
        raise Refused("the slice is not written in one line", where)
    return Edit(line, line + 1, (changed,))


def _cut(found: re.Match[str]) -> str:
    """What stays of the text around: not the comma behind the page nor, where there is none, the one before it."""
    return found["before"] if found["after"] or found["before"].startswith("{") else ""
