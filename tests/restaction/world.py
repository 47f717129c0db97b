"""Resolving in a world of a sandbox cluster and a foreign service, in one line."""

from __future__ import annotations

import base64
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from presenter.restaction.endpoints import ClusterEndpoints
from presenter.restaction.jq import Jq
from presenter.restaction.manifest import Manifest, RestAction
from presenter.restaction.resolver import Problem, Request, Resolved, Services, resolve
from presenter.sandbox import Sandbox, User
from tests.restaction.foreign import Foreign

FOREIGN = {"name": "foreign", "namespace": "default"}
"""The endpointRef of the foreign service."""

Json = dict[str, Any]


def action(*calls: Json, filter: str | None = None, name: str = "tried") -> RestAction:
    """A RESTAction made of the fields of its calls."""
    return Manifest.parse(text(*calls, filter=filter, name=name)).only()


def text(*calls: Json, filter: str | None = None, name: str = "tried") -> str:
    """Its manifest."""
    spec: Json = {"api": list(calls)} | ({} if filter is None else {"filter": filter})
    metadata = {"name": name, "namespace": "default"}
    return json.dumps(
        {"apiVersion": "templates.krateo.io/v1", "kind": "RESTAction", "metadata": metadata, "spec": spec}
    )


def call(name: str, path: str, **fields: Any) -> Json:
    """A call to the foreign service."""
    return {"name": name, "path": path, "endpointRef": FOREIGN, **fields}


class World:
    """The sandbox has a Secret for the endpoint of the foreign service."""

    def __init__(self, sandbox: Sandbox, foreign: Foreign, jq: Jq, kubeconfig: Path) -> None:
        self.sandbox = sandbox
        self.foreign = foreign
        self.jq = jq
        self.kubeconfig = kubeconfig
        self.seen: list[Request | Problem] = []
        self._open = AsyncExitStack()

    async def __aenter__(self) -> World:
        self.sandbox.write_kubeconfig(self.kubeconfig)
        self.secret("foreign", {"server-url": self.foreign.url})
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    def secret(self, name: str, values: dict[str, str]) -> None:
        """Describe an endpoint."""
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        metadata = {"name": name, "namespace": "default"}
        self.sandbox.cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})

    def config_map(self, name: str, namespace: str = "default", **data: str) -> None:
        """Something to list."""
        metadata = {"name": name, "namespace": namespace, "managedFields": [{"manager": "kubectl"}]}
        self.sandbox.cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})

    def user(self, name: str, *groups: str) -> str:
        """A token of a user's."""
        self.sandbox.tokens[f"token-of-{name}"] = User(name, groups)
        return f"token-of-{name}"

    async def services(self, **options: Any) -> Services:
        """What resolving needs, with endpoints of its own."""
        endpoints = await self._open.enter_async_context(
            ClusterEndpoints(str(self.kubeconfig), options.pop("urls", None))
        )
        return Services(self.jq, endpoints, observe=self.seen.append, **{"backoff": 0.0, **options})

    async def resolve(
        self,
        *calls: Json,
        filter: str | None = None,
        context: Json | None = None,
        **options: Any,
    ) -> Resolved:
        """Resolve a RESTAction of these calls."""
        return await resolve(action(*calls, filter=filter), context or {}, await self.services(**options))
