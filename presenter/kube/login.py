"""Logging in to the cluster: a kubeconfig or a pod's service account, made into an HTTP client."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from presenter import __version__
from presenter.errors import ConfigError
from presenter.kube.library import ApiClient, ConfigException, Configuration, load_incluster_config, load_kube_config

TOKEN_REFRESH_SECONDS = 60.0
RENEWAL_SECONDS = 5.0
RENEWAL_TIMEOUT = 30.0
READ_BUFFER = 2**16
"""Bytes of an answer that are received before anybody takes them."""

log = structlog.get_logger(__name__)


@dataclass
class _Session:
    """An ApiClient, and how many requests use it."""

    api: Any
    requests: int = 0


class Login:
    """An account at a cluster: that of `kubeconfig` (files joined by `:`), else the pod's.

    `renew` reads anew what the account is made of: certificate authorities, certificates and tokens are replaced
    while this runs.
    """

    def __init__(self, kubeconfig: str | None, api: Any) -> None:
        self._kubeconfig = kubeconfig
        self._session = _Session(api)
        self._renewed = float("-inf")
        self._renewing = asyncio.Lock()

    @classmethod
    async def begin(cls, kubeconfig: str | None) -> Login:
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
                log.warning("cannot log in to the cluster again", error=str(error) or "it took too long")
                return
            finally:
                self._renewed = time.monotonic()
            if api.configuration.host != self.server:  # the cache is of one cluster: the user may turn to another
                log.warning("the kubeconfig names another server now", was=self.server, now=api.configuration.host)
                await api.close()
                return
            self._session = _Session(api)
            log.info("logged in to the cluster again")

    async def close(self) -> None:
        """Close all connections."""
        await self._session.api.close()


async def log_in(kubeconfig: str | None) -> Any:
    """An ApiClient of kubernetes_asyncio. Raises ConfigError."""
    configuration = Configuration(host="")
    configuration.connection_pool_maxsize = 0  # every watch holds a connection: no limit
    if kubeconfig is None:
        _load_service_account(configuration)
    else:
        await _load_kubeconfig(configuration, kubeconfig)
    try:
        api = ApiClient(configuration)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(f"the cluster's certificate authority or certificate cannot be used: {error}") from error
    api.user_agent = f"resources-presenter/{__version__}"
    # The library's 2 MiB are for reading by lines; here each stream would hold them beside what it may read ahead.
    api.rest_client.pool_manager._read_bufsize = READ_BUFFER
    return api


def _load_service_account(configuration: Any) -> None:
    try:
        load_incluster_config(client_configuration=configuration)
    except ConfigException as error:
        raise ConfigError(
            "there is no cluster to watch: set KUBECONFIG to a kubeconfig file, or run in a pod with a "
            f"service account ({error})"
        ) from error


async def _load_kubeconfig(configuration: Any, kubeconfig: str) -> None:
    if not _exists(kubeconfig):
        raise ConfigError(f"KUBECONFIG is {kubeconfig!r}: there is no such file")
    try:
        # Nothing is written back to a file that belongs to the user.
        loader = await load_kube_config(kubeconfig, client_configuration=configuration, persist_config=False)
    except Exception as error:  # for most malformed files the loader has no exception of its own
        why = str(error) if isinstance(error, ConfigException) else f"not what kubectl config writes ({error!r})"
        raise ConfigError(f"KUBECONFIG is {kubeconfig!r}, which cannot be used: {why}") from error
    if not configuration.host:
        raise ConfigError(f"KUBECONFIG is {kubeconfig!r}: its current context's cluster names no server")
    configuration.refresh_api_key_hook = _Refresh(loader)


def _exists(kubeconfig: str) -> bool:
    return any(Path(path).expanduser().is_file() for path in kubeconfig.split(os.pathsep) if path)


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
            log.warning("credentials cannot be refreshed", error=repr(error))
