"""What goes wrong with the calls of a RESTAction, wherever they go: which are made, in which order, and how."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping

from presenter.restaction.helm import Mask
from presenter.restaction.manifest import Call, Where, expression
from presenter.restaction.rules.subject import Finding, Rule, Subject
from presenter.restaction.rules.trees import context_keys_read


async def undeclared_dependency(subject: Subject) -> AsyncIterator[Finding]:
    """A call that reads what another gives, which may not be there yet: independent calls are made in any order."""
    calls = {call.name: call for call in reversed(subject.action.calls)}
    before = {name: _before(calls, call) for name, call in calls.items()}
    for index, call in enumerate(subject.action.calls):
        surely = {name for name in calls if name in before[call.name] or len(before[name]) < len(before[call.name])}
        for where, program in _programs(call):
            for name in sorted(context_keys_read(program) & calls.keys() - surely - {call.name}):
                what = (
                    f"{call.name} reads what {name} gives, which snowplow may ask for later: it does not depend on it"
                )
                remedy = f"add dependsOn: {{name: {name}}}"
                where_read: Where = ("spec", "api", index, *where)
                yield subject.finding("undeclared-dependency", "error", where_read, what, remedy, f".{name}")


def _before(calls: Mapping[str, Call], call: Call) -> set[str]:
    """The names of the calls that are made before it because it depends on them."""
    names: set[str] = set()
    while call.depends_on is not None:
        names.add(call.depends_on)
        call = calls[call.depends_on]
    return names


def _programs(call: Call) -> Iterator[tuple[Where, str]]:
    """Its programs that are given the context, each with its place in the call."""
    if call.iterator is not None:
        yield ("dependsOn", "iterator"), Mask(call.iterator).text
        return
    headers = ((("headers", number), header) for number, header in enumerate(call.headers))
    for where, text in ((("path",), call.path), *headers, (("payload",), call.payload or "")):
        if (program := expression(Mask(text).text)) is not None:
            yield where, program


async def name_twice(subject: Subject) -> AsyncIterator[Finding]:
    """A second call of one name, which is never made."""
    names = [call.name for call in subject.action.calls]
    for index, name in enumerate(names):
        if name in names[:index]:
            what = f"there is another call named {name}, and only the first is made"
            yield subject.finding("name-twice", "error", ("spec", "api", index, "name"), what, "give it another name")


async def verb_case(subject: Subject) -> AsyncIterator[Finding]:
    """A verb that is not in capitals, as it is then sent: most servers refuse it, and it is never repeated."""
    for index, call in enumerate(subject.action.calls):
        if call.verb != call.verb.upper():
            what = f"{call.name} is sent with the verb {call.verb}, as it is written: API servers answer 405"
            where: Where = ("spec", "api", index, "verb")
            yield subject.finding("verb-case", "error", where, what, f"write {call.verb.upper()}")


async def token_beside_filter(subject: Subject) -> AsyncIterator[Finding]:
    """A call with both userAccessFilter and exportJwt, which the API server does not take."""
    for index, call in enumerate(subject.action.calls):
        if call.user_access_filter and call.export_jwt:
            what = f"{call.name} has exportJwt beside userAccessFilter, which the API server refuses"
            remedy = "leave userAccessFilter out: the presenter shows what the user may see"
            yield subject.finding("token-beside-filter", "error", ("spec", "api", index, "exportJwt"), what, remedy)


RULES: tuple[Rule, ...] = (undeclared_dependency, name_twice, verb_case, token_beside_filter)
