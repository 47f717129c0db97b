"""Writes: a row is what the API server last said, whatever order and however often it is said in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from presenter.cache import writes
from presenter.cache.pool import Address, Pool
from presenter.cache.tables import metadata
from presenter.cache.writer import Checkpoint, Writer
from presenter.errors import DatabaseUnavailable, LeaseLost
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
    assert await writer.checkpoint(watch) == Checkpoint("20")


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


async def test_a_list_that_was_begun_leaves_the_rows_served_and_the_checkpoint_inexact(
    writer: Writer, pool: Pool, watch: Watch
) -> None:
    await load(writer, watch, [make_object(1), make_object(2)], "10")
    await writer.begin_list(watch)
    await writer.list_page(watch, [make_object(1, resource_version=15)])
    after_a_crash = Writer(pool, "test")
    assert await after_a_crash.checkpoint(watch) == Checkpoint("10", exact=False)
    assert await stored(pool) == {make_object(1).uid: 15, make_object(2).uid: 3}
    async with pool.connection() as connection:
        assert await connection.fetchval("SELECT synced_at IS NOT NULL FROM watches")
    await load(after_a_crash, watch, [make_object(1, resource_version=15)], "20")
    assert await after_a_crash.checkpoint(watch) == Checkpoint("20")
    assert await stored(pool) == {make_object(1).uid: 15}


async def test_a_first_list_that_was_begun_leaves_no_checkpoint(writer: Writer, pool: Pool, watch: Watch) -> None:
    await writer.begin_list(watch)
    await writer.list_page(watch, [make_object(1)])
    assert await Writer(pool, "test").checkpoint(watch) is None


async def test_a_list_of_older_versions_than_those_stored_wins(writer: Writer, pool: Pool, watch: Watch) -> None:
    before = {0: 4, 1: 1001, 2: 1002, 3: 5, 4: 1004}
    after = {0: 4, 1: 7, 2: 8, 3: 5}
    await load(writer, watch, [make_object(n, resource_version=rv) for n, rv in before.items()], "1010")
    with pytest.raises(DatabaseUnavailable, match="went back"):
        await load(writer, watch, [make_object(n, resource_version=rv) for n, rv in after.items()], "9")
    await load(writer, watch, [make_object(n, resource_version=rv) for n, rv in after.items()], "9")
    assert await stored(pool) == {make_object(n).uid: rv for n, rv in after.items()}
    await writer.apply(watch, [upsert(make_object(n, resource_version=20 + n)) for n in after], "30")
    assert await stored(pool) == {make_object(n).uid: 20 + n for n in after}


async def test_a_list_of_which_postgresql_has_lost_a_part_sweeps_nothing(
    writer: Writer, pool: Pool, watch: Watch
) -> None:
    await load(writer, watch, [make_object(n) for n in (1, 2, 3)], "10")
    await writer.begin_list(watch)
    await writer.list_page(watch, [make_object(1), make_object(2)])
    async with pool.connection() as connection:
        await connection.execute("TRUNCATE listed")  # as a crash does, since the table is not logged
    await writer.list_page(watch, [make_object(3)])
    before = await contents(pool)
    with pytest.raises(DatabaseUnavailable):
        await writer.finish_list(watch, "20")
    assert await contents(pool) == before
    await load(writer, watch, [make_object(2)], "20")
    assert await stored(pool) == {make_object(2).uid: 3}


async def test_objects_come_and_go_within_a_list_that_is_a_stream(writer: Writer, pool: Pool, watch: Watch) -> None:
    await load(writer, watch, [make_object(n) for n in (1, 2, 3, 4)], "10")
    gone, again = make_object(2, resource_version=11), make_object(2, uid="again", resource_version=12)
    await writer.begin_list(watch)
    await writer.list_events(watch, [upsert(make_object(1)), upsert(make_object(2))])
    await writer.list_events(watch, [delete(gone), upsert(again), upsert(make_object(3, resource_version=13))])
    await writer.list_events(watch, [upsert(make_object(5)), delete(make_object(5, resource_version=14))])
    await writer.list_events(watch, [delete(make_object(6, resource_version=15))])
    await writer.finish_list(watch, "20")
    assert await stored(pool) == {make_object(1).uid: 2, "again": 12, make_object(3).uid: 13}


async def contents(pool: Pool) -> dict[str, list[Any]]:
    """Every row of every table."""
    async with pool.connection() as connection:
        return {
            table: [row[0] for row in await connection.fetch(f"SELECT t::text FROM {table} t ORDER BY 1")]
            for table in metadata.tables
        }


WRITES: dict[str, Callable[[Writer, Watch], Awaitable[object]]] = {
    "open_cluster": lambda writer, _: writer.open_cluster("another-uid", []),
    "declare": lambda writer, _: writer.declare(PODS),
    "forget": lambda writer, watch: writer.forget(watch.type),
    "discovered": lambda writer, _: writer.discovered(),
    "set_state": lambda writer, watch: writer.set_state(watch, "error", "broken"),
    "new_epoch": lambda writer, watch: writer.new_epoch(watch),
    "count_repairs": lambda writer, watch: writer.count_repairs(watch, 1),
    "begin_list": lambda writer, watch: writer.begin_list(watch),
    "list_page": lambda writer, watch: writer.list_page(watch, [make_object(2)]),
    "list_events": lambda writer, watch: writer.list_events(watch, [delete(make_object(1, resource_version=3))]),
    "finish_list": lambda writer, watch: writer.finish_list(watch, "12"),
    "apply": lambda writer, watch: writer.apply(watch, [upsert(make_object(3))], "12"),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_who_has_lost_the_lease_writes_nothing(
    writer: Writer, pool: Pool, watch: Watch, write: Callable[[Writer, Watch], Awaitable[object]]
) -> None:
    await load(writer, watch, [make_object(1)], "10")
    async with pool.connection() as connection:
        await connection.execute("INSERT INTO leases VALUES ('test', 1, 'first', now() + interval '1 hour')")
        former = await _listing(Writer(pool, "test", epoch=1), watch)
        await connection.execute("UPDATE leases SET epoch = 2, holder = 'second'")
    before = await contents(pool)
    with pytest.raises(LeaseLost):
        await write(former, watch)
    assert await contents(pool) == before
    await write(await _listing(Writer(pool, "test", epoch=2), watch), watch)
    assert await contents(pool) != before, "what is refused is no empty write"


async def _listing(writer: Writer, watch: Watch) -> Writer:
    await writer.begin_list(watch)
    await writer.set_state(watch, "pending")
    return writer


_PLANS = "SELECT custom_plans, generic_plans FROM pg_prepared_statements WHERE statement LIKE '%last_event_at%'"


async def test_an_event_is_planned_once_and_for_all(database: Address) -> None:
    """After a first list the planner knows of no rows yet: for one without deletions it might look at them all."""
    async with Pool.opened(database, size=1, **writes.PLANNING) as pool:
        writer = Writer(pool, "test")
        await writer.open_cluster("cluster-uid", ["*.*"])
        [watch] = await writer.declare(PANELS)
        await writer.begin_list(watch)
        await writer.list_page(watch, [make_object(number) for number in range(1, 10)])
        await writer.finish_list(watch, "10")
        for version in range(11, 14):
            event = Event("upsert", make_object(1, resource_version=version))
            await writer.apply(watch, [event], str(version))
        async with pool.connection() as connection:
            plans = {(row["custom_plans"], row["generic_plans"]) for row in await connection.fetch(_PLANS)}
    assert plans == {(0, 1), (0, 3)}, "of the end of the list, and of the events"


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
    assert await writer.checkpoint(watch) == Checkpoint("opaque-a")
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
    assert await writer.checkpoint(watch) == Checkpoint("1001")
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
    assert await writer.checkpoint(watch) == Checkpoint("15")
    await writer.apply(watch, [upsert(make_object(2))], None)
    assert await writer.checkpoint(watch) == Checkpoint("15")
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
    assert await writer.checkpoint(watch) == Checkpoint("10")


@pytest.mark.parametrize("found", ["5", "15", None])
async def test_a_database_that_is_not_where_it_was_left_is_not_written_to(
    writer: Writer, pool: Pool, watch: Watch, found: str | None
) -> None:
    await load(writer, watch, [make_object(1)], "10")
    async with pool.connection() as connection:  # as a failover that lost commits, or a commit whose answer got lost
        await connection.execute("UPDATE watches SET checkpoint = $1", found)
    before = await contents(pool)
    with pytest.raises(DatabaseUnavailable):
        await writer.apply(watch, [upsert(make_object(2)), delete(make_object(1, resource_version=20))], "20")
    assert await contents(pool) == before
    assert await writer.checkpoint(watch) == (None if found is None else Checkpoint(found))
    await writer.apply(watch, [upsert(make_object(2))], "20")
    assert await writer.checkpoint(watch) == Checkpoint("20")
    assert make_object(2).uid in await stored(pool)


async def counters(pool: Pool, watch: Watch) -> dict[str, int]:
    async with pool.connection() as connection:
        [row] = await connection.fetch(
            "SELECT objects, events, lists, repairs, sanitised FROM watches WHERE type_id = $1 AND namespace = $2",
            watch.type_id,
            watch.namespace,
        )
    return dict(row)


async def test_what_happens_is_counted_for_each_watch(writer: Writer, pool: Pool, watch: Watch) -> None:
    first, second = await writer.declare(PANELS, ["ns-1", "ns-2"])
    marked = msgspec.structs.replace(make_object(1, namespace="ns-1"), sanitised=True)
    await load(writer, first, [marked, make_object(2, namespace="ns-1"), make_object(3, namespace="ns-1")], "10")
    assert await counters(pool, first) == {"objects": 3, "events": 0, "lists": 1, "repairs": 0, "sanitised": 1}
    await load(writer, first, [marked, make_object(2, namespace="ns-1")], "11")
    assert await counters(pool, first) == {"objects": 2, "events": 0, "lists": 2, "repairs": 0, "sanitised": 1}
    events = [upsert(make_object(4, namespace="ns-1")), delete(make_object(2, namespace="ns-1", resource_version=12))]
    await writer.apply(first, [*events, *events], "12", unreadable=3)
    await writer.count_repairs(first, 7)
    assert await counters(pool, first) == {"objects": 2, "events": 7, "lists": 2, "repairs": 7, "sanitised": 4}
    assert await counters(pool, second) == dict.fromkeys(("objects", "events", "lists", "repairs", "sanitised"), 0)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_whatever_happened_the_newest_state_is_stored_and_counted(
    writer: Writer, pool: Pool, watch: Watch, data: st.DataObject
) -> None:
    """A stream in order, cut into batches anywhere, with any stretch of it delivered again, as after a resume.

    Between batches it is listed, as pages or as a stream, to the end or not.
    """
    await load(writer, watch, [], "1000000")
    before = await counters(pool, watch)
    history = data.draw(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=25))
    states = [dict[str, Object]()]
    events = []
    lives = [0, 0, 0, 0]
    for version, (which, is_delete) in enumerate(history, start=1):
        uid = f"{which}-{lives[which]}"
        object = make_object(which, uid=uid, resource_version=version)
        if is_delete and uid in states[-1]:
            events.append(delete(object))
            states.append({known: state for known, state in states[-1].items() if known != uid})
            lives[which] += 1  # created again it has another uid
        else:
            events.append(upsert(object))
            states.append(states[-1] | {uid: object})
    done = applied = lists = 0
    while done < len(events):
        begin = data.draw(st.integers(max(0, done - 5), done))
        done = data.draw(st.integers(done + 1, len(events)))
        await writer.apply(watch, events[begin:done], str(done))
        applied += done - begin
        match data.draw(st.sampled_from(["no list", "pages", "stream", "broken off"])):
            case "pages":
                await load(writer, watch, list(states[done].values()), str(done))
                lists += 1
            case "stream":
                since = data.draw(st.integers(max(0, done - 5), done))
                await writer.begin_list(watch)
                await writer.list_events(watch, [*map(upsert, states[since].values()), *events[since:done]])
                await writer.finish_list(watch, str(done))
                lists += 1
            case "broken off":
                await writer.begin_list(watch)
                await writer.list_page(watch, list(states[done].values())[:2])
    replay = data.draw(st.integers(0, len(events)))
    await writer.apply(watch, events[replay:], str(len(events)))
    truth = states[-1]
    assert await stored(pool) == {uid: object.resource_version for uid, object in truth.items()}
    assert await counters(pool, watch) == before | {
        "objects": len(truth),
        "events": before["events"] + applied + len(events) - replay,
        "lists": before["lists"] + lists,
    }


# What each transaction did to rows, and which revision it wrote on them and on the watches.
_JOURNAL = """
CREATE TABLE journal (number bigserial, tx bigint DEFAULT txid_current(), what text, revision bigint);
CREATE FUNCTION journal() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO journal (what) VALUES ('gone');
        RETURN OLD;
    END IF;
    IF TG_TABLE_NAME = 'watches' THEN
        IF NEW.revision <> OLD.revision THEN
            INSERT INTO journal (what, revision) VALUES ('watch', NEW.revision);
        END IF;
    ELSE
        INSERT INTO journal (what, revision) VALUES ('row', NEW.revision);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER journal AFTER INSERT OR UPDATE OR DELETE ON resources FOR EACH ROW EXECUTE FUNCTION journal();
CREATE TRIGGER journal AFTER UPDATE ON watches FOR EACH ROW EXECUTE FUNCTION journal();
"""
_DONE = "SELECT tx, what, revision FROM journal ORDER BY number"


async def test_every_transaction_that_changes_rows_has_the_next_revision(
    writer: Writer, pool: Pool, watch: Watch
) -> None:
    async with pool.connection() as connection:
        await connection.execute(_JOURNAL)
    refused = msgspec.structs.replace(make_object(7, resource_version=17), raw=b'{"metadata":{},"data":1e200000}')
    await load(writer, watch, [make_object(n) for n in (1, 2, 3)], "10")
    await load(writer, watch, [make_object(2, resource_version=11), make_object(4)], "12")  # some changed, some swept
    await writer.begin_list(watch)
    await writer.list_events(watch, [upsert(make_object(5)), upsert(make_object(2, resource_version=11))])
    await writer.list_events(watch, [delete(make_object(5, resource_version=13))])
    await writer.finish_list(watch, "13")
    await writer.apply(watch, [upsert(make_object(6)), delete(make_object(2, resource_version=14))], "14")
    await writer.apply(watch, [], "15")
    await writer.apply(watch, [upsert(make_object(8)), upsert(refused)], "17")
    another = Writer(pool, "test")
    await another.apply(watch, [upsert(make_object(6, resource_version=18))], "18")
    await load(another, watch, [msgspec.structs.replace(refused, resource_version=19)], "20")
    await another.apply(watch, [upsert(make_object(n, namespace=f"ns-{n}")) for n in (1, 2)], "21")
    await another.declare(PANELS, ["ns-1"])

    done: dict[int, list[tuple[str, int]]] = {}
    async with pool.connection() as connection:
        for tx, what, revision in await connection.fetch(_DONE):
            done.setdefault(tx, []).append((what, revision))
    revisions: list[int] = []
    for changes in done.values():
        [revision] = {revision for what, revision in changes if what == "watch"}
        assert {revision for what, revision in changes if what == "row"} <= {revision}
        revisions.append(revision)
    assert revisions == sorted(set(revisions)), "they grow in the order of commits"
    gone = sum(what == "gone" for changes in done.values() for what, _ in changes)
    assert gone == 9, "five were swept, two deleted, two dropped with their namespaces"
