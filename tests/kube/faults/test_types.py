"""Faults of types, rights and credentials: the cache ends equal to the cluster."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import msgspec
import pytest

from presenter.cache.catalog import read_catalog
from presenter.config import ClusterSettings
from presenter.kube import login
from presenter.kube.client import KubeClient
from presenter.sandbox import User
from tests.eventually import eventually
from tests.kube.world import CONFIG_MAPS, CRDS, LEAST_RIGHTS, World, crd, custom
from tests.sandbox.authority import Authority

ANVILS = "anvils.example.com"
ROCKETS = "rockets.example.com"

CONVERSION_FAILED = msgspec.json.encode(
    {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": "conversion webhook for example.com/v1, Kind=Anvil failed: connection refused",
        "code": 500,
    }
).decode()


@pytest.fixture
def world(world: World) -> World:
    install(world)
    install(world, "rockets", "Rocket")
    return world


def install(world: World, plural: str = "anvils", kind: str = "Anvil") -> None:
    world.sandbox.cluster.apply(crd(plural, kind))
    world.sandbox.cluster.apply(custom(kind, "one", weight=1))


async def known(world: World, *names: str) -> None:
    """Wait until the cache has just these types."""
    await eventually(world.known_types, lambda found: {each.name for each in found} == set(names))


async def looks(world: World, times: int = 3) -> None:
    """Wait until the supervisor has looked at discovery so many times more."""
    before = world.sandbox.requests.count(resource="namespaces", name="kube-system")
    await world.sandbox.requests.seen(before + times, resource="namespaces", name="kube-system")


async def test_fault_30_crd_added_deleted_created_anew(world: World) -> None:
    async with world.following("*.example.com", CRDS):
        await world.equal()
        for _ in range(2):
            world.sandbox.cluster.delete(CRDS, ANVILS)
            await known(world, CRDS, ROCKETS)
            await world.equal()
            install(world)
            await known(world, CRDS, ROCKETS, ANVILS)
            await world.equal()
        world.sandbox.cluster.delete(CRDS, ANVILS)
        install(world)
        world.sandbox.cluster.apply(custom("Anvil", "two"))
        await world.equal()
    assert await world.cached(ANVILS) != {}


async def test_fault_30_crd_added_deleted_created_anew_while_nobody_watched(world: World) -> None:
    async with world.following("*.example.com"):
        await world.equal()
    world.sandbox.cluster.delete(CRDS, ANVILS)
    world.sandbox.cluster.delete(CRDS, ROCKETS)
    install(world)
    world.sandbox.cluster.apply(custom("Anvil", "two"))
    async with world.following("*.example.com"):
        await known(world, ANVILS)
        await world.equal()


async def test_fault_31_preferred_version_flips(world: World) -> None:
    async with world.following("*.example.com", CRDS):
        await world.equal()
        world.sandbox.cluster.apply(crd("anvils", "Anvil", versions=("v2", "v1"), storage="v1"))
        await eventually(lambda: world.cached(ANVILS), lambda rows: {r["columns"][2] for r in rows.values()} == {"v2"})
        await world.equal()  # although no resourceVersion has changed
        lists = world.lists(ANVILS)
        world.sandbox.cluster.apply(crd("anvils", "Anvil", versions=("v2", "v1beta1", "v1"), storage="v1"))
        await eventually(
            world.known_types,
            lambda types: {t.name: t.versions for t in types}[ANVILS] == ("v2", "v1", "v1beta1"),
        )
        world.sandbox.cluster.apply(custom("Anvil", "one", api_version="example.com/v2", weight=2))
        await world.equal()
        assert world.lists(ANVILS) == lists
        world.sandbox.cluster.apply(crd("anvils", "Anvil"))
        await world.equal()
    world.sandbox.cluster.apply(crd("anvils", "Anvil", versions=("v2", "v1"), storage="v1"))
    async with world.following("*.example.com", CRDS):
        await world.equal()


async def test_fault_32_conversion_webhook_down(world: World) -> None:
    async with world.following("*.example.com"):
        await world.equal()
        before = await world.cached(ANVILS)
        down = world.sandbox.faults.refuse(
            500, resource=ANVILS, body=CONVERSION_FAILED, content_type="application/json"
        )
        world.sandbox.faults.cut("error", resource=ANVILS)
        row = await world.state(ANVILS, "error")
        world.sandbox.cluster.apply(custom("Anvil", "two"))
        world.sandbox.cluster.apply(custom("Rocket", "two"))
        await world.in_sync(ROCKETS)
        await looks(world)
        assert await world.cached(ANVILS) == before
        assert "conversion webhook" in (await world.watches(ANVILS))[0].error or "ended by" in row.error
        world.sandbox.faults.remove(down)
        await world.equal()
        assert (await world.state(ANVILS, "live")).error == ""


@pytest.mark.parametrize("listable", [True, False])
async def test_fault_33_stale_api_service(world: World, listable: bool) -> None:
    async with world.following("*.example.com"):
        await world.equal()
        stale = [world.sandbox.faults.stale_discovery("example.com")]
        if not listable:
            stale.append(world.sandbox.faults.refuse(503, resource=ANVILS))
            world.sandbox.faults.cut("abort", resource=ANVILS)
            await world.state(ANVILS, "error")
        await looks(world)
        assert len(await world.cached(ANVILS)) == 1
        for fault in stale:
            world.sandbox.faults.remove(fault)
        world.sandbox.cluster.apply(custom("Anvil", "two"))
        await world.equal()


async def test_fault_33_stale_api_service_at_the_start(world: World) -> None:
    async with world.following("*.example.com"):
        await world.equal()
    world.sandbox.faults.stale_discovery("example.com")
    world.sandbox.cluster.apply(custom("Anvil", "two"))
    async with world.following("*.example.com"):
        await world.equal()


async def test_fault_33_stale_api_service_hides_what_is_gone_and_changed(world: World) -> None:
    async with world.following("*.example.com"):
        await world.equal()
        stale = world.sandbox.faults.stale_discovery("example.com")
        world.sandbox.cluster.delete(CRDS, ANVILS)
        world.sandbox.cluster.apply(crd("rockets", "Rocket", versions=("v2", "v1"), storage="v1"))
        await looks(world)
        assert {found.name: found.version for found in await world.known_types()} == {ANVILS: "v1", ROCKETS: "v1"}
        world.sandbox.faults.remove(stale)
        await known(world, ROCKETS)
        await eventually(world.known_types, lambda types: types[0].version == "v2")
        await world.equal()


@pytest.mark.parametrize("status", [403, 500])
async def test_a_type_that_is_refused_from_the_start_is_not_waited_for(world: World, status: int) -> None:
    refused = world.sandbox.faults.refuse(status, resource=ANVILS, body=CONVERSION_FAILED)
    async with world.following("*.example.com"):
        await world.in_sync(ROCKETS)
        await world.state(ANVILS, "forbidden" if status == 403 else "error")
        await looks(world)
        [cluster] = (await read_catalog(world.pool)).clusters
        assert (cluster.discovered, cluster.completed) == (True, False)
        async with world.pool.connection() as connection:
            await connection.execute("UPDATE clusters SET discovered_at = discovered_at - interval '61 s'")
        catalog = await eventually(partial(read_catalog, world.pool), lambda catalog: catalog.usable)
        assert [cached.type.name for cached in catalog.types if catalog.refuses(cached)] == [ANVILS]
        world.sandbox.faults.remove(refused)
        await world.equal()
        assert (await read_catalog(world.pool)).complete


async def test_what_cannot_be_watched_is_made_known(world: World) -> None:
    async def unwatched() -> set[str]:
        return {cached.type.name for cached in (await read_catalog(world.pool)).unwatched}

    async with world.following("*.*"):
        await eventually(unwatched, lambda names: "subjectaccessreviews.authorization.k8s.io" in names)
        await world.equal()
    async with world.following("*.example.com"):
        await eventually(unwatched, lambda names: not names)
        await world.equal()


async def test_a_group_whose_types_are_not_told_is_made_known(world: World) -> None:
    async def undiscovered() -> frozenset[tuple[str, str]]:
        return (await read_catalog(world.pool)).undiscovered

    stale = world.sandbox.faults.stale_discovery("example.com")
    world.sandbox.faults.stale_discovery("apps")  # which is not watched
    async with world.following("*.example.com"):
        await eventually(undiscovered, lambda groups: groups == {("test", "example.com")})
        world.sandbox.faults.remove(stale)
        await eventually(undiscovered, lambda groups: not groups)
        await world.equal()


async def test_fault_34_rbac_revoked_in_mid_watch(world: World, tmp_path: Path) -> None:
    sandbox = world.sandbox
    await world.with_rights(tmp_path, *LEAST_RIGHTS)
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
        before = await world.cached(CONFIG_MAPS)
        sandbox.cluster.delete("clusterrolebindings.rbac.authorization.k8s.io", "presenter")
        sandbox.faults.cut("end")
        row = await world.state(CONFIG_MAPS, "forbidden")
        assert "403" in row.error
        assert 'User "presenter" cannot' in row.error
        world.change()
        assert await world.cached(CONFIG_MAPS) == before
        sandbox.cluster.apply(LEAST_RIGHTS[1])
        await world.equal()
        assert (await world.state(CONFIG_MAPS, "live")).error == ""
    assert {request.user for request in sandbox.requests} == {"presenter"}
    await world.client.close()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Log in again as often as there is reason to."""
    monkeypatch.setattr(login, "RENEWAL_SECONDS", 0)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("rotated", ["token", "ca", "both"])
async def test_fault_35_token_or_ca_rotated(world: World, tmp_path: Path, rotated: str) -> None:
    sandbox, path = world.sandbox, tmp_path / "kubeconfig-with-token"
    await sandbox.stop()
    sandbox.tls = Authority("first").tls()
    sandbox.tokens = {"old": User("presenter", ("system:masters",))}
    await sandbox.start()
    sandbox.write_kubeconfig(path, "old")
    await world.client.close()
    world.client = await KubeClient.connect(ClusterSettings(kubeconfig=str(path)))
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await sandbox.stop()
        world.change()
        if rotated != "ca":
            sandbox.tokens = {"new": User("presenter", ("system:masters",))}
        if rotated != "token":
            sandbox.tls = Authority("second").tls()
        await sandbox.start()
        refused = "certificate verify failed" if rotated != "token" else "401"
        await eventually(lambda: world.watches(CONFIG_MAPS), lambda rows: refused in rows[0].error)
        sandbox.write_kubeconfig(path, next(iter(sandbox.tokens)))
        await world.equal()
        assert (await world.state(CONFIG_MAPS, "live")).lists == 1
    await world.client.close()


async def test_fault_36_over_100_watches(world: World) -> None:
    names = [f"type{number}s" for number in range(110)]
    for plural in names:
        world.sandbox.cluster.create(crd(plural, plural.capitalize()))
        for number in range(3):
            world.sandbox.cluster.create(custom(plural.capitalize(), f"object-{number}"))
    async with world.following("*.example.com"):
        await known(world, ANVILS, ROCKETS, *(f"{plural}.example.com" for plural in names))
        await world.equal()
        for plural in names:
            world.sandbox.cluster.apply(custom(plural.capitalize(), "object-0", changed=True))
            world.sandbox.cluster.delete(f"{plural}.example.com", "object-1", "default")
        await world.equal()
        assert all([(await world.state(f"{plural}.example.com", "live")).lists == 1 for plural in names])
