"""Which types are watched follows the cluster, WATCH and NAMESPACES, whatever goes wrong meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import structlog

from presenter.cache.pool import Address
from presenter.config import ClusterSettings
from presenter.kube.client import KubeClient
from presenter.sandbox import Cluster, Sandbox, User
from tests.eventually import eventually
from tests.kube.world import CONFIG_MAPS, CRDS, Manifest, World, crd, custom
from tests.servers import Postgres

ANVILS = "anvils.example.com"
ROCKETS = "rockets.example.com"

_RBAC = "rbac.authorization.k8s.io"
LEAST_RIGHTS: tuple[Manifest, Manifest] = (
    {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "presenter"},
        "rules": [
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]},
            {
                "apiGroups": [""],
                "resources": ["namespaces"],
                "resourceNames": ["kube-system"],
                "verbs": ["get"],
            },
        ],
    },
    {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "presenter"},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": "presenter"},
        "subjects": [{"apiGroup": _RBAC, "kind": "User", "name": "presenter"}],
    },
)


async def known(world: World) -> set[str]:
    return {found.name for found in await world.known_types()}


async def discovered(world: World) -> bool:
    async with world.pool.connection() as connection:
        return bool(await connection.fetchval("SELECT discovered_at IS NOT NULL FROM clusters"))


async def become(world: World, *names: str) -> None:
    """Wait until the cache has just these types."""
    await eventually(lambda: known(world), lambda found: found == set(names))


def install(world: World, plural: str = "anvils", kind: str = "Anvil") -> None:
    world.sandbox.cluster.apply(crd(plural, kind))
    world.sandbox.cluster.apply(custom(kind, "one", weight=1))


async def test_everything_selected_is_declared_before_discovery_counts_as_complete(world: World) -> None:
    install(world)
    install(world, "rockets", "Rocket")
    async with world.following("*.example.com", CONFIG_MAPS, "!rockets.*"):
        await eventually(lambda: discovered(world), bool)
        assert await known(world) == {ANVILS, CONFIG_MAPS}
        await world.in_sync(ANVILS, CONFIG_MAPS)


async def test_a_type_comes_goes_and_comes_again(world: World) -> None:
    async with world.following("*.example.com", CRDS):
        await eventually(lambda: discovered(world), bool)
        for _ in range(2):
            install(world)
            await world.in_sync(ANVILS)
            await world.state(ANVILS, "live")
            world.sandbox.cluster.delete(CRDS, ANVILS)
            await become(world, CRDS)
        install(world)
        world.sandbox.cluster.delete(CRDS, ANVILS)
        install(world)
        world.sandbox.cluster.apply(custom("Anvil", "two"))
        await world.in_sync(ANVILS)
    assert await world.cached(ANVILS) != {}


async def test_a_type_is_found_without_watching_crds(world: World) -> None:
    async with world.following("*.example.com"):
        await eventually(lambda: discovered(world), bool)
        install(world)
        await world.in_sync(ANVILS)
        world.sandbox.cluster.delete(CRDS, ANVILS)
        await become(world)


async def test_a_type_that_went_while_nobody_watched_is_forgotten(world: World) -> None:
    install(world)
    install(world, "rockets", "Rocket")
    async with world.following("*.example.com"):
        await world.in_sync(ANVILS, ROCKETS)
    world.sandbox.cluster.delete(CRDS, ANVILS)
    async with world.following("*.example.com"):
        await become(world, ROCKETS)
        await world.in_sync(ROCKETS)
    async with world.following(CONFIG_MAPS):
        await become(world, CONFIG_MAPS)
    async with world.pool.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM resources") == 0


async def test_another_version_is_read_anew_although_nothing_changed(world: World) -> None:
    install(world)
    async with world.following("*.example.com", CRDS):
        await world.in_sync(ANVILS)
        world.sandbox.cluster.apply(crd("anvils", "Anvil", versions=("v2", "v1"), storage="v1"))
        await eventually(lambda: world.cached(ANVILS), lambda rows: {r["columns"][2] for r in rows.values()} == {"v2"})
        await world.in_sync(ANVILS)
        [anvil] = (await world.cached(ANVILS)).values()
        assert anvil["raw"]["apiVersion"] == "example.com/v2"
        lists = world.lists(ANVILS)
        world.sandbox.cluster.apply(crd("anvils", "Anvil", versions=("v2", "v1beta1", "v1"), storage="v1"))
        await eventually(
            world.known_types,
            lambda types: {t.name: t.versions for t in types}[ANVILS] == ("v2", "v1", "v1beta1"),
        )
        world.sandbox.cluster.apply(custom("Anvil", "one", api_version="example.com/v2", weight=2))
        await world.in_sync(ANVILS)
        assert world.lists(ANVILS) == lists


async def test_the_version_vacuum_is_not_watched(world: World) -> None:
    manifest = crd("apps", "App", group="composition.krateo.io", versions=("vacuum", "v0-1-0", "v0-2-0"))
    world.sandbox.cluster.create(manifest)
    world.sandbox.cluster.create(custom("App", "one", api_version="composition.krateo.io/v0-1-0"))
    async with world.following("*.composition.krateo.io"):
        rows = await eventually(lambda: world.cached("apps.composition.krateo.io"), bool)
        [found] = await world.known_types()
    assert "vacuum" not in found.versions
    assert found.version in ("v0-1-0", "v0-2-0")
    assert {row["columns"][5] for row in rows.values()} == set(rows)  # its own uid is its composition


@pytest.mark.parametrize("listable", [True, False])
async def test_what_stale_discovery_leaves_out_stays(world: World, listable: bool) -> None:
    install(world)
    async with world.following("*.example.com"):
        await world.in_sync(ANVILS)
        world.sandbox.faults.stale_discovery("example.com")
        if not listable:
            world.sandbox.faults.refuse(503, resource=ANVILS)
            world.sandbox.faults.cut("abort", resource=ANVILS)
            await world.state(ANVILS, "error")
        await looks(world)
        assert len(await world.cached(ANVILS)) == 1
        world.sandbox.faults.clear()
        world.sandbox.cluster.apply(custom("Anvil", "two"))
        await world.in_sync(ANVILS)


async def test_a_stale_group_at_the_start_keeps_what_is_known_and_takes_what_is_named(world: World) -> None:
    install(world)
    async with world.following("*.example.com"):
        await world.in_sync(ANVILS)
    world.sandbox.faults.stale_discovery("example.com")
    world.sandbox.cluster.apply(custom("Anvil", "two"))
    async with world.following("*.example.com"):
        await world.in_sync(ANVILS)


async def looks(world: World, times: int = 3) -> None:
    """Wait until the supervisor has looked at discovery so many times more."""
    before = world.sandbox.requests.count(resource="namespaces", name="kube-system")
    await world.sandbox.requests.seen(before + times, resource="namespaces", name="kube-system")


async def test_nothing_of_a_stale_group_counts_as_gone_or_changed(world: World) -> None:
    install(world)
    install(world, "rockets", "Rocket")
    async with world.following("*.example.com"):
        await world.in_sync(ANVILS, ROCKETS)
        world.sandbox.faults.stale_discovery("example.com")
        world.sandbox.cluster.delete(CRDS, ANVILS)
        world.sandbox.cluster.apply(crd("rockets", "Rocket", versions=("v2", "v1"), storage="v1"))
        await looks(world)
        assert {found.name: found.version for found in await world.known_types()} == {
            ANVILS: "v1",
            ROCKETS: "v1",
        }
        world.sandbox.faults.clear()
        await become(world, ROCKETS)
        await eventually(world.known_types, lambda types: types[0].version == "v2")
        await world.in_sync(ROCKETS)


async def test_what_discovery_leaves_out_stays_as_long_as_it_can_be_listed(world: World) -> None:
    install(world)
    async with world.following("*.example.com"):
        await world.in_sync(ANVILS)
        nothing = '{"kind":"APIGroupDiscoveryList","items":[]}'
        world.sandbox.faults.refuse(200, verb="get", resource="", body=nothing, content_type="application/json")
        await looks(world)
        world.sandbox.cluster.apply(custom("Anvil", "two"))
        await world.in_sync(ANVILS)


async def with_rights(world: World, directory: Path, *manifests: Manifest) -> None:
    """Let the world's client be a user who has only these rights."""
    world.sandbox.enforce_rbac = True
    world.sandbox.tokens["secret"] = User("presenter", ("system:authenticated",))
    world.sandbox.write_kubeconfig(directory / "with-token", token="secret")
    for manifest in manifests:
        world.sandbox.cluster.apply(manifest)
    await world.client.close()
    world.client = await KubeClient.connect(ClusterSettings(kubeconfig=str(directory / "with-token")))


async def test_a_type_goes_where_only_one_namespace_may_be_seen(world: World, tmp_path: Path) -> None:
    role, binding = LEAST_RIGHTS
    place = {"name": "presenter", "namespace": "default"}
    rules = [{"apiGroups": ["example.com"], "resources": ["*"], "verbs": ["list", "watch"]}]
    await with_rights(
        world,
        tmp_path,
        role | {"kind": "Role", "metadata": place, "rules": rules},
        binding
        | {
            "kind": "RoleBinding",
            "metadata": place,
            "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": "presenter"},
        },
    )
    install(world)
    async with world.following("*.example.com", namespaces=["default"]):
        await world.in_sync(ANVILS)
        world.sandbox.cluster.delete(CRDS, ANVILS)
        await become(world)
    await world.client.close()


async def test_rights_revoked_and_given_back(world: World, tmp_path: Path) -> None:
    sandbox = world.sandbox
    await with_rights(world, tmp_path, *LEAST_RIGHTS)
    world.put("one")
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
        sandbox.cluster.delete("clusterrolebindings.rbac.authorization.k8s.io", "presenter")
        sandbox.faults.cut("end", resource=CONFIG_MAPS)
        row = await world.state(CONFIG_MAPS, "forbidden")
        assert "403" in row.error
        assert 'User "presenter" cannot' in row.error
        world.put("two")
        world.drop("one")
        assert len(await world.cached(CONFIG_MAPS)) == 1
        sandbox.cluster.apply(LEAST_RIGHTS[1])
        await world.in_sync(CONFIG_MAPS)
        assert (await world.state(CONFIG_MAPS, "live")).error == ""
    assert {request.user for request in sandbox.requests} == {"presenter"}
    await world.client.close()


async def test_a_forbidden_type_does_not_hold_up_the_others(world: World) -> None:
    world.put("one")
    world.sandbox.faults.refuse(403, resource="secrets")
    async with world.following(CONFIG_MAPS, "secrets"):
        await world.state("secrets", "forbidden")
        await world.in_sync(CONFIG_MAPS)


async def test_only_some_namespaces(world: World) -> None:
    for namespace in ("a", "b", "c"):
        world.sandbox.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        world.put("one", namespace)
    async with world.following(CONFIG_MAPS, "namespaces", namespaces=["a", "b"]):
        await world.in_sync(CONFIG_MAPS, namespaces=["a", "b"])
        await world.in_sync("namespaces")
        assert [row.namespace for row in await world.watches(CONFIG_MAPS)] == ["a", "b"]
        for namespace in ("a", "b", "c"):
            world.put("two", namespace)
            world.drop("one", namespace)
        await world.in_sync(CONFIG_MAPS, namespaces=["a", "b"])
    async with world.following(CONFIG_MAPS, namespaces=["b", "c"]):
        await world.in_sync(CONFIG_MAPS, namespaces=["b", "c"])
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)


async def test_another_cluster_behind_the_same_address(world: World) -> None:
    for number in range(30):
        world.put(f"old-{number}")
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
        port = int(world.sandbox.url.rpartition(":")[2])
        await world.sandbox.stop()
        other = Cluster()
        async with Sandbox(port=port, cluster=other) as world.sandbox:
            for number in range(100):  # its versions are beyond the checkpoint: nothing else gives it away
                world.put("new", a=str(number))
            await world.in_sync(CONFIG_MAPS)
            world.put("newer")
            await world.in_sync(CONFIG_MAPS)


async def test_the_api_server_is_down_at_the_start(world: World) -> None:
    world.put("one")
    await world.sandbox.stop()
    with structlog.testing.capture_logs() as logs:
        async with world.following(CONFIG_MAPS):
            await eventually(lambda: asyncio.sleep(0, logs), bool)
            await world.sandbox.start()
            await world.in_sync(CONFIG_MAPS)
            await eventually(
                lambda: asyncio.sleep(0, [log["event"] for log in logs if log["event"].startswith("cluster ")]),
                lambda told: told == ["cluster cannot be followed", "cluster is reached again"],
            )


async def test_the_database_is_down_at_the_start(world: World, postgres: Postgres, database: Address) -> None:
    name = urlsplit(database.dsn).path.strip("/")
    world.put("one")
    await asyncio.to_thread(postgres.execute, f"ALTER DATABASE {name} RENAME TO {name}_away")
    with structlog.testing.capture_logs() as logs:
        async with world.following(CONFIG_MAPS):
            await eventually(lambda: asyncio.sleep(0, logs), bool)
            assert "PostgreSQL" in logs[0]["error"]
            await asyncio.to_thread(postgres.execute, f"ALTER DATABASE {name}_away RENAME TO {name}")
            await world.in_sync(CONFIG_MAPS)
    assert [entry["event"] for entry in logs].count("cluster cannot be followed") == 1


async def test_the_database_drops_its_connections(world: World) -> None:
    world.put("one")
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
        for number in range(5):
            async with world.pool.connection() as connection:
                await connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            world.put("one", a=str(number))
            world.put(f"also-{number}")
            await world.in_sync(CONFIG_MAPS)


async def test_a_bug_that_one_type_meets_leaves_the_others_alone(world: World, database: Address) -> None:
    """A constraint nobody foresaw stands for the bug: it is no failure that the writer translates."""
    install(world)
    world.put("one")
    async with world.pool.connection() as connection:
        await connection.execute("ALTER TABLE resources ADD CONSTRAINT unforeseen CHECK (name <> 'bug')")
    with structlog.testing.capture_logs() as logs:
        async with world.following(CONFIG_MAPS, ANVILS):
            await world.in_sync(CONFIG_MAPS, ANVILS)
            world.put("bug")
            row = await world.state(CONFIG_MAPS, "error")
            assert "internal error" in row.error
            world.sandbox.cluster.apply(custom("Anvil", "two"))
            await world.in_sync(ANVILS)
            async with world.pool.connection() as connection:
                await connection.execute("ALTER TABLE resources DROP CONSTRAINT unforeseen")
            await world.in_sync(CONFIG_MAPS)
    assert {entry["type"] for entry in logs if entry["event"] == "reflector crashed"} == {CONFIG_MAPS}


async def test_stopping_ends_every_task_and_watch(world: World) -> None:
    install(world)
    before = asyncio.all_tasks()
    async with world.following(CONFIG_MAPS, ANVILS):
        await world.state(CONFIG_MAPS, "live")
        await world.state(ANVILS, "live")
    left = {task for task in asyncio.all_tasks() - before if task.get_name().startswith("watch ")}
    assert left == set()
    await eventually(lambda: asyncio.sleep(0, world.sandbox.faults.cut("end")), lambda running: running == 0)


async def test_more_types_than_a_connection_pool_usually_has_connections(world: World) -> None:
    names = [f"type{number}s" for number in range(110)]
    for plural in names:
        world.sandbox.cluster.create(crd(plural, plural.capitalize()))
        for number in range(3):
            world.sandbox.cluster.create(custom(plural.capitalize(), f"object-{number}"))
    full = [f"{plural}.example.com" for plural in names]
    async with world.following("*.example.com"):
        await world.in_sync(*full)
        for plural in names:
            world.sandbox.cluster.apply(custom(plural.capitalize(), "object-0", changed=True))
            world.sandbox.cluster.delete(f"{plural}.example.com", "object-1", "default")
        await world.in_sync(*full)
    assert all(world.lists(name) == 1 for name in full)


async def test_without_rights_to_identify_the_cluster(world: World) -> None:
    world.put("one")
    world.sandbox.faults.refuse(403, verb="get", resource="namespaces")
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)
