"""Objects that PostgreSQL or a decoder refuses: the others arrive, and the reflector goes on."""

from __future__ import annotations

import msgspec
import pytest
import structlog

from presenter.sandbox.store import EventType
from tests.eventually import eventually
from tests.kube.world import CONFIG_MAPS, World

_METADATA = (
    b'{"metadata":{"name":"poison","namespace":"default","uid":"poison","resourceVersion":"%d"},"data":{"a":%s}}'
)

POISON = {
    "nul": _METADATA.replace(b"%s", rb'"a\u0000b"'),
    "surrogate": _METADATA.replace(b"%s", rb'"a\ud800b"'),
    "surrogates-in-keys": _METADATA.replace(b"%s", rb'{"a\udc00\u0000":1,"\ud800":2}'),
    "huge-number": _METADATA.replace(b"%s", b"1e200000"),
    "deep-2000": _METADATA.replace(b"%s", b"[" * 2000 + b"]" * 2000),
    "deep-9000": _METADATA.replace(b"%s", b'{"a":' * 9000 + b"1" + b"}" * 9000),
    "no-uid": _METADATA.replace(b"%s", b'"a"').replace(b'"uid":"poison",', b""),
}
KEPT = POISON.keys() - {"no-uid"}


async def names(world: World) -> set[str]:
    async with world.pool.connection() as connection:
        return {row["name"] for row in await connection.fetch("SELECT name FROM resources WHERE namespace <> ''")}


@pytest.mark.parametrize("kind", POISON)
async def test_fault_24_what_postgresql_refuses(world: World, kind: str) -> None:
    cluster = world.sandbox.cluster
    good = world.names()
    kept = {"poison"} if kind in KEPT else set()

    def plant() -> None:
        cluster.plant(
            CONFIG_MAPS, "poison", "default", POISON[kind].replace(b"%d", b"%d" % (cluster.resource_version + 1))
        )

    async def cached(expected: set[str]) -> None:
        await eventually(lambda: names(world), lambda found: found == expected)

    plant()
    async with world.following(CONFIG_MAPS):
        await cached(good | kept)
        listed = await world.state(CONFIG_MAPS, "live")
        plant()
        world.put("after-it")
        await cached(good | kept | {"after-it"})
        version = str(cluster.resource_version)
        [row] = await eventually(lambda: world.watches(CONFIG_MAPS), lambda rows: rows[0].checkpoint == version)
        assert (row.sanitised, row.lists, row.state) == (2 * listed.sanitised, 1, "live")
        assert listed.sanitised == 1 or kind.startswith("deep")
        async with world.pool.connection() as connection:
            note = await connection.fetchval("""
                SELECT raw #>> '{metadata,annotations,resources-presenter.krateo.io/sanitised}'
                FROM resources WHERE uid = 'poison'
            """)
        assert bool(note) == (kind in KEPT and listed.sanitised == 1)
        members = _METADATA.replace(b"%d", b"%d" % (cluster.resource_version + 1)).replace(b"%s", b"1")
        cluster.plant(CONFIG_MAPS, "poison", "default", members, "DELETED")
        await cached(world.names())
        world.change()
        await world.equal()


async def test_fault_24_what_postgresql_refuses_in_all_its_kinds_at_once(world: World) -> None:
    cluster = world.sandbox.cluster
    good = world.names()
    uids = {kind: f'"uid":"{kind}"'.encode() for kind in POISON}

    def plant(kind: str, event: EventType | None = None) -> None:
        members = (
            POISON[kind]
            .replace(b'"uid":"poison"', uids[kind])
            .replace(b'"name":"poison"', b'"name":"%s"' % kind.encode())
        )
        cluster.plant(
            CONFIG_MAPS, kind, "default", members.replace(b"%d", b"%d" % (cluster.resource_version + 1)), event
        )

    for kind in POISON:
        plant(kind)
    async with world.following(CONFIG_MAPS):
        await eventually(lambda: names(world), lambda found: found == good | KEPT)
        for kind in POISON:
            plant(kind, "DELETED")
            world.put(f"after-{kind}")
        await eventually(lambda: names(world), lambda found: found == world.names())
        await world.equal()
        good = world.names()
        for kind in POISON:
            plant(kind)
        await eventually(lambda: names(world), lambda found: found == good | KEPT)
        for kind in POISON:
            plant(kind, "DELETED")
        await eventually(lambda: names(world), lambda found: found == world.names())
        world.change()
        await world.equal()


async def test_fault_24_what_postgresql_refuses_since_it_is_no_object(world: World) -> None:
    """Neither a list nor a watch that has something else for an object is held up by it."""
    version = world.sandbox.cluster.resource_version
    items: list[object] = [
        5,
        None,
        [],
        "text",
        {},
        {"metadata": 5},
        *world.sandbox.cluster.objects(CONFIG_MAPS),
        {"metadata": {}},
    ]
    page = {"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": str(version)}, "items": items}
    events = [{"type": kind, "object": item} for item in items for kind in ("ADDED", "DELETED", "MODIFIED")]
    lines = b"".join(msgspec.json.encode(event) + b"\n" for event in events).decode()
    world.sandbox.faults.no_streaming_lists()
    listed = world.sandbox.faults.refuse(
        200,
        verb="list",
        resource=CONFIG_MAPS,
        times=1,
        body=msgspec.json.encode(page).decode(),
        content_type="application/json",
    )
    with structlog.testing.capture_logs() as logs:
        async with world.following(CONFIG_MAPS):
            await world.equal()
            await world.watching()
            streamed = world.sandbox.faults.refuse(
                200, verb="watch", resource=CONFIG_MAPS, times=1, body=lines, content_type="application/json"
            )
            world.sandbox.faults.cut("abort", resource=CONFIG_MAPS)
            await world.befell(streamed)
            await eventually(lambda: world.watches(CONFIG_MAPS), lambda rows: rows[0].sanitised == 7 + 3 * 7)
            world.change()
            await world.equal()
    assert listed.times == 0
    assert not [log for log in logs if log["event"] == "reflector crashed"]
