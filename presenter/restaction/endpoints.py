"""Where calls go: the cluster's API server, or what the Secret of an Endpoint describes."""

from __future__ import annotations

import base64
import binascii
import ssl
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

import aiohttp
import msgspec

from presenter.errors import ConfigError, PresenterError
from presenter.kube.login import Account
from presenter.restaction.manifest import Reference
from presenter.restaction.sending import SECONDS, Endpoint, SendError, send

_TRUE = ("true", "1", "t")


class EndpointError(PresenterError):
    """An endpoint that is not there or cannot be used; the message names it, and no secret."""


class Endpoints(Protocol):
    """Finds the endpoint of a call."""

    async def of(self, reference: Reference | None) -> Endpoint:
        """That of a reference; without one the cluster's API server. Raises EndpointError."""


class _Secret(msgspec.Struct):
    data: dict[str, str] = {}


class ClusterEndpoints:
    """Endpoints as the cluster of a kubeconfig has them, but for those whose URL is given by name.

    The cluster is asked when it is needed, and for each Secret once.
    """

    def __init__(self, kubeconfig: str | None, urls: Mapping[str, str] | None = None) -> None:
        self._kubeconfig = kubeconfig
        self._urls = urls or {}
        self._cluster: Endpoint | None = None
        self._known: dict[Reference, Endpoint] = {}
        self._open = AsyncExitStack()

    async def __aenter__(self) -> ClusterEndpoints:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def of(self, reference: Reference | None) -> Endpoint:
        """That of a reference; without one the cluster's API server. Raises EndpointError."""
        if reference is None:
            return await self._api_server()
        if reference not in self._known:
            self._known[reference] = await self._described(reference)
        return self._known[reference]

    async def _api_server(self) -> Endpoint:
        if self._cluster is None:
            try:
                account = await Account.open(self._kubeconfig)
            except ConfigError as error:
                raise EndpointError(f"the cluster cannot be used: {error}") from error
            self._open.push_async_callback(account.close)
            self._cluster = Endpoint(account.server, account.session, account.authorization, account.options)
        return self._cluster

    async def _described(self, reference: Reference) -> Endpoint:
        if reference.name in self._urls:
            return self._endpoint(_Description(server_url=self._urls[reference.name]))
        where = f"endpoint {reference.namespace}/{reference.name}"
        try:
            return self._endpoint(_Description.of(await self._secret(reference)))
        except (EndpointError, SendError, ValueError, ssl.SSLError) as error:
            raise EndpointError(f"{where}: {error}") from error

    async def _secret(self, reference: Reference) -> dict[str, str]:
        path = f"/api/v1/namespaces/{quote(reference.namespace, safe='')}/secrets/{quote(reference.name, safe='')}"
        reply = await send(await self._api_server(), "GET", path, {"Accept": "application/json"})
        if not reply.ok:
            raise EndpointError(f"its Secret cannot be read: {reply.status}: {reply.message}")
        try:
            secret = msgspec.json.decode(reply.body, type=_Secret)
            return {key: base64.b64decode(value).decode() for key, value in secret.data.items()}
        except (ValueError, binascii.Error):
            raise EndpointError("its Secret is not one that can be read") from None  # whose text may be in the error

    def _endpoint(self, description: _Description) -> Endpoint:
        connector = aiohttp.TCPConnector(ssl=description.tls(), limit=0)
        timeout = aiohttp.ClientTimeout(total=SECONDS)
        cookies = aiohttp.DummyCookieJar()  # an endpoint is not logged in to
        session = aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=cookies, trust_env=True)
        self._open.push_async_callback(session.close)
        options: dict[str, Any] = {"proxy": description.proxy_url or None}
        return Endpoint(description.server_url, session, description.authorization, options)


@dataclass(frozen=True, slots=True)
class _Description:
    """What the Secret of an Endpoint says; certificates and keys are PEM."""

    server_url: str
    proxy_url: str = ""
    token: str = field(default="", repr=False)
    username: str = ""
    password: str = field(default="", repr=False)
    insecure: bool = False
    authority: str = ""
    certificate: str = ""
    key: str = field(default="", repr=False)

    @classmethod
    def of(cls, data: Mapping[str, str]) -> _Description:
        """Raises EndpointError."""
        if not data.get("server-url"):
            raise EndpointError("its Secret has no server-url")
        if not data["server-url"].startswith(("http://", "https://")):
            raise EndpointError("its server-url must begin with http:// or https://")
        if any(key.startswith("aws-") and value for key, value in data.items()):
            raise EndpointError("requests signed for AWS are not made here: name another URL for it with --endpoint")
        if data.get("token") and data.get("username"):
            raise EndpointError("its Secret has both a token and a username: only one of them can be used")
        return cls(
            server_url=data["server-url"].strip(),
            proxy_url=data.get("proxy-url", ""),
            token=data.get("token", ""),
            username=data.get("username", ""),
            password=data.get("password", ""),
            insecure=data.get("insecure", "").lower() in _TRUE,
            authority=_pem(data, "certificate-authority-data"),
            certificate=_pem(data, "client-certificate-data"),
            key=_pem(data, "client-key-data"),
        )

    async def authorization(self) -> str | None:
        """The Authorization header."""
        if self.token:
            return f"Bearer {self.token}"
        credentials = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return f"Basic {credentials}" if self.username else None

    def tls(self) -> ssl.SSLContext:
        """Whom to trust, and with which certificate. Raises ssl.SSLError."""
        context = ssl.create_default_context(cadata=self.authority or None)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate and self.key:
            with tempfile.NamedTemporaryFile("w") as file:  # which ssl reads from nowhere else; only we can read it
                file.write(f"{self.certificate}\n{self.key}\n")
                file.flush()
                context.load_cert_chain(file.name)
        return context


def _pem(data: Mapping[str, str], key: str) -> str:
    """Base64, as it should be, or PEM as it is."""
    text = data.get(key, "").strip()
    if not text or text.startswith("-----BEGIN"):
        return text
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError:
        raise EndpointError(f"its {key} is not base64") from None
