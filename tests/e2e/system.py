"""A cluster, a database and the service between them, seen from outside: by HTTP alone."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import aiohttp

from presenter.access.identity import ISSUER, sign
from presenter.cache.pool import Address
from presenter.sandbox import Sandbox
from tests.e2e.processes import Process
from tests.eventually import PATIENCE, eventually

KEY = "the-key-of-these-tests-is-long-enough"
PANELS = "panels.widgets.templates.krateo.io"
SAMPLE_TYPES = (
    PANELS,
    "buttons.widgets.templates.krateo.io",
    "datagrids.widgets.templates.krateo.io",
    "pages.widgets.templates.krateo.io",
    "restactions.templates.krateo.io",
    "compositiondefinitions.core.krateo.io",
    "fireworksapps.composition.krateo.io",
    "githubscaffoldings.composition.krateo.io",
    "customresourcedefinitions.apiextensions.k8s.io",
)
"""What WATCH selects of the samples when it is not set."""

Json = dict[str, Any]
Variables = dict[str, str]


class Launch(Protocol):
    """Starts `presenter` with arguments and environment variables."""

    def __call__(self, *arguments: str, **variables: str) -> Awaitable[Process]: ...


@dataclass(frozen=True)
class Reply:
    """An HTTP response, read to its end."""

    status: int
    headers: Any
    json: Any


@dataclass(frozen=True)
class Service:
    """One process that listens, and a caller of it."""

    process: Process
    url: str
    session: aiohttp.ClientSession
    token: str

    async def get(self, path: str, **query: str | int) -> Reply:
        """GET with the token."""
        return await self.poll(path, "", query)

    async def poll(self, path: str, tag: str, query: Mapping[str, str | int]) -> Reply:
        """The same, unless what has this tag still holds: then it is a 304, without JSON."""
        headers = {"Authorization": f"Bearer {self.token}"} | ({"If-None-Match": tag} if tag else {})
        async with self.session.get(self.url + path, params=query, headers=headers) as response:
            json = None if response.status == 304 else await response.json()
            return Reply(response.status, response.headers, json)

    async def items(self, **query: str | int) -> list[Json]:
        """The objects of one page."""
        reply = await self.get("/resources", **query)
        assert reply.status == 200, reply.json
        items: list[Json] = reply.json["items"]
        return items

    async def ready(self, seconds: float = PATIENCE) -> Service:
        """Wait until it says that it is ready."""
        await eventually(partial(self.get, "/readyz"), lambda reply: reply.status == 200, seconds)
        return self

    async def cached(self, type_name: str) -> dict[str, Json] | Reply:
        """All objects of a type by uid, whole, page after page; or what was answered instead of a page."""
        resource, _, group = type_name.partition(".")
        query: dict[str, str | int] = {"resource": resource, "group": group, "namespace": "*", "limit": 50}
        found: dict[str, Json] = {}
        while True:
            reply = await self.get("/resources", raw="true", **query)
            if reply.status != 200:
                return reply
            found |= {item["uid"]: item["raw"] for item in reply.json["items"]}
            if "cursor" not in reply.json:
                return found
            query["cursor"] = reply.json["cursor"]


@dataclass(frozen=True)
class System:
    """A sandbox and the environment variables of a service that watches and serves it."""

    sandbox: Sandbox
    launch: Launch
    session: aiohttp.ClientSession
    variables: Variables

    async def start(self, command: str = "run", **variables: str) -> Service:
        """Start a service and wait until it listens. A variable given as "" is one that is not set."""
        environment = self.variables | variables
        process = await self.launch(*command.split(), **environment)
        listening = await process.line(r'(?=.*"event": "listening")"port": (\d+)|"port": (\d+).*"event": "listening"')
        port = listening[1] or listening[2]
        return Service(process, f"http://127.0.0.1:{port}", self.session, token("tester"))

    def having(self, **variables: str) -> System:
        """The same with other environment variables."""
        return replace(self, variables=self.variables | variables)

    async def in_sync(self, service: Service, *type_names: str) -> None:
        """Wait until the cache equals the cluster."""
        for name in type_names or SAMPLE_TYPES:
            await eventually(partial(service.cached, name), partial(self._is_served, name))

    def _is_served(self, type_name: str, cached: dict[str, Json] | Reply) -> bool:
        return cached == self.served(type_name)

    def served(self, type_name: str) -> dict[str, Json]:
        """What the cluster has of a type, by uid."""
        objects = self.sandbox.cluster.objects(type_name)
        return {manifest["metadata"]["uid"]: without_managed_fields(manifest) for manifest in objects}

    def lists(self) -> list[str]:
        """The types that were listed, in pages or as a stream; no probes, for one object, and no comparisons."""
        return [
            request.resource
            for request in self.sandbox.requests.matching()
            if "sendInitialEvents" in request.query
            or (
                request.verb == "list"
                and request.query.get("limit") != "1"
                and request.query.get("resourceVersionMatch") != "Exact"
            )
        ]

    def put(self, name: str, namespace: str = "demo-system", **spec: object) -> Json:
        """Create or change a panel."""
        return self.sandbox.cluster.apply(
            {
                "apiVersion": "widgets.templates.krateo.io/v1beta1",
                "kind": "Panel",
                "metadata": {"name": name, "namespace": namespace, "labels": {"made-by": "test"}},
                "spec": spec,
            }
        )

    def drop(self, name: str, namespace: str = "demo-system") -> None:
        """Delete a panel."""
        self.sandbox.cluster.delete(PANELS, name, namespace)


def token(user: str, ttl: timedelta = timedelta(hours=1), issuer: str = ISSUER) -> str:
    """A token that the services of these tests accept, of somebody who may see everything."""
    return sign(KEY.encode(), user, ["system:masters"], ttl, issuer)


def without_managed_fields(manifest: Json) -> Json:
    """An object as it is served: whole, but for the one field that callers have no use for."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "managedFields"}
    return {**manifest, "metadata": metadata}


def variables_of(address: Address) -> Variables:
    """An address as the DB_… variables would name it."""
    url = urlsplit(address.dsn)
    return {
        "DB_HOST": url.hostname or parse_qs(url.query)["host"][0],
        "DB_PORT": str(url.port or 5432),
        "DB_NAME": url.path.removeprefix("/"),
        "DB_USER": address.user or "",
        "DB_PASS": address.password or "",
    }
