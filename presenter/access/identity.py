"""Bearer tokens: from an Authorization header to an identity, and, for the command line, back."""

from __future__ import annotations

import hashlib
import re
import time
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, TypeGuard

import jwt
from jwt.algorithms import AllowedPublicKeys

from presenter.access.keys import (
    ALGORITHMS,
    MAX_FITTING,
    KeySet,
    KeySource,
    fetch_issuer,
    fetch_jwks,
    spellings,
)
from presenter.access.lru import LruCache
from presenter.config import AuthSettings
from presenter.errors import Unauthorized

SHARED_KEY_ALGORITHM = "HS256"
ISSUER = "krateo.io"
LEEWAY_SECONDS = 5
AUTHENTICATED = "system:authenticated"
"""The group every authenticated user is in (Kubernetes: Authenticating, "Users in Kubernetes")."""

_ANONYMOUS = "system:anonymous"
_WHETHER_AUTHENTICATED = frozenset({AUTHENTICATED, "system:unauthenticated"})

MAX_TOKEN = 32_768
"""Characters of a token. Entra puts up to 200 groups into one, which makes 10,000; all headers together have 64 KiB."""

_CACHE_CAPACITY, _TOKEN = 100_000, 100
"""Groups of the verified tokens that are remembered; each token counts as 100 more."""

_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_YEAR_10000 = 253_402_300_800  # the year 10000: what lies beyond was not meant as seconds


@dataclass(frozen=True, slots=True)
class Identity:
    """A user and the groups it is in, `system:authenticated` among them."""

    username: str
    groups: frozenset[str]

    @classmethod
    def of(cls, username: str, groups: Collection[str]) -> Identity:
        """The identity that a token names, with `system:authenticated` among its groups.

        That is left out where the token itself says whether it is authenticated, or is anonymous: as in kube-apiserver
        (k8s.io/apiserver, authentication/group: AuthenticatedGroupAdder).
        """
        as_it_says = username == _ANONYMOUS or not _WHETHER_AUTHENTICATED.isdisjoint(groups)
        return cls(username, frozenset(groups if as_it_says else {*groups, AUTHENTICATED}))


@dataclass(frozen=True, slots=True)
class _Verified:
    identity: Identity
    expires_at: float
    keys: KeySet | None
    """What it was verified against; None: the shared key."""


class Authenticator:
    """Verifies tokens signed with the shared key (HS256) or with one of the published keys (`keys.ALGORITHMS`).

    The token's algorithm decides which of the two is looked at, so that neither can pass for the other (RFC 8725 §3.1).
    What was verified is remembered until it expires, or until the published keys change.
    """

    def __init__(self, settings: AuthSettings, keys: KeySource | None) -> None:
        self._settings = settings
        self._sign_key = None if settings.token_key is None else settings.require_sign_key()
        self._keys = keys
        self._verified: LruCache[bytes, _Verified] = LruCache(_CACHE_CAPACITY, _weight)

    @classmethod
    def of(cls, settings: AuthSettings) -> Authenticator:
        """An authenticator by the settings. Raises ConfigError when they leave nothing to verify a token with."""
        settings.require_token_keys()
        keys = None
        if settings.jwks_url is not None:
            keys = KeySource(partial(fetch_jwks, settings.jwks_url))
        elif settings.oidc_issuer is not None:
            keys = KeySource(partial(fetch_issuer, settings.oidc_issuer))
        return cls(settings, keys)

    async def authenticate(self, headers: Sequence[str]) -> Identity:
        """The identity behind the request's Authorization headers.

        Raises Unauthorized unless there is exactly one, and it carries a token that holds now; Unavailable when that
        cannot be told, since the published keys could not be fetched yet.
        """
        token = _bearer(headers)
        # Not the token itself, which could be used by an attacker who reads this memory.
        digest = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        verified = self._verified.get(digest)
        if verified is None or not self._keys_are_unchanged(verified):
            verified = await self._verify(token)
            self._verified.put(digest, verified)
        if time.time() >= verified.expires_at + LEEWAY_SECONDS:
            self._verified.discard(digest)
            raise Unauthorized("the token has expired")
        return verified.identity

    def _keys_are_unchanged(self, verified: _Verified) -> bool:
        """Whether the keys that a token was verified with are still those that are published."""
        return self._keys is None or verified.keys is None or verified.keys is self._keys.latest()

    async def _verify(self, token: str) -> _Verified:
        algorithm, kid = _algorithm_and_kid(token)
        keys = None
        if algorithm == SHARED_KEY_ALGORITHM and self._sign_key is not None:
            claims = self._claims(
                token, algorithm, [self._sign_key], "the shared key (SIGN_KEY)", self._settings.issuer
            )
        elif algorithm in ALGORITHMS and self._keys is not None:
            keys = await self._keys.current(algorithm, kid)
            fitting = keys.fitting(algorithm, kid)
            named = f"its `alg` {algorithm}" + ("" if kid is None else f" and `kid` {_shown(kid)}")
            if not fitting:
                raise _untrusted(f"no published key fits {named}")
            if len(fitting) > MAX_FITTING:
                raise _untrusted(f"{len(fitting)} published keys fit {named}: no more than {MAX_FITTING} are tried")
            candidates = [key.public for key in fitting]
            issuer = self._settings.oidc_issuer or self._settings.issuer
            claims = self._claims(token, algorithm, candidates, f"any published key that fits {named}", issuer)
        else:
            shared = [SHARED_KEY_ALGORITHM] if self._sign_key is not None else []
            published = ALGORITHMS if self._keys is not None else []
            allowed = ", ".join([*shared, *published])
            raise _untrusted(f"its `alg` is not one that is accepted here: {allowed}")
        identity = Identity.of(self._username(claims), self._groups(claims))
        return _Verified(identity, float(claims["exp"]), keys)

    def _claims(
        self, token: str, algorithm: str, keys: Sequence[bytes | AllowedPublicKeys], by: str, issuer: str | None
    ) -> Mapping[str, Any]:
        """The claims of a token that one of the keys has signed (`by`: which they are), and that holds here and now."""
        failure = f"Signature verification failed with {by}"
        for key in keys:
            try:
                claims = self._decoded(token, algorithm, key, issuer)
            except jwt.InvalidSignatureError:
                continue  # the name of a key may stand for several, and none for any
            except jwt.InvalidKeyError as error:
                failure = str(error)  # it is too short
                continue
            except jwt.ExpiredSignatureError as error:
                raise Unauthorized("the token has expired") from error
            except jwt.InvalidIssuerError as error:
                raise _untrusted(
                    f"its claim `iss` is {_shown_claim(token, 'iss')}: allowed is {_shown(issuer)}"
                ) from error
            except jwt.InvalidAudienceError as error:
                audience = _shown(self._settings.audience)
                raise _untrusted(
                    f"its claim `aud` is {_shown_claim(token, 'aud')}: {audience} must be in it"
                ) from error
            except jwt.PyJWTError as error:
                raise _untrusted(str(error)) from error
            for claim in ("exp", "nbf", "iat"):
                if claim in claims and not _is_time(claims[claim]):
                    raise _untrusted(f"its claim `{claim}` is no time in seconds since 1970")
            return claims
        raise _untrusted(failure)

    def _decoded(
        self, token: str, algorithm: str, key: bytes | AllowedPublicKeys, issuer: str | None
    ) -> Mapping[str, Any]:
        with warnings.catch_warnings():
            # The length of the shared key was the signer's choice; the log says at the start when it is short.
            warnings.simplefilter("ignore", jwt.warnings.InsecureKeyLengthWarning)
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=None if issuer is None else spellings(issuer),
                audience=self._settings.audience,
                leeway=LEEWAY_SECONDS,
                options={
                    "require": ["exp"],
                    "verify_aud": self._settings.audience is not None,
                    "verify_sub": False,
                    "verify_jti": False,
                    "enforce_minimum_key_length": algorithm != SHARED_KEY_ALGORITHM,
                },
            )
        return claims

    def _username(self, claims: Mapping[str, Any]) -> str:
        wanted = [self._settings.username_claim] if self._settings.username_claim is not None else ["username", "sub"]
        username = next((value for claim in wanted if (value := _claim(claims, claim)) is not None), None)
        if not _is_text(username) or not username:
            names = " or ".join(f"`{claim}`" for claim in wanted)
            raise Unauthorized(f"the token names no user: its claim {names} must be a non-empty string")
        if self._settings.username_claim == "email" and claims.get("email_verified", True) is not True:
            raise Unauthorized("the token names no user: its claim `email_verified` says that `email` may be another's")
        return username

    def _groups(self, claims: Mapping[str, Any]) -> frozenset[str]:
        groups = _claim(claims, self._settings.groups_claim)
        if groups is None or groups == "":
            return frozenset()
        listed = [groups] if isinstance(groups, str) else groups
        if not isinstance(listed, list) or not all(_is_text(group) for group in listed):
            name = self._settings.groups_claim
            raise Unauthorized(f"the token's claim `{name}` is {_shown(groups)}: allowed is a list of strings, or one")
        return frozenset(listed)


def _weight(_: bytes, verified: _Verified) -> int:
    return _TOKEN + len(verified.identity.groups)


def token_for(settings: AuthSettings, username: str, groups: Sequence[str], ttl: timedelta) -> str:
    """A token that a service with these settings takes. Raises ConfigError when SIGN_KEY is not set."""
    claims: dict[str, Any] = {settings.username_claim or "username": username, settings.groups_claim: list(groups)}
    if settings.audience is not None:
        claims["aud"] = settings.audience
    return sign(settings.require_sign_key(), username, groups, ttl, settings.issuer or ISSUER, claims)


def sign(
    sign_key: bytes,
    username: str,
    groups: Sequence[str],
    ttl: timedelta,
    issuer: str = ISSUER,
    others: Mapping[str, Any] = MappingProxyType({}),
) -> str:
    """A token for a user in some groups that holds for `ttl` from now, with `others` as further claims."""
    now = int(time.time())
    claims = {
        "username": username,
        "sub": username,
        "groups": list(groups),
        "iss": issuer,
        "iat": now,
        "nbf": now,
        "exp": now + int(ttl.total_seconds()),
        **others,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jwt.warnings.InsecureKeyLengthWarning)
        return jwt.encode(claims, sign_key, algorithm=SHARED_KEY_ALGORITHM)


def _bearer(headers: Sequence[str]) -> str:
    if not headers:
        raise Unauthorized("no token: send the header `Authorization: Bearer <JWT>`", error=None)
    if len(headers) > 1:
        raise Unauthorized("there is more than one Authorization header", error="invalid_request")
    scheme, _, token = headers[0].strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized("the Authorization header is not `Bearer <JWT>`", error="invalid_request")
    if len(token) > MAX_TOKEN:
        raise Unauthorized(f"the token has {len(token)} characters: allowed are {MAX_TOKEN}")
    return token


def _algorithm_and_kid(token: str) -> tuple[str, str | None]:
    """The `alg` and `kid` of the header, not verified yet; keys that the header brings along are ignored."""
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError as error:
        raise _untrusted(str(error)) from error
    algorithm = header.get("alg")
    return algorithm if isinstance(algorithm, str) else "", header.get("kid")


def _shown_claim(token: str, claim: str) -> str:
    """A claim of a token whose signature was verified, and whose claims were not."""
    return _shown(jwt.decode(token, options={"verify_signature": False}).get(claim))


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or else by the path that its dots make: `realm_access.roles`. None: it is not there."""
    if name in claims:
        return claims[name]
    outer, dot, inner = name.partition(".")
    within = claims.get(outer)
    return _claim(within, inner) if dot and isinstance(within, dict) else None


def _untrusted(why: str) -> Unauthorized:
    # The library quotes the token, which may hold halves of characters (JSON's "\ud800") that cannot be answered.
    return Unauthorized(f"the token cannot be trusted: {why.encode(errors='backslashreplace').decode()}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}…"


def _is_time(value: object) -> bool:
    """A NumericDate (RFC 7519 §2) that a calendar has. Infinity and NaN are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _YEAR_10000


def _is_text(value: object) -> TypeGuard[str]:
    """A string that can be answered and logged. JSON can also escape half a character, which cannot."""
    return isinstance(value, str) and _HALF_CHARACTER.search(value) is None
