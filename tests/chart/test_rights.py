"""The chart's rules are enough, and none of them is too much: without any, something that has a name fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from presenter.access.identity import Identity
from presenter.access.review_authorizer import Question
from presenter.cache.pool import Pool
from presenter.cache.writer import Writer
from presenter.config import ClusterSettings
from presenter.errors import ClusterForbidden, Unavailable
from presenter.kube.client import KubeClient
from presenter.kube.subject_access_reviews import SubjectAccessReviews
from presenter.sandbox import Sandbox, User
from tests.chart.helm import NAME, NAMESPACE, Manifest, Manifests, Values, container, environment, example
from tests.eventually import eventually
from tests.kube.world import World, crd, custom

Render = Callable[[Values], Manifests]

RBAC = "rbac.authorization.k8s.io"
NOT_IN_THE_SANDBOX = tuple(
    f"{group}.krateo.io" for group in ("finops", "ai", "basic.authn", "ldap.authn", "oauth.authn", "oidc.authn")
)
"""Groups of Krateo's of which the sandbox has no types: there the tests make one."""
WITNESSES = {
    ("apiextensions.k8s.io", "customresourcedefinitions"): "customresourcedefinitions.apiextensions.k8s.io",
    ("composition.krateo.io", "*"): "fireworksapps.composition.krateo.io",
    ("core.krateo.io", "*"): "compositiondefinitions.core.krateo.io",
    ("templates.krateo.io", "*"): "restactions.templates.krateo.io",
    ("widgets.templates.krateo.io", "*"): "panels.widgets.templates.krateo.io",
    **{(group, "*"): f"configs.{group}" for group in NOT_IN_THE_SANDBOX},
    **{
        (RBAC, plural): f"{plural}.{RBAC}"
        for plural in ("clusterroles", "clusterrolebindings", "roles", "rolebindings")
    },
}
"""What cannot be watched without the right to read (group, resource)."""


@pytest.fixture
async def world(sandbox: Sandbox, writer: Writer, pool: Pool, tmp_path: Path) -> AsyncIterator[World]:
    """The service's account in a cluster that has not heard of the chart yet."""
    sandbox.tokens["token"] = User(f"system:serviceaccount:{NAMESPACE}:{NAME}")
    for group in NOT_IN_THE_SANDBOX:
        sandbox.cluster.apply(crd("configs", "Config", group=group))
        sandbox.cluster.apply(custom("Config", "one", api_version=f"{group}/v1"))
    sandbox.write_kubeconfig(tmp_path / "kubeconfig", token="token")
    client = await KubeClient.connect(ClusterSettings(kubeconfig=str(tmp_path / "kubeconfig")), read_timeout=5.0)
    yield World(sandbox, client, writer, pool)
    await client.close()


def granted(manifests: Manifests, without: tuple[str, str] = ("", "")) -> list[Manifest]:
    """The RBAC objects of a release, but for the rules on one (group, resource)."""
    found = []
    for manifest in manifests.values():
        if not manifest["apiVersion"].startswith(RBAC):
            continue
        if "rules" in manifest:
            rules = [
                {**rule, "resources": [plural for plural in rule["resources"] if (group, plural) != without]}
                for rule in manifest["rules"]
                for (group,) in [rule["apiGroups"]]
            ]
            manifest = {**manifest, "rules": rules}
        found.append(manifest)
    return found


def apply(sandbox: Sandbox, manifests: list[Manifest]) -> None:
    for manifest in manifests:
        sandbox.cluster.apply(manifest)


def watched(manifests: Manifests) -> list[str]:
    patterns: str = environment(container(manifests["Deployment", NAME]))["WATCH"]
    return patterns.split(",")


async def in_sync(world: World, namespaces: Sequence[str] = ()) -> None:
    """Wait until the cache has every object of what is watched, and no other."""

    async def missing() -> int:
        return len((await world.all_cached()).keys() ^ world.all_served(namespaces).keys())

    await eventually(missing, lambda objects: objects == 0)


def refused(sandbox: Sandbox) -> set[str]:
    return {f"{request.verb} {request.resource}" for request in sandbox.requests if request.status == 403}


async def test_with_all_of_them_everything_is_watched(render: Render, world: World) -> None:
    manifests = render(example("default"))
    apply(world.sandbox, granted(manifests))
    async with world.following(*watched(manifests)):
        await in_sync(world)
    assert {name for name, _ in await world.all_cached()} >= set(WITNESSES.values()) - {f"roles.{RBAC}"}
    assert refused(world.sandbox) == set()


async def test_each_right_to_read_has_its_witness(render: Render) -> None:
    rules = render(example("default"))["ClusterRole", NAME]["rules"]
    atoms = {(group, plural) for rule in rules for group in rule["apiGroups"] for plural in rule["resources"]}
    assert atoms == set(WITNESSES) | {("", "namespaces")}


@pytest.mark.parametrize(("without", "witness"), WITNESSES.items(), ids=WITNESSES.values())
async def test_without_it_its_type_is_forbidden(
    render: Render, world: World, without: tuple[str, str], witness: str
) -> None:
    manifests = render(example("default"))
    apply(world.sandbox, granted(manifests, without))
    async with world.following(*watched(manifests)):
        row = await world.state(witness, "forbidden")
    assert "forbidden" in row.error
    plural = witness.partition(".")[0]
    if without[1] != "*":
        assert refused(world.sandbox) <= {f"watch {plural}", f"list {plural}"}


async def test_without_the_namespace_the_cluster_cannot_be_told_from_another(render: Render, world: World) -> None:
    apply(world.sandbox, granted(render(example("default")), ("", "namespaces")))
    with pytest.raises(ClusterForbidden, match='"kube-system" is forbidden'):
        await world.client.cluster_uid()
    apply(world.sandbox, granted(render(example("default"))))
    assert await world.client.cluster_uid() == world.sandbox.cluster.uid


async def test_without_reviews_nothing_can_be_decided(render: Render, world: World) -> None:
    world.sandbox.tokens["token"] = User(f"system:serviceaccount:{NAMESPACE}:{NAME}-serve")
    reviews = SubjectAccessReviews(world.client)
    question = Question(Identity("alice", frozenset()), "list", "core.krateo.io", "compositiondefinitions", "", "")
    apply(world.sandbox, granted(render(example("sar")), ("authorization.k8s.io", "subjectaccessreviews")))
    with pytest.raises(Unavailable, match="must be allowed to create subjectaccessreviews"):
        await reviews.allowed(question)
    apply(world.sandbox, granted(render(example("sar"))))
    assert await reviews.allowed(question) is False


async def test_roles_in_namespaces_are_enough_for_those(render: Render, world: World) -> None:
    manifests = render(example("namespaces"))
    namespaces = environment(container(manifests["Deployment", NAME]))["NAMESPACES"].split(",")
    apply(world.sandbox, granted(manifests))
    async with world.following(*watched(manifests), namespaces=namespaces):
        await in_sync(world, namespaces)
    assert await world.cached("panels.widgets.templates.krateo.io")
    assert refused(world.sandbox) == set()
    cluster_wide = manifests["ClusterRole", NAME]["rules"]
    assert {rule["apiGroups"][0] for rule in cluster_wide} == {"", "apiextensions.k8s.io", RBAC}
