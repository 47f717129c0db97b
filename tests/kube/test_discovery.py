"""Which types there are, as discovery tells it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from presenter.config import ClusterSettings
from presenter.errors import ClusterUnavailable
from presenter.kube.client import Answer, KubeClient
from presenter.kube.discovery import Discovered, Discovery
from presenter.resource import ResourceType
from presenter.sandbox import Sandbox
from tests.kube.world import CRDS, crd


class OldServer(KubeClient):
    """Asks as if the server had no aggregated discovery."""

    async def get(self, path: str, *, accept: str, etag: str = "") -> Answer:
        return await super().get(path, accept="application/json")


@pytest.fixture
async def old(settings: ClusterSettings) -> AsyncIterator[KubeClient]:
    client = await OldServer.connect(settings, read_timeout=1.0)
    yield client
    await client.close()


def named(discovered: Discovered) -> dict[str, ResourceType]:
    return {found.name: found for found in discovered.types}


@pytest.fixture(params=["aggregated", "legacy"])
def any_client(request: pytest.FixtureRequest, client: KubeClient, old: KubeClient) -> KubeClient:
    return client if request.param == "aggregated" else old


async def test_types_as_they_are(sandbox: Sandbox, any_client: KubeClient) -> None:
    sandbox.cluster.create(crd("anvils", "Anvil", versions=("v1", "v2", "v1beta1")))
    types = named(await Discovery(any_client).read())
    assert types["pods"] == ResourceType("", "v1", "pods", "Pod", True, ("v1",))
    assert types["namespaces"].namespaced is False
    assert types[CRDS].kind == "CustomResourceDefinition"
    # A stable version is preferred to a beta, a higher one to a lower one.
    assert types["anvils.example.com"] == ResourceType(
        "example.com", "v2", "anvils", "Anvil", True, ("v2", "v1", "v1beta1")
    )


async def test_no_subresources_and_nothing_that_cannot_be_watched(any_client: KubeClient) -> None:
    discovered = await Discovery(any_client).read()
    assert not [found for found in discovered.types if "/" in found.resource]
    assert not [found for found in discovered.types if found.resource.endswith("reviews")]
    reviews = {found.name: found for found in discovered.unwatched}
    assert reviews["subjectaccessreviews.authorization.k8s.io"] == ResourceType(
        "authorization.k8s.io", "", "subjectaccessreviews", "SubjectAccessReview", False, ("v1",)
    )
    assert not reviews.keys() & named(discovered).keys()
    assert discovered.incomplete == frozenset()


async def test_vacuum_is_no_version_to_watch(sandbox: Sandbox, any_client: KubeClient) -> None:
    sandbox.cluster.create(crd("apps", "App", versions=("vacuum", "v0-1-0")))
    sandbox.cluster.create(crd("hidden", "Hidden", versions=("vacuum",)))
    types = named(await Discovery(any_client).read())
    assert types["apps.example.com"].versions == ("v0-1-0",)
    assert "hidden.example.com" not in types


async def test_nothing_new_costs_a_304(sandbox: Sandbox, client: KubeClient) -> None:
    discovery = Discovery(client)
    first = await discovery.read()
    sandbox.requests.clear()
    assert await discovery.read() == first
    assert [request.status for request in sandbox.requests] == [304, 304]
    sandbox.cluster.create(crd("anvils", "Anvil"))
    assert "anvils.example.com" in named(await discovery.read())
    sandbox.cluster.delete(CRDS, "anvils.example.com")
    assert await discovery.read() == first


async def test_a_stale_group_is_incomplete(sandbox: Sandbox, client: KubeClient) -> None:
    sandbox.cluster.create(crd("anvils", "Anvil"))
    sandbox.faults.stale_discovery("example.com")
    discovered = await Discovery(client).read()
    assert discovered.incomplete == {"example.com"}
    assert "pods" in named(discovered)


@pytest.mark.parametrize(("body", "status"), [(None, 503), ("<html>", 200), ('{"kind":"Status"}', 200)])
async def test_no_answer_is_no_empty_answer(
    sandbox: Sandbox, any_client: KubeClient, body: str | None, status: int
) -> None:
    sandbox.faults.refuse(status, verb="get", body=body, content_type="application/json")
    with pytest.raises(ClusterUnavailable):
        await Discovery(any_client).read()
