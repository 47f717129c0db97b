"""Where calls go: the cluster's API server, or what the Secret of an Endpoint describes."""

from __future__ import annotations

import base64
import binascii
import ssl
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Protocol
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
        """The endpoint of a reference; without one the cluster's API server. Raises EndpointError."""


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
        """The endpoint of a reference; without one the cluster's API server. Raises EndpointError."""
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
            return self._endpoint({"server-url": self._urls[reference.name]})
        where = f"endpoint {reference.namespace}/{reference.name}"
        try:
            data = await self._secret(reference)
            _check(data)
            return self._endpoint(data)
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

    def _endpoint(self, data: Mapping[str, str]) -> Endpoint:
        """What the Secret of an Endpoint describes. Raises EndpointError and ssl.SSLError."""
        connector = aiohttp.TCPConnector(ssl=_tls(data), limit=0)
        timeout = aiohttp.ClientTimeout(total=SECONDS)
        cookies = aiohttp.DummyCookieJar()  # an endpoint is not logged in to
        session = aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=cookies, trust_env=True)
        self._open.push_async_callback(session.close)
        options = {"proxy": data.get("proxy-url") or None}
        return Endpoint(data["server-url"].strip(), session, partial(_authorization, data), options)


def _check(data: Mapping[str, str]) -> None:
    """Check that the Secret of an Endpoint can be used. Raises EndpointError."""
    if not data.get("server-url"):
        raise EndpointError("its Secret has no server-url")
    if not data["server-url"].startswith(("http://", "https://")):
        raise EndpointError("its server-url must begin with http:// or https://")
    if any(key.startswith("aws-") and value for key, value in data.items()):
        raise EndpointError("requests signed for AWS are not made here: name another URL for it with --endpoint")
    if data.get("token") and data.get("username"):
        raise EndpointError("its Secret has both a token and a username: only one of them can be used")


async def _authorization(data: Mapping[str, str]) -> str | None:
    """The Authorization header."""
    if data.get("token"):
        return f"Bearer {data['token']}"
    if not data.get("username"):
        return None
    return "Basic " + base64.b64encode(f"{data['username']}:{data.get('password', '')}".encode()).decode()


def _tls(data: Mapping[str, str]) -> ssl.SSLContext:
    """The authority to trust, and the certificate to show. Raises EndpointError and ssl.SSLError."""
    names = ("certificate-authority-data", "client-certificate-data", "client-key-data")
    authority, certificate, key = (_pem(data, name) for name in names)
    context = ssl.create_default_context(cadata=authority or None)
    if data.get("insecure", "").lower() in _TRUE:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate and key:
        with tempfile.NamedTemporaryFile("w") as file:  # which ssl reads from nowhere else; only we can read it
            file.write(f"{certificate}\n{key}\n")
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
