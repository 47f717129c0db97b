"""Tokens that somebody made in order to be somebody else: each is refused as what it is, and never breaks anything."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from datetime import timedelta
from typing import Any

import pytest
import structlog
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from presenter.access.identity import AUTHENTICATED, Authenticator, Identity, sign
from presenter.apimachinery.status import failure
from presenter.config import AuthSettings
from presenter.errors import Unauthorized
from tests.access.issuer import ISSUED_BY_US, KEY, Clock, Issuer, SigningKey, bearer, claims_of, encoded, signed

HOUR = timedelta(hours=1)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
VICTIM = SigningKey("first")
ATTACKER = SigningKey("first", number=1)


@pytest.fixture
def authenticator(issuer: Issuer) -> Authenticator:
    """One that knows both a shared key and published ones: whatever can be confused is there."""
    issuer.publish(VICTIM)
    return Authenticator.of(issuer.settings(SIGN_KEY=ISSUED_BY_US))


async def refused(authenticator: Authenticator, token: str) -> str:
    """What is said in refusing it, which must be fit to be said."""
    with pytest.raises(Unauthorized) as refusal:
        await authenticator.authenticate(bearer(token))
    body = failure(401, refusal.value.reason, refusal.value.message).encode()
    message: str = json.loads(body)["message"]
    return message


def forged(header: dict[str, Any], secret: bytes) -> str:
    """HS256, by hand: the library would not take such a secret."""
    text = f"{encoded({'typ': 'JWT', 'alg': 'HS256'} | header)}.{encoded(claims_of(username='admin'))}"
    return f"{text}.{encoded(hmac.digest(secret, text.encode(), hashlib.sha256))}"


# -- the algorithm ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "signature", ["", "AAAA", encoded(hmac.digest(b"", b"", "sha256"))], ids=["no", "some", "long"]
)
@pytest.mark.parametrize(
    "algorithm",
    ["none", "None", "NONE", "nOnE", "none ", " none", "none\x00", "nоne", "", None, False, 0, [], ["none"], {"a": 1}],
)
async def test_a_token_that_is_not_signed(authenticator: Authenticator, algorithm: object, signature: str) -> None:
    token = f"{encoded({'typ': 'JWT', 'alg': algorithm})}.{encoded(claims_of(username='admin'))}.{signature}"
    assert "its `alg` is not one that is accepted here: HS256, RS256" in await refused(authenticator, token)


@pytest.mark.parametrize(
    "algorithm",
    ["hs256", "HS256 ", "HS384", "HS512", "rs256", "ES512", "ES256K", "PS384", "PS512", "A128KW", "RS256\n"],
)
async def test_an_algorithm_that_is_not_accepted(authenticator: Authenticator, algorithm: str) -> None:
    token = f"{encoded({'alg': algorithm})}.{encoded(claims_of())}.AAAA"
    assert "its `alg` is not one that is accepted here" in await refused(authenticator, token)


async def test_an_algorithm_that_is_not_set_up() -> None:
    shared = Authenticator.of(AuthSettings(SIGN_KEY=ISSUED_BY_US))
    assert (await refused(shared, VICTIM.token())).endswith("accepted here: HS256")


def public_forms() -> dict[str, bytes]:
    public = VICTIM.private.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return {
        "PEM": pem,
        "PEM, stripped": pem.strip(),
        "PEM, CRLF": pem.replace(b"\n", b"\r\n"),
        "PEM, PKCS #1": public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        "DER": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "DER, PKCS #1": public.public_bytes(Encoding.DER, PublicFormat.PKCS1),
        "SSH": public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        "JWK": json.dumps(VICTIM.jwk).encode(),
        "JWKS": json.dumps({"keys": [VICTIM.jwk]}).encode(),
        "modulus": base64.urlsafe_b64decode(VICTIM.jwk["n"] + "=="),
        "modulus, encoded": VICTIM.jwk["n"].encode(),
        "empty": b"",
    }


@pytest.mark.parametrize("shared", [True, False], ids=["with SIGN_KEY", "without"])
@pytest.mark.parametrize("form", public_forms())
async def test_hs256_with_the_public_key_as_the_secret(issuer: Issuer, form: str, shared: bool) -> None:
    issuer.publish(VICTIM)
    authenticator = Authenticator.of(issuer.settings(**({"SIGN_KEY": ISSUED_BY_US} if shared else {})))
    for header in ({}, {"kid": "first"}):
        assert "cannot be trusted" in await refused(authenticator, forged(header, public_forms()[form]))


async def test_rs256_whose_key_is_told_to_be_the_shared_one(authenticator: Authenticator) -> None:
    for algorithm in ("RS256", "ES256", "EdDSA"):
        text = f"{encoded({'alg': algorithm, 'kid': 'first'})}.{encoded(claims_of(username='admin'))}"
        token = f"{text}.{encoded(hmac.digest(KEY, text.encode(), hashlib.sha256))}"
        assert "cannot be trusted" in await refused(authenticator, token)


# -- the header ------------------------------------------------------------------------------------------------------


async def test_a_key_that_the_token_brings_along(authenticator: Authenticator) -> None:
    async with Issuer() as evil:
        evil.publish(ATTACKER)
        for header in (
            {"jwk": ATTACKER.jwk},
            {"jku": evil.jwks_url},
            {"x5u": evil.jwks_url},
            {"x5c": [base64.b64encode(public_forms()["DER"]).decode()]},
            {"jwk": ATTACKER.jwk, "jku": evil.jwks_url, "x5u": evil.jwks_url, "kid": "second"},
        ):
            assert "cannot be trusted" in await refused(authenticator, ATTACKER.token(header=header))
            good = VICTIM.token(header={name: value for name, value in header.items() if name != "kid"})
            assert (await authenticator.authenticate(bearer(good))).username == "alice", "they are not looked at"
        assert evil.asked == 0


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "/dev/null",
        "file:///etc/passwd",
        "http://127.0.0.1/keys",
        "first' OR '1'='1",
        "first'; DROP TABLE resources; --",
        "first\x00",
        " first",
        "FIRST",
        "ﬁrst",
        "\ud800",
        "",
        "x" * 4000,
        "first\r\nX-Admin: true",
        "${jndi:ldap://127.0.0.1/a}",
        "%s%n{0}",
    ],
)
async def test_a_kid_that_is_something_else(authenticator: Authenticator, kid: str) -> None:
    for key in (VICTIM, ATTACKER):
        message = await refused(authenticator, key.token(header={"kid": kid}))
        assert message.startswith("the token cannot be trusted: no published key fits its `alg` RS256 and `kid` ")
        assert len(message) < 200


@pytest.mark.parametrize("kid", [None, 1, True, [], ["first"], {"first": 1}])
async def test_a_kid_that_is_no_string(authenticator: Authenticator, kid: object) -> None:
    text = f"{encoded({'alg': 'RS256', 'kid': kid})}.{encoded(claims_of())}"
    assert "cannot be trusted" in await refused(authenticator, f"{text}.AAAA")


@pytest.mark.parametrize(
    "header", [{"crit": ["\ud800"]}, {"crit": ["exp"]}, {"crit": []}, {"crit": "b64"}, {"b64": False, "crit": ["b64"]}]
)
async def test_a_header_that_must_be_understood(authenticator: Authenticator, header: dict[str, Any]) -> None:
    assert "cannot be trusted" in await refused(authenticator, forged(header, KEY))


@pytest.mark.parametrize(
    "header", [b"", b"{", b"[]", b'"HS256"', b"null", b"\xff\xfe", b'{"alg":' + b"[" * 24_000, b"1" * 24_000]
)
async def test_a_header_that_is_none(authenticator: Authenticator, header: bytes) -> None:
    assert "cannot be trusted" in await refused(authenticator, f"{encoded(header)}.{encoded(claims_of())}.AAAA")


# -- the time --------------------------------------------------------------------------------------------------------

NOW = int(time.time())

NO_EXPIRY: dict[str, object] = {
    "a word": "tomorrow",
    "digits": str(NOW + 3600),
    "empty": "",
    "null": None,
    "true": True,
    "an empty list": [],
    "a list": [NOW + 3600],
    "an object": {"exp": NOW + 3600},
    "NaN": float("nan"),
    "infinite": float("inf"),
    "minus infinite": float("-inf"),
    "400 digits": 10**400,
    "64 bits": 2**63,
    "milliseconds": (NOW + 3600) * 1000,
    "zero": 0,
    "minus one": -1,
    "minus 400 digits": -(10**400),
    "minus 1e300": -1e300,
    "an hour ago": NOW - 3600,
    "an hour and a half second ago": NOW - 3600.5,
}


@pytest.mark.parametrize("exp", NO_EXPIRY.values(), ids=NO_EXPIRY.keys())
@pytest.mark.parametrize("published", [True, False], ids=["RS256", "HS256"])
async def test_an_expiry_that_is_none_or_past(authenticator: Authenticator, exp: object, published: bool) -> None:
    claims = {"username": "admin", "exp": exp}
    token = signed(claims, VICTIM.private, "RS256", {"kid": "first"}) if published else signed(claims, KEY)
    assert "exp" in await refused(authenticator, token)  # `exp`, or expired


async def test_no_expiry(authenticator: Authenticator) -> None:
    assert 'missing the "exp" claim' in await refused(authenticator, signed(claims_of(exp=None), KEY))
    assert 'missing the "exp" claim' in await refused(authenticator, VICTIM.token(exp=None))


async def test_an_expiry_with_a_fraction_is_one(authenticator: Authenticator) -> None:
    identity = await authenticator.authenticate(bearer(VICTIM.token(exp=NOW + 3600.5)))
    assert identity.username == "alice"


@pytest.mark.parametrize("claim", ["nbf", "iat"])
@pytest.mark.parametrize(
    "value",
    [pytest.param(NOW + 600, id="in ten minutes"), 10**400, float("inf"), float("nan"), "0", "", True, [], -(10**400)],
    ids=lambda at: repr(at)[:20],
)
async def test_a_beginning_that_is_none_or_to_come(authenticator: Authenticator, claim: str, value: Any) -> None:
    for token in (signed(claims_of(**{claim: value}), KEY), VICTIM.token(**{claim: value})):
        assert "cannot be trusted" in await refused(authenticator, token)


async def test_a_remembered_token_expires_all_the_same(authenticator: Authenticator, clock: Clock) -> None:
    for token in (VICTIM.token(), sign(KEY, "alice", [], HOUR)):
        start = clock.now
        assert (await authenticator.authenticate(bearer(token))).username == "alice"
        clock.now += 3600 + 6
        assert await refused(authenticator, token) == "the token has expired"
        assert await refused(authenticator, token) == "the token has expired", "again"
        clock.now = start


# -- the rest --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 2, 3])
async def test_not_exactly_one_authorization_header(authenticator: Authenticator, count: int) -> None:
    token = sign(KEY, "alice", [], HOUR)
    with pytest.raises(Unauthorized, match="more than one" if count else "no token"):
        await authenticator.authenticate([f"Bearer {token}"] * count)


@pytest.mark.parametrize(
    "groups",
    [
        0,
        1,
        True,
        False,
        {},
        {"system:masters": True},
        [1],
        [None],
        [["devs"]],
        [{}],
        ["a", 1],
        ["\ud800"],
        "\ud800",
    ],
)
async def test_groups_that_are_not_strings(authenticator: Authenticator, groups: object) -> None:
    for token in (signed(claims_of(groups=groups), KEY), VICTIM.token(groups=groups)):
        message = await refused(authenticator, token)
        assert message == f"the token's claim `groups` is {groups!r}: allowed is a list of strings, or one"


async def test_a_user_whose_groups_changed_is_in_those_that_the_token_names(authenticator: Authenticator) -> None:
    """An old token keeps what it says until it expires; neither token is taken for the other."""
    before, after = VICTIM.token(groups=["admins"]), VICTIM.token(groups=["guests"])
    for _ in range(3):
        for token, group in ((before, "admins"), (after, "guests")):
            identity = await authenticator.authenticate(bearer(token))
            assert identity.groups == {group, AUTHENTICATED}


async def test_a_megabyte_of_token(authenticator: Authenticator, issuer: Issuer) -> None:
    started = time.process_time()
    tokens = (VICTIM.token(groups=["x" * 2**20]), "A" * 2**20, "." * 2**20, VICTIM.token(header={"kid": "k" * 2**20}))
    signing = time.process_time() - started
    started = time.process_time()
    for token in tokens:
        message = await refused(authenticator, token)
        assert message == f"the token has {len(token)} characters: allowed are 32768"
    assert time.process_time() - started < max(0.1, signing), "it is not even read"
    assert issuer.asked == 0


NAMES = [
    'alice"; DROP TABLE resources; --',
    "o'brien",
    "alice\nbob",
    "alice\r\nSet-Cookie: admin=1",
    "алиса",
    "ali\u200bce",
    "\u202ealice",
    "👩‍💻",
    "a\x00b",
    "\x1b[31malice",
    "<script>alert(1)</script>",
    "system:serviceaccount:default:builder",
    " alice ",
    "{user}%s",
    "a" * 2000,
]


@pytest.mark.parametrize("name", NAMES)
async def test_a_user_may_be_called_anything(authenticator: Authenticator, name: str) -> None:
    """It is taken as it is, with nothing cut off or put right, and breaks neither a log line nor an answer."""
    for token in (signed(claims_of(username=name, groups=[name]), KEY), VICTIM.token(username=name, groups=[name])):
        identity = await authenticator.authenticate(bearer(token))
        assert identity == Identity(name, frozenset({name, AUTHENTICATED}))
    message = f'User "{name}" cannot list'
    assert json.loads(failure(403, "Forbidden", message).encode())["message"] == message
    line = structlog.processors.JSONRenderer()(None, "info", {"user": name})
    assert isinstance(line, str)
    assert line.isprintable()
    assert json.loads(line)["user"] == name


GOOD = {
    "HS256": sign(KEY, "alice", ["devs"], HOUR),
    "RS256": VICTIM.token(),
    "ES256": SigningKey("curve", "ES256").token(),
    "EdDSA": SigningKey("edwards", "EdDSA").token(),
}


@settings(max_examples=200, deadline=None)
@given(algorithm=st.sampled_from(sorted(GOOD)), data=st.data())
async def test_any_token_altered_in_one_character(algorithm: str, data: st.DataObject) -> None:
    token = GOOD[algorithm]
    index = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from(ALPHABET.replace(token[index], "")))
    await _refused_but_for_itself(token, [token[:index] + other + token[index + 1 :]])


@pytest.mark.parametrize("algorithm", GOOD)
async def test_a_token_cut_short_or_drawn_out(algorithm: str) -> None:
    token = GOOD[algorithm]
    await _refused_but_for_itself(
        token, [token[:-1], token + "A", token + ".", f"{token}.{token}", token + "\x00", "." + token]
    )


async def _refused_but_for_itself(token: str, altered: list[str]) -> None:
    async with Issuer() as issuer:
        issuer.publish(VICTIM, SigningKey("curve", "ES256"), SigningKey("edwards", "EdDSA"))
        authenticator = Authenticator.of(issuer.settings(SIGN_KEY=ISSUED_BY_US))
        await authenticator.authenticate(bearer(token))
        for other in altered:
            assert await refused(authenticator, other)
        assert (await authenticator.authenticate(bearer(token))).username == "alice"


async def test_many_at_once_are_not_mixed_up(authenticator: Authenticator) -> None:
    tokens = {f"user-{number}": VICTIM.token(username=f"user-{number}") for number in range(60)}
    found = await asyncio.gather(*(authenticator.authenticate(bearer(token)) for token in [*tokens.values()] * 3))
    assert [identity.username for identity in found] == [*tokens] * 3
