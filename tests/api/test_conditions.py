"""Entity tags, and requests on the condition that something has changed (RFC 9110 §8.8.3, §13.1.2)."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from presenter.cache.pool import Address, Pool
from presenter.cache.writer import Writer
from presenter.resource import Event, Watch
from tests.access_control.world import PANELS as ANY_PANELS
from tests.access_control.world import Source, caller, thing
from tests.api.service import Reply, Service, as_text, serving
from tests.api.test_guards import locked
from tests.api.world import BUTTONS, PANELS, TEST, WIDGETS, World, first_list
from tests.objects import make_object
from tests.rbac.objects import cluster_role, cluster_role_binding, ref, role_binding, rule, user
from tests.rules import Rules

on_the_world = pytest.mark.asyncio(loop_scope="session")
PANELS_OF = {"group": WIDGETS, "resource": "panels", "namespace": "*", "raw": True}
OF_EVERY_ANSWER = ("Cache-Control", "Vary", "X-Cache-State", "X-Cache-Lag-Seconds")


def tag_of(reply: Reply) -> str:
    assert reply.code == 200, reply.body
    return reply.headers["ETag"]


def assert_not_modified(reply: Reply, tag: str) -> None:
    assert (reply.code, reply.body) == (304, b"")
    assert reply.headers["ETag"] == tag
    assert {"Content-Type", "Content-Encoding", "Transfer-Encoding"} & reply.headers.keys() == set()


@pytest.fixture
async def watches(writer: Writer) -> list[Watch]:
    """A panel and a button that everybody may see."""
    await writer.open_cluster("uid", ["*.*.krateo.io"])
    await Rules(writer).open_to_everybody()
    watches = [(await writer.declare(type))[0] for type in (PANELS, BUTTONS)]
    for watch in watches:
        await first_list(writer, watch, make_object("one"))
    await writer.discovered()
    return watches


@pytest.fixture
async def served(database: Address, watches: list[Watch]) -> AsyncIterator[Service]:
    async with serving(database) as service:
        yield service


async def change(writer: Writer, watch: Watch, version: int) -> None:
    changed = make_object("one", resource_version=version, raw={"spec": {"version": version}})
    await writer.apply(watch, [Event("upsert", changed)], str(version))


async def asked(service: Service, path: str, tag: str, **headers: str) -> Reply:
    return await service.get(path, **{"If-None-Match": tag, **headers})


# -- what a tag is of --------------------------------------------------------------------------------------------------


@on_the_world
async def test_who_has_the_answer_is_told_so_and_nothing_else(world: World) -> None:
    [stored, *_] = world.matching(group=WIDGETS, resource="panels", cluster=TEST)
    list_of = f"/resources?group={WIDGETS}&namespace=*&limit=5"
    for path in (list_of, f"{list_of}&raw=true", f"/resources/{stored.global_uid}", f"{list_of}&version=v1beta1"):
        for encoding in ("identity", "gzip"):
            whole = await world.service.get(path, **{"Accept-Encoding": encoding})
            again = await asked(world.service, path, tag_of(whole), **{"Accept-Encoding": encoding})
            assert_not_modified(again, tag_of(whole))
            assert (whole.headers["Cache-Control"], whole.headers["Vary"]) == ("private, no-cache", "Accept-Encoding")
            assert {name: again.headers[name] for name in OF_EVERY_ANSWER[:3]} == {
                name: whole.headers[name] for name in OF_EVERY_ANSWER[:3]
            }
            assert int(again.headers["X-Cache-Lag-Seconds"]) >= int(whole.headers["X-Cache-Lag-Seconds"])


@on_the_world
async def test_a_tag_is_of_one_body(world: World) -> None:
    """Whatever distinguishes two answers distinguishes their tags, and nothing else does."""
    bodies: dict[str, tuple[object, bytes]] = {}
    cursor = (await world.service.page(group=WIDGETS, limit=1)).cursor
    forms: Iterator[tuple[Any, ...]] = itertools.product(
        ({}, {"resource": "panels"}, {"resource": "buttons"}),
        ({}, {"namespace": "*"}, {"namespace": "team-a"}),
        ({}, {"cluster": TEST}),
        ({}, {"limit": 2}, {"sort_by": "name"}, {"sort_by": "name", "sort_order": "desc"}, {"name_contains": "panel"}),
        ({}, {"raw": True}, {"status_raw": True}, {"raw": True, "status_raw": True}),
        ("gzip", "identity"),
    )
    for *parameters, encoding in forms:
        query: dict[str, object] = {"group": WIDGETS}
        for more in parameters:
            query |= more
        path = f"/resources?{urlencode({name: as_text(value) for name, value in query.items()})}"
        reply = await world.service.get(path, **{"Accept-Encoding": encoding})
        known = bodies.setdefault(tag_of(reply), ((query, encoding), reply.body))
        assert known == ((query, encoding), reply.body), "each of these asks for something else"
    assert len(bodies) == 3 * 3 * 2 * 5 * 4 * 2
    second = await world.service.page(group=WIDGETS, limit=1, cursor=cursor)
    assert bodies.setdefault(tag_of(second), (None, second.body)) == (None, second.body)


@on_the_world
async def test_it_tells_nothing_and_is_the_same_in_every_process(world: World, shared_database: Address) -> None:
    """It is opaque: what is in it, revisions among them, cannot be read."""
    tag = tag_of(await world.service.page(**PANELS_OF))
    assert len(tag) == 24
    async with serving(shared_database) as other:
        assert tag_of(await other.page(**PANELS_OF)) == tag


@on_the_world
@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("{tag}", 304),
        ("W/{tag}", 304),
        (' "another" , {tag}', 304),
        ('"another",W/"more",,{tag},', 304),
        ("*", 304),
        (" * ", 304),
        ('"another"', 200),
        ('"*"', 200),
        ("", 200),
        ("nonsense", 200),
        ("{opaque}", 200),
        ("'{opaque}'", 200),
        ("w/", 200),
        ('"', 200),
        ('"another, ', 200),
        ("\t,,\t", 200),
        ('"' + "x" * 4000 + '"', 200),
        ('"é", ""', 200),
    ],
)
async def test_how_tags_are_named(world: World, field: str, code: int) -> None:
    [stored, *_] = world.matching(group=WIDGETS, resource="panels", cluster=TEST)
    for path in (f"/resources?group={WIDGETS}&namespace=*", f"/resources/{stored.global_uid}"):
        whole = await world.service.get(path)
        tag = tag_of(whole)
        reply = await asked(world.service, path, field.format(tag=tag, opaque=tag.strip('"')))
        assert reply.code == code
        assert reply.headers["ETag"] == ("W/" if "W/{tag}" in field else "") + tag
        assert reply.body == (b"" if code == 304 else whole.body)


@on_the_world
async def test_it_may_be_named_in_one_of_several_fields(world: World) -> None:
    tag = tag_of(await world.service.page(**PANELS_OF))
    fields = [*world.service.authorization.items(), ("If-None-Match", '"another"'), ("If-None-Match", tag)]
    path = f"/resources?group={WIDGETS}&resource=panels&namespace=*&raw=true"
    assert_not_modified(await world.service.send("GET", path, headers=fields), tag)


@on_the_world
@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/resources", 400),
        ("/resources?group=apps", 404),
        ("/resources/test:nothing", 404),
        (f"/resources?group={WIDGETS}&version=v9", 404),
        (f"/resources?group={WIDGETS}&cursor=altered", 400),
    ],
)
async def test_a_failure_is_told_whatever_the_caller_has(world: World, path: str, code: int) -> None:
    for field in ("*", '"anything"'):
        reply = await asked(world.service, path, field)
        reply.failure(code)
        assert {"ETag", "Cache-Control"} & reply.headers.keys() == set()
    (await world.service.send("GET", path, headers={"If-None-Match": "*"})).failure(401)


@on_the_world
async def test_what_is_asked_by_post_has_no_tag_and_no_condition(world: World) -> None:
    page = await world.service.page(**PANELS_OF)
    headers = {**world.service.authorization, "Content-Type": "application/json", "If-None-Match": "*"}
    body = f'{{"group": "{WIDGETS}", "resource": "panels", "namespace": "*", "raw": true}}'
    reply = await world.service.send("POST", "/resources", headers=headers, body=body)
    assert (reply.code, reply.body) == (200, page.body)
    assert "ETag" not in reply.headers


# -- when it changes ---------------------------------------------------------------------------------------------------


async def test_it_changes_with_the_types_on_the_page_and_with_nothing_else(
    served: Service, writer: Writer, watches: list[Watch]
) -> None:
    panels, buttons = watches
    path = f"/resources?group={WIDGETS}&resource=panels&raw=true"
    tag = tag_of(await served.get(path))
    await writer.apply(panels, [], "500")  # a bookmark
    await change(writer, buttons, 600)
    assert_not_modified(await asked(served, path, tag), tag)
    for version in range(700, 703):
        await change(writer, panels, version)
        reply = await asked(served, path, tag)
        assert reply.items[0]["raw"]["spec"] == {"version": version}
        assert tag_of(reply) != tag
        tag = tag_of(reply)
        assert_not_modified(await asked(served, path, tag), tag)


async def test_that_of_one_object_changes_with_that_object_alone(
    served: Service, writer: Writer, watches: list[Watch]
) -> None:
    panels, _ = watches
    [panel] = (await served.page(group=WIDGETS, resource="panels")).items
    path = f"/resources/{panel['global_uid']}?resource=panels"
    tag = tag_of(await served.get(path))
    await writer.apply(panels, [Event("upsert", make_object("other"))], "500")
    assert_not_modified(await asked(served, path, tag), tag)
    assert tag_of(await served.get(f"{path}&raw=false")) != tag
    await change(writer, panels, 600)
    reply = await asked(served, path, tag)
    assert reply.items[0]["raw"]["spec"] == {"version": 600}
    assert tag_of(reply) != tag
    await writer.apply(panels, [Event("delete", make_object("one", resource_version=700))], "700")
    for field in (tag_of(reply), "*"):
        (await asked(served, path, field)).failure(404)


async def test_nothing_is_read_for_who_has_the_page(served: Service, pool: Pool) -> None:
    path = f"/resources?group={WIDGETS}&raw=true"
    tag = tag_of(await served.get(path))
    async with locked(pool):
        for field in (tag, "*"):
            assert_not_modified(await asked(served, path, field), tag)


async def test_it_is_weak_while_an_object_is_not_yet_written_as_it_will_be(
    served: Service, database: Address, writer: Writer, pool: Pool, watches: list[Watch]
) -> None:
    """What an earlier version has stored has no piece: it says the same, and is written otherwise."""
    path = f"/resources?group={WIDGETS}&resource=panels&raw=true"
    async with pool.connection() as connection:
        await connection.execute("UPDATE resources SET piece = NULL, piece_of = NULL")
    before = await served.get(path)
    assert tag_of(before).startswith('W/"')
    await writer.make_pieces(watches[0].type_id, PANELS, "", 100, 100)
    assert_not_modified(await asked(served, path, tag_of(before)), tag_of(before))
    async with serving(database) as other:
        after = await other.get(path)
    assert tag_of(after) == tag_of(before).removeprefix("W/")
    assert after.items == before.items


async def test_a_page_that_ends_early_has_none(database: Address, writer: Writer, watches: list[Watch]) -> None:
    """How many objects are on it is not for their revisions to say."""
    large = [make_object(f"large-{n}", raw={"spec": "x" * 700_000}) for n in range(3)]
    await writer.apply(watches[0], [Event("upsert", object) for object in large], "500")
    async with serving(database, MAX_PAGE_BYTES="1Mi") as service:
        page = await service.page(group=WIDGETS, raw=True)
        assert 0 < len(page.items) < 4
        assert page.cursor is not None
        assert "ETag" not in page.headers
        assert page.headers["Cache-Control"] == "private, no-cache"


# -- who may know ------------------------------------------------------------------------------------------------------


async def test_it_is_of_what_the_caller_may_see(database: Address, pool: Pool) -> None:
    source = await Source.open(pool)
    panels = [thing(ANY_PANELS, place, "one") for place in ("prod", "dev")]
    await source.put(
        *panels,
        cluster_role("reader", rule("get list", "panels", WIDGETS)),
        cluster_role_binding("all", ref("ClusterRole", "reader"), user("root")),
        cluster_role_binding("everything", ref("ClusterRole", "reader"), user("admin")),
        role_binding("dev", "some", ref("ClusterRole", "reader"), user("alice")),
    )
    async with serving(database) as service:
        await source.settle(service)
        root, admin, nobody = (caller(service, name) for name in ("root", "admin", "nobody"))
        path = f"/resources?group={WIDGETS}&resource=panels&namespace=*"
        tag, own = tag_of(await root.get(path)), tag_of(await service.get(path))
        assert own != tag
        assert_not_modified(await asked(admin, path, tag), tag)
        assert len((await asked(service, path, tag)).items) == 1, "it is not what alice would be shown"
        for field in (tag, own, "*"):
            (await asked(nobody, path, field)).failure(403)
            (await asked(nobody, f"/resources/{source.uid(panels[0])}", field)).failure(404)

        await source.put(cluster_role_binding("more", ref("ClusterRole", "reader"), user("alice")))
        await source.settle(service)
        assert len((await asked(service, path, own)).items) == 2, "now she may see more"
        assert_not_modified(await asked(service, path, tag), tag)
