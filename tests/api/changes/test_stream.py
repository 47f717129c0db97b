"""`GET /changes`: what is told of what happens, and how a stream begins, goes on and ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import urlencode

import pytest

from presenter.access import identity
from presenter.access.identity import sign
from presenter.api.changes import reading, stream
from presenter.cache.pool import Address, Pool
from presenter.http import connection
from tests.api.changes.conftest import Source
from tests.api.changes.follower import following
from tests.api.service import KEY, Reply, Service, as_text, serving
from tests.api.test_guards import ask, connected, received
from tests.api.world import BUTTONS, CONFIG_MAPS, WIDGETS
from tests.eventually import eventually

ALL: dict[str, Any] = {"group": WIDGETS, "namespace": "*"}
PANELS_ONLY: dict[str, Any] = {"group": WIDGETS, "resource": "panels"}
HOUR = timedelta(hours=1)
FOR_ALL = 'presenter_changes_batches_total{for="all"}'
FOR_THOSE_BEHIND = 'presenter_changes_batches_total{for="behind"}'


def bearer(user: str, ttl: timedelta = HOUR) -> dict[str, str]:
    return {"Authorization": f"Bearer {sign(KEY, user, [], ttl)}"}


async def item(service: Service, name: str, **parameters: object) -> Any:
    """An object as a list gives it."""
    [found] = (await service.page(**PANELS_ONLY, name=name, **parameters)).items
    return found


# -- what is told ------------------------------------------------------------------------------------------------------


async def test_what_comes_changes_and_goes_is_told_with_the_item_of_a_list(service: Service, source: Source) -> None:
    async with following(service, **PANELS_ONLY) as (told, _):
        await source.put("new")
        added = await told.event()
        assert (added.what, added.data) == (("ADDED", "new"), await item(service, "new"))
        await source.put("a")
        modified = await told.event()
        assert (modified.what, modified.data) == (("MODIFIED", "a"), await item(service, "a"))
        before = await item(service, "b")
        await source.delete("b")
        deleted = await told.event()
        assert (deleted.what, deleted.data) == (("DELETED", "b"), before)


@pytest.mark.parametrize("documents", [{"raw": True}, {"status_raw": True}, {"raw": True, "status_raw": True}])
async def test_documents_are_those_of_a_list(service: Service, source: Source, documents: dict[str, Any]) -> None:
    async with following(service, **PANELS_ONLY, **documents) as (told, _):
        await source.put("a", status={"ready": True})
        assert (await told.event()).data == await item(service, "a", **documents)


async def test_what_happened_before_is_not_told(service: Service, source: Source) -> None:
    await source.put("a")
    async with following(service, **PANELS_ONLY) as (told, _):
        await source.put("b")
        assert (await told.event()).what == ("MODIFIED", "b")


async def test_what_stops_matching_is_deleted(service: Service, source: Source) -> None:
    async with following(service, **PANELS_ONLY, labels={"tier": "gold"}) as (told, _):
        await source.put("a", labels={"tier": "gold", "page": "x"})
        assert (await told.event()).what == ("ADDED", "a")
        await source.put("a", labels={"tier": "gold"})
        assert (await told.event()).what == ("MODIFIED", "a")
        await source.put("a", labels={"tier": "silver"})
        assert (await told.event()).what == ("DELETED", "a")
        await source.put("a", labels={"tier": "bronze"})
        await source.put("b", labels={"tier": "gold"})
        assert (await told.event()).what == ("ADDED", "b")


@pytest.mark.parametrize(
    "filters",
    [
        {"name": "mine"},
        {"name_contains": "MIN"},
        {"namespace": "team-a"},
        {"composition_id": "3f0c1d8e-7a53-4d6f-9b2e-5c1a7e9d4b60"},
        {"labels": {"tier": "gold"}},
        {"cluster": "test", "name": "mine"},
        {"version": "v1beta1", "name": "mine"},
    ],
    ids=lambda filters: next(iter(filters)),
)
async def test_only_what_matches_is_told(service: Service, source: Source, filters: dict[str, Any]) -> None:
    async with following(service, **{"namespace": "*", **PANELS_ONLY, **filters}) as (told, _):
        await source.put("other")
        more: dict[str, Any] = {"composition_id": filters.get("composition_id")}
        await source.put("mine", namespace="team-a", labels={"tier": "gold"}, **more)
        assert (await told.event()).what == ("ADDED", "mine")


async def test_an_empty_label_set_matches_all(service: Service, source: Source) -> None:
    async with following(service, **PANELS_ONLY, labels={}) as (told, _):
        await source.put("a")
        assert (await told.event()).what == ("MODIFIED", "a")


async def test_another_type_is_not_told(service: Service, source: Source) -> None:
    await source.declare(CONFIG_MAPS)
    async with following(service, group="core", namespace="*") as (told, _):
        await source.put("a")
        await source.put("map", type=CONFIG_MAPS)
        assert (await told.event()).what == ("ADDED", "map")


async def test_a_type_that_is_new_belongs_to_its_group(service: Service, source: Source) -> None:
    async with following(service, **ALL) as (told, _):
        await source.declare(BUTTONS)
        await source.put("ok", type=BUTTONS)
        added = await told.event()
        assert (added.what, added.data["resource"]) == (("ADDED", "ok"), "buttons")
        await source.forget(BUTTONS)
        deleted = await told.event()
        assert (deleted.what, deleted.data["resource"]) == (("DELETED", "ok"), "buttons")
        await source.put("a")
        assert (await told.event()).what == ("MODIFIED", "a")


async def test_lines_within_an_object_are_one_line_of_the_stream(service: Service, source: Source) -> None:
    pretty = json.dumps({"metadata": {"name": "a", "resourceVersion": "7"}, "spec": {"text": "x\ny"}}, indent=1)
    async with following(service, **PANELS_ONLY, raw=True) as (told, _):
        await source.put("a", raw=json.loads(pretty))
        assert (await told.event()).data["raw"]["spec"] == {"text": "x\ny"}


# -- positions ---------------------------------------------------------------------------------------------------------


async def test_it_goes_on_from_a_position(service: Service, source: Source) -> None:
    async with following(service, **PANELS_ONLY) as (told, begun):
        await source.put("a")
        last = await told.event()
        assert last.id is not None
    await source.put("b")
    await source.delete("c")
    for given in ({"headers": {"Last-Event-ID": last.id}}, {"since_revision": last.id}):
        async with following(service, **PANELS_ONLY, **given) as (told, position):
            assert position == last.id
            assert [(await told.event()).what for _ in range(2)] == [("MODIFIED", "b"), ("DELETED", "c")]
    async with following(service, headers={"Last-Event-ID": last.id}, **PANELS_ONLY, since_revision=begun) as (told, _):
        assert (await told.event()).what == ("MODIFIED", "b"), "a browser that comes again has the old one in its URL"


async def test_a_plain_revision_is_a_position_of_one_cluster(service: Service, source: Source) -> None:
    async with following(service, **PANELS_ONLY) as (_, begun):
        pass
    await source.put("a")
    async with following(service, **ALL, since_revision=begun.partition("-")[0]) as (told, _):
        assert (await told.event()).what == ("MODIFIED", "a")


async def test_what_came_and_went_meanwhile_is_deleted(service: Service, source: Source) -> None:
    """Who was told of a part of a batch, or has listed on several pages, may have seen it."""
    async with following(service, **PANELS_ONLY, labels={"tier": "gold"}) as (_, begun):
        pass
    await source.put("passing", labels={"tier": "gold"})
    await source.delete("passing", labels={"tier": "gold"})
    await source.put("a", labels={"tier": "gold"})
    await source.put("a", labels={"tier": "silver"})
    await source.put("b", labels={"tier": "silver"})
    await source.put("c", labels={"tier": "gold"})
    async with following(service, **PANELS_ONLY, labels={"tier": "gold"}, since_revision=begun) as (told, _):
        whats = {(await told.event()).what for _ in range(3)}
    assert whats == {("DELETED", "passing"), ("DELETED", "a"), ("ADDED", "c")}


@pytest.mark.parametrize(
    "parameters", [PANELS_ONLY, ALL, {**PANELS_ONLY, "labels": {"tier": "gold"}}, {"group": WIDGETS, "cluster": "test"}]
)
async def test_a_list_says_where_its_changes_are_followed_from(
    service: Service, source: Source, parameters: dict[str, Any]
) -> None:
    listed = await service.page(**parameters, sort_by="name", limit=1)
    await source.put("a", labels={"tier": "gold"})
    posted = await service.post(parameters)
    async with following(service, **parameters, since_revision=listed.headers["X-Cache-Position"]) as (told, _):
        assert (await told.event()).name == "a"
    async with following(service, **parameters, since_revision=posted.headers["X-Cache-Position"]) as (told, _):
        await source.put("b", labels={"tier": "gold"})
        assert (await told.event()).name == "b"


async def test_a_list_of_what_changed_since_a_time_is_not_followed(service: Service) -> None:
    reply = await service.page(**PANELS_ONLY, since="2026-03-01T10:00:00Z")
    assert "X-Cache-Position" not in reply.headers


async def test_only_the_last_event_of_a_batch_has_a_position(service: Service, source: Source) -> None:
    async with following(service, **PANELS_ONLY) as (told, _):
        await source.put("x", "y", "z")
        events = [await told.event() for _ in range(3)]
        assert [event.id is not None for event in events] == [False, False, True]


@pytest.mark.parametrize("given", ["nonsense", "12-34", "1.2", "-1", "99999999999999999999"])
async def test_a_malformed_position_is_refused(service: Service, given: str) -> None:
    for reply in (
        await service.get(f"/changes?group={WIDGETS}&since_revision={given}"),
        await service.get(f"/changes?group={WIDGETS}", **{"Last-Event-ID": given}),
    ):
        assert given in reply.failure(400)


@pytest.mark.parametrize("other", [{"labels": {"a": "b"}}, {"name": "a"}, {"namespace": "*"}, {"resource": ""}])
async def test_a_position_of_other_filters_is_told_to_list_again(service: Service, other: dict[str, Any]) -> None:
    async with following(service, **PANELS_ONLY) as (_, begun):
        pass
    reply = await changes(service, **{**PANELS_ONLY, **other}, since_revision=begun)
    assert "list again" in reply.failure(410)
    assert reply.json["reason"] == "Expired"


async def changes(service: Service, headers: Mapping[str, str] | None = None, **parameters: object) -> Reply:
    """A stream that is expected to be refused, and would soon end otherwise."""
    query = urlencode({name: as_text(value) for name, value in {"limit_seconds": 1, **parameters}.items()})
    return await service.send("GET", f"/changes?{query}", headers=service.authorization | dict(headers or {}))


async def test_a_position_that_is_too_old_is_told_before_the_stream_begins(
    service: Service, source: Source, pool: Pool
) -> None:
    async with following(service, **PANELS_ONLY) as (_, begun):
        pass
    await source.put("a")
    await forget_what_was(pool)
    assert "is not known" in (await changes(service, **PANELS_ONLY, since_revision=begun)).failure(410)


async def forget_what_was(pool: Pool) -> None:
    """As retention does."""
    async with pool.connection() as connection:
        await connection.execute("UPDATE clusters SET feed_begins = revision")


# -- how it begins -----------------------------------------------------------------------------------------------------


async def test_it_is_for_nobody_to_keep_or_to_buffer(service: Service) -> None:
    async with following(service, **PANELS_ONLY) as (told, _):
        headers = told.headers
    assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Accel-Buffering"] == "no"
    assert "Content-Encoding" not in headers
    assert "Server-Timing" not in headers


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ("namespace=*", 400, "group is missing"),
        (f"group={WIDGETS}&since=2026-03-01T10:00:00Z", 400, "allowed is since_revision"),
        (f"group={WIDGETS}&limit_seconds=0", 400, "limit_seconds is '0': allowed is a whole number from 1 to 86400"),
        (f"group={WIDGETS}&limit=5", 400, "there is no parameter 'limit'"),
        (f"group={WIDGETS}&name=a&name_contains=b", 400, "allowed is one of the two"),
        ("group=apps", 404, "is not cached"),
        (f"group={WIDGETS}&version=v9", 404, "v9"),
    ],
)
async def test_what_a_list_refuses_is_refused(service: Service, query: str, code: int, message: str) -> None:
    assert message in (await service.get(f"/changes?{query}")).failure(code)


async def test_who_is_nobody_is_refused(service: Service) -> None:
    (await service.send("GET", f"/changes?group={WIDGETS}")).failure(401)


async def test_who_takes_no_events_is_told_so(service: Service) -> None:
    reply = await service.get(f"/changes?group={WIDGETS}", Accept="application/json")
    assert "text/event-stream" in reply.failure(406)


async def test_a_type_that_does_not_exist_yet_is_waited_for(service: Service, source: Source) -> None:
    async with following(service, group=WIDGETS, resource="buttons", namespace="*") as (told, _):
        assert "buttons" in told.headers["Warning"]
        await source.declare(BUTTONS)
        await source.put("ok", type=BUTTONS)
        assert (await told.event()).what == ("ADDED", "ok")


# -- what may be seen --------------------------------------------------------------------------------------------------


async def test_only_what_may_be_seen_is_told(service: Service, source: Source) -> None:
    await only_in_team_a(source)
    async with following(service, **ALL, headers=bearer("bob")) as (told, _):
        await source.put("hidden")
        await source.put("seen", namespace="team-a")
        assert (await told.event()).what == ("ADDED", "seen")
    await source.rules.remove("RoleBinding", "team-a", "team-a")
    await eventually(partial(refusal, service), lambda refused: refused.code != 200)
    assert "bob" in (await refusal(service)).failure(403)


async def refusal(service: Service, **parameters: object) -> Reply:
    """What bob is told when he wants to follow everything: at once, or soon, when it is known what he may see."""
    return await changes(service, bearer("bob"), **ALL, **parameters)


async def only_in_team_a(source: Source) -> None:
    """Nobody may see anything, but in one namespace, where bob may."""
    await source.rules.remove("ClusterRoleBinding", "everybody")
    await source.rules.bind("team-a", "everything", ("User", "bob"), namespace="team-a")


@pytest.mark.parametrize("change", ["more", "less", "nothing"])
async def test_who_may_see_something_else_is_told_to_list_again(service: Service, source: Source, change: str) -> None:
    await only_in_team_a(source)
    await source.rules.bind("more", "everything", ("User", "bob"), namespace="team-b")
    async with following(service, **ALL, headers=bearer("bob")) as (told, begun):
        if change == "more":
            await source.rules.bind("even-more", "everything", ("User", "bob"), namespace="default")
        else:
            await source.rules.remove("RoleBinding", "more", "team-b")
        if change == "nothing":
            await source.rules.remove("RoleBinding", "team-a", "team-a")
        await source.put("a")
        type, status = await told.end()
        assert (type, status["code"], status["reason"]) == ("expired", 410, "Expired")
        assert "list again" in status["message"]
    (await refusal(service, since_revision=begun)).failure(403 if change == "nothing" else 410)


async def test_the_rights_of_others_are_nobodys_business(service: Service, source: Source) -> None:
    async with following(service, **ALL) as (told, _):
        await source.rules.bind("others", "everything", ("User", "bob"), namespace="team-a")
        await source.put("a")
        assert (await told.event()).what == ("MODIFIED", "a")


async def test_it_ends_when_the_token_expires(
    service: Service, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "LEEWAY_SECONDS", 0)
    monkeypatch.setattr(stream, "LOOKS", 0.1)
    headers = bearer("alice", timedelta(seconds=2))
    async with following(service, **PANELS_ONLY, headers=headers) as (told, _):
        type, status = await told.end()
        assert (type, status["code"], status["message"]) == ("end", 401, "the token has expired")


# -- how it ends -------------------------------------------------------------------------------------------------------


async def test_it_ends_after_the_time_that_the_caller_sets(service: Service, source: Source) -> None:
    async with following(service, **PANELS_ONLY, limit_seconds=1) as (told, _):
        type, status = await told.end()
        assert (type, status["status"], status["message"]) == ("end", "Success", "limit_seconds have passed")
    await source.put("a")
    assert (await service.get("/livez")).code == 200, "the connection is used again"


async def test_while_nothing_happens_the_position_is_told(
    service: Service, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT", 0.2)
    async with following(service, **PANELS_ONLY, name="a") as (told, begun):
        beat = await told.next()
        assert beat is not None
        assert (beat.data, beat.id) == (None, begun)
        await source.put("b")
        beats = [await told.next() for _ in range(5)]
        assert all(each is not None and each.data is None for each in beats)
        assert beats[-1] is not None
        assert beats[-1].id != begun, "what is not told moves the position, too"


async def test_it_ends_with_the_service(database: Address, source: Source) -> None:
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(serving(database))
        told, _ = await stack.enter_async_context(following(service, **PANELS_ONLY))
        ending = asyncio.create_task(told.end())
        running = [task for task in asyncio.all_tasks() if task.get_name() == "changes"]
        running[0].cancel()
        type, status = await ending
        assert (type, status["code"]) == ("end", 503)


async def test_what_the_database_has_lost_is_told(service: Service, source: Source, pool: Pool) -> None:
    async with following(service, **PANELS_ONLY) as (told, _):
        await source.put("a")
        await told.event()
        async with pool.connection() as connection:
            await connection.execute("UPDATE clusters SET revision = revision - 1")
        type, status = await told.end()
        assert (type, status["code"]) == ("expired", 410)


async def test_a_database_that_is_away_is_waited_for(service: Service, source: Source, pool: Pool) -> None:
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> $1"
    async with following(service, **PANELS_ONLY) as (told, _):
        async with pool.connection() as connection:
            await connection.execute(kill, connection.get_server_pid())
        await source.put("a")
        assert (await told.event()).what == ("MODIFIED", "a")


# -- bounds ------------------------------------------------------------------------------------------------------------


async def test_more_streams_than_may_be_are_refused_and_pages_are_not(database: Address, source: Source) -> None:
    async with serving(database, MAX_STREAMS="2") as service:
        async with following(service, **PANELS_ONLY), following(service, **PANELS_ONLY):
            refused = await changes(service, **PANELS_ONLY)
            assert "MAX_STREAMS" in refused.failure(429)
            assert int(refused.headers["Retry-After"]) > 0
            assert (await service.page(**PANELS_ONLY)).code == 200
        await eventually(partial(metric, service, "presenter_changes_streams"), lambda open: open == 0)
        async with following(service, **PANELS_ONLY):
            pass


async def metric(service: Service, name: str) -> float:
    """One of the numbers that /metrics tells."""
    lines = (await service.get("/metrics")).body.decode().splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == name), 0.0)


async def test_many_streams_share_one_reading(service: Service, source: Source) -> None:
    async with AsyncExitStack() as open:
        streams = [(await open.enter_async_context(following(service, **PANELS_ONLY)))[0] for _ in range(20)]
        before, behind = await metric(service, FOR_ALL), await metric(service, FOR_THOSE_BEHIND)
        assert await metric(service, "presenter_changes_streams") == 20
        await source.put("a")
        assert {(await told.event()).what for told in streams} == {("MODIFIED", "a")}
        assert await metric(service, FOR_ALL) == before + 1
        assert await metric(service, FOR_THOSE_BEHIND) == behind


async def test_who_does_not_read_is_cut_off(service: Service, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "PATIENCE", 0.5)
    slow = 'presenter_changes_streams_ended_total{reason="slow"}'
    before = await metric(service, slow)
    async with connected(service) as caller, following(service, **PANELS_ONLY, raw=True) as (told, _):
        await ask(service, caller, f"/changes?group={WIDGETS}&raw=true")
        assert await received(caller) == b"HTTP/1.1 200"
        large = {"metadata": {"name": "a", "resourceVersion": "2"}, "spec": {"text": "x" * 5_000_000}}
        await source.put("a", raw=large)
        assert (await told.event()).what == ("MODIFIED", "a"), "others are not kept waiting"
        await eventually(partial(metric, service, slow), lambda count: count == before + 1)
    assert b'presenter_http_errors_total{reason="ReadTooSlowly"} 1.0' in (await service.get("/metrics")).body


async def test_who_waits_for_long_is_not_slow(
    service: Service, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "RATE_WINDOW", 0.1)
    monkeypatch.setattr(stream, "HEARTBEAT", 0.05)
    async with following(service, **PANELS_ONLY) as (told, _):
        for _ in range(20):
            assert await told.next() is not None
        await source.put("a")
        assert (await told.event()).what == ("MODIFIED", "a")


async def test_who_is_far_behind_gets_batch_after_batch(
    service: Service, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "ROWS", 7)
    async with following(service, **PANELS_ONLY) as (_, begun):
        pass
    behind = await metric(service, FOR_THOSE_BEHIND)
    names = [f"many-{number}" for number in range(50)]
    for name in names:
        await source.put(name)
    async with following(service, **PANELS_ONLY, since_revision=begun) as (told, _):
        events = [await told.event() for _ in names]
    assert [event.name for event in events] == names
    assert 0 < sum(event.id is not None for event in events) < len(events)
    assert await metric(service, FOR_THOSE_BEHIND) > behind + 1


async def test_a_caller_who_hangs_up_is_no_error(service: Service) -> None:
    ended = 'presenter_changes_streams_ended_total{reason="caller"}'
    before = await metric(service, ended)
    async with following(service, **PANELS_ONLY):
        pass
    await eventually(partial(metric, service, ended), lambda count: count == before + 1)
    assert b'reason="ClientClosedRequest"' not in (await service.get("/metrics")).body


async def test_curl_shows_it_as_it_happens(service: Service, source: Source) -> None:
    url = f"{service.url}/changes?group={WIDGETS}"
    authorization = f"Authorization: {service.authorization['Authorization']}"
    curl = await asyncio.create_subprocess_exec(
        "curl", "-gsSN", "-H", authorization, url, stdout=asyncio.subprocess.PIPE
    )
    assert curl.stdout is not None
    try:
        async with asyncio.timeout(20):
            assert await curl.stdout.readline() == b"retry: 1000\n"
            assert (await curl.stdout.readline()).startswith(b"id: ")
            assert await curl.stdout.readline() == b"\n"
            await source.put("a")
            assert await curl.stdout.readline() == b"event: MODIFIED\n"
            assert (await curl.stdout.readline()).startswith(b'data: {"name":"a",')
            assert (await curl.stdout.readline()).startswith(b"id: ")
            assert await curl.stdout.readline() == b"\n"
    finally:
        curl.kill()
        await curl.wait()
