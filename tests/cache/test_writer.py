"""Writes: a row is what the API server last said, whatever order and however often it is said in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from presenter.cache.pool import Pool
from presenter.cache.writer import Writer
from presenter.errors import DatabaseUnavailable
from presenter.resource import Event, Object, Watch
from tests.cache.objects import PANELS, PODS, make_object
from tests.servers import Postgres


@pytest.fixture
async def watch(writer: Writer) -> Watch:
    await writer.open_cluster("cluster-uid", ["*.*"])
    [watch] = await writer.declare(PANELS)
    return watch


async def stored(pool: Pool) -> dict[str, int | None]:
    """resourceVersion by uid."""
    async with pool.connection() as connection:
        rows = await connection.fetch("SELECT uid, resource_version FROM resources")
    return {row["uid"]: None if row["resource_version"] is None else int(row["resource_version"]) for row in rows}


async def the_row(pool: Pool) -> Any:
    async with pool.connection() as connection:
        return await connection.fetchrow("SELECT * FROM resources")


def upsert(object: Object) -> Event:
    return Event("upsert", object)


def delete(object: Object) -> Event:
    return Event("delete", object)


async def load(writer: Writer, watch: Watch, objects: list[Object], resource_version: str) -> None:
    await writer.begin_list(watch)
    for at in range(0, len(objects), 2):
        await writer.list_page(watch, objects[at : at + 2])
    await writer.finish_list(watch, resource_version)


async def test_a_list_stores_what_it_names_and_sweeps_the_rest(writer: Writer, pool: Pool, watch: Watch) -> None:
    await load(writer, watch, [make_object(n) for n in (1, 2, 3)], "10")
    assert await stored(pool) == {make_object(n).uid: n + 1 for n in (1, 2, 3)}
    await load(writer, watch, [make_object(2), make_object(4)], "20")
    assert await stored(pool) == {make_object(n).uid: n + 1 for n in (2, 4)}
    assert await writer.checkpoint(watch) == "20"


async def test_an_empty_list_sweeps_everything(writer: Writer, pool: Pool, watch: Watch) -> None:
    await load(writer, watch, [make_object(n) for n in (1, 2, 3)], "10")
    await load(writer, watch, [], "11")
    assert await stored(pool) == {}


async def test_a_list_that_is_broken_off_sweeps_nothing(writer: Writer, pool: Pool, watch: Watch) -> None:
    await load(writer, watch, [make_object(n) for n in (1, 2, 3)], "10")
    await writer.begin_list(watch)
    await writer.list_page(watch, [make_object(1)])
    await load(writer, watch, [make_object(2)], "20")  # it names 2 alone: what the broken one named does not count
    assert await stored(pool) == {make_object(2).uid: 3}
    async with pool.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM listed") == 0


async def test_a_sweep_spares_what_was_written_after_the_list_was_taken(
    writer: Writer, pool: Pool, watch: Watch
) -> None:
    await writer.begin_list(watch)
    other = Writer(pool, "test")
    await other.apply(watch, [upsert(make_object(7, resource_version=50))], "50")
    await writer.finish_list(watch, "40")
    assert await stored(pool) == {make_object(7).uid: 50}


async def test_two_writers_that_list_at_once_do_not_sweep_each_others_rows(
    writer: Writer, pool: Pool, watch: Watch
) -> None:
    other = Writer(pool, "test")
    await writer.begin_list(watch)
    await writer.list_page(watch, [make_object(1)])
    await other.begin_list(watch)
    await other.list_page(watch, [make_object(1)])
    await writer.list_page(watch, [make_object(2)])
    await writer.finish_list(watch, "10")
    await other.list_page(watch, [make_object(2)])
    await other.finish_list(watch, "10")
    assert await stored(pool) == {make_object(n).uid: n + 1 for n in (1, 2)}


async def test_an_old_event_never_undoes_a_newer_state(writer: Writer, pool: Pool, watch: Watch) -> None:
    new, old = make_object(1, resource_version=20, name="new"), make_object(1, resource_version=10, name="old")
    await writer.apply(watch, [upsert(new)], "20")
    before = await the_row(pool)
    await writer.apply(watch, [upsert(old)], "20")
    await writer.apply(watch, [delete(old)], "20")
    assert await the_row(pool) == before


async def test_an_old_event_behind_a_newer_one_in_the_same_batch_changes_nothing(
    writer: Writer, pool: Pool, watch: Watch
) -> None:
    await writer.apply(watch, [upsert(make_object(1, resource_version=rv)) for rv in (10, 5)], "10")
    assert await stored(pool) == {make_object(1).uid: 10}


async def test_saying_the_same_again_changes_nothing(writer: Writer, pool: Pool, watch: Watch) -> None:
    await writer.apply(watch, [upsert(make_object(1))], "10")
    before = await the_row(pool)
    await writer.apply(watch, [upsert(make_object(1))], "10")
    await load(writer, watch, [make_object(1)], "11")
    assert await the_row(pool) == before


async def test_another_version_rewrites_the_body_at_an_equal_resource_version(
    writer: Writer, pool: Pool, watch: Watch
) -> None:
    await load(writer, watch, [make_object(1)], "10")
    [switched] = await writer.declare(replace(PANELS, version="v1", versions=("v1", "v1beta1")))
    assert await writer.checkpoint(switched) is None
    await load(writer, switched, [make_object(1, version="v1", raw={"apiVersion": "v1"})], "10")
    row = await the_row(pool)
    assert (row["version"], msgspec.json.decode(row["raw"])) == ("v1", {"apiVersion": "v1"})


async def test_delete_and_create_again_in_one_batch(writer: Writer, pool: Pool, watch: Watch) -> None:
    first = make_object(1, uid="first", name="same")
    await writer.apply(watch, [upsert(first)], "10")
    await writer.apply(
        watch,
        [
            delete(make_object(1, uid="first", name="same", resource_version=11)),
            upsert(make_object(1, uid="second", name="same", resource_version=12)),
        ],
        "12",
    )
    assert await stored(pool) == {"second": 12}
    await writer.apply(watch, [delete(make_object(1, uid="first", name="same", resource_version=11))], "12")
    assert await stored(pool) == {"second": 12}


async def test_versions_beyond_64_bits_are_compared_as_numbers(writer: Writer, pool: Pool, watch: Watch) -> None:
    huge = 10**38
    await writer.apply(watch, [upsert(make_object(1, resource_version=huge))], str(huge))
    await writer.apply(watch, [upsert(make_object(1, resource_version=9 * 10**37))], str(huge))
    assert await stored(pool) == {make_object(1).uid: huge}


async def test_versions_that_are_no_numbers_follow_the_stream(writer: Writer, pool: Pool, watch: Watch) -> None:
    def version(name: str) -> Object:
        return msgspec.structs.replace(make_object(1, name=name), resource_version=None)

    for name in ("b", "a"):
        await writer.apply(watch, [upsert(version(name))], f"opaque-{name}")
    assert (await the_row(pool))["name"] == "a"
    assert await writer.checkpoint(watch) == "opaque-a"
    await writer.apply(watch, [delete(version("a"))], "opaque-c")
    assert await stored(pool) == {}
    await writer.apply(watch, [upsert(version("b"))], "opaque-d")
    await load(writer, watch, [], "opaque-e")
    assert await stored(pool) == {}


async def test_a_new_epoch_lets_lower_versions_win(writer: Writer, pool: Pool, watch: Watch) -> None:
    await load(writer, watch, [make_object(1, resource_version=1000), make_object(2, resource_version=1001)], "1001")
    await writer.new_epoch(watch)
    assert await writer.checkpoint(watch) is None
    await load(writer, watch, [make_object(1, resource_version=5)], "6")
    assert await stored(pool) == {make_object(1).uid: 5}


async def test_another_cluster_behind_the_name_starts_over(writer: Writer, pool: Pool, watch: Watch) -> None:
    await load(writer, watch, [make_object(1, resource_version=1000)], "1001")
    await writer.open_cluster("cluster-uid", ["*.*"])
    assert await writer.checkpoint(watch) == "1001"
    await writer.open_cluster("another-uid", ["*.*"])
    assert await writer.checkpoint(watch) is None
    await load(writer, watch, [make_object(2, resource_version=3)], "4")
    assert await stored(pool) == {make_object(2).uid: 3}


async def test_watches_that_are_no_longer_wanted_go_with_their_rows(writer: Writer, pool: Pool, watch: Watch) -> None:
    await load(writer, watch, [make_object(n, namespace=f"ns-{n}") for n in (1, 2, 3)], "10")
    watches = await writer.declare(PANELS, ["ns-1", "ns-2"])
    assert [watch.namespace for watch in watches] == ["ns-1", "ns-2"]
    assert await stored(pool) == {make_object(n).uid: n + 1 for n in (1, 2)}
    await load(writer, watches[0], [], "20")
    assert await stored(pool) == {make_object(2).uid: 3}, "a list of one namespace sweeps that namespace only"


async def test_forgetting_a_type_leaves_the_others(writer: Writer, pool: Pool, watch: Watch) -> None:
    [pods] = await writer.declare(PODS)
    await load(writer, watch, [make_object(1)], "10")
    await load(writer, pods, [make_object(2)], "10")
    await writer.forget(PANELS)
    assert await stored(pool) == {make_object(2).uid: 3}
    assert await writer.known_types() == [PODS]


async def test_a_bookmark_moves_the_checkpoint_alone(writer: Writer, pool: Pool, watch: Watch) -> None:
    await load(writer, watch, [make_object(1)], "10")
    await writer.apply(watch, [], "15")
    assert await writer.checkpoint(watch) == "15"
    await writer.apply(watch, [upsert(make_object(2))], None)
    assert await writer.checkpoint(watch) == "15"
    assert len(await stored(pool)) == 2


async def test_updated_at_grows_with_every_commit(writer: Writer, pool: Pool, watch: Watch) -> None:
    for number in range(5):
        await writer.apply(watch, [upsert(make_object(number))], None)
    async with pool.connection() as connection:
        uids = await connection.fetch("SELECT uid FROM resources ORDER BY updated_at")
    assert [row["uid"] for row in uids] == [make_object(number).uid for number in range(5)]


async def test_events_and_checkpoint_are_committed_together_or_not_at_all(
    writer: Writer, pool: Pool, watch: Watch, postgres: Postgres, database: Any
) -> None:
    await writer.apply(watch, [upsert(make_object(1))], "10")
    async with pool.connection() as connection:
        await connection.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$"
        )
        await connection.execute(
            "CREATE TRIGGER refuse BEFORE UPDATE ON watches FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
    with pytest.raises(DatabaseUnavailable):
        await writer.apply(watch, [upsert(make_object(2))], "20")
    assert list(await stored(pool)) == [make_object(1).uid]
    assert await writer.checkpoint(watch) == "10"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_replayed_and_repeated_events_end_in_the_newest_state(
    writer: Writer, pool: Pool, watch: Watch, data: st.DataObject
) -> None:
    """A stream in order, cut into batches anywhere, with any stretch of it delivered again, as after a resume."""
    await load(writer, watch, [], "1000000")
    history = data.draw(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=25))
    events, truth = [], dict[str, int]()
    lives = [0, 0, 0, 0]
    for version, (which, is_delete) in enumerate(history, start=1):
        uid = f"{which}-{lives[which]}"
        object = make_object(which, uid=uid, resource_version=version)
        if is_delete and uid in truth:
            events.append(delete(object))
            del truth[uid]
            lives[which] += 1  # created again it has another uid
        else:
            events.append(upsert(object))
            truth[uid] = version
    done = 0
    while done < len(events):
        begin = data.draw(st.integers(max(0, done - 5), done))
        done = data.draw(st.integers(done + 1, len(events)))
        await writer.apply(watch, events[begin:done], str(done))
    replay = data.draw(st.integers(0, len(events)))
    await writer.apply(watch, events[replay:], str(len(events)))
    assert await stored(pool) == truth
