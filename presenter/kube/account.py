"""An account at a cluster, for requests that are sent just as somebody wrote them."""

from __future__ import annotations

from typing import Any

import aiohttp

from presenter.errors import ConfigError
from presenter.kube.library import ConfigException
from presenter.kube.login import log_in


class Account:
    """Who one is at an API server: by a kubeconfig, or as this pod."""

    def __init__(self, api: Any) -> None:
        self._api = api

    @classmethod
    async def begin(cls, kubeconfig: str | None) -> Account:
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
        """What to make requests with: it trusts the server, and has the account's certificate."""
        session: aiohttp.ClientSession = self._api.rest_client.pool_manager
        return session

    @property
    def options(self) -> dict[str, Any]:
        """What each request of the session needs besides."""
        rest = self._api.rest_client
        return {"proxy": rest.proxy, "proxy_headers": rest.proxy_headers, "server_hostname": rest.server_hostname}

    async def authorization(self) -> str | None:
        """The Authorization header, None when the account has none. Raises ConfigError."""
        try:
            value: str | None = await self._api.configuration.get_api_key_with_prefix("BearerToken")
        except ConfigException as error:
            raise ConfigError(f"the cluster's credentials cannot be had: {error}") from error
        return value
