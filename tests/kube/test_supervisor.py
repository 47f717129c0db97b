"""Which types are watched follows the cluster, WATCH and NAMESPACES, whatever goes wrong meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import structlog

from presenter.cache.pool import Address
from presenter.cache.writer import Writer
from presenter.sandbox import Cluster, Sandbox
from tests.eventually import eventually
from tests.kube.world import CONFIG_MAPS, CRDS, LEAST_RIGHTS, World, crd, custom

ANVILS = "anvils.example.com"
ROCKETS = "rockets.example.com"

_RBAC = "rbac.authorization.k8s.io"


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


async def looks(world: World, times: int = 3) -> None:
    """Wait until the supervisor has looked at discovery so many times more."""
    before = world.sandbox.requests.count(resource="namespaces", name="kube-system")
    await world.sandbox.requests.seen(before + times, resource="namespaces", name="kube-system")


async def test_what_discovery_leaves_out_stays_as_long_as_it_can_be_listed(world: World) -> None:
    install(world)
    async with world.following("*.example.com"):
        await world.in_sync(ANVILS)
        nothing = '{"kind":"APIGroupDiscoveryList","items":[]}'
        world.sandbox.faults.refuse(200, verb="get", resource="", body=nothing, content_type="application/json")
        await looks(world)
        world.sandbox.cluster.apply(custom("Anvil", "two"))
        await world.in_sync(ANVILS)


async def test_a_type_goes_where_only_one_namespace_may_be_seen(world: World, tmp_path: Path) -> None:
    role, binding = LEAST_RIGHTS
    place = {"name": "presenter", "namespace": "default"}
    rules = [{"apiGroups": ["example.com"], "resources": ["*"], "verbs": ["list", "watch"]}]
    await world.with_rights(
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


async def test_without_rights_to_identify_the_cluster(world: World) -> None:
    world.put("one")
    world.sandbox.faults.refuse(403, verb="get", resource="namespaces")
    async with world.following(CONFIG_MAPS):
        await world.in_sync(CONFIG_MAPS)


# -- which cluster it is -------------------------------------------------------------------------------------


async def cluster(world: World) -> tuple[str, bool, bool]:
    """What is recorded: the uid, and whether everything is discovered and was once complete."""
    async with world.pool.connection() as connection:
        row = await connection.fetchrow("SELECT uid, discovered_at, completed_at FROM clusters")
    return ("", False, False) if row is None else (row[0], row[1] is not None, row[2] is not None)


async def ready(world: World) -> None:
    """Wait until this cluster is recorded, and complete."""
    uid = world.sandbox.cluster.uid
    await eventually(lambda: cluster(world), lambda row: row == (uid, True, True))


async def test_an_identity_that_is_refused_at_first_is_learnt_without_listing_again(world: World) -> None:
    world.put("one")
    refusal = world.sandbox.faults.refuse(403, verb="get", resource="namespaces")
    async with world.following(CONFIG_MAPS):
        await eventually(lambda: cluster(world), lambda row: row == ("", True, True))
        world.sandbox.faults.remove(refusal)
        await ready(world)
        world.put("two")
        await world.in_sync(CONFIG_MAPS)
        assert (await world.state(CONFIG_MAPS, "live")).lists == 1


@pytest.mark.parametrize("code", [403, 404, 500, 503])
async def test_a_known_cluster_is_left_as_it_is_until_it_is_identified(world: World, code: int) -> None:
    world.put("one")
    async with world.following(CONFIG_MAPS):
        await ready(world)
        await world.in_sync(CONFIG_MAPS)
    before = await world.watches(CONFIG_MAPS), await world.cached(CONFIG_MAPS)
    world.put("two")
    refusal = world.sandbox.faults.refuse(code, verb="get", resource="namespaces")
    with structlog.testing.capture_logs() as logs:
        async with world.following(CONFIG_MAPS):
            await world.sandbox.requests.seen(5, verb="get", resource="namespaces", status=code)
            assert (await world.watches(CONFIG_MAPS), await world.cached(CONFIG_MAPS)) == before
            assert await cluster(world) == (world.sandbox.cluster.uid, True, True)
            world.sandbox.faults.remove(refusal)
            await world.in_sync(CONFIG_MAPS)
            assert (await world.state(CONFIG_MAPS, "live")).lists == 1
    told = [str(log["error"]) for log in logs if log["event"] == "cluster cannot be followed"]
    assert len(told) == 1
    assert "kube-system" in told[0]


async def test_no_type_comes_or_goes_by_the_word_of_a_cluster_that_cannot_be_identified(world: World) -> None:
    install(world)
    async with world.following("*.example.com", CONFIG_MAPS):
        await world.in_sync(ANVILS, CONFIG_MAPS)
        refusal = world.sandbox.faults.refuse(403, verb="get", resource="namespaces")
        await world.sandbox.requests.seen(1, verb="get", resource="namespaces", status=403)
        world.sandbox.cluster.delete(CRDS, ANVILS)
        install(world, "rockets", "Rocket")
        world.put("one")
        await world.in_sync(CONFIG_MAPS)
        await world.sandbox.requests.seen(4, verb="get", resource="namespaces", status=403)
        assert await known(world) == {ANVILS, CONFIG_MAPS}
        world.sandbox.faults.remove(refusal)
        await become(world, ROCKETS, CONFIG_MAPS)


async def test_another_cluster_behind_the_url_becomes_ready_by_itself(world: World) -> None:
    world.put("old")
    async with world.following(CONFIG_MAPS):
        await ready(world)
        port = int(world.sandbox.url.rpartition(":")[2])
        await world.sandbox.stop()
        async with Sandbox(port=port, cluster=Cluster()) as world.sandbox:
            world.put("new")
            await ready(world)
            await world.in_sync(CONFIG_MAPS)


_FORGOTTEN = {
    "discovery": "UPDATE clusters SET discovered_at = NULL, completed_at = NULL",
    "everything": "TRUNCATE clusters, resource_types, watches, resources",
    "a type": "DELETE FROM resource_types WHERE resource = 'configmaps'",
}


@pytest.mark.parametrize("statement", _FORGOTTEN.values(), ids=_FORGOTTEN)
async def test_what_a_restored_database_lacks_is_made_up_for(world: World, statement: str) -> None:
    world.put("one")
    async with world.following(CONFIG_MAPS):
        await ready(world)
        await world.execute(statement)
        await ready(world)
        world.put("two")
        await world.in_sync(CONFIG_MAPS)


async def test_a_type_that_never_was_complete_and_goes_holds_nothing_up(world: World) -> None:
    install(world)
    world.sandbox.faults.refuse(503, resource=ANVILS)
    async with world.following("*.example.com", CONFIG_MAPS):
        await world.state(ANVILS, "error")
        await world.in_sync(CONFIG_MAPS)
        world.sandbox.cluster.delete(CRDS, ANVILS)
        world.sandbox.faults.clear()
        await ready(world)


async def test_the_same_cluster_under_another_name_is_told(world: World) -> None:
    with structlog.testing.capture_logs() as logs:
        await Writer(world.pool, "north").open_cluster("uid", ["*.*"])
        await Writer(world.pool, "south").open_cluster("other", ["*.*"])
        await Writer(world.pool, "edge").open_cluster("uid", ["*.*"])
    assert [(log["cluster"], log["other"]) for log in logs] == [("edge", "north")]
