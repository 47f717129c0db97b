"""What snowplow does with a RESTAction: its calls in order, each with what the ones before it gave.

The same here and there, also where it may surprise: a path, header or payload is the first `${ }` in it or a literal;
where that fails, its message is sent in its place; an iterator is jq without `${ }`, gives one array or its JSON text,
and each element is the `.` of one request; a call's own filter sees the answer under the call's name, and the slice; a
refusal that is no Status snowplow knows is no failure, and gives nothing; what fails for the moment is asked for again.
"""

from __future__ import annotations

import asyncio
import copy
import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec

from presenter.restaction.endpoints import EndpointError, Endpoints
from presenter.restaction.jq import Jq, JqError
from presenter.restaction.manifest import Call, RestAction, expression, in_order
from presenter.restaction.numbers import as_float64, as_json
from presenter.restaction.refusals import refused, status
from presenter.restaction.sending import LARGEST_ANSWER, SECONDS, Endpoint, Reply, SendError, Unreachable, send

ACCEPT = "Accept: application/json"
TRACE_HEADER = "X-Krateo-TraceId"
RETRIES = 5
_REPEATED = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_LONGEST_BACKOFF = 16
_TOO_MANY_REQUESTS = "too many retries after 429 Too Many Requests"


@dataclass(frozen=True, slots=True)
class Request:
    """A request that was sent. `url` is as resolved; `status` 0: no answer; `items` of a list, None of anything else.

    `bytes` are those of the answer's body, before any compression.
    """

    call: str
    method: str
    url: str
    status: int
    milliseconds: float
    bytes: int
    items: int | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong in a call; `fatal` unless the call has continueOnError."""

    call: str
    message: str
    fatal: bool


@dataclass(frozen=True, slots=True)
class Resolved:
    """What became of a RESTAction: its result, and the context that its filter saw."""

    result: Any
    context: dict[str, Any]
    requests: tuple[Request, ...]
    problems: tuple[Problem, ...]

    @property
    def failed(self) -> bool:
        """Whether a call failed that may not."""
        return any(problem.fatal for problem in self.problems)


def _unobserved(_: Request | Problem) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Services:
    """What resolving needs.

    `token` is the user's, which the cluster is given as well, unless it is to be called by its own `account`. `observe`
    is told of each request and problem at once. `shuffle` makes an order for the calls that snowplow makes in any
    order; `backoff` is the time in seconds before a request that failed for the moment is repeated for the first time.
    """

    jq: Jq
    endpoints: Endpoints
    token: str | None = field(default=None, repr=False)
    account: bool = False
    observe: Callable[[Request | Problem], None] = _unobserved
    shuffle: random.Random | None = None
    backoff: float = 0.5
    seconds: float = SECONDS
    largest_answer: int = LARGEST_ANSWER


async def resolve(action: RestAction, context: Mapping[str, Any], services: Services) -> Resolved:
    """Resolve it with a context of its caller's, such as a slice. Raises JqError when the filter at the end fails."""
    run = _Run(services, as_float64(copy.deepcopy(dict(context))) if action.calls else {})
    for call in in_order(action.calls, shuffle=services.shuffle):
        if not await run.call(call):
            break
    else:
        _drop_managed_fields(run.context)
    result = run.context if action.filter is None else await run.result(action.filter)
    return Resolved(result, run.context, tuple(run.requests), tuple(run.problems))


class NotJson(str):
    """What comes of a filter that gives no result, or several: all of them, one after the other."""

    __slots__ = ()


class _CallFailed(Exception):
    """A request that came to nothing: `status` is what snowplow puts into the context, None when it takes no notice."""

    def __init__(self, message: str, status: dict[str, Any] | None) -> None:
        super().__init__(message)
        self.status = status


class _Run:
    """One resolving: the context as it grows, and what happened."""

    def __init__(self, services: Services, context: dict[str, Any]) -> None:
        self.context = context
        self.requests: list[Request] = []
        self.problems: list[Problem] = []
        self._services = services
        self._trace_id = uuid.uuid4().hex

    async def call(self, call: Call) -> bool:
        """All requests of a call; False when nothing may come after it."""
        try:
            endpoint = await self._services.endpoints.of(call.endpoint_ref)
        except EndpointError as error:
            self._problem(call, error.message, fatal=True)
            return False
        if call.user_access_filter:
            self._problem(call, "its userAccessFilter is not applied here", fatal=False)
        for value in await self._values(call):
            try:
                self._gather(call, await self._answer(call, endpoint, value))
            except _CallFailed as failure:
                self._problem(call, str(failure))
                if failure.status is None:
                    continue
                self.context[call.error_key] = failure.status
                if not call.continue_on_error:
                    return False
        return True

    async def result(self, program: str) -> Any:
        """What the filter at the end gives. Raises JqError."""
        outputs = await self._services.jq.all(program, self.context)
        if len(outputs) == 1:
            return outputs[0]
        self._problem(None, f"the filter gives {len(outputs)} results instead of one, which are no JSON together")
        return NotJson(b"".join(map(as_json, outputs)).decode())

    async def _values(self, call: Call) -> list[Any]:
        """What `.` is in each request of a call."""
        if call.iterator is None:
            return [self.context]
        try:
            outputs = await self._services.jq.all(call.iterator, self.context)
        except JqError as error:
            self._problem(call, f"nothing is requested, its iterator fails: {error.message}")
            return []
        if len(outputs) != 1:
            self._problem(call, f"nothing is requested, its iterator gives {len(outputs)} results instead of one")
            return []
        values = _unquoted(outputs[0])
        if not isinstance(values, list):
            self._problem(call, f"nothing is requested, its iterator gives no array but {_shown(values)}")
            return []
        return list(as_float64(values))

    async def _answer(self, call: Call, endpoint: Endpoint, value: Any) -> Any:
        """What one request gives, filtered."""
        path = await self._text(call, "path", call.path, value)
        payload = await self._text(call, "payload", call.payload or "", value)
        try:
            headers = [await _text(self._services.jq, header, value) for header in call.headers or (ACCEPT,)]
        except JqError as error:
            raise _CallFailed(error.message, status(500, error.message)) from error
        answer = await self._request(call, endpoint, path, self._headers(call, headers), payload)
        return answer if call.filter is None else await self._filtered(call, call.filter, answer)

    async def _text(self, call: Call, what: str, text: str, value: Any) -> str:
        try:
            return await _text(self._services.jq, text, value)
        except JqError as error:
            self._problem(call, f"its {what} fails, and this is sent in its place: {error.message}", fatal=False)
            return error.message

    def _headers(self, call: Call, lines: list[str]) -> dict[str, str]:
        token = self._services.token
        if token and (call.export_jwt if call.endpoint_ref else not self._services.account):
            lines = [*lines, f"Authorization: Bearer {token}"]
        pairs = (line.partition(":") for line in lines if line.find(":") > 0)
        named = {name.lower(): (name, value.strip()) for name, _, value in pairs}
        return dict([(TRACE_HEADER, self._trace_id), *named.values()])

    async def _request(
        self, call: Call, endpoint: Endpoint, path: str, headers: Mapping[str, str], payload: str
    ) -> Any:
        """The answer to a request, which is repeated where another answer may come. Raises _CallFailed."""
        for retries in range(RETRIES + 1):
            reply, answer, failure, again = await self._attempt(call, endpoint, path, headers, payload)
            self._record(call, path, reply, answer, str(failure or ""))
            if failure is None:
                return answer
            if not again or call.verb not in _REPEATED or (retries == RETRIES and reply is None):
                raise failure
            if retries < RETRIES:
                await asyncio.sleep(_wait(reply, retries, self._services.backoff))
        assert reply is not None
        too_many = reply.status == HTTPStatus.TOO_MANY_REQUESTS
        message = _TOO_MANY_REQUESTS if too_many else f"server error after {RETRIES} retries: {reply.status}"
        raise _CallFailed(message, status(500, message))

    async def _attempt(
        self, call: Call, endpoint: Endpoint, path: str, headers: Mapping[str, str], payload: str
    ) -> tuple[Reply | None, Any, _CallFailed | None, bool]:
        """One request: its reply, what that says, or why it says nothing; and whether to repeat it."""
        seconds, largest = self._services.seconds, self._services.largest_answer
        try:
            reply = await send(endpoint, call.verb, path, headers, payload, seconds=seconds, largest=largest)
        except SendError as error:
            failure = _CallFailed(error.message, status(500, error.message))
            return None, None, failure, isinstance(error, Unreachable)
        try:
            return reply, _decoded(reply), None, False
        except _CallFailed as error:
            for_now = reply.status == HTTPStatus.TOO_MANY_REQUESTS or reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            return reply, None, error, for_now

    def _record(self, call: Call, path: str, reply: Reply | None, answer: Any, error: str) -> None:
        code, milliseconds, size = (reply.status, reply.milliseconds, len(reply.body)) if reply else (0, 0.0, 0)
        request = Request(call.name, call.verb, path, code, milliseconds, size, _count(answer), error)
        self.requests.append(request)
        self._services.observe(request)

    async def _filtered(self, call: Call, program: str, answer: Any) -> Any:
        seen = {call.name: answer}
        if "slice" in self.context:
            seen["slice"] = self.context["slice"]
        try:
            outputs = await self._services.jq.all(program, seen)
        except JqError as error:
            self._problem(call, f"its filter fails, the answer stays as it is: {error.message}")
            return answer
        if len(outputs) != 1:
            message = f"its filter gives {len(outputs)} results instead of one"
            raise _CallFailed(message, status(500, message))
        return as_float64(outputs[0])

    def _gather(self, call: Call, result: Any) -> None:
        """The first result as it is; with a second they become an array, to which arrays add their elements."""
        if call.name not in self.context:
            self.context[call.name] = result
            return
        there = self.context[call.name]
        more = result if isinstance(result, list) else [result]
        self.context[call.name] = [*there, *more] if isinstance(there, list) else [there, *more]

    def _problem(self, call: Call | None, message: str, *, fatal: bool | None = None) -> None:
        name, is_fatal = (call.name, not call.continue_on_error) if call else ("", True)
        problem = Problem(name, message, is_fatal if fatal is None else fatal)
        self.problems.append(problem)
        self._services.observe(problem)


def _decoded(reply: Reply) -> Any:
    """The JSON of an answer. Raises _CallFailed."""
    if not reply.ok:
        raise _CallFailed(f"answered with {reply.status}: {reply.message}", refused(reply.status, reply.body))
    if "json" not in reply.content_type:
        message = f'content type "{reply.content_type}" is not allowed'
        raise _CallFailed(message, status(406, message))
    try:
        return as_float64(msgspec.json.decode(reply.body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = f"the answer is not JSON: {error}"
        raise _CallFailed(message, status(500, message)) from error


async def _text(jq: Jq, text: str, value: Any) -> str:
    """A text with its expression evaluated: a string as it is, anything else as JSON, several outputs one by one."""
    program = expression(text)
    if program is None:
        return text
    match await jq.all(program, value):
        case [str(only)]:
            return only
        case outputs:
            return b"".join(map(as_json, outputs)).decode()


def _unquoted(value: Any) -> Any:
    """What a text says that is JSON; anything else as it is."""
    try:
        return msgspec.json.decode(value) if isinstance(value, str) else value
    except (msgspec.DecodeError, RecursionError):
        return value


def _wait(reply: Reply | None, retries: int, backoff: float) -> float:
    """The time in seconds until a request is repeated: what the answer says; else longer and longer, more or less."""
    if reply is not None and reply.retry_after is not None:
        return reply.retry_after
    if reply is not None and reply.status == HTTPStatus.TOO_MANY_REQUESTS:
        return 4 * backoff
    return float(min(2**retries, _LONGEST_BACKOFF)) * backoff * random.uniform(0.5, 1)  # noqa: S311 - no secret


def _count(answer: Any) -> int | None:
    items = answer.get("items") if isinstance(answer, dict) else answer
    return len(items) if isinstance(items, list) else None


def _shown(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else f"{text[:60]}…"


def _drop_managed_fields(value: Any) -> None:
    """Delete managedFields wherever they are; without recursion, for an answer may be nested to any depth."""
    left = [value]
    while left:
        match left.pop():
            case dict() as mapping:
                mapping.pop("managedFields", None)
                left.extend(mapping.values())
            case list() as items:
                left.extend(items)
