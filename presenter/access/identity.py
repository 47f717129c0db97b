"""Bearer tokens: from an Authorization header to who is asking, and, for the command line, the other way round."""

from __future__ import annotations

import re
import time
import warnings
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, TypeGuard

import jwt
from jwt.algorithms import AllowedPublicKeys

from presenter.access.keys import ALGORITHMS, KeySet, KeySource, fetch_issuer, fetch_jwks
from presenter.config import AuthSettings
from presenter.errors import Unauthorized

SHARED_KEY_ALGORITHM = "HS256"
ISSUER = "krateo.io"
LEEWAY_SECONDS = 5
AUTHENTICATED = "system:authenticated"
"""The group every authenticated user is in (Kubernetes: Authenticating, "Users in Kubernetes")."""

_ANONYMOUS = "system:anonymous"
_WHETHER_AUTHENTICATED = frozenset({AUTHENTICATED, "system:unauthenticated"})

_LONGEST_TOKEN = 8192
_REMEMBERED_TOKENS = 1024
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_END_OF_TIME = 253_402_300_800  # the year 10000: what lies beyond was not meant as seconds


@dataclass(frozen=True, slots=True)
class Identity:
    """A user and the groups it is in, `system:authenticated` among them."""

    username: str
    groups: frozenset[str]

    @classmethod
    def of(cls, username: str, groups: Collection[str]) -> Identity:
        """Who says so of themselves, by a token that holds.

        They are authenticated, unless they say themselves whether they are, or are called like who is not: as in
        kube-apiserver (k8s.io/apiserver, authentication/group: AuthenticatedGroupAdder).
        """
        says_so = username == _ANONYMOUS or not _WHETHER_AUTHENTICATED.isdisjoint(groups)
        return cls(username, frozenset(groups if says_so else {*groups, AUTHENTICATED}))


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
        self._sign_key = None if settings.sign_key is None else settings.require_sign_key()
        self._keys = keys
        self._verified: OrderedDict[str, _Verified] = OrderedDict()

    @classmethod
    def of(cls, settings: AuthSettings) -> Authenticator:
        """The one that the settings describe. Raises ConfigError when they leave nothing to verify a token with."""
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
        verified = self._recall(token)
        if verified is None:
            verified = await self._verify(token)
            self._verified[token] = verified
            if len(self._verified) > _REMEMBERED_TOKENS:
                self._verified.popitem(last=False)
        if time.time() >= verified.expires_at + LEEWAY_SECONDS:
            self._verified.pop(token, None)
            raise Unauthorized("the token has expired")
        return verified.identity

    def _recall(self, token: str) -> _Verified | None:
        verified = self._verified.get(token)
        if verified is None:
            return None
        if self._keys is not None and verified.keys is not None and verified.keys is not self._keys.held():
            return None
        self._verified.move_to_end(token)
        return verified

    async def _verify(self, token: str) -> _Verified:
        algorithm, kid = _algorithm_and_kid(token)
        keys = None
        if algorithm == SHARED_KEY_ALGORITHM and self._sign_key is not None:
            claims = self._claims(token, algorithm, self._sign_key, self._settings.issuer)
        elif algorithm in ALGORITHMS and self._keys is not None:
            keys = await self._keys.current(algorithm, kid)
            issuer = self._settings.oidc_issuer or self._settings.issuer
            claims = self._claims(token, algorithm, keys.only(algorithm, kid).public, issuer)
        else:
            shared = [SHARED_KEY_ALGORITHM] if self._sign_key is not None else []
            published = ALGORITHMS if self._keys is not None else []
            allowed = ", ".join([*shared, *published])
            raise Unauthorized(f"the token cannot be trusted: its `alg` is not one that is accepted here: {allowed}")
        identity = Identity.of(self._username(claims), self._groups(claims))
        return _Verified(identity, float(claims["exp"]), keys)

    def _claims(
        self, token: str, algorithm: str, key: bytes | AllowedPublicKeys, issuer: str | None
    ) -> Mapping[str, Any]:
        try:
            with warnings.catch_warnings():
                # How long the shared key is was decided by whoever signs; the start-up log says when it is short.
                warnings.simplefilter("ignore", jwt.warnings.InsecureKeyLengthWarning)
                claims: Mapping[str, Any] = jwt.decode(
                    token,
                    key,
                    algorithms=[algorithm],
                    issuer=issuer,
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
        except jwt.ExpiredSignatureError as error:
            raise Unauthorized("the token has expired") from error
        except jwt.PyJWTError as error:
            raise _untrusted(error) from error
        for claim in ("exp", "nbf", "iat"):
            if claim in claims and not _is_time(claims[claim]):
                raise Unauthorized(f"the token cannot be trusted: its claim `{claim}` is no time in seconds since 1970")
        return claims

    def _username(self, claims: Mapping[str, Any]) -> str:
        wanted = [self._settings.username_claim] if self._settings.username_claim is not None else ["username", "sub"]
        username = next((claims[claim] for claim in wanted if claims.get(claim) is not None), None)
        if not _is_text(username) or not username:
            names = " or ".join(f"`{claim}`" for claim in wanted)
            raise Unauthorized(f"the token names no user: its claim {names} must be a non-empty string")
        return username

    def _groups(self, claims: Mapping[str, Any]) -> frozenset[str]:
        groups = claims.get(self._settings.groups_claim)
        if groups is None:
            return frozenset()
        if not isinstance(groups, list) or not all(_is_text(group) for group in groups):
            raise Unauthorized(f"the token's claim `{self._settings.groups_claim}` is not a list of strings")
        return frozenset(groups)


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
    if len(headers) != 1:
        raise Unauthorized(
            "there is more than one Authorization header"
            if headers
            else "no token: send the header `Authorization: Bearer <JWT>`"
        )
    scheme, _, token = headers[0].strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized("the Authorization header is not `Bearer <JWT>`")
    if len(token) > _LONGEST_TOKEN:
        raise Unauthorized(f"the token is longer than {_LONGEST_TOKEN} characters")
    return token


def _algorithm_and_kid(token: str) -> tuple[str, str | None]:
    """What the header says, of which nothing is believed yet; keys that it brings along are not looked at."""
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError as error:
        raise _untrusted(error) from error
    algorithm = header.get("alg")
    return algorithm if isinstance(algorithm, str) else "", header.get("kid")


def _untrusted(error: jwt.PyJWTError) -> Unauthorized:
    # The library quotes the token, which may hold halves of characters (JSON's "\ud800") that cannot be answered.
    said = str(error).encode(errors="backslashreplace").decode()
    return Unauthorized(f"the token cannot be trusted: {said}")


def _is_time(value: object) -> bool:
    """A NumericDate (RFC 7519 §2) that a calendar has. Infinity and NaN are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _END_OF_TIME


def _is_text(value: object) -> TypeGuard[str]:
    """A string that can be answered and logged. JSON can also escape half a character, which cannot."""
    return isinstance(value, str) and _HALF_CHARACTER.search(value) is None
