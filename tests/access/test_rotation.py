"""Published keys over time: followed as they rotate, kept in an outage, and asked for no more often than needed."""

from __future__ import annotations

import asyncio
import json
import operator
import time
from functools import partial

import pytest
from aiohttp import web

from presenter.access.identity import Authenticator
from presenter.access.keys import MAX_AGE_SECONDS, MAX_BYTES, MIN_INTERVAL_SECONDS
from presenter.errors import Unavailable
from tests.access.issuer import Answer, Clock, Issuer, SigningKey, accepted, bearer
from tests.eventually import eventually

FIRST = SigningKey("first")
SECOND = SigningKey("second", number=1)


# -- rotation --------------------------------------------------------------------------------------------------------


async def test_a_new_key_is_fetched_at_once_when_a_token_names_it(issuer: Issuer) -> None:
    clock = Clock()
    issuer.publish(FIRST)
    authenticator = issuer.authenticator(clock)
    assert await accepted(authenticator, FIRST.token())
    issuer.publish(FIRST, SECOND)
    clock.now += MIN_INTERVAL_SECONDS
    assert await accepted(authenticator, SECOND.token())
    assert await accepted(authenticator, FIRST.token())
    assert issuer.asked == 2


@pytest.mark.parametrize("left", [[SECOND], []], ids=["another", "none"])
async def test_a_removed_key_is_no_longer_accepted_not_even_for_a_remembered_token(
    issuer: Issuer, left: list[SigningKey]
) -> None:
    clock = Clock()
    issuer.publish(FIRST, SECOND)
    authenticator = issuer.authenticator(clock)
    token = FIRST.token()
    assert await accepted(authenticator, token)
    issuer.publish(*left)
    clock.now += MAX_AGE_SECONDS - 1
    assert await accepted(authenticator, token)
    assert issuer.asked == 1
    clock.now += 1
    assert await accepted(authenticator, token), "nobody waits for the new keys"
    await eventually(partial(accepted, authenticator, token), operator.not_)
    assert await accepted(authenticator, SECOND.token()) == bool(left)
    assert issuer.asked == 2


async def test_another_key_of_the_same_name_takes_the_place_of_the_first(issuer: Issuer) -> None:
    clock = Clock()
    issuer.publish(FIRST)
    authenticator = issuer.authenticator(clock)
    token, successor = FIRST.token(), SigningKey("first", number=1)
    assert await accepted(authenticator, token)
    issuer.publish(successor)
    clock.now += MAX_AGE_SECONDS
    await eventually(partial(accepted, authenticator, token), operator.not_)
    assert await accepted(authenticator, successor.token())


async def test_keys_that_stay_the_same_are_fetched_once_per_age(issuer: Issuer) -> None:
    clock = Clock()
    issuer.publish(FIRST)
    authenticator = issuer.authenticator(clock)
    token = FIRST.token()
    for age in range(1, 4):
        for _ in range(20):
            assert await accepted(authenticator, token)
        assert await eventually(issuer.times_asked, age.__le__) == age
        clock.now += MAX_AGE_SECONDS


# -- outages ---------------------------------------------------------------------------------------------------------


async def test_an_outage_at_the_start_is_no_fault_of_the_token(issuer: Issuer) -> None:
    clock = Clock()
    issuer.publish(FIRST)
    authenticator = issuer.authenticator(clock)
    await issuer.stop()
    for _ in range(3):
        with pytest.raises(Unavailable) as unavailable:
            await authenticator.authenticate(bearer(FIRST.token()))
        assert unavailable.value.status == 503
        assert unavailable.value.retry_after
        assert "127.0.0.1" not in unavailable.value.message, "where the keys are is for the log"
    await issuer.start()
    clock.now += MIN_INTERVAL_SECONDS
    assert await accepted(authenticator, FIRST.token())


async def test_in_a_later_outage_the_keys_go_on_being_used(issuer: Issuer) -> None:
    clock = Clock()
    issuer.publish(FIRST)
    authenticator = issuer.authenticator(clock)
    token = FIRST.token()
    assert await accepted(authenticator, token)
    await issuer.stop()
    for _ in range(5):
        clock.now += MAX_AGE_SECONDS
        assert await accepted(authenticator, token)
        assert await accepted(authenticator, FIRST.token(username="alice", jti="another"))
        assert not await accepted(authenticator, SECOND.token())
    await issuer.start()
    issuer.publish(FIRST, SECOND)
    clock.now += MIN_INTERVAL_SECONDS
    assert await accepted(authenticator, SECOND.token())


def saying(body: bytes, status: int = 200, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=status, headers=headers)

    return answer


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(64):
        await response.write(b" " * MAX_BYTES)
    return response


async def dripping(request: web.Request) -> web.StreamResponse:
    """A byte at a time, each well within what a socket waits for."""
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(2000):
        await response.write(b" ")
        await asyncio.sleep(0.01)
    return response


async def silent(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(20)
    return web.Response()


GOOD = json.dumps({"keys": [FIRST.jwk]}).encode()
WRONG_ANSWERS = {
    "endless": endless,
    "a byte too many": saying(GOOD + b" " * (MAX_BYTES + 1 - len(GOOD))),
    "dripping": dripping,
    "silent": silent,
    "empty": saying(b""),
    "no JSON": saying(b"<html>"),
    "half": saying(GOOD[:-1]),
    "an array": saying(b"[]"),
    "no keys": saying(b"{}"),
    "keys are an object": saying(b'{"keys": {}}'),
    "keys are strings": saying(b'{"keys": ["a"]}'),
    "nested": saying(b'{"keys": [{"a": ' + b"[" * 100_000),
    "not UTF-8": saying(b'{"keys": [{"kid": "\xff"}]}'),
    "500": saying(GOOD, 500),
    "404": saying(GOOD, 404),
    "redirect": saying(b"", 302, Location="/keys?again"),
}


@pytest.mark.parametrize("answer", WRONG_ANSWERS.values(), ids=WRONG_ANSWERS)
async def test_a_wrong_answer_gives_no_keys_and_takes_none_away(issuer: Issuer, answer: Answer) -> None:
    clock = Clock()
    issuer.publish(FIRST)
    right, issuer.answer = issuer.answer, answer
    authenticator = issuer.authenticator(clock, timeout=0.2)
    started = time.monotonic()
    with pytest.raises(Unavailable):
        await authenticator.authenticate(bearer(FIRST.token()))
    assert time.monotonic() - started < 5
    assert issuer.asked == 1

    clock.now += MIN_INTERVAL_SECONDS
    issuer.answer = right
    assert await accepted(authenticator, FIRST.token())
    clock.now += MIN_INTERVAL_SECONDS
    issuer.answer = answer
    assert not await accepted(authenticator, SECOND.token())
    assert issuer.asked == 3
    assert await accepted(authenticator, FIRST.token(jti="another"))


async def test_somebody_who_does_not_speak_http_gives_no_keys(issuer: Issuer) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        authenticator = Authenticator.of(issuer.settings(JWKS_URL=f"http://127.0.0.1:{port}/"))
        with pytest.raises(Unavailable):
            await authenticator.authenticate(bearer(FIRST.token()))


async def test_the_largest_answer_is_read(issuer: Issuer) -> None:
    issuer.answer = saying(GOOD + b" " * (MAX_BYTES - len(GOOD)))
    assert await accepted(Authenticator.of(issuer.settings()), FIRST.token())


# -- how often -------------------------------------------------------------------------------------------------------


async def test_many_requests_at_once_fetch_once(issuer: Issuer) -> None:
    issuer.publish(FIRST)
    authenticator = Authenticator.of(issuer.settings())
    tokens = [FIRST.token(jti=str(number)) for number in range(50)]
    assert all(await asyncio.gather(*(accepted(authenticator, token) for token in tokens)))
    assert issuer.asked == 1


async def test_a_flood_of_unknown_keys_costs_nothing(issuer: Issuer) -> None:
    clock = Clock()
    issuer.publish(FIRST)
    authenticator = issuer.authenticator(clock)
    assert await accepted(authenticator, FIRST.token())
    flood = [FIRST.token(header={"kid": f"random-{number}"}) for number in range(200)]
    for passed in range(3):
        assert not any(await asyncio.gather(*(accepted(authenticator, token) for token in flood)))
        assert issuer.asked == 1 + passed
        clock.now += MIN_INTERVAL_SECONDS


async def test_a_flood_during_an_outage_at_the_start_costs_nothing_either(issuer: Issuer) -> None:
    issuer.answer = saying(b"", 500)
    authenticator = issuer.authenticator(Clock())
    for number in range(100):
        with pytest.raises(Unavailable):
            await authenticator.authenticate(bearer(FIRST.token(header={"kid": f"random-{number}"})))
    assert issuer.asked == 1


async def test_who_hangs_up_does_not_take_the_keys_from_the_others(issuer: Issuer) -> None:
    asked, go = asyncio.Event(), asyncio.Event()
    issuer.publish(FIRST)
    right = issuer.answer

    async def waiting(request: web.Request) -> web.StreamResponse:
        asked.set()
        await go.wait()
        return await right(request)

    issuer.answer = waiting
    authenticator = Authenticator.of(issuer.settings())
    leaver = asyncio.create_task(accepted(authenticator, FIRST.token()))
    await asked.wait()
    stayer = asyncio.create_task(accepted(authenticator, FIRST.token(jti="another")))
    leaver.cancel()
    go.set()
    assert await stayer
    assert leaver.cancelled()
    assert issuer.asked == 1


async def test_nobody_waits_while_old_keys_are_replaced(issuer: Issuer) -> None:
    clock = Clock()
    issuer.publish(FIRST)
    authenticator = issuer.authenticator(clock, timeout=1)
    assert await accepted(authenticator, FIRST.token())
    issuer.answer = silent
    clock.now += MAX_AGE_SECONDS
    async with asyncio.timeout(0.5):
        for number in range(10):
            assert await accepted(authenticator, FIRST.token(jti=str(number)))
