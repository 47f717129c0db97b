"""What goes wrong in a call to the presenter: where it goes, and what its URL asks for."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from presenter.api.parameters import MAX_LIMIT, ListParameters
from presenter.restaction.manifest import Where
from presenter.restaction.rules.queries import (
    FIRST_PAGE,
    SITUATIONS,
    TOO_LARGE,
    WITHOUT_SLICE,
    CallQueries,
    Query,
)
from presenter.restaction.rules.subject import Finding, Rule, Subject

_EACH_PAGE_ITS_OWN = {"limit", "cursor", "raw", "status_raw"}
_UNSENDABLE = re.compile(r"[\x00-\x1f\x7f#]")
_NULL_IS_NOT_EMPTY = 'null is not "": test (.slice.cursor // "") != "" and (.slice.perPage // "") != ""'


def _path(call: CallQueries) -> Where:
    return ("spec", "api", call.index, "path")


def _call(call: CallQueries) -> Where:
    return ("spec", "api", call.index, "name")


async def endpoint_missing(subject: Subject) -> AsyncIterator[Finding]:
    """A call of /resources without endpointRef: it goes to the API server."""
    for call in subject.calls:
        if call.call.endpoint_ref is None:
            what = f"{call.call.name} asks for /resources, but goes to the Kubernetes API, which has none"
            yield subject.finding(
                "endpoint-missing", "error", _call(call), what, "add endpointRef: resources-presenter-endpoint"
            )


async def token_missing(subject: Subject) -> AsyncIterator[Finding]:
    """A call without the user's token: the presenter shows what the user may see, and has to know who asks."""
    for call in subject.calls:
        has_header = any(header.lower().startswith("authorization:") for header in call.call.headers)
        if call.call.endpoint_ref is not None and not call.call.export_jwt and not has_header:
            what = f"{call.call.name} is sent without the user's token: the presenter answers 401"
            yield subject.finding("token-missing", "error", _call(call), what, "add exportJwt: true")


async def wrong_verb(subject: Subject) -> AsyncIterator[Finding]:
    """A verb other than GET with a query string. A POST has its parameters in the body, which is not looked at here."""
    for call in subject.calls:
        verb = call.call.verb.upper()
        if verb not in ("GET", "POST") or (verb == "POST" and any("?" in query.url for query in call.queries)):
            where = ("spec", "api", call.index, "verb")
            what = f"{call.call.name} is a {verb} with a query string"
            yield subject.finding("wrong-verb", "error", where, what, "use GET")


async def path_fails(subject: Subject) -> AsyncIterator[Finding]:
    """A path whose expression fails: snowplow sends the error message in its place."""
    for call in subject.calls:
        told = set()
        for situation, problem in call.failures.items():
            if call.reads_slice_alone and situation in SITUATIONS and problem not in told:
                told.add(problem)
                what = f"path of {call.call.name} fails {situation}: {problem}"
                yield subject.finding(
                    "path-fails", "error", _path(call), what, "concatenate text only: numbers need | tostring"
                )


async def bad_parameter(subject: Subject) -> AsyncIterator[Finding]:
    """What the service answers with 400, in the service's own words."""
    for call in subject.calls:
        told = set()
        for query in call.queries:
            for part, problem in query.problems.items():
                if problem not in told and query.situation != TOO_LARGE:  # which a widget has to ask for first
                    told.add(problem)
                    what, _, remedy = problem.partition(": ")
                    near = (part, part.partition("=")[0] + "=") if part else ()
                    yield subject.finding(
                        "bad-parameter", "error", _path(call), f"{what}, {query.situation}", remedy, *near
                    )


async def unsendable(subject: Subject) -> AsyncIterator[Finding]:
    """A # or control character in a path: what follows is lost, or all is refused."""
    for call in subject.calls:
        found = next((bad for query in call.queries if (bad := _UNSENDABLE.search(query.url))), None)
        if found:
            what = f"the path has {found[0]!r} in it, which cannot be sent as it is"
            remedy = "write >- instead of >" if found[0] == "\n" else f"write it as %{ord(found[0]):02X}"
            yield subject.finding("unsendable", "error", _path(call), what, remedy)


async def namespace_forgotten(subject: Subject) -> AsyncIterator[Finding]:
    """The parameter has a default which few expect."""
    for call in subject.calls:
        if any(query.given and not query.given.get("namespace") for query in call.queries):
            what = f"{call.call.name} names no namespace, which means the namespace default"
            remedy = "add namespace=* for all that the user may see, or namespace=default"
            yield subject.finding("namespace-forgotten", "warning", _path(call), what, remedy, "/resources?")


async def null_limit(subject: Subject) -> AsyncIterator[Finding]:
    """`limit=null`: jq makes null of a perPage that is not there, and null is not ""."""
    for call in subject.calls:
        query = next((query for query in call.queries if query.given.get("limit") == "null"), None)
        if query:
            what = f"limit=null {query.situation}, which is taken for {MAX_LIMIT}"
            yield subject.finding("null-limit", "warning", _path(call), what, _NULL_IS_NOT_EMPTY, "limit=")


async def cursor_of_another_sort(subject: Subject) -> AsyncIterator[Finding]:
    """A cursor used with another sort or other filters than those of the page it came with, to which it is bound."""
    for call in subject.calls:
        for situation in (FIRST_PAGE, WITHOUT_SLICE):
            if names := _different(call.when(situation), call.behind_cursor):
                what = f"the cursor is used with another {names} than the page it came with, {situation}"
                remedy = "use the same on all pages"
                yield subject.finding("cursor-of-another-sort", "error", _path(call), what, remedy, "cursor=")
                break


async def cursor_of_another_call(subject: Subject) -> AsyncIterator[Finding]:
    """A cursor of another call: there is one slice, and so one cursor, for all calls of a RESTAction."""
    following = [call for call in subject.calls if call.behind_cursor]
    for call in following[1:]:
        if names := _different(following[0].behind_cursor, call.behind_cursor):
            what = f"{call.call.name} is given the cursor of {following[0].call.name}, with another {names}"
            remedy = "page through one call only, or make two RESTActions of it"
            yield subject.finding("cursor-of-another-call", "error", _path(call), what, remedy, "cursor=")


def _different(first: Query | None, second: Query | None) -> str:
    """The parameters a cursor is bound to in which two requests differ, as far as that can be told."""
    if not first or not second or first.parameters is None or second.parameters is None:
        return ""
    before, after = _bound_to(first.parameters), _bound_to(second.parameters)
    return " and ".join(name for name in before if before[name] != after[name])


def _bound_to(parameters: ListParameters) -> dict[str, object]:
    values = {name: value for name, value in vars(parameters).items() if name not in _EACH_PAGE_ITS_OWN}
    return {**values, "sort_order": parameters.descending}


RULES: tuple[Rule, ...] = (
    endpoint_missing,
    token_missing,
    wrong_verb,
    path_fails,
    bad_parameter,
    unsendable,
    namespace_forgotten,
    null_limit,
    cursor_of_another_sort,
    cursor_of_another_call,
)
