"""The public keys of tokens: fetched as a JSON Web Key Set, kept, and fetched again as they rotate."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, TypeVar
from urllib.error import HTTPError

import jwt
import msgspec
import structlog
from jwt.algorithms import AllowedPublicKeys

from presenter.errors import Unavailable

ALGORITHMS: Mapping[str, tuple[str, str | None]] = {
    "RS256": ("RSA", None),
    "RS384": ("RSA", None),
    "RS512": ("RSA", None),
    "PS256": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""The algorithms that are accepted, and what a key must be for each: its `kty` and `crv` (RFC 7518 §6, RFC 8037 §2).

RS256 is what every OpenID provider signs with unless told otherwise (OpenID Connect Core §15.1). The others are what
providers offer in its place; rarer ones are left out, since each more is one more way in.
"""

MAX_AGE_SECONDS = 300
MIN_INTERVAL_SECONDS = 10
TIMEOUT_SECONDS = 10
MAX_BYTES = 1 << 20
MAX_FITTING = 16
"""So many keys are tried with one token; a set holds a few, of which one at a time signs."""

_CHUNK = 1 << 16

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Key:
    """One public key: its name, the `ALGORITHMS` that it verifies, and the JWT library's object."""

    kid: str | None
    algorithms: frozenset[str]
    public: AllowedPublicKeys


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys that were published together."""

    keys: tuple[Key, ...]

    @classmethod
    def parse(cls, document: bytes) -> KeySet:
        """The keys of a JWK Set (RFC 7517 §5). Those that sign no tokens of ours are left out, as §5 wants it.

        Raises ValueError when it is none.
        """
        return cls(tuple(key for jwk in _decode(document, _Jwks).keys if (key := _key(jwk)) is not None))

    def fitting(self, algorithm: str, kid: str | None) -> list[Key]:
        """The keys that a token with this `alg` and `kid` may have been signed with; any name does when it has none."""
        return [key for key in self.keys if algorithm in key.algorithms and kid in (None, key.kid)]


class KeySource:
    """The key set as it is published now, or as it was when it could last be fetched.

    `fetch` blocks, and raises OSError or ValueError when there are no keys to be had. However often keys are asked
    for, it is called by one at a time and at most once in `MIN_INTERVAL_SECONDS`.
    """

    def __init__(self, fetch: Callable[[], KeySet], clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: KeySet | None = None
        self._published_at = 0.0
        self._tried_at = float("-inf")
        self._refreshing: asyncio.Task[None] | None = None

    def latest(self) -> KeySet | None:
        """The key set that was fetched last, without waiting: the same object for as long as no key changes.

        Where it is old a new one is fetched in the background.
        """
        if self._keys is not None and self._clock() - self._published_at >= MAX_AGE_SECONDS:
            self._refresh()
        return self._keys

    async def current(self, algorithm: str, kid: str | None) -> KeySet:
        """The key set to look for a key in: fetched anew when the latest has none that fits.

        Raises Unavailable when no key set could be fetched yet.
        """
        keys = self.latest()
        if keys is None or not keys.fitting(algorithm, kid):
            if (refreshing := self._refresh()) is not None:
                # Not awaited itself: it goes on for the others when this request is cancelled, or has waited enough.
                await asyncio.wait([refreshing], timeout=TIMEOUT_SECONDS)
            keys = self._keys
        if keys is None:
            raise Unavailable(
                "tokens cannot be verified now: their keys could not be fetched; the service's log says why"
            )
        return keys

    def _refresh(self) -> asyncio.Task[None] | None:
        """The fetch under way, or a new one; None when the last was begun less than MIN_INTERVAL_SECONDS ago."""
        if self._refreshing is not None and not self._refreshing.done():
            return self._refreshing
        if self._clock() - self._tried_at < MIN_INTERVAL_SECONDS:
            return None
        self._tried_at = self._clock()
        self._refreshing = asyncio.create_task(self._replace_keys(), name="token keys")
        return self._refreshing

    async def _replace_keys(self) -> None:
        asked_at = self._clock()
        try:
            keys = await asyncio.to_thread(self._fetch)
        except (OSError, ValueError) as error:
            log.warning("the keys of tokens cannot be fetched", error=str(error), held=self._keys is not None)
            return
        self._published_at = asked_at
        if keys != self._keys:
            self._keys = keys
            log.info("the keys of tokens changed", kids=[key.kid for key in keys.keys])


def spellings(issuer: str) -> frozenset[str]:
    """An issuer with and without a slash at its end: some providers have one in `iss`, and people leave it out."""
    bare = issuer.removesuffix("/")
    return frozenset({bare, f"{bare}/"})


def fetch_jwks(url: str, timeout: float = TIMEOUT_SECONDS) -> KeySet:
    """The key set at a URL.

    Raises OSError when it cannot be had within `timeout` seconds, ValueError when what is there is none.
    """
    try:
        return KeySet.parse(_get(url, timeout))
    except ValueError as error:
        raise ValueError(f"{url}: {error}") from error


def fetch_issuer(issuer: str, timeout: float = TIMEOUT_SECONDS) -> KeySet:
    """The key set of an OpenID provider, found as OpenID Connect Discovery §4 says. Raises as `fetch_jwks` does."""
    url = f"{issuer.removesuffix('/')}/.well-known/openid-configuration"
    try:
        provider = _decode(_get(url, timeout), _Provider)
        if provider.issuer not in spellings(issuer):
            raise ValueError(f"it is the document of the issuer {provider.issuer!r}, not of {issuer!r}")
        if issuer.startswith("https:") and not provider.jwks_uri.startswith("https:"):
            raise ValueError(f"its jwks_uri is {provider.jwks_uri!r}, which is not https as the issuer is")
    except ValueError as error:
        raise ValueError(f"{url}: {error}") from error
    return fetch_jwks(provider.jwks_uri, timeout)


class _Jwks(msgspec.Struct):
    keys: list[dict[str, Any]]


class _Provider(msgspec.Struct):
    issuer: str
    jwks_uri: str


_Document = TypeVar("_Document", _Jwks, _Provider)


def _decode(body: bytes, type: type[_Document]) -> _Document:
    try:
        return msgspec.json.decode(body, type=type)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _key(jwk: Mapping[str, Any]) -> Key | None:
    kid = jwk.get("kid")
    algorithms = _algorithms(jwk)
    if not algorithms or not (kid is None or isinstance(kid, str)):
        return None
    try:
        public = jwt.PyJWK(dict(jwk), min(algorithms)).key
    except jwt.PyJWTError:
        return None
    return Key(kid, algorithms, public)


def _algorithms(jwk: Mapping[str, Any]) -> frozenset[str]:
    """The algorithms that a key may verify; none when it is for something else, or its private half was published."""
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations or "d" in jwk:
        return frozenset()
    return frozenset(
        algorithm
        for algorithm, (kty, crv) in ALGORITHMS.items()
        if (jwk.get("kty"), jwk.get("crv")) == (kty, crv) and jwk.get("alg", algorithm) == algorithm
    )


def _opener() -> urllib.request.OpenerDirector:
    """HTTP and HTTPS alone: no files, no redirects to elsewhere, no proxy from the environment."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    return opener


def _get(url: str, timeout: float) -> bytes:
    deadline = time.monotonic() + timeout
    body = bytearray()
    try:
        with _opener().open(url, timeout=timeout) as response:
            while chunk := response.read1(_CHUNK):
                body += chunk
                if len(body) > MAX_BYTES:
                    raise ValueError(f"the answer has more than {MAX_BYTES} bytes")
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the answer takes longer than {timeout:g} s")
    except HTTPError as error:
        with error:  # it is the answer, too, and has a connection to close
            raise OSError(f"{url}: it answers {error.code} {error.reason}") from None
    except HTTPException as error:
        raise OSError(f"{url}: it does not speak HTTP: {error!r}") from error
    except OSError as error:
        raise OSError(f"{url}: {error}") from error
    return bytes(body)
