"""What goes wrong between a widget and the RESTAction it shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from presenter.api.parameters import MAX_LIMIT
from presenter.restaction.manifest import Manifest
from presenter.restaction.rules.subject import Finding, Subject
from presenter.restaction.widgets import Reference, shows, sliced_references, widgets_of


def page_beside_cursor(manifests: Sequence[Manifest], subjects: Iterable[Subject]) -> Iterator[Finding]:
    """A `page`, which asks for paging by offset, beside a widget whose RESTAction pages by cursor."""
    for reference in _shown(manifests, (subject for subject in subjects if subject.follows_cursor)):
        if "page" in reference.slice:
            what = f"{reference.target[1]} is asked for with a page, but its RESTAction pages by cursor"
            yield _finding("page-beside-cursor", reference, "page", what, "remove page, and leave perPage")


def page_too_large(manifests: Sequence[Manifest], subjects: Iterable[Subject]) -> Iterator[Finding]:
    """A `perPage` beyond what the presenter gives at once, which the RESTAction does not bound."""
    unbounded = (subject for subject in subjects if not all(call.bounded for call in subject.calls))
    for reference in _shown(manifests, unbounded):
        per_page = reference.slice.get("perPage")
        if isinstance(per_page, int) and per_page > MAX_LIMIT:
            what = f"{reference.target[1]} is asked for with perPage {per_page}, which its RESTAction makes a limit"
            remedy = f"at most {MAX_LIMIT}; or in the path: ([.slice.perPage, {MAX_LIMIT}] | min | tostring)"
            yield _finding("page-too-large", reference, "perPage", what, remedy)


def _shown(manifests: Sequence[Manifest], subjects: Iterable[Subject]) -> Iterator[Reference]:
    """The references of widgets that lead, page by page, to one of these RESTActions."""
    actions = {(subject.action.namespace, subject.action.name) for subject in subjects}
    documents = [document for manifest in manifests for document in manifest.documents]
    widgets = widgets_of(documents, actions)
    for document in documents:
        yield from (each for each in sliced_references(document) if shows(each, widgets, actions))


def _finding(rule: str, reference: Reference, key: str, what: str, remedy: str) -> Finding:
    line = reference.document.line(*reference.where, "slice", key)
    return Finding(reference.document.path, line, "error", rule, what, remedy)


RULES = (page_beside_cursor, page_too_large)
