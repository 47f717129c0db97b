"""Many resource types at once: each is followed, whatever happens to the others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from presenter.cache.watch_patterns import ALWAYS
from presenter.sandbox import Cluster
from tests.eventually import eventually
from tests.kube.world import CRDS, World, crd, custom

TYPES = 200
PATIENCE = 60.0

_STATES = """
SELECT concat_ws('.', t.resource, nullif(t.api_group, '')) AS type, w.state
FROM watches w JOIN resource_types t ON t.id = w.type_id
"""


def type_name(number: int) -> str:
    return f"kind{number}s.example.com"


def install(cluster: Cluster, numbers: Iterable[int]) -> None:
    """Types with some objects."""
    for number in numbers:
        cluster.create(crd(f"kind{number}s", f"Kind{number}"))
        for name in ("first", "second", "third"):
            cluster.create(custom(f"Kind{number}", name))


def remove(cluster: Cluster, numbers: Iterable[int]) -> None:
    for number in numbers:
        cluster.delete(CRDS, type_name(number))


async def stir(cluster: Cluster, numbers: Iterable[int]) -> None:
    """Create, change and delete objects of types."""
    for number in numbers:
        kind = f"Kind{number}"
        cluster.create(custom(kind, "fourth"))
        for name in ("first", "fourth"):
            cluster.apply(custom(kind, name, changed=True))
        cluster.delete(type_name(number), "second", "default")
        await asyncio.sleep(0)  # the sandbox sends what has happened


async def all_live(world: World, numbers: Iterable[int]) -> None:
    """Wait until these types are watched and no others, each with a running watch at the API server."""
    wanted = dict.fromkeys(ALWAYS | {CRDS} | {type_name(number) for number in numbers}, "live")

    async def states() -> dict[str, str]:
        async with world.pool.connection() as connection:
            return {row["type"]: row["state"] for row in await connection.fetch(_STATES)}

    async def watched() -> list[str]:
        cluster = world.sandbox.cluster
        return sorted(found.name for found in cluster.registry for _ in cluster.store(found).watchers)

    await eventually(states, lambda seen: seen == wanted, PATIENCE)
    await eventually(watched, lambda seen: seen == sorted(wanted), PATIENCE)


async def in_sync(world: World, numbers: Iterable[int]) -> None:
    """Wait until the cache equals the cluster, with no other row."""
    names = [*ALWAYS, CRDS, *(type_name(number) for number in numbers)]
    await world.in_sync(*names)
    async with world.pool.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM resources") == sum(
            len(world.sandbox.cluster.objects(name)) for name in names
        )


async def test_200_types_are_followed_at_once(world: World) -> None:
    cluster, numbers = world.sandbox.cluster, range(TYPES)
    install(cluster, numbers)
    async with world.following("*.example.com", CRDS):
        await all_live(world, numbers)
        await stir(cluster, numbers)
        await in_sync(world, numbers)


async def test_types_come_and_go_while_200_are_followed(world: World) -> None:
    cluster, stay, go, come = world.sandbox.cluster, range(150), range(150, TYPES), range(TYPES, TYPES + 50)
    install(cluster, [*stay, *go])
    async with world.following("*.example.com", CRDS):
        await eventually(world.known_types, lambda known: len(known) > TYPES, PATIENCE)  # most are still to be listed
        remove(cluster, go[:25])
        install(cluster, come[:25])
        await stir(cluster, [*stay, *go[25:], *come[:25]])
        await all_live(world, [*stay, *go[25:], *come[:25]])
        remove(cluster, go[25:])
        install(cluster, come[25:])
        await stir(cluster, come[25:])
        await all_live(world, [*stay, *come])
        await in_sync(world, [*stay, *come])
