"""What old RESTActions do: those that list with the Kubernetes API, and filter, sort and page in jq.

The filter is evaluated on symbols for every case there may be: with and without a slice, and with none, one and several
answers of each call. Only what comes out the same is understood.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from presenter.api.parameters import MAX_LIMIT
from presenter.restaction import values
from presenter.restaction.evaluation import Evaluation
from presenter.restaction.idioms import NAME, keys_read, path_of
from presenter.restaction.jq_parser import JqSyntaxError, parse
from presenter.restaction.list_path import ALL, Listing, NotAList, listing
from presenter.restaction.manifest import Call, Refused, RestAction, Where, expression
from presenter.restaction.syntax import Node, walk
from presenter.restaction.values import (
    NULL,
    OFFSET,
    PER_PAGE,
    Context,
    Each,
    Equal,
    Fails,
    Items,
    Known,
    List,
    Lists,
    Number,
    Order,
    Other,
    Record,
    Unrecognised,
    Value,
)

_NAMESPACES = Listing("core", "v1", "namespaces")
_ALONE = (
    "{}: with one namespace alone the old filter went wrong, since snowplow then gives the answer itself in place of "
    "an array of answers; now it gives the objects"
)


@dataclass(frozen=True, slots=True)
class OldList:
    """A call that lists objects, and what was done with them. `limit`: how many without a slice, None for all."""

    call: Call
    listing: Listing
    conditions: tuple[Equal, ...]
    order: Order
    iterated: bool
    paged: bool
    limit: int | None
    tolerant: bool
    """Whether the filter takes it when there is no answer."""


@dataclass(frozen=True, slots=True)
class Old:
    """An action that can be migrated: `result` is what its filter gives, with the windows taken out."""

    action: RestAction
    result: Value
    lists: Mapping[str, OldList]
    dropped: frozenset[str]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A call that lists; `cases` are what its name may stand for in the context: first the usual one, last null."""

    index: int
    call: Call
    listing: Listing
    source: str | None = None
    cases: tuple[Value, ...] = ()


def understand(action: RestAction) -> Old | None:
    """What an old RESTAction does; None when it is not of that kind. Raises Refused."""
    try:
        old = _understood(action)
        if old is None and _pages(action):
            raise Refused("it pages something that is no list of the Kubernetes API", ("spec", "api"))
    except Refused:
        if _looks_old(action):
            raise
        return None
    return old


def _understood(action: RestAction) -> Old | None:
    found = list(_candidates(action))
    if not found or not action.filter:
        return None
    program = _parsed(action.filter, ("spec", "filter"))
    while True:
        old = _Evaluated(action, program, tuple(found)).old()
        gaining = [each for each in found if each.call.name in old.lists and _gains(old.lists[each.call.name])]
        if gaining == found:
            break
        if not gaining:
            return None
        found = gaining
    places = {call.name: index for index, call in enumerate(action.calls)}
    for candidate in found:
        if (candidate.listing.group, candidate.listing.resource) == ("core", "secrets"):
            raise Refused("the presenter keeps no values of Secrets", ("spec", "api", candidate.index, "path"))
        for name in filter(None, (candidate.call.name, candidate.source)):
            _check_request(action.calls[places[name]], ("spec", "api", places[name]))
    _check_others(action, old)
    return old


def _gains(old: OldList) -> bool:
    """Whether there is anything in it that the presenter does better."""
    return old.iterated or old.paged or old.order != Order() or bool(old.conditions)


def _pages(action: RestAction) -> bool:
    """Whether the filter reads which page to give."""
    try:
        paths = [path_of(node) for node in walk(parse(action.filter or "null"))]
    except JqSyntaxError:
        return ".slice" in (action.filter or "")
    return any(path.keys[:1] == ("slice",) and path.keys[1:2] != ("cursor",) for path in paths if path)


def _looks_old(action: RestAction) -> bool:
    """Whether somebody would take it for the old pattern."""
    iterates = any(call.iterator and "/namespaces/" in call.path for call in action.calls)
    return iterates or _pages(action) or "sort_by" in (action.filter or "")


def _parsed(text: str, where: Where) -> Node:
    try:
        return parse(text)
    except JqSyntaxError as error:
        raise Refused(
            str(error), where, text, sum(len(line) + 1 for line in text.split("\n")[: error.line - 1])
        ) from None


# -- the calls ---------------------------------------------------------------------------------------------------------


def _candidates(action: RestAction) -> Iterator[_Candidate]:
    """The calls that list, but for those that only tell over which namespaces others go."""
    places = {call.name: index for index, call in enumerate(action.calls)}
    lists = {call.name: found for call in action.calls if (found := _listing(call, places[call.name]))}
    sources: set[str] = set()
    candidates = []
    for name, found in lists.items():
        call = action.calls[places[name]]
        where = ("spec", "api", places[name])
        candidate = _Candidate(places[name], call, found)
        if call.iterator:
            assert call.depends_on
            _check_iterator(candidate, action.calls[places[call.depends_on]], lists.get(call.depends_on))
            sources.add(call.depends_on)
            candidate = replace(candidate, source=call.depends_on)
        elif found.computed is not None:
            raise Refused(
                "a namespace that an expression gives: without it the presenter takes `default`", (*where, "path")
            )
        candidates.append(replace(candidate, cases=_cases(candidate)))
    yield from (each for each in candidates if each.call.name not in sources)


def _listing(call: Call, index: int) -> Listing | None:
    where: Where = ("spec", "api", index, "path")
    program = expression(call.path)
    return listing(call.path.strip() if program is None else _parsed(program, where))


def _check_iterator(candidate: _Candidate, source: Call, listed: Listing | None) -> None:
    """Check that an iterator goes over all namespaces, each once, by name. Raises Refused."""
    where: Where = ("spec", "api", candidate.index, "dependsOn", "iterator")
    if candidate.listing.computed is None:
        raise Refused("an iterator over something that the path does not name as its namespace", where)
    if listed is None or replace(listed, query="") != _NAMESPACES:
        raise Refused(f"an iterator over what {source.name!r} gives, which is not the list of namespaces", where)
    if listed.query:
        raise Refused(f"an iterator over some namespaces only: ?{listed.query}", where)
    assert candidate.call.iterator is not None
    program = _parsed(candidate.call.iterator, where)
    try:
        names = Evaluation({source.name: _answer(source)}).of(program, Context())
        element = Evaluation({}).of(candidate.listing.computed, Each(names)) if isinstance(names, Items) else None
    except (Unrecognised, Fails) as error:
        reason = error.reason if isinstance(error, Unrecognised) else "it fails"
        raise Refused(f"the iterator: {reason}", where, candidate.call.iterator) from None
    match element:
        case Each(Items(conditions=(), order=Order("api", False), window=None, stages=stages, after=())):
            paths = [path_of(stage) for stage in stages]
            if tuple(key for path in paths if path for key in path.keys) == NAME and all(paths):
                return
    raise Refused(
        "the iterator is something other than an array of all namespaces, or of their names",
        where,
        candidate.call.iterator,
    )


def _answer(call: Call) -> Value:
    """What one answer to a list becomes in the context."""
    if call.filter is None:
        return List(call.name)
    return Evaluation({}).of(parse(call.filter), Record(((call.name, List(call.name)),)))


def _cases(candidate: _Candidate) -> tuple[Value, ...]:
    call, where = candidate.call, ("spec", "api", candidate.index, "filter")
    if call.filter is None:
        answer = List(call.name)
        return (Lists(call.name), answer, NULL) if candidate.source else (answer, NULL)
    _parsed(call.filter, where)
    try:
        value = _answer(call)
    except Unrecognised as error:
        raise _refused(error, where, call.filter) from None
    except Fails:
        value = NULL
    whole = isinstance(value, Items) and value.window is None and not value.after and value.order == Order()
    if not isinstance(value, Items) or (candidate.source and not whole):
        raise Refused("a filter of the call that does more than take the objects of the list", where, call.filter)
    return (value, NULL)


def _check_request(call: Call, where: Where) -> None:
    """Check that a call does nothing but list, in this cluster and as the user. Raises Refused."""
    if call.verb.upper() != "GET":
        raise Refused(f"verb {call.verb}: the presenter is read with GET", (*where, "verb"))
    if call.user_access_filter:
        raise Refused("userAccessFilter: a call that has it may not have exportJwt", (*where, "userAccessFilter"))
    if call.payload is not None:
        raise Refused("a payload: a list takes none", (*where, "payload"))
    if call.endpoint_ref is not None:
        name = f"endpointRef {call.endpoint_ref.namespace}/{call.endpoint_ref.name}"
        why = "it may lead to another cluster, or to this one with other rights than the user's"
        raise Refused(f"{name}: {why}", (*where, "endpointRef"))
    for header in call.headers:
        if header.replace(" ", "").lower() != "accept:application/json":
            raise Refused(f"the header {header.partition(':')[0]!r}: what it does cannot be told", (*where, "headers"))


# -- the filter --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Evaluated:
    """The filter, evaluated case by case."""

    action: RestAction
    program: Node
    candidates: tuple[_Candidate, ...]

    def old(self) -> Old:
        usual = {each.call.name: each.cases[0] for each in self.candidates}
        absent, present = (self._case(usual, slice) for slice in (NULL, values.Slice()))
        lists: dict[str, OldList] = {}
        result = self._merged(absent, present, lists)
        notes = []
        for candidate in self.candidates:
            if (name := candidate.call.name) in lists:
                *alone, none = (self._outcome({**usual, name: case}) for case in candidate.cases[1:])
                lists[name] = replace(lists[name], tolerant=not isinstance(none, Fails))
                notes += [_ALONE.format(name) for outcome in alone if outcome != absent]
        return Old(self.action, result, lists, self._dropped(result, lists), tuple(notes))

    def _case(self, results: Mapping[str, Value], slice: Value) -> Value:
        assert self.action.filter
        where = ("spec", "filter")
        try:
            return Evaluation(results, slice).of(self.program, Context())
        except Unrecognised as error:
            raise _refused(error, where, self.action.filter) from None
        except Fails:
            with_slice = "without a slice" if slice == NULL else "with a slice"
            raise Refused(f"the filter fails {with_slice}", where) from None

    def _outcome(self, results: Mapping[str, Value]) -> Value | Exception:
        """What the filter gives without a slice, or why that cannot be told."""
        try:
            return Evaluation(results).of(self.program, Context())
        except (Fails, Unrecognised) as error:
            return error

    def _merged(self, absent: Value, present: Value, lists: dict[str, OldList]) -> Value:
        """What the result is, when it is the same with and without a slice, but for the page."""
        match absent, present:
            case Record(one), Record(two) if [key for key, _ in one] == [key for key, _ in two]:
                pairs = zip(one, two, strict=True)
                return Record(tuple((key, self._merged(left, right, lists)) for (key, left), (_, right) in pairs))
            case Items(), Items():
                return self._list(absent, present, lists)
            case Number(length=Items() as one), Number(length=Items() as two):
                result = self._list(one, two, lists)
                return replace(result, after=(parse("length"),))
            case ((Known() | Other() | Number()), _) if absent == present:
                return absent
        raise Refused(
            "the result is not the same with and without a slice, or more than can be followed", ("spec", "filter")
        )

    def _list(self, absent: Items, present: Items, lists: dict[str, OldList]) -> Items:
        where: Where = ("spec", "filter")
        if replace(absent, window=None) != replace(present, window=None):
            raise Refused(f"{absent.call}: with a slice and without one it is filtered or sorted in other ways", where)
        limit = _limit(absent)
        paged = present.window != absent.window
        if paged and present.window != (OFFSET, OFFSET + PER_PAGE):
            raise Refused(
                f"{absent.call}: the page is not the one from `slice.offset` on with `slice.perPage` objects", where
            )
        old = self._old_list(absent, paged, limit)
        if lists.setdefault(absent.call, old) != old:
            raise Refused(f"{absent.call}: it is used twice, and filtered, sorted or paged in other ways", where)
        if sum(each.paged for each in lists.values()) > 1:
            raise Refused("several lists are paged by one slice, which has room for one cursor", where)
        return replace(absent, window=None)

    def _old_list(self, items: Items, paged: bool, limit: int | None) -> OldList:
        candidate = next(each for each in self.candidates if each.call.name == items.call)
        where: Where = ("spec", "api", candidate.index, "path")
        try:
            asked = dict.fromkeys((*candidate.listing.conditions(), *items.conditions))
        except NotAList as error:
            raise Refused(str(error), where) from None
        if len({each.keys for each in asked}) < len(asked):
            raise Refused("conditions that never hold at once", where)
        listed = replace(candidate.listing, namespace=ALL, computed=None) if candidate.source else candidate.listing
        iterated = candidate.source is not None
        return OldList(candidate.call, listed, tuple(asked), items.order, iterated, paged, limit, tolerant=True)

    def _dropped(self, result: Value, lists: Mapping[str, OldList]) -> frozenset[str]:
        """The lists of namespaces that nobody needs any more."""
        sources = {each.source for each in self.candidates if each.source is not None and each.call.name in lists}
        rest = [call for call in self.action.calls if call.name not in lists and call.name not in sources]
        used = {call.depends_on for call in rest} | set().union(*map(_read, rest)) | set(_kept(result))
        return frozenset(sources - used)


def _limit(items: Items) -> int | None:
    match items.window:
        case None:
            return None
        case (low, Number(known=int() as high)) if low == values.constant(0) and 1 <= high <= MAX_LIMIT:
            return high
    raise Refused(f"{items.call}: without a slice these are neither all objects nor the first few", ("spec", "filter"))


def _kept(value: Value) -> Iterator[str]:
    """The keys of the context that a result still needs."""
    match value:
        case Record(entries):
            for _, each in entries:
                yield from _kept(each)
        case Other(node):
            yield from keys_read(node) or ()


def _read(call: Call) -> set[str]:
    """The keys of the context that a call reads. Raises ValueError when that may be any."""
    texts = (call.path, *call.headers, call.payload or "")
    on_context = [call.iterator] if call.iterator else map(expression, texts)
    keys: set[str] = set()
    for text in filter(None, on_context):
        try:
            read = keys_read(parse(text))
        except JqSyntaxError:
            read = None
        if read is None:
            raise Refused(f"the call {call.name!r} may read any result", ("spec", "api"), text)
        keys |= read
    return keys


def _check_others(action: RestAction, old: Old) -> None:
    """Check that nothing else uses what a migrated call gave, or how it failed: failures differ now. Raises Refused."""
    names, kept = {call.name for call in action.calls}, set(_kept(old.result))
    for each in old.lists.values():
        where: Where = ("spec", "api", action.calls.index(each.call))
        if each.call.error_key in names:
            raise Refused(f"its errorKey {each.call.error_key!r} is the name of a call", (*where, "errorKey"))
        if each.call.error_key in kept:
            raise Refused(f"the result has {each.call.error_key!r} in it, which tells how this fails", where)
    for index, call in enumerate(action.calls):
        if call.name in old.lists or call.name in old.dropped:
            continue
        used = (_read(call) | {call.depends_on}) & {*old.lists, *(each.call.error_key for each in old.lists.values())}
        if used:
            raise Refused(f"the call {call.name!r} uses what {min(map(str, used))!r} gives", ("spec", "api", index))
    if any(each.paged for each in old.lists.values()):
        if not isinstance(old.result, Record):
            raise Refused("the result is no object, so that there is no place for the cursor", ("spec", "filter"))
        if "slice" in dict(old.result.entries):
            raise Refused("the result has a key `slice` of its own", ("spec", "filter"))


def _refused(error: Unrecognised, where: Where, text: str) -> Refused:
    start, end = error.node.span
    return Refused(f"{error.reason}: {' '.join(text[start:end].split())}", where, text, start)
