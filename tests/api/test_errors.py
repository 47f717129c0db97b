"""What cannot be answered, and what is answered with a warning."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from presenter.cache.pool import Address, Pool
from presenter.cache.writer import Writer
from tests.api.service import Reply, Service, serving
from tests.api.world import BUTTONS, EDGE, PANELS, TEST, WIDGETS, World, first_list
from tests.eventually import eventually
from tests.objects import make_object
from tests.rules import Rules
from tests.servers import Postgres

on_the_world = pytest.mark.asyncio(loop_scope="session")


def assert_warned(answer: Reply) -> str:
    """The warning of an answer that is empty for a reason."""
    assert (answer.code, answer.items) == (200, [])
    [warning] = answer.json["warnings"]
    assert answer.json.keys() == {"count", "items", "warnings"}
    assert answer.headers["Warning"].startswith('299 - "')
    assert isinstance(warning, str)
    return warning


def assert_later(answer: Reply) -> str:
    message = answer.failure(503)
    assert answer.json["reason"] == "ServiceUnavailable"
    assert int(answer.headers["Retry-After"]) > 0
    return message


# -- 404, 400: what this cache is not about --------------------------------------------------------------------------


@on_the_world
@pytest.mark.parametrize("path", ["/nothing", "/resources/", "/resources/a/b", "/resources/test%2Fa:b", "/livez/x"])
async def test_there_is_nothing_at_an_unknown_path(world: World, path: str) -> None:
    answer = await world.service.get(path)
    assert "/docs" in answer.failure(404)
    assert answer.json["reason"] == "NotFound"


@on_the_world
@pytest.mark.parametrize("path", ["/resources/{global_uid}", "/resources/.*"])
async def test_what_looks_like_a_pattern_is_a_uid_that_there_is_not(world: World, path: str) -> None:
    assert (await world.service.get(path)).failure(404).startswith("there is no object ")


@on_the_world
@pytest.mark.parametrize(
    ("query_string", "name"),
    [
        ("group=apps&resource=deployments", "deployments.apps"),
        ("group=core&resource=secrets", "secrets"),
        ("group=core&resource=pods", "pods"),
        ("group=apps", "the group apps"),
        (f"group={WIDGETS}&resource=buttons&cluster={EDGE}", f"buttons.{WIDGETS}"),
    ],
)
async def test_a_type_that_watch_does_not_cover(world: World, query_string: str, name: str) -> None:
    answer = await world.service.query(query_string)
    message = answer.failure(404)
    assert answer.json["reason"] == "NotFound"
    assert message.startswith(f"{name} is not cached: WATCH covers ")
    assert f"panels.{WIDGETS}" in message
    assert ("configmaps" in message) is (EDGE not in query_string)


@on_the_world
async def test_a_version_that_is_not_served(world: World) -> None:
    answer = await world.service.page(group=WIDGETS, resource="panels", cluster=TEST, version="v9")
    message = answer.failure(404)
    assert message == f"version 'v9' is not served: the cluster serves panels.{WIDGETS} in v1beta1, v1alpha1"


@on_the_world
async def test_a_version_that_is_served_but_not_cached(world: World) -> None:
    message = await world.service.bad(group=WIDGETS, resource="panels", cluster=TEST, version="v1alpha1")
    assert message.startswith(f"version is 'v1alpha1', in which panels.{WIDGETS} of cluster {TEST} is served but not ")
    assert "allowed is v1beta1" in message


@on_the_world
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/resources", "GET, POST, HEAD, OPTIONS"),
        ("/resources/test:uid", "GET, HEAD, OPTIONS"),
        ("/livez", "GET, HEAD, OPTIONS"),
        ("/docs", "GET, HEAD, OPTIONS"),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_a_method_that_is_not_allowed(world: World, method: str, path: str, allowed: str) -> None:
    answer = await world.service.send(method, path, headers=world.service.authorization)
    assert answer.failure(405) == f"{method} is not allowed on {path}"
    assert answer.headers["Allow"] == allowed
    assert answer.json["reason"] == "MethodNotAllowed"


# -- 200 with a warning: what the cluster does not have ----------------------------------------------------------------


@on_the_world
async def test_a_covered_type_that_the_cluster_does_not_have_is_empty(world: World) -> None:
    answer = await world.service.page(group=WIDGETS, resource="charts", limit=5)
    warning = assert_warned(answer)
    assert f"charts.{WIDGETS} does not exist in the cluster" in warning
    assert warning.endswith("the group has buttons, panels, themes")
    assert answer.headers["Warning"] == f'299 - "{warning}"'


@on_the_world
async def test_a_covered_group_that_the_cluster_does_not_have_is_empty(world: World) -> None:
    warning = assert_warned(await world.service.page(group="composition.krateo.io"))
    assert "the group composition.krateo.io does not exist in the cluster" in warning
    assert warning.endswith("the group has no types")


@on_the_world
async def test_an_unknown_cluster_is_empty(world: World) -> None:
    warning = assert_warned(await world.service.page(group=WIDGETS, cluster="elsewhere"))
    assert warning == f"there is no cluster elsewhere: the clusters are {EDGE}, {TEST}"


@on_the_world
@pytest.mark.parametrize("cluster", ["a\r\nX-Injected: 1", "a\nX-Injected: 1", 'a"b\\c', "zoë", "a\x7f\t"])
async def test_a_warning_repeats_what_came_without_harm(world: World, cluster: str) -> None:
    answer = await world.service.page(group=WIDGETS, cluster=cluster)
    assert f"there is no cluster {cluster}:" in assert_warned(answer)
    assert "X-Injected" not in answer.headers
    assert answer.headers["Warning"].isascii()
    assert answer.headers["Warning"].isprintable()
    assert answer.headers["Warning"].endswith('"')


@on_the_world
async def test_an_answer_that_is_what_was_meant_has_no_warning(world: World) -> None:
    for answer in (await world.service.page(group=WIDGETS), await world.service.page(group=WIDGETS, name="absent")):
        assert "Warning" not in answer.headers
        assert "warnings" not in answer.json


# -- 503: what cannot be said yet --------------------------------------------------------------------------------------


async def test_no_cluster_has_been_watched_yet(service: Service) -> None:
    assert "presenter watch" in assert_later(await service.page(group=WIDGETS))
    (await service.detail("test:uid")).failure(404)


async def test_the_types_are_still_being_discovered(service: Service, writer: Writer) -> None:
    await writer.open_cluster("uid", ["*.*.krateo.io"])
    await Rules(writer).open_to_everybody()
    assert "the types of cluster test are still being discovered" in assert_later(await service.page(group=WIDGETS))
    (await service.page(group="apps")).failure(404)


async def test_a_type_whose_first_list_is_not_complete(database: Address, writer: Writer) -> None:
    await writer.open_cluster("uid", ["*.*.krateo.io"])
    await Rules(writer).open_to_everybody()
    [panels] = await writer.declare(PANELS)
    [buttons] = await writer.declare(BUTTONS)
    await writer.discovered()
    await first_list(writer, buttons, make_object("button", kind="Button"))
    await writer.begin_list(panels)
    await writer.list_page(panels, [make_object("listed")])
    async with serving(database) as service:
        for answer in (
            await service.page(group=WIDGETS, resource="panels"),
            await service.page(group=WIDGETS),
            await service.post({"group": WIDGETS, "namespace": "*"}),
            await service.detail("test:not-listed-yet"),
        ):
            assert assert_later(answer) == f"panels.{WIDGETS} in cluster test is not complete yet: syncing"
        assert (await service.page(group=WIDGETS, resource="buttons")).names == ["button"]
        # What is already there may be a leftover: of another cluster, or of what is no longer to be shown.
        listed = f"test:{make_object('listed').uid}"
        assert_later(await service.detail(listed))
        await writer.finish_list(panels, "10")
        reply = await eventually(partial(service.detail, listed), lambda reply: reply.code == 200)
        assert reply.names == ["listed"]


async def test_a_list_that_is_forbidden_says_so(database: Address, writer: Writer) -> None:
    await writer.open_cluster("uid", ["*.*.krateo.io"])
    await Rules(writer).open_to_everybody()
    watches = await writer.declare(PANELS, ["team-a", "team-b"])
    await writer.discovered()
    await first_list(writer, watches[0])
    await writer.set_state(watches[1], "forbidden", "may not list panels")
    async with serving(database) as service:
        message = assert_later(await service.page(group=WIDGETS, namespace="team-a"))
        assert message == f"panels.{WIDGETS} in cluster test is not complete yet: forbidden"


async def test_a_list_that_is_read_again_is_still_served(database: Address, writer: Writer) -> None:
    await writer.open_cluster("uid", ["*.*.krateo.io"])
    await Rules(writer).open_to_everybody()
    [panels] = await writer.declare(PANELS)
    await first_list(writer, panels, make_object("kept"))
    await writer.discovered()
    await writer.begin_list(panels)
    async with serving(database) as service:
        assert (await service.page(group=WIDGETS)).names == ["kept"]


async def test_a_schema_of_another_version(database: Address, writer: Writer, pool: Pool) -> None:
    await writer.open_cluster("uid", ["*.*.krateo.io"])
    await Rules(writer).open_to_everybody()
    [panels] = await writer.declare(PANELS)
    await first_list(writer, panels)
    await writer.discovered()
    async with serving(database) as service:
        assert (await service.page(group=WIDGETS)).items == []
        async with pool.connection() as connection:
            await connection.execute("ALTER TABLE resources RENAME TO resources_of_tomorrow")
        assert "run `presenter migrate`" in assert_later(await service.page(group=WIDGETS, limit=1))


async def until(said: str, ask: Callable[[], Awaitable[Reply]]) -> None:
    """Ask until the answer says so: what the cache holds may be remembered for a moment."""
    async with asyncio.timeout(10):
        while True:
            if said in assert_later(await ask()):
                return
            await asyncio.sleep(0.02)


async def test_the_database_goes_away_and_comes_back(postgres: Postgres) -> None:
    address = await asyncio.to_thread(postgres.create, "fleeting", "template")
    async with serving(address) as service:
        (await service.detail("test:uid")).failure(404)
        await asyncio.to_thread(postgres.drop, "fleeting")
        for ask in (
            lambda: service.page(group=WIDGETS),
            lambda: service.post({"group": WIDGETS}),
            lambda: service.detail("test:uid"),
        ):
            await until("PostgreSQL cannot be used", ask)
        assert (await service.get("/livez")).code == 200

        await asyncio.to_thread(postgres.create, "fleeting", "template")
        await until("no cluster has been watched yet", lambda: service.page(group=WIDGETS))
    await asyncio.to_thread(postgres.drop, "fleeting")
