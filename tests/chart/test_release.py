"""The chart, installed: a real helm, an API server that holds to RBAC, and the processes that the manifests ask for."""

from __future__ import annotations

import asyncio
import base64
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from presenter.cache.pool import Address, Pool
from presenter.sandbox import Sandbox, StatusError
from tests.chart.helm import CHART, NAME, NAMESPACE, Helm, example, having
from tests.chart.node import DEPLOYMENTS, Node
from tests.e2e.system import KEY, token, variables_of
from tests.eventually import eventually

PAGE = "/resources?group=widgets.templates.krateo.io&namespace=*&limit=10"


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="chart-", ignore_cleanup_errors=True) as directory:
        yield Path(directory).resolve()


@pytest.fixture
async def node(sandbox: Sandbox, home: Path) -> AsyncIterator[Node]:
    async with aiohttp.ClientSession() as session, Node(sandbox, session, home).working() as node:
        yield node


@pytest.fixture
def release(program: str, sandbox: Sandbox, home: Path) -> Helm:
    """helm as an administrator of the sandbox."""
    sandbox.write_kubeconfig(home / "kubeconfig")
    return Helm(program, home, {"KUBECONFIG": str(home / "kubeconfig")})


def secret(sandbox: Sandbox, name: str, **texts: str) -> None:
    """One that an operator has made."""
    metadata = {"name": name, "namespace": NAMESPACE}
    sandbox.cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": texts})


@pytest.fixture
def values(sandbox: Sandbox, empty_database: Address) -> dict[str, Any]:
    """Those of the example `default`, with this test's database; and the Secrets they name."""
    variables = variables_of(empty_database)
    login = {name: variables.pop(name) for name in ("DB_USER", "DB_PASS")}
    # The server of the tests wants no password, and an empty variable is none.
    secret(sandbox, "resources-presenter-db", **login)
    secret(sandbox, "jwt-sign-key", SIGN_KEY=KEY)
    return having(having(example("default"), "config", variables), "preStopSeconds", 0)


class Caller:
    """Asks the Service for a page, again and again; every answer must be one."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.answers = 0

    @asynccontextmanager
    async def calling(self) -> AsyncIterator[Caller]:
        """While inside, it asks."""
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token('caller')}"}) as session:
            task = asyncio.create_task(self._call(session))
            try:
                yield self
                assert not task.done(), task
            finally:
                task.cancel()
                await asyncio.wait([task])

    async def _call(self, session: aiohttp.ClientSession) -> None:
        while True:
            async with session.get(self._node.url(NAME) + PAGE) as response:
                body = await response.json()
                assert response.status == 200, body
                assert body["count"] == 10
                self.answers += 1
            await asyncio.sleep(0.01)


def deployed(sandbox: Sandbox) -> set[str]:
    return {found["metadata"]["name"] for found in sandbox.cluster.objects(DEPLOYMENTS)} & {
        NAME,
        f"{NAME}-watch",
        f"{NAME}-serve",
    }


def whispers(node: Node) -> int:
    """How many lines were logged at debug level."""
    return sum('"level": "debug"' in line for pod in node.pods() for line in pod.process.err + pod.process.out)


async def becomes(condition: Callable[[], bool]) -> None:
    """Wait until something is so in this process."""
    await eventually(lambda: asyncio.sleep(0, condition()), bool)


async def test_a_release_lives_without_losing_a_request(
    release: Helm, sandbox: Sandbox, node: Node, values: dict[str, Any], empty_database: Address
) -> None:
    # Patched by helm, as helm 3 does it: applied by the server, the sandbox keeps what has gone from a manifest.
    await release("install", NAME, str(CHART), "--server-side=false", "--wait", "--timeout", "60s", values=values)
    assert any("schema migrated from nothing" in line for line in node.jobs)
    await release("test", NAME, "--timeout", "60s")

    async with Caller(node).calling() as caller:
        louder = having(values, "config.DEBUG", True)
        await release("upgrade", NAME, str(CHART), "--wait", "--timeout", "60s", values=louder)
        assert any("schema is at" in line for line in node.jobs)
        assert whispers(node) > 0
        # Back from a version that has migrated the database.
        async with Pool.opened(empty_database, size=1) as pool, pool.connection() as connection:
            await connection.execute("UPDATE alembic_version SET version_num = '9999'")
        await release("rollback", NAME, "1", "--wait", "--timeout", "60s")
        assert whispers(node) == 0
        before = caller.answers
        await becomes(lambda: caller.answers > before)
    await release("test", NAME, "--timeout", "60s")

    # With exactly the rights that the chart gives it.
    refused = [request for request in sandbox.requests if request.status in (401, 403)]
    assert refused == []

    await release("uninstall", NAME, "--wait", "--timeout", "60s")
    assert deployed(sandbox) == set()
    await becomes(lambda: not node.pods())
    left = [found["metadata"]["name"] for found in sandbox.cluster.objects("secrets")]
    assert {"resources-presenter-db", "jwt-sign-key"} <= set(left)
    assert "resources-presenter-endpoint" not in left


async def test_watching_and_serving_apart(release: Helm, sandbox: Sandbox, node: Node, values: dict[str, Any]) -> None:
    values = having(having(values, "mode", "split"), "config.AUTHORIZER", "sar")
    values = having(having(values, "components.serve.replicas", 1), "components.watch.replicas", 1)
    await release("install", NAME, str(CHART), "--wait", "--timeout", "60s", values=values)
    assert deployed(sandbox) == {f"{NAME}-watch", f"{NAME}-serve"}
    await release("test", NAME, "--timeout", "60s")
    serving = f"system:serviceaccount:{NAMESPACE}:{NAME}-serve"
    asked = {(request.verb, request.resource) for request in sandbox.requests if request.user == serving}
    assert asked == {("create", "subjectaccessreviews")}
    assert [request for request in sandbox.requests if request.status in (401, 403)] == []


async def test_a_failed_migration_fails_the_installation(
    release: Helm, sandbox: Sandbox, node: Node, values: dict[str, Any]
) -> None:
    values = having(having(values, "config.DB_NAME", "nowhere"), "config.DB_READY_TIMEOUT", "1ms")
    with pytest.raises(AssertionError, match="pre-install"):
        await release("install", NAME, str(CHART), "--timeout", "30s", values=values)
    assert deployed(sandbox) == set()


async def test_the_password_of_the_try_out_database_is_made_once(release: Helm, sandbox: Sandbox) -> None:
    secret(sandbox, "jwt-sign-key", SIGN_KEY=KEY)
    name, values = f"{NAME}-postgres", example("postgres")

    def password() -> bytes:
        return base64.b64decode(sandbox.cluster.get("secrets", name, NAMESPACE)["data"]["DB_PASS"])

    await release("install", NAME, str(CHART), values=values)
    first = password()
    assert len(first) == 32
    await release("upgrade", NAME, str(CHART), values=having(values, "config.DEBUG", True))
    assert password() == first
    await release("uninstall", NAME)
    with pytest.raises(StatusError):
        sandbox.cluster.get("statefulsets.apps", name, NAMESPACE)
    assert password() == first
    await release("install", NAME, str(CHART), values=values)
    assert password() == first
