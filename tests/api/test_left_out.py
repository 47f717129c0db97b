"""What the API server refuses, and what is wrong with one cluster, is left out and said; the rest is served."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import pytest

from presenter.cache.pool import Pool
from presenter.cache.writer import Writer
from presenter.resource import ANY_RESOURCE, ResourceType, Watch
from tests.api.service import Reply, Service
from tests.api.world import BUTTONS, PANELS, THEMES, WIDGETS, first_list
from tests.eventually import eventually
from tests.objects import make_object
from tests.rules import Rules

ALL: dict[str, Any] = {"group": WIDGETS, "namespace": "*"}
REFUSAL = 'buttons is forbidden: User "presenter" cannot list it in the namespace "secret-project"'
ROLES = ResourceType("rbac.authorization.k8s.io", "v1", "roles", "Role", True, ("v1",))

_LATER = "UPDATE clusters SET discovered_at = discovered_at - $1 * interval '1 s'"
_REFUSED = """
UPDATE watches SET error = $2, synced_at = CASE WHEN $2 = '' THEN clock_timestamp() END WHERE type_id = $1
"""
_SILENT = """
UPDATE watches SET last_event_at = clock_timestamp() - interval '1 hour' FROM resource_types t
WHERE t.id = type_id AND t.cluster = $1 AND t.api_group = 'rbac.authorization.k8s.io'
"""


async def until(service: Service, wanted: Any, **query: Any) -> Reply:
    """The page, once it is as wanted."""
    return await eventually(partial(service.page, **(ALL | query)), wanted)


def code(code: int) -> Any:
    return lambda reply: reply.code == code


def warned(*words: str) -> Any:
    """Whether a page came with one warning that has all of these, in its header and its body."""

    def matches(reply: Reply) -> bool:
        if reply.code != 200:
            return False
        warnings = reply.json.get("warnings", [])
        header = reply.headers.get("Warning", "")
        return len(warnings) == 1 and all(word in warnings[0] and word in header for word in words)

    return matches


async def later(pool: Pool, seconds: float) -> None:
    """As if all types had been known for so much longer."""
    async with pool.connection() as connection:
        await connection.execute(_LATER, seconds)


async def is_ready(service: Service, ready: bool, wanted: Any = lambda _: True) -> Any:
    """What /readyz says, once it says so."""
    reply = await eventually(
        partial(service.send, "GET", "/readyz"), lambda reply: reply.json["ready"] is ready and wanted(reply.json)
    )
    return reply.json


async def opened(writer: Writer) -> Watch:
    """A cluster where everybody may see everything, with a panel."""
    await writer.open_cluster(f"uid-{id(writer)}", ["*.*.krateo.io"])
    await Rules(writer).open_to_everybody()
    [panels] = await writer.declare(PANELS)
    await first_list(writer, panels, make_object("one"))
    return panels


@pytest.fixture
async def buttons(writer: Writer) -> Watch:
    """A first start: panels are there, and buttons are known."""
    await opened(writer)
    [buttons] = await writer.declare(BUTTONS)
    await writer.discovered()
    return buttons


@pytest.fixture
async def refused(writer: Writer, pool: Pool, buttons: Watch) -> Watch:
    """Buttons, which the API server has refused for more than a minute."""
    await later(pool, 61)
    await writer.set_state(buttons, "forbidden", REFUSAL)
    return buttons


# -- types -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["forbidden", "error"])
async def test_a_type_that_is_refused_lastingly_is_not_waited_for(
    service: Service, writer: Writer, pool: Pool, buttons: Watch, state: Any
) -> None:
    await writer.set_state(buttons, state, REFUSAL)
    await is_ready(service, False, lambda told: any(REFUSAL in text for text in told["waiting"]))
    (await until(service, code(503))).failure(503)
    await later(pool, 61)
    await is_ready(service, False)  # it was refused once, at the start
    await writer.set_state(buttons, state, REFUSAL)
    told = await is_ready(service, True)
    assert told["waiting"] == []
    assert told["clusters"][0]["refused"] == [
        f"{BUTTONS.name} in cluster test is not complete yet: {state} ({REFUSAL})"
    ]


async def test_a_type_that_is_slow_is_waited_for(service: Service, writer: Writer, pool: Pool, buttons: Watch) -> None:
    await later(pool, 3600)
    await writer.begin_list(buttons)
    await is_ready(service, False, lambda told: "syncing" in str(told["waiting"]))
    (await until(service, code(503))).failure(503)
    await first_list(writer, buttons)
    await is_ready(service, True)


async def test_a_list_that_breaks_off_is_slow_for_ten_minutes(
    service: Service, writer: Writer, pool: Pool, buttons: Watch
) -> None:
    await later(pool, 61)
    await writer.begin_list(buttons)
    await writer.set_state(buttons, "error", "connection reset")
    await is_ready(service, False, lambda told: "connection reset" in str(told["waiting"]))
    await later(pool, 600)
    await writer.set_state(buttons, "error", "connection reset")
    await is_ready(service, True)


async def test_nothing_is_refused_by_an_api_server_that_serves_nothing(
    service: Service, writer: Writer, pool: Pool
) -> None:
    await writer.open_cluster("uid", ["*.*.krateo.io"])
    [panels] = await writer.declare(PANELS)
    await writer.discovered()
    await later(pool, 3600)
    await writer.set_state(panels, "error", "connection refused")
    await is_ready(service, False, lambda told: "connection refused" in str(told["waiting"]))


async def test_a_type_that_goes_away_is_not_waited_for(service: Service, writer: Writer, buttons: Watch) -> None:
    await is_ready(service, False, lambda told: told["waiting"])
    await writer.forget(buttons.type)
    await is_ready(service, True)


async def test_what_is_refused_is_left_out_of_its_group_and_said(service: Service, refused: Watch) -> None:
    page = await until(service, warned(BUTTONS.name, "cluster test"))
    assert page.names == ["one"]
    assert "secret-project" not in str(page), "a warning names types and clusters, and nothing in them"
    message = (await service.page(**ALL, resource="buttons")).failure(503)
    assert BUTTONS.name in message
    assert "secret-project" not in message
    missing = (await service.detail("test:none")).failure(404)
    assert BUTTONS.name in missing
    assert "secret-project" not in missing
    assert BUTTONS.name in (await service.detail("test:none", "resource=buttons")).failure(503)
    assert refused.type == BUTTONS


@pytest.mark.usefixtures("refused")
async def test_while_it_is_listed_after_all_it_is_left_out_still(
    service: Service, writer: Writer, refused: Watch
) -> None:
    await until(service, warned(BUTTONS.name))
    await writer.begin_list(refused)
    await is_ready(service, True, lambda told: "syncing" in str(told["types"]))
    assert warned(BUTTONS.name)(await service.page(**ALL))
    await writer.list_page(refused, [make_object("two")])
    await writer.finish_list(refused, "7")
    whole = await until(service, lambda reply: reply.json.get("count") == 2)
    assert "warnings" not in whole.json


async def test_when_all_that_was_asked_for_is_refused_nothing_is_left_to_answer(
    service: Service, writer: Writer, refused: Watch
) -> None:
    await until(service, warned(BUTTONS.name))
    await writer.forget(PANELS)
    assert BUTTONS.name in (await until(service, code(503))).failure(503)
    assert refused.type == BUTTONS


async def test_who_may_see_only_what_is_refused_is_not_told_that_he_may_not(
    service: Service, writer: Writer, pool: Pool
) -> None:
    await writer.open_cluster("uid", ["*.*.krateo.io"])
    rules = await Rules(writer).sync()
    await rules.role("buttons", {"verbs": ["list"], "apiGroups": [WIDGETS], "resources": ["buttons"]})
    await rules.bind("buttons", "buttons", ("User", "alice"))
    for type in (PANELS, BUTTONS, THEMES):
        [watch] = await writer.declare(type)
        if type is not BUTTONS:
            await first_list(writer, watch)
        else:
            buttons = watch
    await writer.discovered()
    await later(pool, 61)
    await writer.set_state(buttons, "forbidden", REFUSAL)
    assert BUTTONS.name in (await until(service, code(503))).failure(503)
    await first_list(writer, buttons, make_object("two"))
    assert (await until(service, code(200))).names == ["two"]


async def test_a_group_that_is_not_all_known_is_not_passed_off_as_whole(service: Service, writer: Writer) -> None:
    await opened(writer)  # of three types, say, this one is declared first
    assert "still being discovered" in (await until(service, code(503))).failure(503)
    assert (await service.page(**ALL, resource="panels")).names == ["one"]
    await writer.discovered()
    assert "warnings" not in (await until(service, code(200))).json


# -- types that cannot be watched --------------------------------------------------------------------------------------


async def test_what_cannot_be_watched_exists_and_is_not_cached(service: Service, writer: Writer) -> None:
    await opened(writer)
    unwatched = ResourceType(WIDGETS, "", "statuses", "Status", False, ("v1",))
    await writer.record_unwatched([unwatched])
    await writer.discovered()
    reply = await until(service, code(404), resource="statuses")
    assert f"statuses.{WIDGETS} exists in the cluster, but its API cannot list and watch it" in reply.failure(404)
    assert (await service.page(**ALL)).names == ["one"]
    [cluster] = (await is_ready(service, True))["clusters"]
    assert (cluster["unwatched"], cluster["types"]) == ([unwatched.name], 5)
    assert PANELS in await writer.known_types()
    assert unwatched.name not in {known.name for known in await writer.known_types()}
    [watch] = await writer.declare(ResourceType(WIDGETS, "v1", "statuses", "Status", False, ("v1",)))  # now it can be
    await writer.record_unwatched([])
    await first_list(writer, watch)
    assert "Warning" not in (await until(service, code(200), resource="statuses")).headers


async def test_a_group_that_does_not_tell_its_types(service: Service, writer: Writer) -> None:
    metrics = "metrics.krateo.io"
    await opened(writer)
    await writer.record_unwatched([ResourceType(metrics, "", ANY_RESOURCE, "", False)])
    await writer.discovered()
    for query in ({"group": metrics}, {"group": metrics, "resource": "pods"}):
        reply = await until(service, code(503), **query)
        assert f"does not say which types the group {metrics} has" in reply.failure(503)
    assert (await service.page(**ALL)).names == ["one"]
    assert (await is_ready(service, True))["clusters"][0]["undiscovered"] == [metrics]
    [watch] = await writer.declare(ResourceType(metrics, "v1", "pods", "PodMetrics", True, ("v1",)))  # it was known
    await first_list(writer, watch, make_object("three"))
    assert (await until(service, warned(metrics, "some may be missing"), group=metrics)).names == ["three"]
    assert "Warning" not in (await service.page(**(ALL | {"group": metrics}), resource="pods")).headers
    await writer.record_unwatched([])
    await until(service, lambda reply: "Warning" not in reply.headers, group=metrics)


# -- what a newer version wrote ----------------------------------------------------------------------------------------


async def test_a_state_of_a_newer_version_is_unknown(service: Service, writer: Writer, pool: Pool) -> None:
    await opened(writer)
    await writer.discovered()
    async with pool.connection() as connection:
        await connection.execute("UPDATE watches SET state = 'dreaming'")
    page = await until(service, lambda reply: reply.headers.get("X-Cache-State") == "unknown")
    assert page.names == ["one"]
    told = await is_ready(service, True, lambda told: {type["state"] for type in told["types"]} == {"unknown"})
    assert told["reason"] == "ok"
    scraped = await service.send("GET", "/metrics")
    assert b'state="unknown"} 1.0' in scraped.body
    assert b'state="live"} 1.0' not in scraped.body


async def test_a_pattern_of_a_newer_version_may_cover_anything(service: Service, writer: Writer, pool: Pool) -> None:
    await opened(writer)
    await writer.discovered()
    assert "WATCH covers *.*.krateo.io" in (await until(service, code(404), group="apps")).failure(404)
    async with pool.connection() as connection:
        await connection.execute("UPDATE clusters SET watch = watch || '{~(deployments).apps}'::text[]")
    page = await until(service, warned("~(deployments).apps", "of a newer version"), group="apps")
    assert page.items == []
    assert (await until(service, code(200))).names == ["one"]


# -- clusters ----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def west(pool: Pool, writer: Writer) -> Writer:
    """A second cluster that joins one that is complete; its types are not known yet."""
    await opened(writer)
    await writer.discovered()
    west = Writer(pool, "west")
    await west.open_cluster("uid-of-west", ["*.*.krateo.io"])
    return west


async def test_a_cluster_that_joins_takes_nothing_away(service: Service, west: Writer) -> None:
    await is_ready(service, True, lambda told: [cluster["ready"] for cluster in told["clusters"]] == [True, False])
    assert (await until(service, warned("cluster west", "still being discovered"))).names == ["one"]
    await until(service, warned("cluster west", "still being discovered"), resource="panels")
    assert "still being discovered" in (await until(service, code(503), cluster="west")).failure(503)
    [panels] = await west.declare(PANELS)
    await west.discovered()
    await until(service, warned("cluster west is left out", "are not synced"))
    await Rules(west).open_to_everybody()
    assert (await until(service, warned(f"{PANELS.name} of cluster west"), resource="panels")).names == ["one"]
    assert PANELS.name in (await until(service, code(503), cluster="west")).failure(503)
    await is_ready(service, True)
    await first_list(west, panels, make_object("two"))
    both = await until(service, lambda reply: reply.json.get("count") == 2)
    assert "warnings" not in both.json
    await is_ready(service, True, lambda told: all(cluster["ready"] for cluster in told["clusters"]))


async def test_a_cluster_whose_rules_are_refused_or_old_is_left_out(
    service: Service, west: Writer, pool: Pool, writer: Writer
) -> None:
    [panels] = await west.declare(PANELS)
    await first_list(west, panels, make_object("two"))
    [roles] = await west.declare(ROLES)
    await west.discovered()
    await later(pool, 61)
    await west.set_state(roles, "forbidden", REFUSAL)
    await until(service, warned("cluster west is left out", "are not synced"))
    assert "cluster west" in (await until(service, code(503), cluster="west")).failure(503)
    await is_ready(service, True, lambda told: [cluster["ready"] for cluster in told["clusters"]] == [True, False])

    await Rules(west).open_to_everybody()
    await until(service, lambda reply: reply.json.get("count") == 2)
    async with pool.connection() as connection:
        await connection.execute(_SILENT, "west")
    old = await until(service, warned("cluster west is left out", "last heard of"))
    assert old.names == ["one"]
    assert "last heard of" in (await service.page(**ALL, cluster="west")).failure(503)

    async with pool.connection() as connection:  # nor is the first one's trouble the second one's
        await connection.execute("UPDATE watches SET last_event_at = clock_timestamp()")
        await connection.execute(_SILENT, "test")
    assert (await until(service, warned("cluster test is left out"))).names == ["two"]
    async with pool.connection() as connection:
        await connection.execute(_SILENT, "west")
    (await until(service, code(503))).failure(503)
    assert writer is not west


async def test_where_one_cluster_denies_and_the_other_cannot_decide_nothing_is_said(
    service: Service, west: Writer, writer: Writer
) -> None:
    await (await Rules(writer).sync()).bind("everybody", "nothing", ("Group", "system:authenticated"))
    [panels] = await west.declare(PANELS)
    await first_list(west, panels, make_object("two"))
    await west.discovered()
    reply = await until(service, lambda reply: reply.code == 503 and "cluster west" in reply.json["message"])
    assert "is not known yet" in reply.failure(503)
    (await until(service, code(403), cluster="test")).failure(403)


@pytest.mark.parametrize("seed", range(4))
async def test_a_walk_is_in_order_and_whole_but_for_what_it_was_warned_of(
    service: Service, west: Writer, pool: Pool, writer: Writer, seed: int
) -> None:
    """While a cluster and a type come and go."""
    choose = random.Random(seed)
    [buttons] = await writer.declare(BUTTONS)
    await first_list(writer, buttons, *(make_object(f"button-{n:02}") for n in range(10)))
    await first_list(writer, (await writer.declare(PANELS))[0], *(make_object(f"east-{n:02}") for n in range(20)))
    await Rules(west).open_to_everybody()
    [panels] = await west.declare(PANELS)
    await first_list(west, panels, *(make_object(f"west-{n:02}") for n in range(20)))
    await west.discovered()
    sort = {"sort_by": choose.choice(["name", "global_uid", "resource"]), "limit": choose.choice([3, 7])}
    reply = await until(
        service, lambda reply: reply.json.get("count") == sort["limit"] and not reply.json.get("warnings"), **sort
    )
    items, warnings = [], []
    while True:
        items += reply.items
        warnings += reply.json.get("warnings", [])
        if reply.cursor is None:
            break
        async with pool.connection() as connection:
            await connection.execute("UPDATE watches SET last_event_at = clock_timestamp()")
            if choose.random() < 0.4:
                await connection.execute(_SILENT, "west")
            gone = choose.random() < 0.4
            await connection.execute(_REFUSED, buttons.type_id, "refused" if gone else "")
        async with pool.connection() as connection:
            await connection.execute("NOTIFY presenter_catalog")
        reply = await service.page(**ALL, **sort, cursor=reply.cursor)
    uids = [item["global_uid"] for item in items]
    assert len(set(uids)) == len(uids)
    if sort["sort_by"] == "name":
        assert [item["name"] for item in items] == sorted(item["name"] for item in items)
    missing = 50 - len(items)
    names = {item["name"] for item in items}
    assert {f"east-{n:02}" for n in range(20)} <= names, "what was never left out is there"
    assert not missing or warnings
    if missing and not any("west" in text for text in warnings):
        assert {f"west-{n:02}" for n in range(20)} <= names
    if missing and not any(BUTTONS.name in text for text in warnings):
        assert {f"button-{n:02}" for n in range(10)} <= names
