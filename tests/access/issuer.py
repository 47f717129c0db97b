"""An OpenID provider: it signs tokens, publishes its keys over real HTTP, and counts how often it is asked."""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache, partial
from types import TracebackType
from typing import Any, Self

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from jwt.algorithms import get_default_algorithms
from pydantic import SecretStr

from presenter.access.identity import Authenticator
from presenter.access.keys import KeySource, fetch_issuer, fetch_jwks
from presenter.config import AuthSettings
from presenter.errors import Unauthorized

KEY = b"a key for these tests only, of 256 bits or more"
ISSUED_BY_US = SecretStr(KEY.decode())

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Json = dict[str, Any]

_GENERATORS: dict[str, Callable[[], PrivateKeyTypes]] = {
    "RSA": partial(rsa.generate_private_key, 65537, 2048),
    "RSA of 1024 bits": partial(rsa.generate_private_key, 65537, 1024),
    "P-256": partial(ec.generate_private_key, ec.SECP256R1()),
    "P-384": partial(ec.generate_private_key, ec.SECP384R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
}
_KINDS = {"ES256": "P-256", "ES384": "P-384", "EdDSA": "Ed25519"}


@dataclass
class Clock:
    """The time, as a test wants it."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@cache
def _private(kind: str, number: int) -> Any:
    """A key pair, made once for all tests: RSA takes its time."""
    return _GENERATORS[kind]()


@dataclass(frozen=True)
class SigningKey:
    """A key pair with a name. `number` tells keys of one kind apart; `extra` is put into its JWK."""

    kid: str | None = "first"
    algorithm: str = "RS256"
    number: int = 0
    kind: str = ""
    extra: Json = field(default_factory=dict)

    @property
    def private(self) -> Any:
        return _private(self.kind or _KINDS.get(self.algorithm, "RSA"), self.number)

    @property
    def jwk(self) -> Json:
        jwk: Json = get_default_algorithms()[self.algorithm].to_jwk(self.private.public_key(), as_dict=True)
        jwk.pop("key_ops", None)
        return jwk | ({} if self.kid is None else {"kid": self.kid}) | self.extra

    def token(self, *, header: Json | None = None, **claims: object) -> str:
        """A token of alice's for an hour, with these claims on top; a claim that is None is left out."""
        headers = ({} if self.kid is None else {"kid": self.kid}) | (header or {})
        return signed(claims_of(**claims), self.private, self.algorithm, headers)


def claims_of(**claims: object) -> Json:
    now = int(time.time())
    full = {"username": "alice", "groups": ["devs"], "iat": now, "nbf": now, "exp": now + 3600} | claims
    return {name: value for name, value in full.items() if value is not None}


def signed(claims: object, key: Any, algorithm: str = "HS256", headers: Json | None = None) -> str:
    """A token of whatever claims; the library's own function refuses to write many a wrong one."""
    body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return jwt.PyJWS().encode(body, key, algorithm, headers)


def encoded(part: object) -> str:
    """A part of a token; bytes as they are, anything else as JSON."""
    body = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(body).rstrip(b"=").decode()


def bearer(token: str) -> list[str]:
    return [f"Bearer {token}"]


async def accepted(authenticator: Authenticator, token: str) -> bool:
    """Whether a token of alice's is; that there are no keys to tell it by is neither."""
    try:
        return (await authenticator.authenticate(bearer(token))).username == "alice"
    except Unauthorized:
        return False


class Issuer:
    """The provider, while inside. What is published and how it answers may be changed at any time."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.keys: list[Json] = []
        self.asked = 0
        self.document: Json = {}
        self.answer: Answer = self._jwks
        self._tls = tls
        self._port = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self._port}"

    @property
    def jwks_url(self) -> str:
        return f"{self.url}/keys"

    def publish(self, *keys: SigningKey) -> None:
        self.keys = [key.jwk for key in keys]

    def settings(self, **variables: Any) -> AuthSettings:
        return AuthSettings(**({"JWKS_URL": self.jwks_url} | variables))

    def authenticator(self, clock: Clock, *, timeout: float = 5, **variables: Any) -> Authenticator:
        """One that goes by its own clock in fetching keys."""
        settings = self.settings(**variables)
        if settings.oidc_issuer is not None:
            fetch = partial(fetch_issuer, settings.oidc_issuer, timeout)
        else:
            fetch = partial(fetch_jwks, self.jwks_url, timeout)
        return Authenticator(settings, KeySource(fetch, clock))

    async def times_asked(self) -> int:
        return self.asked

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/keys", self._counted)
        app.router.add_get("/.well-known/openid-configuration", self._discovery)
        app.router.add_get("/realms/a/.well-known/openid-configuration", self._discovery)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._tls)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.document = {"issuer": self.url, "jwks_uri": self.jwks_url}

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _counted(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        return await self.answer(request)

    async def _jwks(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"keys": self.keys})

    async def _discovery(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(self.document)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
