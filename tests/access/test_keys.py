"""Published keys: which of them are used, for what, and where they are found."""

from __future__ import annotations

import datetime
import ipaddress
import json
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import get_default_algorithms

from presenter.access.identity import Authenticator, sign
from presenter.access.keys import ALGORITHMS, KeySet
from presenter.errors import Unauthorized, Unavailable
from tests.access.issuer import ISSUED_BY_US, KEY, Issuer, SigningKey, accepted, bearer

FIRST = SigningKey("first")
SECOND = SigningKey("second", number=1)


# -- which keys ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_every_algorithm(issuer: Issuer, algorithm: str) -> None:
    key = SigningKey("mine", algorithm)
    issuer.publish(key, SigningKey("other", algorithm, number=1))
    authenticator = Authenticator.of(issuer.settings())
    assert await accepted(authenticator, key.token())
    assert not await accepted(authenticator, SigningKey("mine", algorithm, number=1).token()), "another signed it"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_every_algorithm_with_the_key_that_says_it(issuer: Issuer, algorithm: str) -> None:
    key = SigningKey("mine", algorithm, extra={"alg": algorithm, "use": "sig", "key_ops": ["verify"]})
    issuer.publish(key)
    assert await accepted(Authenticator.of(issuer.settings()), key.token())


@pytest.mark.parametrize(
    "extra",
    [
        {"alg": "PS256"},
        {"alg": "HS256"},
        {"alg": "none"},
        {"alg": 256},
        {"alg": None},
        {"use": "enc"},
        {"use": ["sig"]},
        {"key_ops": ["encrypt"]},
        {"key_ops": "verify"},
        {"kty": "oct"},
        {"kty": "EC"},
        {"kty": None},
        {"crv": "P-256"},
        {"kid": 1},
        {"n": "!"},
        {"n": None},
        {"e": 65537},
        {"d": "AQAB"},
    ],
    ids=json.dumps,
)
async def test_a_key_for_something_else_is_not_used(issuer: Issuer, extra: dict[str, Any]) -> None:
    issuer.publish(SigningKey(extra=extra), SECOND)
    authenticator = Authenticator.of(issuer.settings())
    assert not await accepted(authenticator, FIRST.token())
    assert await accepted(authenticator, SECOND.token()), "the others are not spoiled by it"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_key_whose_private_half_is_published_is_not_used(issuer: Issuer, algorithm: str) -> None:
    key = SigningKey("mine", algorithm)
    private = get_default_algorithms()[algorithm].to_jwk(key.private, as_dict=True)
    issuer.keys = [{name: value for name, value in private.items() if name != "key_ops"} | {"kid": "mine"}]
    assert not await accepted(Authenticator.of(issuer.settings()), key.token())


async def test_a_short_rsa_key_is_not_used(issuer: Issuer) -> None:
    weak = SigningKey(kind="RSA of 1024 bits")
    issuer.publish(weak)
    with pytest.warns(match="below the minimum"):
        token = weak.token()
    with pytest.raises(Unauthorized, match="1024 bits"):
        await Authenticator.of(issuer.settings()).authenticate(bearer(token))


async def test_the_shared_key_and_published_ones_work_side_by_side(issuer: Issuer) -> None:
    issuer.publish(FIRST)
    authenticator = Authenticator.of(issuer.settings(SIGN_KEY=ISSUED_BY_US))
    assert await accepted(authenticator, sign(KEY, "alice", [], datetime.timedelta(hours=1)))
    assert issuer.asked == 0, "a token of the shared key needs no other"
    assert await accepted(authenticator, FIRST.token())


async def test_without_a_shared_key_none_is_believed(issuer: Issuer) -> None:
    issuer.publish(FIRST)
    authenticator = Authenticator.of(issuer.settings(CURSOR_KEY=ISSUED_BY_US))
    assert not await accepted(authenticator, sign(KEY, "alice", [], datetime.timedelta(hours=1)))
    assert issuer.asked == 0


async def test_a_token_without_a_name_of_its_key_is_for_the_only_one_that_fits(issuer: Issuer) -> None:
    issuer.publish(FIRST, SigningKey("curve", "ES256"))
    nameless = SigningKey(None).token()
    assert await accepted(Authenticator.of(issuer.settings()), nameless)


@pytest.mark.parametrize("signer", [0, 1, 2])
async def test_a_token_without_a_name_of_its_key_may_be_of_any_that_fits(issuer: Issuer, signer: int) -> None:
    keys = [SigningKey(f"key-{number}", number=number) for number in range(3)]
    issuer.publish(*keys)
    authenticator = Authenticator.of(issuer.settings())
    assert await accepted(authenticator, SigningKey(None, number=signer).token())
    with pytest.raises(Unauthorized, match=r"failed with any published key that fits its `alg` RS256$"):
        await authenticator.authenticate(bearer(SigningKey(None, number=3).token()))
    with pytest.raises(Unauthorized, match=r"no published key fits its `alg` ES256$"):
        await authenticator.authenticate(bearer(SigningKey(None, "ES256").token()))


async def test_no_more_than_a_few_keys_are_tried(issuer: Issuer) -> None:
    issuer.publish(*(SigningKey(f"key-{number}") for number in range(17)))
    authenticator = Authenticator.of(issuer.settings())
    assert await accepted(authenticator, SigningKey("key-16").token())
    with pytest.raises(Unauthorized, match="17 published keys fit its `alg` RS256: no more than 16 are tried"):
        await authenticator.authenticate(bearer(SigningKey(None).token()))


async def test_a_key_that_is_listed_twice_is_one(issuer: Issuer) -> None:
    issuer.publish(FIRST, FIRST)
    assert await accepted(Authenticator.of(issuer.settings()), FIRST.token())


async def test_a_name_may_stand_for_several_keys(issuer: Issuer) -> None:
    """As while one follows the other under the same name."""
    weak, later = SigningKey(kind="RSA of 1024 bits"), SigningKey("first", number=1)
    issuer.publish(weak, FIRST, later)
    authenticator = Authenticator.of(issuer.settings())
    assert await accepted(authenticator, FIRST.token())
    assert await accepted(authenticator, later.token())
    assert not await accepted(authenticator, SigningKey("first", number=2).token())


async def test_the_claims_of_a_token_that_one_of_several_keys_signed_count(issuer: Issuer) -> None:
    issuer.publish(FIRST, SECOND)
    with pytest.raises(Unauthorized, match="the token has expired"):
        await Authenticator.of(issuer.settings()).authenticate(bearer(SigningKey(None, number=1).token(exp=1)))


async def test_two_keys_of_one_name_are_told_apart_by_what_they_are(issuer: Issuer) -> None:
    curve = SigningKey("first", "ES256")
    issuer.publish(FIRST, curve)
    authenticator = Authenticator.of(issuer.settings())
    assert await accepted(authenticator, FIRST.token())
    assert await accepted(authenticator, curve.token())


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner)))
def test_whatever_stands_in_a_key_is_a_key_set_without_it(value: object) -> None:
    for name in FIRST.jwk:
        key_set = KeySet.parse(json.dumps({"keys": [FIRST.jwk | {name: value}, SECOND.jwk]}).encode())
        assert [key.kid for key in key_set.keys][-1] == "second"


def test_a_document_that_is_nested_too_deep_is_no_key_set() -> None:
    with pytest.raises(ValueError, match="nested too deep"):
        KeySet.parse(b'{"keys": [{"a": ' + b"[" * 100_000)


# -- OpenID Connect Discovery ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/", "/realms/a", "/realms/a/"])
async def test_the_keys_of_an_issuer_are_discovered(issuer: Issuer, path: str) -> None:
    issuer.publish(FIRST)
    issuer.document["issuer"] = issuer.url + path
    authenticator = Authenticator.of(issuer.settings(JWKS_URL=None, OIDC_ISSUER=issuer.url + path))
    assert await accepted(authenticator, FIRST.token(iss=issuer.url + path))
    for wrong in (None, "", issuer.url + path + "x", [issuer.url + path], "krateo.io"):
        assert not await accepted(authenticator, FIRST.token(iss=wrong))


@pytest.mark.parametrize(("configured", "published"), [("", "/"), ("/", ""), ("/realms/a", "/realms/a/")])
async def test_an_issuer_may_be_written_without_its_slash(issuer: Issuer, configured: str, published: str) -> None:
    issuer.publish(FIRST)
    issuer.document["issuer"] = issuer.url + published
    authenticator = Authenticator.of(issuer.settings(JWKS_URL=None, OIDC_ISSUER=issuer.url + configured))
    assert await accepted(authenticator, FIRST.token(iss=issuer.url + published))


async def test_the_tokens_of_the_shared_key_have_an_issuer_of_their_own(issuer: Issuer) -> None:
    issuer.publish(FIRST)
    variables = {"JWKS_URL": None, "OIDC_ISSUER": issuer.url, "SIGN_KEY": ISSUED_BY_US, "JWT_ISSUER": "krateo.io"}
    authenticator = Authenticator.of(issuer.settings(**variables))
    hour = datetime.timedelta(hours=1)
    assert await accepted(authenticator, sign(KEY, "alice", [], hour, "krateo.io"))
    assert not await accepted(authenticator, sign(KEY, "alice", [], hour, issuer.url))
    assert await accepted(authenticator, FIRST.token(iss=issuer.url))
    assert not await accepted(authenticator, FIRST.token(iss="krateo.io"))


async def test_the_issuer_of_a_key_set_is_checked_when_it_is_set(issuer: Issuer) -> None:
    issuer.publish(FIRST)
    authenticator = Authenticator.of(issuer.settings(JWT_ISSUER="https://issuer.example"))
    for right in ("https://issuer.example", "https://issuer.example/"):
        assert await accepted(authenticator, FIRST.token(iss=right))
    for wrong in ("https://issuer.example//", "https://issuer.example.evil", "https://issuer.example/x", "", None):
        with pytest.raises(
            Unauthorized, match=r"`iss` is .*: allowed is 'https://issuer.example'$|missing the \"iss\""
        ):
            await authenticator.authenticate(bearer(FIRST.token(iss=wrong)))


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"issuer": ["x"]},
        {"jwks_uri": None},
        {"jwks_uri": "/keys"},
        {"jwks_uri": "data:application/json,{}"},
        {"jwks_uri": "http://"},
        {"jwks_uri": "http://\n"},
        {"jwks_uri": "http://bücher.example:port/"},
    ],
    ids=json.dumps,
)
async def test_a_wrong_document_of_an_issuer_gives_no_keys(issuer: Issuer, change: dict[str, Any]) -> None:
    issuer.publish(FIRST)
    issuer.document |= change
    authenticator = Authenticator.of(issuer.settings(JWKS_URL=None, OIDC_ISSUER=issuer.url))
    with pytest.raises(Unavailable):
        await authenticator.authenticate(bearer(FIRST.token(iss=issuer.url)))
    assert issuer.asked == 0


async def test_keys_are_not_read_from_files(issuer: Issuer, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(json.dumps({"keys": [FIRST.jwk]}))
    issuer.document["jwks_uri"] = (tmp_path / "keys").as_uri()
    authenticator = Authenticator.of(issuer.settings(JWKS_URL=None, OIDC_ISSUER=issuer.url))
    with pytest.raises(Unavailable):
        await authenticator.authenticate(bearer(FIRST.token(iss=issuer.url)))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 with its key, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, *form) + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.mark.parametrize(
    ("trusted", "downgraded", "holds"), [(True, False, True), (False, False, False), (True, True, False)]
)
async def test_an_issuer_behind_tls(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool, downgraded: bool, holds: bool
) -> None:
    """Its certificate must be trusted, and it cannot send us to keys that come without TLS."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with Issuer(tls) as issuer, Issuer() as plain:
        issuer.publish(FIRST)
        plain.publish(FIRST)
        if downgraded:
            issuer.document["jwks_uri"] = plain.jwks_url
        authenticator = Authenticator.of(issuer.settings(JWKS_URL=None, OIDC_ISSUER=issuer.url))
        if holds:
            assert await accepted(authenticator, FIRST.token(iss=issuer.url))
        else:
            with pytest.raises(Unavailable):
                await authenticator.authenticate(bearer(FIRST.token(iss=issuer.url)))
        assert plain.asked == 0
