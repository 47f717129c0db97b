"""A portal's cluster, the service that caches it, and users of both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp

from presenter.access.identity import ISSUER, sign
from presenter.cache.pool import Address
from presenter.restaction.resolve import Options
from presenter.sandbox import Cluster, Sandbox, User, fill
from tests.e2e.processes import Process
from tests.e2e.system import KEY, PANELS, Json, Service, System, variables_of

ENDPOINT = "resources-presenter-endpoint"
NAMESPACES = [f"team-{number:02}" for number in range(50)]
_START = datetime(2026, 1, 1, tzinfo=UTC)
_RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True)
class Portal:
    """The sandbox holds every request to its RBAC objects, as the service does."""

    sandbox: Sandbox
    system: System
    service: Service
    kubeconfig: Path

    def options(self, user: str) -> Options:
        """How to resolve as a user, to whom one token serves for both."""
        token = sign(KEY.encode(), user, [], timedelta(hours=1), ISSUER)
        self.sandbox.tokens[token] = User(user)
        return Options(token=token, kubeconfig=str(self.kubeconfig), urls={ENDPOINT: self.service.url})

    async def in_sync(self) -> None:
        """Wait until the service shows what the cluster has."""
        await self.system.in_sync(self.service, PANELS)


@asynccontextmanager
async def portal(sandbox: Sandbox, database: Address, home: Path) -> AsyncIterator[Portal]:
    """Start a service on the sandbox, and wait until it knows all panels."""
    started: list[Process] = []

    async def launch(*arguments: str, **variables: str) -> Process:
        started.append(await Process.start(*arguments, home=home, **variables))
        return started[-1]

    sandbox.write_kubeconfig(home / "kubeconfig")
    sandbox.enforce_rbac = True
    variables = {"PORT": "0", "SIGN_KEY": KEY, "KUBECONFIG": str(home / "kubeconfig"), **variables_of(database)}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        system = System(sandbox, launch, session, variables)
        try:
            running = Portal(sandbox, system, await (await system.start()).ready(), home / "kubeconfig")
            await running.in_sync()
            yield running
        finally:
            for process in started:
                await process.kill()


@asynccontextmanager
async def home_page(database: Address, home: Path) -> AsyncIterator[Portal]:
    """2,000 panels in 50 namespaces, nine in ten of the page `home`; three are created in each second.

    `admin` may list them all, `member` those of five namespaces; both may list namespaces.
    """
    cluster = Cluster()
    fill(cluster, 20)
    for place, namespace in enumerate(NAMESPACES):
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        for number in range(40):
            created = _START + timedelta(seconds=(number * 7919 + place * 31) % 2000 // 3)
            page = "other" if number % 10 == 0 else "home"
            cluster.apply(_panel(f"tile-{number}", namespace, created, page))
    async with Sandbox(cluster=cluster) as sandbox:
        for user in ("admin", "member"):
            allow(sandbox, user, "namespaces")
        allow(sandbox, "admin", PANELS)
        allow(sandbox, "member", PANELS, *NAMESPACES[3:28:5])
        async with portal(sandbox, database, home) as running:
            yield running


def _panel(name: str, namespace: str, created: datetime, page: str) -> Json:
    return {
        "apiVersion": "widgets.templates.krateo.io/v1beta1",
        "kind": "Panel",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "creationTimestamp": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "labels": {"krateo.io/portal-page": page},
        },
        "spec": {"title": f"{namespace}/{name}"},
    }


def allow(sandbox: Sandbox, user: str, resource: str, *namespaces: str) -> None:
    """Let a user list a type such as `panels.widgets.templates.krateo.io`, everywhere or in some namespaces."""
    plural, _, group = resource.partition(".")
    role = f"list-{plural}"
    rules = [{"apiGroups": [group], "resources": [plural], "verbs": ["list"]}]
    sandbox.cluster.apply(
        {"apiVersion": f"{_RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": role}, "rules": rules}
    )
    for namespace in namespaces or ("",):
        metadata = {"name": f"{user}-{role}"} | ({"namespace": namespace} if namespace else {})
        sandbox.cluster.apply(
            {
                "apiVersion": f"{_RBAC}/v1",
                "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
                "metadata": metadata,
                "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
                "subjects": [{"apiGroup": _RBAC, "kind": "User", "name": user}],
            }
        )
