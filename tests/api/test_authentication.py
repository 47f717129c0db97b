"""Who has no token that holds gets a 401, whatever is asked for, and learns nothing else."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import jwt
import pytest

from presenter.access.identity import sign
from presenter.cache.pool import Address
from tests.api.service import HOUR, KEY, Reply, serving
from tests.api.world import WIDGETS, World

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGE = f"/resources?group={WIDGETS}"
GOOD = sign(KEY, "alice", ["devs"], HOUR)


def token(claims: Mapping[str, Any], *, key: bytes = KEY, algorithm: str = "HS256", absent: str = "") -> str:
    now = int(time.time())
    full = {"username": "alice", "groups": ["devs"], "iss": "krateo.io", "iat": now, "nbf": now, "exp": now + 3600}
    kept = {name: value for name, value in (full | dict(claims)).items() if name != absent}
    return jwt.encode(kept, key, algorithm=algorithm)


def unsigned(header: Any, claims: Any) -> str:
    """Whatever can be put together without the key."""
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims))
    return ".".join((*parts, ""))


def in_seconds(seconds: int) -> int:
    return int(time.time()) + seconds


LONG_KEY = KEY * 2
ODD = '"\\\r\n\0é☃'
NESTED = base64.urlsafe_b64encode(b'{"alg":"HS256","x":' + b"[" * 5000).rstrip(b"=").decode()

REFUSED: dict[str, tuple[str, str]] = {
    "empty": ("", "not `Bearer <JWT>`"),
    "no scheme": (GOOD, "not `Bearer <JWT>`"),
    "no token": ("Bearer", "not `Bearer <JWT>`"),
    "basic": ("Basic YWxpY2U6c2VjcmV0", "not `Bearer <JWT>`"),
    "two tokens": (f"Bearer {GOOD} {GOOD}", "cannot be trusted"),
    "no JWT": ("Bearer abc", "cannot be trusted"),
    "one part": (f"Bearer {GOOD.split('.', maxsplit=1)[0]}", "cannot be trusted"),
    "no signature": (f"Bearer {GOOD.rpartition('.')[0]}.", "cannot be trusted"),
    "not ascii": ("Bearer täglich", "cannot be trusted"),
    "nested": (f"Bearer {NESTED}.e30.AAAA", "cannot be trusted"),
    "too long": (f"Bearer {token({'groups': ['x' * 30_000]})}", "characters: allowed are 32768"),
    "expired": (f"Bearer {token({'exp': in_seconds(-60)})}", "the token has expired"),
    "not yet valid": (f"Bearer {token({'nbf': in_seconds(600)})}", "not yet valid"),
    "issued in the future": (f"Bearer {token({'iat': in_seconds(600)})}", "not yet valid"),
    "no exp": (f"Bearer {token({}, absent='exp')}", "exp"),
    "exp is no number": (f"Bearer {token({'exp': 'tomorrow'})}", "cannot be trusted"),
    "wrong key": (f"Bearer {token({}, key=b'another key, which is also of 256 bits.')}", "Signature"),
    "alg none": (f"Bearer {unsigned({'alg': 'none', 'typ': 'JWT'}, {'username': 'alice', 'exp': 2**33})}", "alg"),
    "alg None": (f"Bearer {unsigned({'alg': 'None'}, {'username': 'alice', 'exp': 2**33})}", "alg"),
    "alg missing": (f"Bearer {unsigned({'typ': 'JWT'}, {'username': 'alice', 'exp': 2**33})}", "trusted"),
    "HS512": (f"Bearer {token({}, key=LONG_KEY, algorithm='HS512')}", "alg"),
    "groups are numbers": (f"Bearer {token({'groups': [1]})}", "`groups` is [1]: allowed is a list of strings"),
    "groups are an object": (f"Bearer {token({'groups': {'devs': 1}})}", "`groups` is {'devs': 1}: allowed is a list"),
    "no user": (f"Bearer {token({}, absent='username')}", "names no user"),
    "empty user": (f"Bearer {token({'username': ''})}", "names no user"),
    "groups break the line": (f"Bearer {token({'groups': {ODD: ODD}})}", "allowed is a list"),
    "user is a number": (f"Bearer {token({'username': 7})}", "names no user"),
}


CHALLENGE = re.compile(r'Bearer error="(invalid_token|invalid_request)", error_description="([ !#-\[\]-~]+)"')
"""As RFC 6750 §3 allows it."""


def assert_unauthorized(answer: Reply, said: str) -> None:
    message = answer.failure(401)
    assert said in message
    assert answer.json["reason"] == "Unauthorized"
    challenge = answer.headers["WWW-Authenticate"]
    if message.startswith("no token"):
        assert challenge == "Bearer", "who sent nothing sent nothing wrong"
        return
    described = CHALLENGE.fullmatch(challenge)
    assert described is not None, challenge
    about_the_header = "Authorization header" in message
    assert described[1] == ("invalid_request" if about_the_header else "invalid_token")
    assert len(described[2]) == len(message)
    assert all(ours in (theirs, "'", "?") for ours, theirs in zip(described[2], message, strict=True))


@pytest.mark.parametrize(("header", "said"), REFUSED.values(), ids=REFUSED)
async def test_a_token_that_does_not_hold(world: World, header: str, said: str) -> None:
    assert_unauthorized(await world.service.send("GET", PAGE, headers={"Authorization": header}), said)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", PAGE), ("POST", "/resources"), ("GET", "/resources/test:uid"), ("GET", "/resources?limit=0")],
)
async def test_no_token(world: World, method: str, path: str) -> None:
    """Also where the request is malformed besides: strangers learn nothing of what would be allowed."""
    assert_unauthorized(await world.service.send(method, path), "no token: send the header `Authorization: Bearer")


async def test_two_authorization_headers(world: World) -> None:
    twice = [("Authorization", f"Bearer {GOOD}"), ("Authorization", f"Bearer {GOOD}")]
    assert_unauthorized(await world.service.send("GET", PAGE, headers=twice), "more than one Authorization header")


@pytest.mark.parametrize(
    "header",
    [
        f"Bearer {GOOD}",
        f"bearer {GOOD}",
        f"BEARER   {GOOD} ",
        f"Bearer {token({'sub': 'alice'}, absent='username')}",
        f"Bearer {token({}, absent='groups')}",
        f"Bearer {token({'groups': 'devs'})}",
        f"Bearer {token({'groups': [str(UUID(int=number)) for number in range(200)]})}",
        f"Bearer {token({}, absent='iat')}",
        f"Bearer {token({'iss': 'elsewhere'})}",
        f"Bearer {token({'aud': 'anybody', 'jti': 7})}",
        f"Bearer {token({'nbf': in_seconds(2)})}",
    ],
    ids=[
        "plain",
        "lower",
        "spaces",
        "sub",
        "no groups",
        "one group",
        "200 groups",
        "no iat",
        "any issuer",
        "other claims",
        "within the leeway",
    ],
)
async def test_a_token_that_holds(world: World, header: str) -> None:
    assert (await world.service.send("GET", PAGE, headers={"Authorization": header})).items


async def test_the_issuer_is_checked_when_it_is_set(shared_database: Address) -> None:
    async with serving(shared_database, issuer="https://issuer.example") as service:
        right = {"Authorization": f"Bearer {token({'iss': 'https://issuer.example'})}"}
        assert (await service.send("GET", "/resources/test:uid", headers=right)).code == 404
        for wrong in (token({"iss": "krateo.io"}), token({"iss": ""}), token({}, absent="iss")):
            answer = await service.send("GET", PAGE, headers={"Authorization": f"Bearer {wrong}"})
            assert_unauthorized(answer, "cannot be trusted")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/openapi.json", "/docs"])
async def test_what_needs_no_token(world: World, path: str) -> None:
    assert (await world.service.send("GET", path)).code == 200
