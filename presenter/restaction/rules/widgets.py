"""What goes wrong between a widget and the RESTAction it shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from presenter.restaction.manifest import Manifest
from presenter.restaction.rules.findings import Finding
from presenter.restaction.rules.subject import Subject
from presenter.restaction.widgets import paged_references, shows, widgets_of


def page_beside_cursor(manifests: Sequence[Manifest], subjects: Iterable[Subject]) -> Iterator[Finding]:
    """`page` asks for paging by offset, wherever a widget is shown whose RESTAction pages by cursor."""
    actions = {(subject.action.namespace, subject.action.name) for subject in subjects if subject.follows_cursor}
    documents = [document for manifest in manifests for document in manifest.documents]
    shown = widgets_of(documents, actions)
    for document in documents:
        for reference in paged_references(document):
            if shows(reference, shown, actions):
                line = document.line(*reference.where, "slice", "page")
                what = f"{reference.target[1]} is asked for with a page, but its RESTAction pages by cursor"
                remedy = "remove page, and leave perPage"
                yield Finding(document.path, line, "error", "page-beside-cursor", what, remedy)
