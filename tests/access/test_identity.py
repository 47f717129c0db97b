"""Tokens: what `sign` makes `Authenticator` takes, and nothing else; and what of a token makes an identity."""

from __future__ import annotations

import gc
import re
import tracemalloc
from datetime import timedelta
from uuid import UUID

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenter.access.identity import AUTHENTICATED, LEEWAY_SECONDS, MAX_TOKEN, Authenticator, Identity, sign, token_for
from presenter.config import AuthSettings
from presenter.errors import ConfigError, Unauthorized
from tests.access.issuer import ISSUED_BY_US, KEY, Clock, bearer, claims_of

OTHER_KEY = "another key for these tests, of 256 bits or more"
HOUR = timedelta(hours=1)

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)


def shared(key: str = KEY.decode(), **variables: str) -> Authenticator:
    """One that knows a shared key alone."""
    return Authenticator.of(AuthSettings.model_validate({"SIGN_KEY": key, **variables}))


def signed(**claims: object) -> list[str]:
    return bearer(jwt.encode(claims_of(**claims), KEY))


@given(user=names, groups=st.lists(names, max_size=8))
async def test_what_is_signed_is_who_is_asking(user: str, groups: list[str]) -> None:
    token = sign(KEY, user, groups, HOUR)
    assert await shared().authenticate(bearer(token)) == Identity(user, frozenset(groups) | {AUTHENTICATED})


@given(key=names, user=names)
async def test_any_key_works_and_only_that_key(key: str, user: str) -> None:
    token = sign(key.encode(), user, [], HOUR)
    assert (await shared(key).authenticate(bearer(token))).username == user
    with pytest.raises(Unauthorized, match="cannot be trusted"):
        await shared(OTHER_KEY).authenticate(bearer(token))


@given(header=st.one_of(st.text(max_size=200), st.text(max_size=200).map("Bearer {}".format)))
async def test_whatever_comes_is_refused_in_words(header: str) -> None:
    with pytest.raises(Unauthorized) as refused:
        await shared().authenticate([header])
    assert refused.value.message
    assert refused.value.status == 401


@pytest.mark.parametrize("remembered", [True, False])
async def test_a_token_holds_until_it_expires_and_then_no_more(clock: Clock, remembered: bool) -> None:
    start = float(int(clock.now))
    clock.now = start
    token = sign(KEY, "alice", [], timedelta(seconds=60))
    authenticator = shared()
    for seconds, holds in ((59, True), (60 + LEEWAY_SECONDS - 1, True), (60 + LEEWAY_SECONDS, False)):
        clock.now = start + seconds
        if not remembered:
            authenticator = shared()
        if holds:
            assert (await authenticator.authenticate(bearer(token))).username == "alice"
        else:
            with pytest.raises(Unauthorized, match="the token has expired"):
                await authenticator.authenticate(bearer(token))


async def test_more_tokens_than_are_remembered_all_hold() -> None:
    authenticator = shared()
    tokens = [bearer(sign(KEY, f"user-{number}", [], HOUR)) for number in range(1500)]
    for _ in range(2):
        users = [(await authenticator.authenticate(token)).username for token in tokens]
        assert users == [f"user-{number}" for number in range(1500)]


@given(groups=st.lists(st.sampled_from([AUTHENTICATED, "system:masters", "devs"])))
async def test_everyone_is_among_the_authenticated(groups: list[str]) -> None:
    identity = await shared().authenticate(bearer(sign(KEY, "alice", groups, HOUR)))
    assert identity.groups == {AUTHENTICATED, *groups}


@pytest.mark.parametrize(("issuer", "holds"), [("", True), ("krateo.io", True), ("elsewhere", False)])
async def test_the_issuer_matters_when_one_is_expected(issuer: str, holds: bool) -> None:
    authenticator = shared(JWT_ISSUER=issuer) if issuer else shared()
    token = bearer(sign(KEY, "alice", [], HOUR))
    if holds:
        assert (await authenticator.authenticate(token)).username == "alice"
    else:
        with pytest.raises(Unauthorized, match=r"its claim `iss` is 'krateo\.io': allowed is 'elsewhere'"):
            await authenticator.authenticate(token)


@pytest.mark.parametrize("audience", ["presenter", ["presenter"], ["other", "presenter"]])
async def test_the_audience_may_be_one_or_several(audience: object) -> None:
    identity = await shared(JWT_AUDIENCE="presenter").authenticate(signed(aud=audience))
    assert identity.username == "alice"


@pytest.mark.parametrize(
    "audience", [None, "", [], "other", "presenter2", ["other"], {"presenter": 1}, 7, ["presenter", 7]]
)
async def test_a_token_for_somebody_else_is_refused(audience: object) -> None:
    said = r'missing the "aud" claim' if not audience else f"its claim `aud` is {audience!r}: 'presenter' must be in it"
    with pytest.raises(Unauthorized, match=re.escape(said)):
        await shared(JWT_AUDIENCE="presenter").authenticate(signed(aud=audience))
    assert (await shared().authenticate(signed(aud=audience))).username == "alice", "unless nobody asks"


async def test_the_claims_may_have_other_names() -> None:
    claims = {"sub": "s", "email": "alice@example.com", "https://example.com/roles": ["admins"]}
    named = shared(JWT_USERNAME_CLAIM="email", JWT_GROUPS_CLAIM="https://example.com/roles")
    assert await named.authenticate(signed(**claims)) == Identity(
        "alice@example.com", frozenset({"admins", AUTHENTICATED})
    )


@pytest.mark.parametrize(
    "claims",
    [
        {"realm_access": {"roles": ["admins"]}},
        {"realm_access.roles": ["admins"], "realm_access": {"roles": ["others"]}},
        {"realm_access": {"roles": "admins"}},
    ],
)
async def test_a_claim_may_be_within_another(claims: dict[str, object]) -> None:
    named = shared(JWT_USERNAME_CLAIM="user.name", JWT_GROUPS_CLAIM="realm_access.roles")
    identity = await named.authenticate(signed(**claims, user={"name": "bob"}))
    assert identity == Identity("bob", frozenset({"admins", AUTHENTICATED}))


@pytest.mark.parametrize("within", [None, "x", [], {}, {"roles": None}, {"roles": ""}, {"other": ["admins"]}])
async def test_who_has_no_such_claim_is_in_no_group(within: object) -> None:
    named = shared(JWT_GROUPS_CLAIM="realm_access.roles")
    assert (await named.authenticate(signed(realm_access=within))).groups == {AUTHENTICATED}
    with pytest.raises(Unauthorized, match=r"names no user: its claim `realm_access\.name` must be"):
        await shared(JWT_USERNAME_CLAIM="realm_access.name").authenticate(signed(realm_access=within))


@pytest.mark.parametrize(
    ("groups", "expected"), [("devs", {"devs"}), ("devs ops", {"devs ops"}), ("", set()), ([], set())]
)
async def test_one_group_may_be_a_text(groups: object, expected: set[str]) -> None:
    assert (await shared().authenticate(signed(groups=groups))).groups == expected | {AUTHENTICATED}


async def test_an_address_that_is_not_verified_is_nobody() -> None:
    """As kube-apiserver has it: else whoever may sign up could be anybody."""
    by_address = shared(JWT_USERNAME_CLAIM="email")
    for verified in (None, True):  # None: the issuer does not say
        token = signed(email="alice@example.com", email_verified=verified)
        assert (await by_address.authenticate(token)).username == "alice@example.com"
    for wrong in (False, "true", 1, "false"):
        with pytest.raises(Unauthorized, match="`email_verified`"):
            await by_address.authenticate(signed(email="alice@example.com", email_verified=wrong))
    assert (await shared().authenticate(signed(email="x", email_verified=False))).username == "alice"


async def test_a_token_with_two_hundred_groups() -> None:
    """As Entra sends it: each group by an id of 36 characters."""
    groups = [str(UUID(int=number)) for number in range(200)]
    token = sign(KEY, "alice", groups, HOUR)
    assert 10_000 < len(token) < MAX_TOKEN
    assert (await shared().authenticate(bearer(token))).groups == {*groups, AUTHENTICATED}


async def test_a_token_that_is_too_long_is_not_even_read() -> None:
    with pytest.raises(Unauthorized, match="cannot be trusted"):
        await shared().authenticate(bearer("A" * MAX_TOKEN))
    with pytest.raises(Unauthorized, match=f"the token has {MAX_TOKEN + 1} characters: allowed are {MAX_TOKEN}"):
        await shared().authenticate(bearer("A" * (MAX_TOKEN + 1)))


async def test_what_is_remembered_of_tokens_is_bounded() -> None:
    authenticator = shared()
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(120):
            groups = [f"{number}-{group}" for group in range(2_000)]
            await authenticator.authenticate(bearer(sign(KEY, f"user-{number}", groups, HOUR)))
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 20 * 2**20, "all of them would be 35 MiB"
    finally:
        tracemalloc.stop()


async def test_a_claim_that_was_named_has_no_stand_in() -> None:
    """Else who has no e-mail address could be another user by another claim."""
    with pytest.raises(Unauthorized, match="names no user: its claim `email` must be"):
        await shared(JWT_USERNAME_CLAIM="email").authenticate(signed(sub="alice@example.com"))
    identity = await shared(JWT_GROUPS_CLAIM="roles").authenticate(signed())
    assert identity.groups == {AUTHENTICATED}


async def test_without_a_username_the_subject_is_the_user() -> None:
    assert (await shared().authenticate(signed(username=None, sub="bob"))).username == "bob"
    assert (await shared().authenticate(signed(username="alice", sub="bob"))).username == "alice"


@pytest.mark.parametrize("username", ["", 0, 7, False, [], ["alice"], {"name": "alice"}, "\ud800", None])
async def test_a_user_is_a_string(username: object) -> None:
    subject = {} if username is None else {"sub": "bob"}  # which is no way out where `username` says something
    with pytest.raises(Unauthorized, match="names no user"):
        await shared().authenticate(signed(username=username, **subject))


def test_nothing_to_verify_with_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"SIGN_KEY is not set.*JWKS_URL or OIDC_ISSUER"):
        Authenticator.of(AuthSettings())


def test_two_places_for_keys_are_refused_by_name() -> None:
    both = AuthSettings(SIGN_KEY=ISSUED_BY_US, JWKS_URL="https://a.example/keys", OIDC_ISSUER="https://a.example")
    with pytest.raises(ConfigError, match="JWKS_URL and OIDC_ISSUER are both set"):
        Authenticator.of(both)


@pytest.mark.parametrize(
    ("variables", "key"),
    [
        ({"SIGN_KEY": "sign"}, b"sign"),
        ({"CURSOR_KEY": "cursor"}, b"cursor"),
        ({"SIGN_KEY": "sign", "CURSOR_KEY": "cursor"}, b"cursor"),
    ],
)
def test_cursors_have_their_own_key_or_the_tokens(variables: dict[str, str], key: bytes) -> None:
    assert AuthSettings.model_validate(variables).require_cursor_key() == key


def test_a_missing_cursor_key_is_asked_for_by_name() -> None:
    with pytest.raises(ConfigError, match="CURSOR_KEY is not set, nor is SIGN_KEY"):
        AuthSettings(JWKS_URL="https://a.example/keys").require_cursor_key()


@pytest.mark.parametrize("name", ["JWKS_URL", "OIDC_ISSUER"])
@pytest.mark.parametrize(
    "url",
    ["keys", "file:///etc/keys", "ftp://a.example/", "https://", "https://u:p@a.example/", "https://a b/", "//a/b"],
)
def test_a_place_that_is_not_on_the_web_is_refused(name: str, url: str) -> None:
    with pytest.raises(ValueError, match=name):
        AuthSettings.model_validate({name: url})


async def test_a_token_is_made_as_the_settings_want_it() -> None:
    settings = AuthSettings.model_validate(
        {
            "SIGN_KEY": KEY.decode(),
            "JWT_ISSUER": "https://issuer.example",
            "JWT_AUDIENCE": "presenter",
            "JWT_USERNAME_CLAIM": "email",
            "JWT_GROUPS_CLAIM": "roles",
        }
    )
    token = token_for(settings, "alice", ["devs"], timedelta(minutes=1))
    identity = await Authenticator.of(settings).authenticate([f"Bearer {token}"])
    assert identity == Identity("alice", frozenset({"devs", AUTHENTICATED}))
