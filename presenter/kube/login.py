"""Logging in to the cluster: a kubeconfig or a pod's service account, made into an HTTP client."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import structlog
from kubernetes_asyncio.client import ApiClient, Configuration
from kubernetes_asyncio.config import ConfigException, load_incluster_config, load_kube_config

from presenter import __version__
from presenter.errors import ConfigError

TOKEN_REFRESH_SECONDS = 60.0

log = structlog.get_logger(__name__)

# These carry no annotations.
_Configuration: Any = Configuration
_ApiClient: Any = ApiClient
_load_incluster_config: Any = load_incluster_config


async def log_in(kubeconfig: str | None) -> Any:
    """A kubernetes_asyncio ApiClient for the cluster of `kubeconfig` (files joined by `:`), else the pod's.

    Raises ConfigError when there is neither, or when it cannot be used.
    """
    configuration = _Configuration(host="")
    configuration.connection_pool_maxsize = 0  # every watch holds a connection: no limit
    if kubeconfig is None:
        _load_service_account(configuration)
    else:
        await _load_kubeconfig(configuration, kubeconfig)
    api = _ApiClient(configuration)
    api.user_agent = f"resources-presenter/{__version__}"
    return api


def _load_service_account(configuration: Any) -> None:
    try:
        _load_incluster_config(client_configuration=configuration)
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
        raise ConfigError(f"KUBECONFIG is {kubeconfig!r}, which cannot be used: {error!r}") from error
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
