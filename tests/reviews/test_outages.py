"""An API server that does not answer, or not the question: 503, and never "allowed"."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

import msgspec
import pytest

from presenter.access.authorizer import decide
from presenter.config import ClusterSettings
from presenter.errors import NotSynced, Unavailable
from presenter.kube.client import KubeClient
from presenter.sandbox import User
from tests.rbac.objects import identity, rule, user
from tests.reviews.world import CONFIG_MAPS, DEPLOYMENTS, REVIEWS, TTL, World, reading

ALICE = identity("alice")


@pytest.fixture
def world(world: World) -> World:
    """Alice may read all config maps."""
    world.let_everywhere(user("alice"), reading())
    return world


async def refused(world: World, match: str, *, patience: float = 5.0) -> None:
    """Both ways to ask end in this 503."""
    authorizer = world.authorizer(patience=patience)
    with pytest.raises(Unavailable, match=match) as caught:
        await authorizer.scope(ALICE, "list", [CONFIG_MAPS], namespace=None, name=None)
    assert caught.value.status == 503
    with pytest.raises(Unavailable, match=match):
        await authorizer.allowed(ALICE, "get", CONFIG_MAPS, "dev", "a")


async def test_an_api_server_that_is_down(world: World) -> None:
    await world.sandbox.stop()
    await refused(world, "who may see what cannot be asked: the API server at .* cannot be reached")


async def test_an_outage_outlasts_no_answer(world: World) -> None:
    authorizer = world.authorizer()
    assert await authorizer.allowed(ALICE, "get", CONFIG_MAPS, "dev", "a")
    await world.sandbox.stop()
    assert await authorizer.allowed(ALICE, "get", CONFIG_MAPS, "dev", "a")
    world.clock.now += TTL.total_seconds()
    with pytest.raises(Unavailable, match="cannot be reached"):
        await authorizer.allowed(ALICE, "get", CONFIG_MAPS, "dev", "a")
    await world.sandbox.start()
    assert await authorizer.allowed(ALICE, "get", CONFIG_MAPS, "dev", "a")


async def test_an_api_server_that_keeps_silent(world: World) -> None:
    world.sandbox.faults.stall(verb="create", resource=REVIEWS)
    await refused(world, r"did not say within 0\.1 s who may see what", patience=0.1)


@pytest.mark.parametrize("status", [400, 404, 409, 410, 422, 429, 500, 503])
async def test_an_api_server_that_refuses(world: World, status: int) -> None:
    world.sandbox.faults.refuse(status, verb="create", resource=REVIEWS)
    await refused(world, f"cannot be asked: POST /apis/authorization.k8s.io/v1/.* was answered with {status}")


async def test_a_proxy_in_between(world: World) -> None:
    world.sandbox.faults.refuse(502, verb="create", resource=REVIEWS, body="<html>Bad Gateway</html>")
    await refused(world, "was answered with 502 Bad Gateway")


async def test_an_account_that_may_not_ask(world: World, tmp_path: Path) -> None:
    world.sandbox.enforce_rbac = True
    world.sandbox.tokens["weak"] = User("system:serviceaccount:krateo-system:presenter")
    world.sandbox.write_kubeconfig(tmp_path / "weak", "weak")
    client = await KubeClient.connect(ClusterSettings(kubeconfig=str(tmp_path / "weak")))
    weak = dataclasses.replace(world, client=client)
    match = "account must be allowed to create subjectaccessreviews.authorization.k8s.io .*cannot create resource"
    try:
        await refused(weak, match)
        account = {"kind": "ServiceAccount", "namespace": "krateo-system", "name": "presenter"}
        world.let_everywhere(
            account, rule("create", "subjectaccessreviews", "authorization.k8s.io"), binding="presenter"
        )
        assert await weak.authorizer().allowed(ALICE, "get", CONFIG_MAPS, "dev", "a")
    finally:
        await client.close()


async def test_a_cluster_that_this_service_is_not_connected_to(world: World) -> None:
    foreign = dataclasses.replace(CONFIG_MAPS, cluster="elsewhere")
    authorizer = world.authorizer()
    match = "in cluster elsewhere cannot be asked: this service is connected to test"
    with pytest.raises(Unavailable, match=match):
        await authorizer.scope(ALICE, "list", [CONFIG_MAPS, foreign], namespace=None, name=None)
    with pytest.raises(Unavailable, match=match):
        await authorizer.allowed(ALICE, "get", foreign, "dev", "a")
    assert world.reviews == 0


async def test_such_a_cluster_is_not_the_others_trouble(world: World) -> None:
    foreign = dataclasses.replace(CONFIG_MAPS, cluster="elsewhere", id=77)
    everyone = identity("root", "system:masters")
    asked = partial(decide, world.authorizer(), everyone, "list", namespace="dev", name=None)
    scope, undecided = await asked([foreign, CONFIG_MAPS])
    assert scope.keys() == {CONFIG_MAPS.id}
    assert [*undecided] == ["elsewhere"]
    with pytest.raises(Unavailable, match="cluster elsewhere"):
        await asked([foreign])


async def test_a_type_that_is_refused_is_not_the_others_trouble(world: World) -> None:
    [watch] = CONFIG_MAPS.watches
    refused = dataclasses.replace(
        CONFIG_MAPS, watches=(msgspec.structs.replace(watch, synced_at=None, state="error", error="no"),)
    )
    authorizer = world.authorizer()
    world.let_everywhere(user("lister"), rule("list", "deployments", "apps"), binding="lister")
    listed = await authorizer.scope(identity("lister"), "list", [refused, DEPLOYMENTS], namespace=None, name=None)
    assert listed.keys() == {DEPLOYMENTS.id}
    with pytest.raises(NotSynced, match=r"configmaps .* is not complete yet: error"):
        await authorizer.scope(identity("lister"), "list", [refused], namespace=None, name=None)


async def test_all_namespaces_of_a_type_that_is_not_listed_yet(world: World) -> None:
    """Which namespaces to ask about is not known: to say "forbidden" would be a guess."""
    [watch] = CONFIG_MAPS.watches
    unlisted = dataclasses.replace(
        CONFIG_MAPS, watches=(msgspec.structs.replace(watch, synced_at=None, state="syncing"),)
    )
    authorizer = world.authorizer()
    with pytest.raises(NotSynced, match=r"configmaps .* is not complete yet: syncing"):
        await authorizer.scope(identity("nobody"), "list", [unlisted], namespace=None, name=None)
    assert await authorizer.scope(identity("nobody"), "list", [unlisted], namespace="dev", name=None) == {}
