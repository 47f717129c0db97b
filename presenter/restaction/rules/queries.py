"""What a call of a RESTAction asks the presenter for, found out by evaluating its path as it will be called."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from presenter.api.parameters import MAX_LIMIT, ListParameters, parse_list_query
from presenter.errors import BadRequest
from presenter.restaction.helm import Mask
from presenter.restaction.jq import Jq, JqError
from presenter.restaction.manifest import Call, expression
from presenter.restaction.rules.trees import fields_read

CURSOR = "a-cursor-of-the-page-before"
PER_PAGE = 5
WITHOUT_SLICE, FIRST_PAGE, SECOND_PAGE = "without a slice", "on the first page", "on the second page"
TOO_LARGE = "with too large a perPage"
SITUATIONS: Mapping[str, Mapping[str, Any] | None] = {
    WITHOUT_SLICE: None,
    FIRST_PAGE: {"perPage": PER_PAGE, "cursor": ""},
    "with `page: 1`": {"page": 1, "perPage": PER_PAGE, "offset": 0},
    SECOND_PAGE: {"perPage": PER_PAGE, "cursor": CURSOR},
    "with an empty perPage": {"perPage": "", "cursor": ""},
    'with perPage "NULL"': {"perPage": "NULL", "cursor": ""},
    TOO_LARGE: {"perPage": MAX_LIMIT + 1, "cursor": ""},
}
"""The slices a path meets, by how to speak of them."""

_SLICE = {"slice", "page", "perPage", "offset", "cursor"}
_EACH_ITEM = "for each item"
_PRESENTER = re.compile(r"/?resources(\?|$)")
_UNKNOWN = "\ue001"
_OPEN = re.compile("[\ue000-\uf8ff\U000f0000-\U0010ffff]")
"""What is not known: placeholders of Helm's actions, and ours for what comes from the context."""


@dataclass(frozen=True, slots=True)
class Query:
    """One URL, in one situation, with placeholders for what is not known.

    `problems`: which part of it the service refuses, and why; "" is the whole of it. `parameters`: what it understands,
    unless it refuses.
    """

    situation: str
    url: str
    given: Mapping[str, str]
    parameters: ListParameters | None
    problems: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CallQueries:
    """A call, the `index`th of its RESTAction: what it asks for in each situation, and where it does not know how."""

    index: int
    call: Call
    queries: tuple[Query, ...]
    failures: Mapping[str, str]

    @property
    def to_presenter(self) -> bool:
        """Whether it goes to this service."""
        if self.queries:
            return any(_PRESENTER.match(query.url) for query in self.queries)
        return "/resources?" in self.call.path

    @property
    def behind_cursor(self) -> Query | None:
        """What it asks for to get the page behind a cursor, None when it takes no notice of one."""
        second = self.when(SECOND_PAGE)
        return second if second and "cursor" in second.given else None

    @property
    def bounded(self) -> bool:
        """Whether it asks for no more than the presenter gives, however large a page is wanted."""
        largest = self.when(TOO_LARGE)
        return largest is None or largest.given.get("limit") != str(MAX_LIMIT + 1)

    @property
    def reads_slice_alone(self) -> bool:
        """Whether nothing but the slice decides what it asks for, so that a failure is one."""
        return fields_read(expression(Mask(self.call.path).text) or "") <= _SLICE

    def when(self, situation: str) -> Query | None:
        """What it asks for in one situation."""
        return next((query for query in self.queries if query.situation == situation), None)


async def queries_of(jq: Jq, index: int, call: Call) -> CallQueries:
    """Find out what a call asks for."""
    mask = Mask(call.path)
    program = expression(mask.text)
    queries, failures = [], {}
    if program is not None and not await _compiles(jq, program):
        return CallQueries(index, call, (), {})
    for situation, context in _contexts(call, program or ""):
        try:
            url = mask.text if program is None else await _url(jq, program, context)
        except JqError as error:
            failures[situation] = error.problem
        else:
            reads_query = call.verb.upper() == "GET"
            queries.append(_understood(situation, url) if reads_query else Query(situation, url, {}, None, {}))
    return CallQueries(index, call, tuple(queries), failures)


def _contexts(call: Call, program: str) -> Iterator[tuple[str, Any]]:
    """What a path is evaluated on. What is not known of it is text."""
    unknown = dict.fromkeys(fields_read(program) - {"slice"}, _UNKNOWN)
    if call.iterator is not None:  # what it goes through takes the place of everything else
        yield _EACH_ITEM, unknown or _UNKNOWN
        return
    for situation, of_slice in SITUATIONS.items():
        yield situation, unknown if of_slice is None else unknown | {"slice": of_slice}


async def _compiles(jq: Jq, program: str) -> bool:
    try:
        await jq.check(program)
    except JqError:
        return False
    return True


async def _url(jq: Jq, program: str, context: Any) -> str:
    match await jq.all(program, context):
        case [str(url)]:
            return url
        case [other]:
            raise JqError(program, f"gives {other!r}, which is no text")
        case outputs:
            raise JqError(program, f"gives {len(outputs)} values instead of one")


def _understood(situation: str, url: str) -> Query:
    """A URL as the service would read it. What is not known is left out, and thought to be right."""
    pieces = [piece for piece in url.partition("?")[2].partition("#")[0].split("&") if piece]
    given = {name: value for name, _, value in (piece.partition("=") for piece in pieces)}
    known = [piece for piece in pieces if not _is_open(piece)]
    if _is_open(given.get("group", "")):
        known.append("group=unknown")
    problems = {piece: problem for piece in known if (problem := _problem(_alone(piece)))}
    query = "&".join(known)
    if not problems and (problem := _problem(query)):
        problems[""] = problem
    parameters = None if problems else parse_list_query(query.encode())
    return Query(situation, url, given, parameters, problems)


def _alone(piece: str) -> str:
    return piece if piece.startswith("group=") else f"group=unknown&{piece}"


def _is_open(piece: str) -> bool:
    return _OPEN.search(unquote(piece)) is not None


def _problem(query: str) -> str:
    try:
        parse_list_query(query.encode())
    except BadRequest as error:
        return error.message
    return ""
