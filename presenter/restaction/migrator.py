"""Manifests migrated as texts: RESTActions, and widgets that show them. What was changed is read again and checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal

from presenter.restaction import widgets
from presenter.restaction.helm import Mask
from presenter.restaction.jq_parser import JqSyntaxError, parse
from presenter.restaction.line_edits import Block, Edit, applied, block_scalar, check_is_block
from presenter.restaction.manifest import (
    Call,
    Document,
    Manifest,
    ManifestError,
    Reference,
    Refused,
    RestAction,
    Where,
    expression,
    lines_of,
    restaction,
)
from presenter.restaction.rewriting import consequences, rewritten
from presenter.restaction.syntax import Constant, walk
from presenter.restaction.understanding import Old, understand

ENDPOINT = "resources-presenter-endpoint"
_RELEASE_NAMESPACE = re.compile(r"\{\{-?\s*\.Release\.Namespace\s*-?\}\}")
_RESOURCES = "/resources?"
_KRATEO_SYSTEM = "krateo-system"
_TEMPLATE_LINES = re.compile("#[\U00100000-\U0010ffff]")

_LARGEST = 1_000_000
_LONGEST_REMARK = 300

Status = Literal["migrated", "already migrated", "page removed", "page kept", "left alone", "nothing to do"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was done with a document, and what there is to know about it."""

    path: str
    line: int
    name: str
    status: Status
    remarks: tuple[str, ...] = ()

    @property
    def place(self) -> tuple[str, int]:
        """What to sort by."""
        return self.path, self.line

    @property
    def left_alone(self) -> bool:
        """Whether somebody has to look at it."""
        return self.status == "left alone"

    def __str__(self) -> str:
        head = f"{self.path}:{self.line}: {self.name}: {self.status}"
        if self.left_alone:
            return f"{head}: {'; '.join(self.remarks)}"
        return "\n".join([head, *(f"    {remark}" for remark in self.remarks)])


@dataclass(frozen=True, slots=True)
class Migrated:
    """A manifest's new text, which is the old one when there was nothing to do."""

    text: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Change:
    """Edits of one document, and what it then is: another RESTAction, or a widget without these pages."""

    document: Document
    finding: Finding
    edits: tuple[Edit, ...] = ()
    action: RestAction | None = None
    pages: tuple[Where, ...] = ()


def migrated(manifests: Sequence[Manifest], endpoint: Reference | None = None) -> list[Migrated]:
    """Manifests, which may refer to each other, migrated. `endpoint`: the presenter's; None: in their own namespace."""
    lines = [lines_of(manifest.documents[0].mask.text) if manifest.documents else [] for manifest in manifests]
    changes = [
        [_of_action(document, text, endpoint) for document in manifest.restactions()]
        for manifest, text in zip(manifests, lines, strict=True)
    ]
    actions = {
        (change.document.text("metadata", "namespace"), change.document.name)
        for each in changes
        for change in each
        if change.finding.status in ("migrated", "already migrated")
    }
    documents = [document for manifest in manifests for document in manifest.documents]
    shown, known = widgets.widgets_of(documents, actions), widgets.widgets_of(documents)
    for manifest, text, each in zip(manifests, lines, changes, strict=True):
        if actions:
            each += _of_widgets(manifest, text, actions, shown, known)
    return [_applied(manifest, each) for manifest, each in zip(manifests, changes, strict=True)]


# -- RESTActions -------------------------------------------------------------------------------------------------------


def _of_action(document: Document, lines: list[str], endpoint: Reference | None) -> _Change:
    def finding(status: Status, *remarks: str, line: int | None = None) -> Finding:
        shown = tuple(_shortened(document.mask.restore(remark)) for remark in remarks)
        name = f"RESTAction {document.name}"
        return Finding(document.path, line or document.line("kind"), name, status, shown)

    try:
        action = restaction(replace(document, mask=Mask("")))  # what Helm fills in stays masked
    except ManifestError as error:
        return _Change(document, finding("left alone", error.message.partition(": ")[2]))
    done = any(_asks_presenter(call) for call in action.calls)
    if done and not any(_iterates(call) for call in action.calls):
        return _Change(document, finding("already migrated"))
    try:
        old = understand(action)
        if old is None:
            return _Change(document, finding("already migrated" if done else "nothing to do"))
        reference = endpoint or _endpoint(document, lines)
        new = rewritten(old, reference)
        edits = tuple(_edits(document, lines, old, new))
    except Refused as error:
        return _Change(document, finding("left alone", str(error), line=_line(document, lines, error)))
    remarks = consequences(old)
    if endpoint is None and reference.namespace not in (_KRATEO_SYSTEM, _release(document, lines)):
        remarks.append(f"its endpointRef leads to {reference.namespace}/{reference.name}: --endpoint names another")
    return _Change(document, finding("migrated", *remarks), edits, new)


def _shortened(remark: str) -> str:
    return remark if len(remark) <= _LONGEST_REMARK else f"{remark[:_LONGEST_REMARK]}…"


def _asks_presenter(call: Call) -> bool:
    if call.endpoint_ref is not None and call.endpoint_ref.name == ENDPOINT:
        return True
    program = expression(call.path)
    if program is None:
        return call.path.strip().startswith(_RESOURCES)
    try:
        texts = [node.value for node in walk(parse(program)) if isinstance(node, Constant)]
    except JqSyntaxError:
        return f'"{_RESOURCES}' in program
    return any(isinstance(text, str) and text.startswith(_RESOURCES) for text in texts)


def _iterates(call: Call) -> bool:
    """Whether it looks like the old pattern, whatever the other calls do."""
    return call.iterator is not None and "/namespaces/" in call.path


def _endpoint(document: Document, lines: list[str]) -> Reference:
    own = document.text("metadata", "namespace")
    return Reference(ENDPOINT, _release(document, lines) or own or _KRATEO_SYSTEM)


def _release(document: Document, lines: list[str]) -> str:
    """The template action for the namespace of the release, "" when the file has none."""
    found = _RELEASE_NAMESPACE.search(document.mask.restore("".join(lines)))
    return found[0] if found else ""


def _line(document: Document, lines: list[str], error: Refused) -> int:
    """The line of what was refused: in an expression that goes over several lines, the one it begins on."""
    first = document.line(*error.where)
    text = error.text[error.offset :].lstrip().partition("\n")[0][:40].rstrip()
    before = error.text[: error.offset].count(text) if text else 0
    for number, line in enumerate(lines[first - 1 :], first):
        if text and text in line:
            if before < line.count(text):
                return number
            before -= line.count(text)
    return first


def _edits(document: Document, lines: list[str], old: Old, new: RestAction) -> Iterator[Edit]:
    """The lines to change, so that a document says what the new action says."""
    spec = Block.at(document, lines, "spec")
    check_is_block(document.get("spec", "api"), ("spec", "api"))
    for key in ("api", "filter"):
        start, end = spec.span(key)
        if any(_TEMPLATE_LINES.search(line) for line in lines[start:end]):
            raise Refused("template actions on lines of their own: what they leave cannot be told", ("spec", key))
    kept = {call.name: call for call in new.calls}
    for index, call in enumerate(old.action.calls):
        if call.name not in kept:
            yield Block.at(document, lines, "spec", "api", index).removed()
        elif kept[call.name] != call:
            after = kept[call.name]
            assert after.endpoint_ref is not None
            reference = after.endpoint_ref
            yield Block.at(document, lines, "spec", "api", index).changed(
                {
                    "path": f"{block_scalar('path', after.path)}\nexportJwt: true",
                    "exportJwt": None,
                    "filter": None,
                    **({} if after.depends_on else {"dependsOn": None}),
                },
                before={"path": f"endpointRef:\n  name: {reference.name}\n  namespace: {reference.namespace}"},
            )
    assert new.filter is not None
    yield spec.replaced("filter", block_scalar("filter", new.filter))


# -- widgets -----------------------------------------------------------------------------------------------------------


def _of_widgets(
    manifest: Manifest,
    lines: list[str],
    actions: set[widgets.Name],
    shown: set[tuple[str, widgets.Name]],
    known: set[tuple[str, widgets.Name]],
) -> Iterator[_Change]:
    """Widgets without the pages of those that show these actions. Of those that are not known it cannot be told."""
    for document in manifest.documents:
        edits, pages, remarks = list[Edit](), list[Where](), list[str]()
        failed = False
        for reference in (each for each in widgets.sliced_references(document) if "page" in each.slice):
            name = f"{reference.resource} {'/'.join(reference.target)}"
            if widgets.shows(reference, shown, actions):
                try:
                    edits.append(widgets.without_page(reference, lines))
                    pages.append((*reference.where, "slice", "page"))
                except Refused as error:
                    remarks.append(f"{name}: {error}")
                    failed = True
            elif reference.resource != "restactions" and not widgets.shows(reference, known, set()):
                remarks.append(f"{name} keeps its page: it is not among the files, so what it shows cannot be told")
        if edits or remarks:
            status: Status = "left alone" if failed else "page removed" if edits else "page kept"
            line = document.line("spec", "resourcesRefs")
            name = f"{document.kind} {document.name}"
            finding = Finding(manifest.path, line, name, status, tuple(remarks))
            yield _Change(document, finding, tuple(edits), pages=tuple(pages))


# -- texts -------------------------------------------------------------------------------------------------------------


def _applied(manifest: Manifest, changes: Iterable[_Change]) -> Migrated:
    """The new text, but for what does not read as it was meant to."""
    changes = list(changes)
    text = _text(manifest, changes)
    if any(change.edits for change in changes) and not _is_as_meant(manifest, changes, text):
        changes = [_unless_alone_as_meant(manifest, change) for change in changes]
        text = _text(manifest, changes)
    return Migrated(text, tuple(change.finding for change in changes))


def _text(manifest: Manifest, changes: Iterable[_Change]) -> str:
    edits = [edit for change in changes for edit in change.edits]
    if not edits:
        return manifest.text
    mask = manifest.documents[0].mask
    return mask.restore(applied(mask.text, edits))


def _unless_alone_as_meant(manifest: Manifest, change: _Change) -> _Change:
    if not change.edits or _is_as_meant(manifest, [change], _text(manifest, [change])):
        return change
    why = ("the text is written in a way that cannot be changed line by line",)
    return replace(change, edits=(), finding=replace(change.finding, status="left alone", remarks=why))


def _is_as_meant(manifest: Manifest, changes: Iterable[_Change], text: str) -> bool:
    """Whether the new text has what was meant to change, and everything else as it was."""
    changed = {change.document.index: change for change in changes if change.edits}
    try:
        documents = Manifest.parse(text, manifest.path).documents
        return len(documents) == len(manifest.documents) and all(
            _meant(before, changed.get(before.index)) == _read_again(after, changed.get(before.index))
            for before, after in zip(manifest.documents, documents, strict=True)
        )
    except ManifestError:
        return False


def _meant(document: Document, change: _Change | None) -> Any:
    plain = _plain(document)
    if change is None:
        return plain
    for *parents, key in change.pages:
        below = plain
        for step in parents:
            below = below[step]
        del below[key]
    return plain if change.action is None else (_around(plain), _restored(change.action, document.mask))


def _read_again(document: Document, change: _Change | None) -> Any:
    plain = _plain(document)
    return plain if change is None or change.action is None else (_around(plain), restaction(document))


def _plain(document: Document) -> Any:
    """What it says; of a List, but for its items, which are documents of their own. Raises ManifestError."""
    if _size(document.node, {}) > _LARGEST:
        raise document.error(f"with its aliases it has more than {_LARGEST} values")
    node = {**document.node, "items": len(document.node["items"])} if document.is_list else document.node
    return _restored(node, document.mask)


def _size(node: Any, sizes: dict[int, int]) -> int:
    """How many values it has, counted wherever an alias repeats them."""
    if id(node) not in sizes:
        sizes[id(node)] = 1  # which ends those that are in themselves
        below = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        sizes[id(node)] += sum(_size(each, sizes) for each in below)
    return sizes[id(node)]


def _around(plain: Any) -> Any:
    """A RESTAction without what changes."""
    return {**plain, "spec": {key: value for key, value in plain["spec"].items() if key not in ("api", "filter")}}


def _restored(value: Any, mask: Mask) -> Any:
    """Plain values, with the template actions back in every text."""
    match value:
        case str():
            return mask.restore(value)
        case dict():
            return {_restored(key, mask): _restored(each, mask) for key, each in value.items()}
        case list():
            return [_restored(each, mask) for each in value]
        case tuple():
            return tuple(_restored(each, mask) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: _restored(getattr(value, each.name), mask) for each in fields(value)})
    return value
