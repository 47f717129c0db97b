"""Faults of what the API server remembers and numbers: the cache ends equal to the cluster."""

from __future__ import annotations

import asyncio
import dataclasses
import json

import pytest

from presenter.sandbox import Cluster, Sandbox
from tests.eventually import eventually
from tests.kube.world import CONFIG_MAPS, FAST, World

ALL_NAMES = ("untouched", "changed", "deleted", "renewed")


async def until(world: World, name: str) -> None:
    """Wait until this new config map is cached, and with it all that happened before."""
    world.put(name)
    await world.equal()


@pytest.mark.parametrize("history", ["kept", "forgotten"])
async def test_fault_16_deleted_while_disconnected(world: World, history: str) -> None:
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await world.watching()
        await world.sandbox.stop()
        world.change()
        await eventually(lambda: world.watches(CONFIG_MAPS), lambda rows: "cannot be reached" in rows[0].error)
        if history == "forgotten":
            world.sandbox.cluster.compact()
        await world.sandbox.start()
        await world.equal()
        assert (await world.state(CONFIG_MAPS, "live")).lists == (1 if history == "kept" else 2)


@pytest.mark.parametrize("history", ["kept", "forgotten"])
async def test_fault_16_deleted_while_disconnected_and_nobody_ran(world: World, history: str) -> None:
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await world.state(CONFIG_MAPS, "live")
    world.change()
    if history == "forgotten":
        world.sandbox.cluster.compact()
    async with world.following(CONFIG_MAPS):
        await world.equal()
        assert (await world.state(CONFIG_MAPS, "live")).lists == (1 if history == "kept" else 2)


async def test_fault_17_deleted_and_created_anew_in_one_batch(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await world.watching()
        async with world.one_batch():
            for number in range(100):
                world.drop("renewed")
                world.put("renewed", a=str(number))
        await world.equal()


async def test_fault_18_old_deleted_replayed_after_the_new_creation(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await world.watching()
        world.change()
        await world.equal()
        world.sandbox.faults.repeat(7, resource=CONFIG_MAPS)
        await until(world, "after-the-replay")
        async with world.one_batch():
            world.change()
            world.sandbox.faults.repeat(7, resource=CONFIG_MAPS)
        await until(world, "after-another")


async def test_fault_19_duplicate_and_stale_events_of_objects_that_are_gone(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await world.watching()
        world.change()
        await world.equal()
        world.sandbox.faults.repeat(40, resource=CONFIG_MAPS, gone=True)
        await until(world, "after-the-replay")


async def test_fault_18_old_deleted_replayed_after_the_new_creation_from_an_old_checkpoint(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        [before] = await eventually(lambda: world.watches(CONFIG_MAPS), lambda rows: any(r.synced for r in rows))
        world.change()
        version = str(world.sandbox.cluster.resource_version)
        await eventually(lambda: world.watches(CONFIG_MAPS), lambda rows: rows[0].checkpoint == version)
    # As if the last transactions had been committed and their checkpoint had not: every event comes once more.
    async with world.pool.connection() as connection:
        await connection.execute("UPDATE watches SET checkpoint = $1", before.checkpoint)
    world.put("last")
    async with world.following(CONFIG_MAPS):
        await world.equal()
        assert (await world.state(CONFIG_MAPS, "live")).lists == 1


async def test_fault_19_duplicate_and_stale_events(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await world.watching()
        for number in range(20):
            world.put("changed", a=str(number))
            world.put(f"also-{number % 3}", a=str(number))
        world.sandbox.faults.repeat(40, resource=CONFIG_MAPS)
        world.sandbox.faults.repeat(1, resource=CONFIG_MAPS)
        await until(world, "after-the-replay")
        async with world.one_batch():
            for number in range(20):
                world.put("changed", b=str(number))
                world.sandbox.faults.repeat(5, resource=CONFIG_MAPS)
        await world.equal()
        world.sandbox.faults.cut("abort", resource=CONFIG_MAPS)
        await until(world, "after-another")
        assert (await world.watches(CONFIG_MAPS))[0].lists == 1


async def test_fault_25_duplicate_key_in_a_batch(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await world.watching()
        async with world.one_batch():
            for number in range(100):
                world.put("changed", a=str(number))
                world.put(f"new-{number % 7}", a=str(number))
        await world.equal()


async def test_fault_25_duplicate_key_in_a_batch_of_a_list(world: World) -> None:
    """As an inconsistent continuation would have it."""
    world.sandbox.faults.no_streaming_lists()
    version = world.sandbox.cluster.resource_version
    items = world.sandbox.cluster.objects(CONFIG_MAPS)
    body = {"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": str(version)}}
    text = json.dumps(body | {"items": [*items, *items]})
    world.sandbox.faults.refuse(
        200, verb="list", resource=CONFIG_MAPS, times=1, body=text, content_type="application/json"
    )
    async with world.following(CONFIG_MAPS):
        await world.equal()
        world.change()
        await world.equal()


async def test_fault_26_etcd_restored_while_watching(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        await world.equal()
        backup = world.sandbox.cluster.backup()
        world.change()
        for number in range(20):
            world.put("changed", a=str(number))
        await world.equal()
        world.sandbox.cluster.restore(backup)
        await world.equal()
        world.change()
        await world.equal()


async def test_fault_26_etcd_restored_while_nobody_watched(world: World) -> None:
    backup = world.sandbox.cluster.backup()
    world.change()
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await world.state(CONFIG_MAPS, "live")
    world.sandbox.cluster.restore(backup)
    world.put("created", b="other")
    async with world.following(CONFIG_MAPS):
        await world.equal()
        world.change()
        await world.equal()


async def test_fault_26_etcd_restored_and_moved_on_while_nobody_watched(world: World) -> None:
    """No version tells: the cluster is beyond the checkpoint again. Only a comparison can see it."""
    backup = world.sandbox.cluster.backup()
    world.change()
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await world.state(CONFIG_MAPS, "live")
    before = world.sandbox.cluster.resource_version
    world.sandbox.cluster.restore(backup)
    world.put("untouched", b="at a version that another object had before")
    while world.sandbox.cluster.resource_version < before + 5:
        world.put("other", a=str(world.sandbox.cluster.resource_version))
    async with world.following(CONFIG_MAPS, reconcile_interval=0.3):
        await world.equal()
        assert (await world.watches(CONFIG_MAPS))[0].repairs > 0


async def test_fault_26_etcd_restored_to_other_contents_of_the_same_versions(world: World) -> None:
    """An object has another state under the very resourceVersion that is cached; that others went back tells."""
    backup = world.sandbox.cluster.backup()
    world.put("changed", a="lost")
    world.put("renewed", a="lost")
    world.put("untouched", a="lost")
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await world.state(CONFIG_MAPS, "live")
    before = world.sandbox.cluster.resource_version
    world.sandbox.cluster.restore(backup)
    world.put("changed", b="the same version, another state")
    while world.sandbox.cluster.resource_version < before + 5:
        world.put("other", a=str(world.sandbox.cluster.resource_version))
    async with world.following(CONFIG_MAPS, reconcile_interval=0.3):
        await world.equal()


async def test_fault_26_etcd_restored_in_the_middle_of_a_list(world: World) -> None:
    for number in range(700):
        world.put(f"many-{number:03}", a="1")
    backup = world.sandbox.cluster.backup()
    for number in range(0, 700, 2):
        world.put(f"many-{number:03}", a="2")
    world.change()
    world.sandbox.faults.no_streaming_lists()
    gate = world.sandbox.faults.hold(resource=CONFIG_MAPS, page=2)
    async with world.following(CONFIG_MAPS):
        await world.sees(gate.reached.is_set)
        world.sandbox.cluster.restore(backup)
        gate.release()
        await world.equal()


@pytest.mark.parametrize("known_before", [True, False])
async def test_fault_26_etcd_restored_after_a_list_was_broken_off(world: World, known_before: bool) -> None:
    """Rows are ahead of the checkpoint, or there is none yet; both are ahead of the cluster."""
    for number in range(700):
        world.put(f"many-{number:03}", a="1")
    if known_before:
        async with world.following(CONFIG_MAPS):
            await world.equal()
            await world.state(CONFIG_MAPS, "live")
    world.put("between")
    backup = world.sandbox.cluster.backup()
    for number in range(700):
        world.put(f"many-{number:03}", a="2")
    world.change()
    world.sandbox.cluster.compact()
    paged = world.sandbox.faults.no_streaming_lists()
    gate = world.sandbox.faults.hold(resource=CONFIG_MAPS, page=2)
    async with world.following(CONFIG_MAPS):
        await world.sees(gate.reached.is_set)
    world.sandbox.faults.remove(paged)
    gate.release()
    world.sandbox.cluster.restore(backup)
    world.put("many-000", a="3")
    async with world.following(CONFIG_MAPS):
        await world.equal()


async def test_fault_27_another_cluster_behind_the_url(world: World, listing: str) -> None:
    for number in range(30):
        world.put(f"old-{number}")
    async with world.following(CONFIG_MAPS):
        await world.equal()
        port = int(world.sandbox.url.rpartition(":")[2])
        await world.sandbox.stop()
        other = Cluster()
        async with Sandbox(port=port, cluster=other) as world.sandbox:
            if listing == "paged":
                world.sandbox.faults.no_streaming_lists()
            for number in range(100):  # its versions are beyond the checkpoint: nothing else gives it away
                world.put("new", a=str(number))
            await world.equal()
            world.put("newer")
            await world.equal()


async def test_fault_28_lagging_api_server(world: World) -> None:
    """Whatever a replica that is behind says, rows never go back."""
    patient = dataclasses.replace(FAST, lag=30.0)
    past = world.sandbox.cluster.resource_version
    newest: dict[str, int] = {}

    async def no_row_goes_back() -> None:
        for uid, row in (await world.cached(CONFIG_MAPS)).items():
            assert row["columns"][3] >= newest.get(uid, 0)
            newest[uid] = row["columns"][3]
        assert newest.keys() >= uids

    async def lag() -> None:
        behind = world.sandbox.faults.lagging(past, resource=CONFIG_MAPS, times=4)
        world.sandbox.faults.cut("abort", resource=CONFIG_MAPS)
        while behind.times:
            await no_row_goes_back()
            world.put("changed", b=str(behind.times))
            await asyncio.sleep(0)

    world.change()
    uids = set(world.served(CONFIG_MAPS))
    async with world.following(CONFIG_MAPS, timings=patient):
        await world.equal()
        await world.watching()
        await lag()
        assert "behind" in (await world.watches(CONFIG_MAPS))[0].error
        await world.equal()
        await no_row_goes_back()
    behind = world.sandbox.faults.lagging(past, resource=CONFIG_MAPS, times=4)
    world.put("changed", c="while nobody watched")
    async with world.following(CONFIG_MAPS, timings=patient):
        while behind.times:
            await no_row_goes_back()
        await world.equal()
        assert (await world.state(CONFIG_MAPS, "live")).lists == 1


@pytest.mark.parametrize(("where", "before_it"), [("probe", 1), ("list", 2)])
async def test_fault_28_lagging_api_server_when_everything_must_be_listed(
    world: World, where: str, before_it: int
) -> None:
    """The probe before the list, or the list itself, is answered by the replica that is behind."""
    patient = dataclasses.replace(FAST, lag=30.0)
    past = world.sandbox.cluster.resource_version
    if where == "list":
        world.sandbox.faults.no_streaming_lists()  # a streamed one always shows the present
    async with world.following(CONFIG_MAPS, timings=patient):
        world.change()
        await world.equal()
        await world.watching()
        before = await world.cached(CONFIG_MAPS)
        world.sandbox.faults.hold(resource=CONFIG_MAPS, times=before_it).release()
        gate = world.sandbox.faults.hold(resource=CONFIG_MAPS, times=1)
        world.sandbox.faults.expire(resource=CONFIG_MAPS)
        world.sandbox.faults.cut("abort", resource=CONFIG_MAPS)
        await world.sees(gate.reached.is_set)
        behind = world.sandbox.faults.lagging(past, resource=CONFIG_MAPS, times=4)
        gate.release()
        while behind.times:
            assert await world.cached(CONFIG_MAPS) == before
        await eventually(lambda: world.watches(CONFIG_MAPS), lambda rows: rows[0].lists == 2)
        await world.equal()


async def test_fault_39_versions_no_64_bit_number_holds(world: World) -> None:
    cluster = world.sandbox.cluster
    cluster.restore(dataclasses.replace(cluster.backup(), version=10**30))
    world.change()
    async with world.following(CONFIG_MAPS):
        await world.equal()
        world.change()
        await world.equal()
        await world.state(CONFIG_MAPS, "live")
    world.change()
    async with world.following(CONFIG_MAPS):
        await world.equal()
        assert (await world.state(CONFIG_MAPS, "live")).lists == 1
    rows = (await world.cached(CONFIG_MAPS)).values()
    assert max(row["columns"][3] for row in rows) > 10**30


async def test_fault_39_versions_no_64_bit_number_holds_since_they_are_none(world: World) -> None:
    world.sandbox.faults.opaque_versions()
    async with world.following(CONFIG_MAPS):
        await world.equal()
        world.change()
        await world.equal()
        await world.state(CONFIG_MAPS, "live")
    world.put("changed", a="while away")
    async with world.following(CONFIG_MAPS):
        await world.equal()
        assert (await world.state(CONFIG_MAPS, "live")).lists == 1


async def test_fault_39_versions_no_64_bit_number_holds_and_then_ones_that_are(world: World) -> None:
    """The server cannot even read the checkpoint."""
    world.sandbox.faults.opaque_versions()
    async with world.following(CONFIG_MAPS):
        await world.state(CONFIG_MAPS, "live")
    world.sandbox.faults.opaque_versions("")
    world.change()
    world.put("untouched", a="numbered")
    async with world.following(CONFIG_MAPS):
        await world.equal()


async def test_fault_40_empty_list_while_rows_exist(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        await world.equal()
    for name in ALL_NAMES:
        world.drop(name)
    world.sandbox.cluster.compact()
    async with world.following(CONFIG_MAPS):
        await world.equal()
    assert await world.all_cached() == {}


async def test_fault_40_empty_list_while_rows_exist_that_is_no_list(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        await world.equal()
    before = await world.cached(CONFIG_MAPS)
    world.put("created", a="1")
    world.sandbox.cluster.compact()
    body = '{"kind":"Status","metadata":{},"items":[]}'
    for verb in ("list", "watch"):
        world.sandbox.faults.refuse(200, verb=verb, resource=CONFIG_MAPS, body=body, content_type="application/json")
    async with world.following(CONFIG_MAPS):
        await eventually(lambda: world.watches(CONFIG_MAPS), lambda rows: "not a list" in rows[0].error)
        assert await world.cached(CONFIG_MAPS) == before
        world.sandbox.faults.clear()
        await world.equal()
