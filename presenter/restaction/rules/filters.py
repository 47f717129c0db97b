"""What goes wrong between the presenter's answer and the filter that takes it apart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from presenter.restaction.helm import Mask
from presenter.restaction.jq import JqError
from presenter.restaction.rules.queries import CURSOR, SECOND_PAGE, SITUATIONS, CallQueries
from presenter.restaction.rules.subject import Finding, Rule, Subject
from presenter.restaction.rules.trees import fields_read, slice_fields_read

_FILTER = ("spec", "filter")
_OFFSETS = {"page", "offset"}
_DOCUMENTS = {"raw", "status_raw"}


async def raw_missing(subject: Subject) -> AsyncIterator[Finding]:
    """A filter that reads a document, `raw` or `status_raw`, for which the call does not ask."""
    programs = [subject.filter, *(Mask(each.call.filter or "").text for each in subject.calls)]
    read = set().union(*(fields_read(program or "") for program in programs))
    for name in sorted(read & _DOCUMENTS):
        for call in subject.calls:
            lacking = next(
                (query for query in call.queries if query.given and query.given.get(name, "") in ("", "false")), None
            )
            if lacking and not lacking.problems and await _is_used(subject, call, name):
                what = f"the filter reads .{name} of {call.call.name}, which does not ask for it {lacking.situation}"
                rule, where = f"{name.replace('_', '-')}-missing", ("spec", "api", call.index, "path")
                yield subject.finding(rule, "error", where, what, f"add {name}=true", "/resources?")


async def cursor_lost(subject: Subject) -> AsyncIterator[Finding]:
    """A filter that does not give the cursor in `slice`, with which the next page is asked for."""
    for call in subject.calls:
        if not call.behind_cursor or subject.filter is None:
            continue
        results = await _result(subject, call)
        if results is not None and not any(_forwards(result) for result in results):
            what = f"the filter does not forward the cursor of {call.call.name}: there is no second page"
            remedy = f"add slice: {{cursor: .{call.call.name}.cursor, perPage: .slice.perPage}}"
            yield subject.finding("cursor-lost", "error", _FILTER, what, remedy)


def _forwards(result: Any) -> bool:
    of_slice = result.get("slice") if isinstance(result, dict) else None
    return isinstance(of_slice, dict) and of_slice.get("cursor") == CURSOR


async def page_beside_cursor(subject: Subject) -> AsyncIterator[Finding]:
    """A filter that cuts a page out of what is one page already, by cursor: nothing is left of the second."""
    if subject.follows_cursor and (read := slice_fields_read(subject.filter or "") & _OFFSETS):
        what = f"the filter reads .slice.{min(read)}, though the presenter cuts the pages"
        yield subject.finding("page-beside-cursor", "error", _FILTER, what, "take all .items", f".{min(read)}")


async def _is_used(subject: Subject, call: CallQueries, name: str) -> bool:
    """Whether the result is another one without the document; of a single call, whether that cannot be told."""
    whole = await _result(subject, call)
    return len(subject.calls) == 1 if whole is None else whole != await _result(subject, call, name)


async def _result(subject: Subject, call: CallQueries, without: str = "") -> list[Any] | None:
    """What the filters make of answers with one object, None when they fail on this."""
    try:
        context = await _context(subject, call, without)
        return [context] if subject.filter is None else await subject.jq.all(subject.filter, context)
    except JqError:
        return None


async def _context(subject: Subject, call: CallQueries, without: str) -> dict[str, Any]:
    """What the filter is given for the second page, with one object in each answer; of one call without a document."""
    of_slice = {"slice": SITUATIONS[SECOND_PAGE]}
    context: dict[str, Any] = dict(of_slice)
    for each in subject.calls:
        answer = _answer(each, without if each is call else "")
        if each.call.filter is not None:
            answer = await subject.jq.first(Mask(each.call.filter).text, {each.call.name: answer, **of_slice})
        context[each.call.name] = answer
    return context


def _answer(call: CallQueries, without: str) -> dict[str, Any]:
    labels = next((query.parameters.labels for query in call.queries if query.parameters), None)
    metadata = {"name": "one", "namespace": "default", "uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
    item: dict[str, Any] = dict(metadata)
    item["raw"] = {"metadata": metadata | {"labels": labels or {}}, "spec": {}, "status": {}}
    item["status_raw"] = {"phase": "ready"}
    item.pop(without, None)
    return {"count": 1, "items": [item], "cursor": CURSOR}


RULES: tuple[Rule, ...] = (raw_missing, cursor_lost, page_beside_cursor)
