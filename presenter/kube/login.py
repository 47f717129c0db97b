"""Accounts at a cluster: a kubeconfig or a pod's service account, made into an HTTP client."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import structlog

from presenter import __version__
from presenter.errors import ConfigError
from presenter.kube import kubeconfig as kubeconfigs
from presenter.kube.library import (
    ApiClient,
    ConfigException,
    Configuration,
    load_incluster_config,
    load_kube_config_from_dict,
)

AUTHORIZATION = "BearerToken"
"""The library's name of the Authorization header, whatever its scheme."""

TOKEN_REFRESH_SECONDS = 60.0
RENEWAL_SECONDS = 5.0
RENEWAL_TIMEOUT = 30.0
READ_BUFFER = 2**16
"""Bytes of an answer that are received before anybody takes them."""

_SOURCES = ("exec", "tokenFile", "auth-provider")
"""Fields of a kubeconfig's user that name a source of credentials. The library ignores one that gives none."""

log = structlog.get_logger(__name__)


@dataclass
class _Session:
    """An ApiClient, and how many requests use it."""

    api: Any
    requests: int = 0


class Login:
    """An account that is read anew (`renew`) where its authorities, certificates or token were replaced meanwhile.

    It is that of `kubeconfig` (files joined by `:`), else the pod's.
    """

    def __init__(self, kubeconfig: str | None, api: Any) -> None:
        self._kubeconfig = kubeconfig
        self._session = _Session(api)
        self._renewed = float("-inf")
        self._renewing = asyncio.Lock()

    @classmethod
    async def open(cls, kubeconfig: str | None) -> Login:
        """Raises ConfigError when there is no cluster, or none that can be used."""
        return cls(kubeconfig, await log_in(kubeconfig))

    @property
    def server(self) -> str:
        """The URL of the API server."""
        url: str = self._session.api.configuration.host
        return url

    @asynccontextmanager
    async def api(self) -> AsyncIterator[Any]:
        """The kubernetes_asyncio ApiClient to make a request with. It stays open for as long as it is used."""
        session = self._session
        session.requests += 1
        try:
            yield session.api
        finally:
            session.requests -= 1
            if session is not self._session and not session.requests:
                await session.api.close()

    async def renew(self, refused: Any) -> None:
        """Log in again after the ApiClient `refused` was, unless that was just tried. Never raises."""
        async with self._renewing:
            if refused is not self._session.api or time.monotonic() < self._renewed + RENEWAL_SECONDS:
                return
            try:
                async with asyncio.timeout(RENEWAL_TIMEOUT):
                    api = await log_in(self._kubeconfig)
            except (ConfigError, TimeoutError) as error:
                log.warning(
                    "the credentials for the cluster cannot be read again", error=str(error) or "it took too long"
                )
                return
            finally:
                self._renewed = time.monotonic()
            if api.configuration.host != self.server:  # the cache is of one cluster: the user may turn to another
                log.warning("the kubeconfig names another server now", was=self.server, now=api.configuration.host)
                await api.close()
                return
            self._session = _Session(api)
            log.info("the credentials for the cluster were read again")

    async def close(self) -> None:
        """Close all connections."""
        await self._session.api.close()


class Account:
    """An account at an API server, for requests that are sent just as somebody wrote them."""

    def __init__(self, api: Any) -> None:
        self._api = api

    @classmethod
    async def open(cls, kubeconfig: str | None) -> Account:
        """The account of a kubeconfig (files joined by `:`), else this pod's.

        Raises ConfigError when there is no cluster, or none that can be used.
        """
        return cls(await log_in(kubeconfig))

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()

    @property
    def server(self) -> str:
        """The URL of the API server."""
        url: str = self._api.configuration.host
        return url

    @property
    def session(self) -> aiohttp.ClientSession:
        """The session to make requests with: it trusts the server, and has the account's certificate."""
        session: aiohttp.ClientSession = self._api.rest_client.pool_manager
        return session

    @property
    def options(self) -> dict[str, Any]:
        """Further arguments of each request of the session."""
        rest = self._api.rest_client
        return {"proxy": rest.proxy, "proxy_headers": rest.proxy_headers, "server_hostname": rest.server_hostname}

    async def authorization(self) -> str | None:
        """The Authorization header, None when the account has none. Raises ConfigError."""
        try:
            value: str | None = await self._api.configuration.get_api_key_with_prefix(AUTHORIZATION)
        except ConfigException as error:
            raise ConfigError(f"the cluster's credentials cannot be had: {error}") from error
        return value


async def log_in(kubeconfig: str | None) -> Any:
    """An ApiClient of kubernetes_asyncio. Raises ConfigError."""
    configuration = Configuration(host="")
    configuration.connection_pool_maxsize = 0  # every watch holds a connection: no limit
    if kubeconfig is None:
        _load_service_account(configuration)
    else:
        await _load_kubeconfig(configuration, kubeconfig)
    try:
        await configuration.get_api_key_with_prefix(AUTHORIZATION)
        api = ApiClient(configuration)
    except ConfigException as error:
        raise ConfigError(f"{_source(kubeconfig)}, whose credentials cannot be used: {error}") from error
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(
            f"{_source(kubeconfig)}, whose certificate authority or certificate cannot be used: {_described(error)}"
        ) from error
    api.user_agent = f"resources-presenter/{__version__}"
    # The library's 2 MiB are for reading by lines; here each stream would hold them beside what it may read ahead.
    api.rest_client.pool_manager._read_bufsize = READ_BUFFER
    return api


def _source(kubeconfig: str | None) -> str:
    return "the account is this pod's" if kubeconfig is None else f"KUBECONFIG is {kubeconfig!r}"


def _load_service_account(configuration: Any) -> None:
    try:
        load_incluster_config(client_configuration=configuration)
    except (ConfigException, OSError, ValueError) as error:
        raise ConfigError(
            "there is no cluster to watch: set KUBECONFIG to a kubeconfig file, or run in a pod with a "
            f"service account ({_described(error)})"
        ) from error
    configuration.refresh_api_key_hook = _CheckedToken(configuration.refresh_api_key_hook)


async def _load_kubeconfig(configuration: Any, kubeconfig: str) -> None:
    cluster, user = kubeconfigs.current(kubeconfig)
    if not _is_url(str(cluster.get("server", ""))):
        raise ConfigError(
            f"KUBECONFIG is {kubeconfig!r}: its current context's cluster names no server that begins with https://"
        )
    config = {
        "clusters": [{"name": "it", "cluster": cluster}],
        "users": [{"name": "it", "user": user}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "current-context": "it",
    }
    try:
        loader = await load_kube_config_from_dict(config, client_configuration=configuration)
    except Exception as error:  # for most of what may be wrong the loader has no exception of its own
        raise ConfigError(f"KUBECONFIG is {kubeconfig!r}, which cannot be used: {_described(error)}") from error
    sources = [source for source in _SOURCES if source in user]
    if sources and not (configuration.api_key or configuration.cert_file):
        raise ConfigError(
            f"KUBECONFIG is {kubeconfig!r}, which cannot be used: its `{sources[0]}` gives no credentials"
        )
    configuration.refresh_api_key_hook = _CheckedToken(_Refresh(loader))


def _is_url(server: str) -> bool:
    try:
        url = urlsplit(server)
    except ValueError:
        return False
    return url.scheme in ("http", "https") and bool(url.hostname)


def _described(error: BaseException) -> str:
    """An error of reading credentials, in one line."""
    match error:
        case ConfigException():
            text = str(error)
        case OSError(strerror=str(reason), filename=path) if path:
            text = f"{path}: {reason}"
        case ssl.SSLError():
            text = str(error)
        case OSError(strerror=str(reason)):  # uvloop does not say which program it could not run
            text = f"the command of its `exec` cannot be run: {reason}"
        case UnicodeError():
            text = "what should be text is none"
        case _:
            text = f"not what kubectl config writes ({type(error).__name__}: {error})"
    return " ".join(text.split())


class _Refresh:
    """Reads a kubeconfig's credentials anew once a minute: token files and plugins give short-lived ones."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._due = time.monotonic() + TOKEN_REFRESH_SECONDS

    async def __call__(self, configuration: Any) -> None:
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + TOKEN_REFRESH_SECONDS
        try:
            await self._loader.load_and_set(configuration)
        except Exception as error:  # noqa: BLE001 - a plugin fails as it likes; the old token may last
            log.warning("credentials cannot be refreshed", error=_described(error))


class _CheckedToken:
    """Refreshes the token before each request, strips the line feed that its file ends in, and checks it."""

    def __init__(self, refresh: Callable[[Any], Awaitable[None] | None]) -> None:
        self._refresh = refresh

    async def __call__(self, configuration: Any) -> None:
        """Raises ConfigException."""
        try:
            refreshing = self._refresh(configuration)
            if refreshing is not None:
                await refreshing
        except Exception as error:
            raise ConfigException(f"the token cannot be read: {_described(error)}") from error
        scheme, _, token = configuration.api_key.get(AUTHORIZATION, "").partition(" ")
        token = token.strip()
        if not scheme:
            return  # it is by a certificate, or not at all, that one is known
        if not token:
            raise ConfigException("the token is empty")
        if not (token.isascii() and token.isprintable()):
            raise ConfigException("the token has characters that no token may have, such as a line feed")
        configuration.api_key[AUTHORIZATION] = f"{scheme} {token}"
