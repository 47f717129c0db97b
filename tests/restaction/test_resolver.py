"""The rules by which a RESTAction is resolved, one after the other, each over real HTTP."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import socket
import time
from email.utils import formatdate
from typing import Any

import pytest

from presenter.restaction.jq import JqError
from presenter.restaction.resolver import NotJson, Problem, Resolved
from tests.restaction.foreign import Foreign
from tests.restaction.world import World, call
from tests.sandbox.authority import Authority

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


def _failure(code: int, reason: str, message: str) -> dict[str, Any]:
    fields = {"status": "Failure", "message": message, "reason": reason, "code": code}
    return {"kind": "Status", "apiVersion": "v1", **fields}


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


async def _served(world: World, answers: list[bytes], **options: Any) -> tuple[list[str], Resolved]:
    """The request lines that a server gets which gives these answers, and then 1; and what comes of it."""
    left, lines = list(answers), []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append((await reader.readuntil(b"\r\n\r\n")).decode().partition("\r\n")[0])
        writer.write(left.pop(0) if left else OK + b"Content-Length: 1\r\nConnection: close\r\n\r\n1")
        await writer.drain()
        writer.close()

    fields = {name: options.pop(name) for name in ("path", "verb") & options.keys()}
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/base/"
        return lines, await world.resolve(call("tried", "/a") | fields, urls={"foreign": url}, **options)


# -- what is sent ----------------------------------------------------------------------------------------------------


async def test_calls_are_made_in_the_order_of_what_they_depend_on(world: World) -> None:
    for path in "/a", "/b", "/c":
        world.foreign.answer(path, {"path": path})
    resolved = await world.resolve(
        call("third", "${ .second.path }", dependsOn={"name": "second"}),
        call("second", '${ .first.next // "/b" }', dependsOn={"name": "first"}),
        call("first", "/a"),
    )
    assert world.foreign.paths == ["/a", "/b", "/b"]
    assert resolved.result == {"first": {"path": "/a"}, "second": {"path": "/b"}, "third": {"path": "/b"}}
    assert not resolved.problems


async def test_path_headers_and_payload_are_expressions_or_stand_for_themselves(world: World) -> None:
    world.foreign.answer("/try/7", {})
    await world.resolve(
        call(
            "tried",
            'before ${ "/try/" + (.number | tostring) + "?of={\\"a\\":{}}" } after }',
            verb="PUT",
            headers=["X-Number: 1", '${ "X-Jq: " + .word }', "no header", "X-Spaced:   b  "],
            payload="${ {n: .number} }",
        ),
        context={"number": 7, "word": "ä b"},
    )
    [asked] = world.foreign.asked
    assert (asked.method, asked.path) == ("PUT", '/try/7?of={"a":{}}')
    assert asked.body == '{"n":7}'
    assert {name: asked.headers.get(name) for name in ("X-Number", "X-Spaced")} == {"X-Number": "1", "X-Spaced": "b"}
    assert asked.headers["X-Jq"].encode(errors="surrogateescape").decode() == "ä b"
    assert "Content-Type" not in asked.headers, "what the payload is, nobody has said"
    assert "Accept" not in asked.headers, "headers take the place of the usual one"


async def test_an_expression_that_gives_no_string_is_sent_as_json(world: World) -> None:
    for text in "${ 7 }", "${ .nothing }", '${ "a", 1 }', "${ empty }", "a/b", "":
        await world.resolve(call("tried", text))
    assert world.foreign.paths == ["/7", "/null", "/%22a%221", "/", "/a/b", "/"]


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ('/a/../b//c;d?labels={"x/y":"z"}&e=%7B+%2f&namespace=*', None),
        ("/a%2Fb(c)?d=ä", None),
        ("/a#b", "/a"),
        ("/a?b#c", "/a?b"),
        ("/ä b?c=ö", "/%C3%A4%20b?c=ö"),
        ('/a%2Fb%C3%A4/{"c"}', "/a/b%C3%A4/%7B%22c%22%7D"),
        ("/a(b)|c", "/a%28b%29%7Cc"),
    ],
)
async def test_what_a_path_needs_is_escaped_and_a_query_is_sent_as_it_is(
    world: World, path: str, sent: str | None
) -> None:
    lines, _ = await _served(world, [], path=path)
    assert lines == [f"GET /base{sent or path} HTTP/1.1"]


async def test_a_verb_is_sent_as_it_is_written(world: World) -> None:
    for verb in "get", "Patch", "DELETE":
        lines, _ = await _served(world, [], verb=verb)
        assert lines == [f"{verb} /base/a HTTP/1.1"]


@pytest.mark.parametrize(
    ("number", "sent"),
    [
        ("1.0", "1"),
        ("1e15", "1000000000000000"),
        ("1e21", "1e+21"),
        ("123456789012345678", "123456789012345680"),
        ("9007199254740993", "9007199254740992"),
        ("0.5", "0.5"),
    ],
)
async def test_numbers_are_float64_as_they_come_in_and_written_as_go_does(world: World, number: str, sent: str) -> None:
    world.foreign.answer("/a", f'{{"id": {number}, "each": [{number}, "{number}e5"]}}'.encode())
    world.foreign.answer("/c", [])
    resolved = await world.resolve(
        call("one", "/a"),
        call("two", "${ .one.id }", dependsOn={"name": "one"}, continueOnError=True),
        call("three", "/c", dependsOn={"name": "one"}, payload="${ .one.each }", verb="PUT"),
        call("four", "${ . }", dependsOn={"name": "one", "iterator": ".one.each"}, continueOnError=True),
    )
    assert world.foreign.paths == ["/a", f"/{sent}", "/c", f"/{sent}", f"/{number}e5"]
    assert world.foreign.asked[2].body == f'[{sent},"{number}e5"]'
    assert resolved.result["one"]["id"] == float(number)


async def test_literals_of_a_program_are_exact(world: World) -> None:
    world.foreign.answer("/a", {})
    resolved = await world.resolve(
        call("one", "${ 9007199254740993 }", continueOnError=True), filter="9007199254740993"
    )
    assert world.foreign.paths == ["/9007199254740993"]
    assert resolved.result == 9007199254740993


# -- what is sent again ------------------------------------------------------------------------------------------------


def _says(status: int, header: str = "") -> bytes:
    return f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n{header}Connection: close\r\n\r\n".encode()


@pytest.mark.parametrize("answer", [_says(500), _says(503), _says(429), b""])
async def test_what_fails_for_the_moment_is_asked_for_again(world: World, answer: bytes) -> None:
    _, resolved = await _served(world, [answer] * 5)
    assert resolved.result == {"tried": 1}
    assert len(resolved.requests) > 1
    assert resolved.requests[-1].status == 200
    assert not resolved.problems


@pytest.mark.parametrize(
    ("status", "message"),
    [(500, "server error after 5 retries: 500"), (429, "too many retries after 429 Too Many Requests")],
)
async def test_what_fails_six_times_is_a_failure(world: World, status: int, message: str) -> None:
    _, resolved = await _served(world, [_says(status)] * 9)
    assert resolved.result == {"error": _failure(500, "InternalError", message)}
    assert [request.status for request in resolved.requests] == [status] * 6


@pytest.mark.parametrize(("verb", "status"), [("POST", 500), ("PATCH", 429), ("get", 503), ("GET", 404)])
async def test_neither_every_verb_nor_every_refusal_is_asked_for_again(world: World, verb: str, status: int) -> None:
    _, resolved = await _served(world, [_says(status)], verb=verb)
    assert [request.status for request in resolved.requests] == [status]


async def test_who_says_when_to_ask_again_is_asked_then(world: World) -> None:
    started = asyncio.get_running_loop().time()
    soon = formatdate(time.time() + 2, usegmt=True)
    for header in "Retry-After: 0\r\n", f"Retry-After: {soon}\r\n":
        _, resolved = await _served(world, [_says(429, header)], backoff=3600.0)
        assert resolved.result == {"tried": 1}
    assert 0.9 < asyncio.get_running_loop().time() - started < 60


async def test_a_call_asks_for_json_unless_it_says_otherwise(world: World) -> None:
    await world.resolve(call("tried", "/a"))
    [asked] = world.foreign.asked
    assert asked.headers["Accept"] == "application/json"
    assert "gzip" in asked.headers["Accept-Encoding"]
    assert re.fullmatch("[0-9a-f]{32}", asked.headers["X-Krateo-TraceId"])
    assert "Authorization" not in asked.headers
    assert "Content-Type" not in asked.headers


async def test_the_token_goes_to_the_cluster_and_where_it_is_exported_to(world: World) -> None:
    token = world.user("ada", "system:masters")
    world.foreign.answer("/a", {})
    resolved = await world.resolve(
        {"name": "cluster", "path": CONFIG_MAPS},
        call("exported", "/a", exportJwt=True, headers=["authorization: Basic x"]),
        call("kept", "/a"),
        call("own", "/a", headers=["Authorization: Basic x"]),
        token=token,
    )
    assert not resolved.problems
    [listed] = world.sandbox.requests.matching(resource="configmaps")
    assert listed.user == "ada"
    sent = [asked.headers.get("Authorization") for asked in world.foreign.asked]
    assert sent == [f"Bearer {token}", None, "Basic x"]
    assert token not in repr(world.seen)


async def test_without_a_token_the_cluster_is_asked_with_the_account_of_the_kubeconfig(world: World) -> None:
    world.sandbox.write_kubeconfig(world.kubeconfig, world.user("grace", "system:masters"))
    resolved = await world.resolve({"name": "tried", "path": CONFIG_MAPS})
    assert not resolved.problems
    assert [request.user for request in world.sandbox.requests.matching(resource="configmaps")] == ["grace"]


async def test_the_account_can_be_kept_where_the_cluster_does_not_take_the_token(world: World) -> None:
    world.sandbox.write_kubeconfig(world.kubeconfig, world.user("grace", "system:masters"))
    world.foreign.answer("/a", {})
    resolved = await world.resolve(
        {"name": "cluster", "path": CONFIG_MAPS, "exportJwt": True},
        call("exported", "/a", exportJwt=True),
        token="of-the-portal",
        account=True,
    )
    assert not resolved.problems
    assert [request.user for request in world.sandbox.requests.matching(resource="configmaps")] == ["grace"]
    assert [asked.headers.get("Authorization") for asked in world.foreign.asked] == ["Bearer of-the-portal"]


# -- iterators -------------------------------------------------------------------------------------------------------


async def test_an_iterator_makes_a_request_of_each_element(world: World) -> None:
    for path in "/a", "/b":
        world.foreign.answer(path, {"path": path})
    resolved = await world.resolve(
        call("first", "/a"),
        call(
            "each",
            '${ "/" + .letter }',
            headers=['${ "X-Letter: " + .letter }'],
            dependsOn={"name": "first", "iterator": "[.letters[] | {letter: .}]"},
        ),
        context={"letters": ["a", "b", "a"]},
    )
    assert world.foreign.paths == ["/a", "/a", "/b", "/a"]
    assert [asked.headers.get("X-Letter") for asked in world.foreign.asked] == [None, "a", "b", "a"]
    assert resolved.result["each"] == [{"path": "/a"}, {"path": "/b"}, {"path": "/a"}]


async def test_an_iterator_without_elements_makes_no_request_and_gives_no_result(world: World) -> None:
    world.foreign.answer("/a", {})
    each = call("each", "/b", dependsOn={"name": "first", "iterator": ".letters"})
    resolved = await world.resolve(call("first", "/a"), each, context={"letters": []})
    assert world.foreign.paths == ["/a"]
    assert "each" not in resolved.result
    assert not resolved.failed


@pytest.mark.parametrize(
    ("iterator", "says"),
    [
        (".letters", 'no array but {"a":1}'),
        (".letters[]", "no array but 1"),
        ("range(2)", "gives 2 results instead of one"),
        ('"[1, 2"', 'no array but "[1, 2"'),
        (".nothing[]", "Cannot iterate over null"),
        ("${ .letters }", "syntax error"),
    ],
)
async def test_an_iterator_that_gives_no_array_makes_no_request(world: World, iterator: str, says: str) -> None:
    world.foreign.answer("/a", {})
    each = call("each", "/b", dependsOn={"name": "first", "iterator": iterator})
    after = call("after", "/a", dependsOn={"name": "each"})
    resolved = await world.resolve(call("first", "/a"), each, after, context={"letters": {"a": 1}})
    assert world.foreign.paths == ["/a", "/a"]
    assert resolved.result.keys() == {"letters", "first", "after"}
    assert resolved.failed
    assert says in resolved.problems[0].message


async def test_an_iterator_may_give_the_json_text_of_an_array(world: World) -> None:
    world.foreign.answer("/a", {"list": "[1, 2.0]"})
    each = call("each", '${ "/" + tostring }', dependsOn={"name": "first", "iterator": ".first.list"})
    await world.resolve(call("first", "/a"), each | {"continueOnError": True})
    assert world.foreign.paths == ["/a", "/1", "/2"]


# -- results ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("results", "gathered"),
    [
        ([1], 1),
        ([1, 2], [1, 2]),
        ([1, [2, 3]], [1, 2, 3]),
        ([1, 2, 3], [1, 2, 3]),
        ([1, 2, [3, 4], [], None], [1, 2, 3, 4, None]),
        ([[1], 2], [1, 2]),
        ([[1], [2]], [1, 2]),
        ([None, 1], [None, 1]),
        ([{"a": 1}, {"a": 2}], [{"a": 1}, {"a": 2}]),
    ],
)
async def test_several_results_of_one_name_are_gathered(world: World, results: list[Any], gathered: Any) -> None:
    for number, result in enumerate(results):
        world.foreign.answer(f"/{number}", result)
    world.foreign.answer("/start", {})
    numbers = {"name": "start", "iterator": f"[range({len(results)})]"}
    resolved = await world.resolve(call("start", "/start"), call("each", '${ "/\\(.)" }', dependsOn=numbers))
    assert resolved.result["each"] == gathered


async def test_a_filter_of_a_call_sees_the_answer_by_name_and_the_slice_and_nothing_else(world: World) -> None:
    world.foreign.answer("/a", {"items": [1, 2]})
    resolved = await world.resolve(
        call("first", "/a", filter="keys"),
        call("second", "/a", filter="[.second.items[] | . + 1]"),
        context={"slice": {"perPage": 2}, "more": 1},
    )
    assert resolved.result["first"] == ["first", "slice"]
    assert resolved.result["second"] == [2, 3]
    assert (await world.resolve(call("first", "/a", filter="keys"))).result == {"first": ["first"]}


async def test_a_filter_of_a_call_that_fails_leaves_the_answer_as_it_is(world: World) -> None:
    world.foreign.answer("/a", {"b": 1})
    resolved = await world.resolve(call("tried", "/a", filter=".tried.b[]"))
    assert resolved.result == {"tried": {"b": 1}}
    assert "its filter fails" in resolved.problems[0].message


async def test_a_filter_of_a_call_must_give_one_result(world: World) -> None:
    world.foreign.answer("/a", [1, 2])
    resolved = await world.resolve(call("tried", "/a", filter=".tried[]", continueOnError=True), call("next", "/a"))
    message = "its filter gives 2 results instead of one"
    assert resolved.result == {"error": _failure(500, "InternalError", message), "next": [1, 2]}


async def test_the_filter_at_the_end_sees_the_whole_context(world: World) -> None:
    world.foreign.answer("/a", {"b": 1})
    resolved = await world.resolve(
        call("one", "/a"), filter="{keys: keys, b: .one.b}", context={"slice": {}, "more": 1}
    )
    assert resolved.result == {"keys": ["more", "one", "slice"], "b": 1}
    assert resolved.context == {"slice": {}, "more": 1, "one": {"b": 1}}


@pytest.mark.parametrize(
    ("program", "result", "says"),
    [(".one[]", "12", "gives 2 results"), ("empty", "", "gives 0 results"), ('"a", {b: 1}', '"a"{"b":1}', "gives 2")],
)
async def test_several_results_of_the_filter_at_the_end_are_put_together(
    world: World, program: str, result: str, says: str
) -> None:
    world.foreign.answer("/a", [1, 2])
    resolved = await world.resolve(call("one", "/a"), filter=program)
    assert resolved.result == NotJson(result)
    assert resolved.failed
    assert says in resolved.problems[0].message


@pytest.mark.parametrize(("program", "says"), [("1 +", "syntax"), (".a.b.c[]", "iterate")])
async def test_a_filter_at_the_end_that_fails_is_an_error(world: World, program: str, says: str) -> None:
    world.foreign.answer("/a", [1, 2])
    with pytest.raises(JqError, match=says):
        await world.resolve(call("one", "/a"), filter=program)


async def test_managed_fields_are_nowhere(world: World) -> None:
    world.config_map("one", a="b")
    world.foreign.answer("/a", {"managedFields": 1, "b": [[{"managedFields": {}, "c": "managedFields"}]]})
    resolved = await world.resolve({"name": "maps", "path": CONFIG_MAPS}, call("other", "/a"))
    assert resolved.result["maps"]["items"][0]["metadata"]["name"] == "one"
    assert "managedFields" not in resolved.result["maps"]["items"][0]["metadata"]
    assert resolved.result["other"] == {"b": [[{"c": "managedFields"}]]}
    failed = await world.resolve(call("other", "/a"), call("none", "/none", dependsOn={"name": "other"}))
    assert failed.result["other"]["managedFields"] == 1, "they stay where it ends with a failure"


async def test_a_restaction_without_calls_has_nothing(world: World) -> None:
    assert (await world.resolve(context={"a": 1})).result == {}


async def test_the_context_given_is_left_as_it_is(world: World) -> None:
    world.foreign.answer("/a", {})
    context = {"deep": {"managedFields": 1}}
    await world.resolve(call("tried", "/a"), context=context)
    assert context == {"deep": {"managedFields": 1}}


# -- failures --------------------------------------------------------------------------------------------------------


async def test_a_failure_ends_it_with_what_there_is(world: World) -> None:
    world.foreign.answer("/a", {"b": 1})
    resolved = await world.resolve(
        call("one", "/a"), call("two", "/none", errorKey="twoError"), call("three", "/a"), filter="keys"
    )
    assert world.foreign.paths == ["/a", "/none"]
    assert resolved.result == ["one", "twoError"]
    assert resolved.failed
    assert resolved.problems == (Problem("two", "answered with 404: no such path", fatal=True),)


async def test_with_continue_on_error_the_others_are_made_all_the_same(world: World) -> None:
    world.foreign.answer("/a", {"b": 1})
    each = {"name": "one", "iterator": '["/a", "/none", "/a"]'}
    resolved = await world.resolve(
        call("one", "/a"), call("two", "${ . }", continueOnError=True, dependsOn=each), call("three", "/a")
    )
    assert world.foreign.paths == ["/a", "/a", "/a", "/none", "/a"], "first what depends on nothing"
    assert resolved.result["two"] == [{"b": 1}, {"b": 1}]
    assert resolved.result["error"] == _failure(404, "NotFound", "no such path")
    assert resolved.result["three"] == {"b": 1}
    assert not resolved.failed
    assert [problem.fatal for problem in resolved.problems] == [False]


@pytest.mark.parametrize(
    ("status", "body", "becomes"),
    [
        (403, _failure(403, "Forbidden", "no"), _failure(403, "Forbidden", "no")),
        (400, {"status": "Failure", "message": "no", "details": {}}, {"status": "Failure", "message": "no"}),
        (401, b"<html>", _failure(401, "Unauthorized", "<html>")),
        (403, b"", {**_failure(403, "Forbidden", ""), "message": None}),
        (404, b"[]", _failure(404, "NotFound", "[]")),
        (422, {"status": 422, "error": "no"}, _failure(422, "UnprocessableEntity", '{"status": 422, "error": "no"}')),
        (400, {"message": "x" * 3000}, _failure(400, "BadRequest", ('{"message": "' + "x" * 3000)[:2048])),
    ],
)
async def test_a_refusal_is_a_status_in_the_context(world: World, status: int, body: Any, becomes: Any) -> None:
    world.foreign.answer("/a", body, status)
    resolved = await world.resolve(call("tried", "/a"), call("next", "/a"))
    assert resolved.result == {"error": {key: value for key, value in becomes.items() if value is not None}}
    assert [request.status for request in resolved.requests] == [status]
    assert resolved.failed


@pytest.mark.parametrize(
    ("status", "body"),
    [(409, {"error": "no"}), (404, {"message": "no"}), (412, b"<html>"), (403, {})],
)
async def test_a_refusal_that_snowplow_takes_no_notice_of_is_told_all_the_same(
    world: World, status: int, body: Any
) -> None:
    world.foreign.answer("/a", body, status)
    world.foreign.answer("/b", 1)
    resolved = await world.resolve(call("tried", "/a"), call("next", "/b"))
    assert resolved.result == {"next": 1}
    assert resolved.failed
    assert f"answered with {status}" in resolved.problems[0].message


@pytest.mark.parametrize(
    ("body", "content_type", "code", "reason", "says"),
    [
        (b"hello", "text/plain", 406, "NotAcceptable", 'content type "text/plain" is not allowed'),
        (b"{}", "text/plain", 406, "NotAcceptable", 'content type "text/plain" is not allowed'),
        (b"hello", "application/json", 500, "InternalError", "the answer is not JSON: "),
        (b"", "application/json", 500, "InternalError", "the answer is not JSON: "),
        (b"[" * 100_000, "application/json", 500, "InternalError", "the answer is not JSON: "),
    ],
)
async def test_an_answer_that_is_not_json_is_a_failure(
    world: World, body: bytes, content_type: str, code: int, reason: str, says: str
) -> None:
    world.foreign.answer("/a", body, content_type=content_type)
    resolved = await world.resolve(call("tried", "/a"))
    error = resolved.result["error"]
    assert error == _failure(code, reason, error["message"])
    assert error["message"].startswith(says)
    assert world.foreign.paths == ["/a"]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "Server disconnected"),
        (b"SSH-2.0-OpenSSH\r\n", "the answer is not HTTP: Bad status line"),
        (OK + b"X: " + b"a" * 100_000 + b"\r\n\r\n1", "the answer is not HTTP: Got more than 8190 bytes"),
        (OK + b"Content-Length: 9\r\n\r\n[1,", "the answer ends before it is whole"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\n[1", "the answer ends before it is whole"),
        (
            OK + b"Content-Encoding: gzip\r\nContent-Length: 20\r\n\r\n" + b"1" * 20,
            "the answer ends before it is whole",
        ),
        (OK + b'Content-Length: 3\r\n\r\n"\xff"', "the answer is not JSON: 'utf-8' codec"),
        (b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n", "redirected again and again"),
        (b"HTTP/1.1 302 Found\r\nLocation: file:///etc/hosts\r\n\r\n", "redirected to what is no HTTP URL"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://[\r\n\r\n", "redirected to what is no HTTP URL"),
        (b"HTTP/1.1 418 Tea\r\nContent-Length: 0\r\n\r\n", "answered with 418: I'm a Teapot"),
        (b"HTTP/1.1 499 What\r\nContent-Length: 2\r\n\r\n\xff\xfe", "answered with 499: "),
    ],
)
async def test_whatever_a_server_does_is_a_failure_in_one_line(world: World, answer: bytes, says: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        resolved = await world.resolve(call("tried", "/a"), urls={"foreign": url})
    [problem] = resolved.problems
    assert problem.fatal
    assert problem.message.startswith(says)
    assert "\n" not in problem.message


async def test_an_endpoint_that_is_no_http_is_a_failure(world: World) -> None:
    resolved = await world.resolve(call("tried", "/a"), urls={"foreign": "localhost:80"})
    assert resolved.problems[0].message == "the URL is malformed"


async def test_any_content_type_of_json_will_do(world: World) -> None:
    world.foreign.answer("/a", b"1", content_type="application/vnd.api+json; charset=utf-8")
    assert (await world.resolve(call("tried", "/a"))).result == {"tried": 1}


async def test_who_cannot_be_reached_is_a_failure(world: World) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        resolved = await world.resolve(call("tried", "/a"), urls={"foreign": url})
    assert (resolved.result["error"]["code"], resolved.result["error"]["reason"]) == (500, "InternalError")
    assert [(request.status, request.bytes, request.items) for request in resolved.requests] == [(0, 0, None)] * 6
    assert "onnect" in resolved.problems[0].message


async def test_who_does_not_answer_in_time_is_a_failure(world: World) -> None:
    resolved = await world.resolve(call("tried", "/silence"), seconds=0.2)
    assert resolved.result["error"] == _failure(500, "InternalError", "no answer within 0.2 seconds")


async def test_an_answer_without_end_is_a_failure(world: World) -> None:
    world.foreign.answer("/a", b"[" + b"1," * 500_000 + b"1]")
    resolved = await world.resolve(call("tried", "/a"), largest_answer=100_000)
    assert resolved.result["error"] == _failure(500, "InternalError", "the answer has more than 100000 bytes")


async def test_where_a_path_or_payload_fails_its_message_is_sent(world: World) -> None:
    bad = "${ .nothing[] }"
    resolved = await world.resolve(
        call("tried", bad, verb="POST", payload=bad, errorKey="why", continueOnError=True),
    )
    [asked] = world.foreign.asked
    assert "Cannot%20iterate%20over%20null" in asked.path
    assert "Cannot iterate over null" in asked.body
    assert resolved.result["why"]["code"] == 404
    assert ["this is sent in its place" in problem.message for problem in resolved.problems] == [True, True, False]


async def test_a_header_that_fails_is_a_failure_of_its_call(world: World) -> None:
    resolved = await world.resolve(call("tried", "/a", headers=["${ .nothing[] }"], errorKey="why"))
    assert world.foreign.paths == []
    assert "Cannot iterate over null" in resolved.result["why"]["message"]
    assert resolved.failed


async def test_that_a_users_rights_are_not_applied_is_told(world: World) -> None:
    world.foreign.answer("/a", 1)
    resolved = await world.resolve(call("one", "/a", userAccessFilter={"verb": "get", "group": "", "resource": "pods"}))
    assert resolved.problems == (Problem("one", "its userAccessFilter is not applied here", fatal=False),)


async def test_of_two_calls_of_one_name_the_first_is_made(world: World) -> None:
    world.foreign.answer("/a", 1)
    resolved = await world.resolve(call("one", "/a"), call("one", "/b"))
    assert (resolved.result, world.foreign.paths) == ({"one": 1}, ["/a"])


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"path": '${ "/a\\nGET /b HTTP/1.1" }'}, "control character"),
        ({"path": "/a", "headers": ['${ "X-A: 1\\r\\nX-B: 2" }']}, "control character in the header 'X-A'"),
    ],
)
async def test_nothing_can_be_smuggled_into_a_request(world: World, fields: dict[str, Any], says: str) -> None:
    resolved = await world.resolve(call("tried", "") | fields)
    assert world.foreign.asked == []
    assert says in resolved.result["error"]["message"]


# -- endpoints -------------------------------------------------------------------------------------------------------


async def test_an_endpoint_is_read_once_and_can_be_given_instead(world: World) -> None:
    world.foreign.answer("/a", {})
    await world.resolve(call("one", "/a"), call("two", "/a"))
    assert len(world.sandbox.requests.matching(resource="secrets")) == 1
    await world.resolve(
        {"name": "tried", "path": "/a", "endpointRef": {"name": "nowhere", "namespace": "default"}},
        urls={"nowhere": world.foreign.url},
    )
    assert len(world.sandbox.requests.matching(resource="secrets")) == 1
    assert world.foreign.paths == ["/a"] * 3


@pytest.mark.parametrize(
    ("credentials", "sent"),
    [
        ({"token": "t0ken"}, "Bearer t0ken"),
        ({"username": "ada", "password": "s3cret"}, f"Basic {base64.b64encode(b'ada:s3cret').decode()}"),
        ({}, None),
    ],
)
async def test_an_endpoint_has_credentials_of_its_own(
    world: World, credentials: dict[str, str], sent: str | None
) -> None:
    world.secret("foreign", {"server-url": world.foreign.url, **credentials})
    world.foreign.answer("/a", {})
    await world.resolve(call("one", "/a"), call("two", "/a", exportJwt=True), token="user's")
    assert [asked.headers.get("Authorization") for asked in world.foreign.asked] == [sent, "Bearer user's"]
    assert not any(value in repr(world.seen) for value in credentials.values())


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"token": "t0ken"}, "its Secret has no server-url"),
        ({"server-url": "ftp://ada:s3cret@a"}, "its server-url must begin with http:// or https://"),
        ({"server-url": "http://a", "token": "t0ken", "username": "ada"}, "both a token and a username"),
        ({"server-url": "http://a", "aws-access-key": "s3cret"}, "signed for AWS"),
        (
            {"server-url": "http://a", "certificate-authority-data": "s3cret!"},
            "certificate-authority-data is not base64",
        ),
        ({"server-url": "https://a", "certificate-authority-data": "s3cret=="}, "endpoint default/foreign: "),
    ],
)
async def test_an_endpoint_that_cannot_be_used_ends_it(world: World, values: dict[str, str], says: str) -> None:
    world.sandbox.cluster.delete("secrets", "foreign", "default")
    world.secret("foreign", values)
    following = {"name": "next", "path": CONFIG_MAPS}
    resolved = await world.resolve(call("tried", "/a", continueOnError=True), following, context={"a": 1})
    assert resolved.result == {"a": 1}
    assert resolved.failed
    assert says in resolved.problems[0].message
    assert "s3cret" not in str(resolved)
    assert "t0ken" not in str(resolved)


async def test_an_endpoint_that_is_not_there_or_not_for_this_account_ends_it(world: World) -> None:
    elsewhere = {"name": "elsewhere", "namespace": "default"}
    resolved = await world.resolve({"name": "tried", "path": "/a", "endpointRef": elsewhere})
    assert 'its Secret cannot be read: 404: secrets "elsewhere" not found' in resolved.problems[0].message
    world.sandbox.enforce_rbac = True
    world.sandbox.write_kubeconfig(world.kubeconfig, world.user("nobody"))
    resolved = await world.resolve(call("tried", "/a"))
    assert 'its Secret cannot be read: 403: secrets "foreign" is forbidden' in resolved.problems[0].message


async def test_an_endpoint_with_a_password_in_its_url_does_not_give_it_away(world: World) -> None:
    address = world.foreign.url.removeprefix("http://")
    world.foreign.answer("/a", {})
    for url in f"http://ada:s3cret@{address}", "http://ada:s3cret@127.0.0.1:nonsense":
        world.secret("foreign", {"server-url": url})
        assert "s3cret" not in str(await world.resolve(call("tried", "/a")))
    assert len(world.foreign.asked) == 1
    assert "s3cret" not in repr(world.seen)


async def test_tls_is_checked_as_the_endpoint_says(world: World) -> None:
    authority, clients = Authority(), Authority("clients")
    certificate = clients.issue("client")
    key, _, chain = certificate.partition("-----BEGIN CERTIFICATE-----")

    def data(pem: str) -> str:
        return base64.b64encode(pem.encode()).decode()

    trusting = {"certificate-authority-data": data(authority.pem)}
    mutual = {
        "client-certificate-data": data(f"-----BEGIN CERTIFICATE-----{chain}"),
        "client-key-data": data(key),
    }
    async with Foreign(authority.tls()) as server, Foreign(authority.tls(clients)) as strict:
        for served, values, works in [
            (server, {}, False),
            (server, {"insecure": "true"}, True),
            (server, trusting, True),
            (server, {"certificate-authority-data": authority.pem}, True),
            (server, {"certificate-authority-data": data(clients.pem)}, False),
            (strict, trusting, False),
            (strict, trusting | mutual, True),
        ]:
            served.answer("/a", 1)
            world.sandbox.cluster.delete("secrets", "foreign", "default")
            world.secret("foreign", {"server-url": served.url, **values})
            resolved = await world.resolve(call("tried", "/a"))
            assert resolved.result.get("tried") == (1 if works else None), resolved.problems
            assert resolved.failed is not works


async def test_a_proxy_is_gone_through(world: World) -> None:
    world.secret("foreign", {"server-url": "http://behind.example", "proxy-url": world.foreign.url})
    world.foreign.answer("http://behind.example/a", {"through": "proxy"})
    resolved = await world.resolve(call("tried", "/a"))
    assert resolved.result == {"tried": {"through": "proxy"}}


async def test_a_cluster_that_is_not_there_ends_it(world: World) -> None:
    world.kubeconfig.write_text("")
    resolved = await world.resolve({"name": "tried", "path": CONFIG_MAPS})
    assert resolved.failed
    assert "the cluster cannot be used" in resolved.problems[0].message


# -- what is told ----------------------------------------------------------------------------------------------------


async def test_every_request_is_told_of_when_it_has_been_made(world: World) -> None:
    world.config_map("one")
    world.config_map("two")
    world.foreign.answer("/a", [1, 2, 3])
    world.foreign.answer("/b", {"items": 3})
    resolved = await world.resolve(
        {"name": "maps", "path": CONFIG_MAPS}, call("list", "/a?x=1"), call("none", "/b"), call("gone", "/none")
    )
    requests = [
        (request.call, request.method, request.url, request.status, request.items) for request in resolved.requests
    ]
    assert requests == [
        ("maps", "GET", CONFIG_MAPS, 200, 2),
        ("list", "GET", "/a?x=1", 200, 3),
        ("none", "GET", "/b", 200, None),
        ("gone", "GET", "/none", 404, None),
    ]
    assert [request.bytes for request in resolved.requests[1:]] == [len(b"[1, 2, 3]"), len(b'{"items": 3}'), 12]
    assert all(request.milliseconds > 0 for request in resolved.requests)
    assert world.seen == [*resolved.requests, *resolved.problems]
