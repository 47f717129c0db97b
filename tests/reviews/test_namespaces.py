"""The namespaces that hold objects: which they are, and what it costs to know."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from presenter.access.review_authorizer import ReviewAuthorizer
from presenter.cache import pages
from presenter.cache.pages import namespaces_of
from presenter.cache.pool import Pool
from presenter.cache.scope import Grant
from presenter.cache.writer import Writer
from presenter.kube.subject_access_reviews import SubjectAccessReviews
from presenter.resource import Event, Watch
from tests.cache.objects import BUTTONS, PANELS, PODS, THEMES, make_object
from tests.rbac.objects import identity, user
from tests.reviews.world import CLUSTER, CONFIG_MAPS, TTL, World, reading

_FILL = """
INSERT INTO resources (cluster, type_id, uid, namespace, name, version, epoch, created_at, updated_at, labels, raw)
SELECT 'test', $1, n::text, 'team-' || n % 10, 'object-' || n, 'v1', 0, now(), now(), '{}', '{}'
FROM generate_series(1, 5000) AS n
"""


async def declare(writer: Writer) -> tuple[Watch, Watch, Watch, Watch]:
    await writer.open_cluster("uid", ["*.*"])
    panels, buttons, pods, themes = [(await writer.declare(known))[0] for known in (PANELS, BUTTONS, PODS, THEMES)]
    return panels, buttons, pods, themes


async def put(writer: Writer, watch: Watch, *spaces: str) -> None:
    objects = [make_object(number, namespace=namespace) for number, namespace in enumerate(spaces)]
    await writer.apply(watch, [Event("upsert", object) for object in objects], None)


async def test_each_namespace_once_and_each_type_by_itself(pool: Pool, writer: Writer) -> None:
    panels, buttons, pods, themes = await declare(writer)
    await put(writer, panels, "b", "a", "b", "B", "a-1", "a")
    await put(writer, buttons, "c")
    await put(writer, themes, "")
    assert await namespaces_of(pool, [panels.type_id, pods.type_id, themes.type_id, panels.type_id]) == {
        panels.type_id: ["B", "a", "a-1", "b"],
        themes.type_id: [""],
    }
    assert await namespaces_of(pool, []) == {}


async def test_it_costs_the_number_of_namespaces(pool: Pool, writer: Writer) -> None:
    panels, buttons, _, _ = await declare(writer)
    async with pool.connection() as connection:
        for watch in (panels, buttons):
            await connection.execute(_FILL, watch.type_id)
        await connection.execute("VACUUM ANALYZE resources")
        statement = f"EXPLAIN (ANALYZE, FORMAT JSON) {pages._NAMESPACES}"
        plan = json.loads(await connection.fetchval(statement, [panels.type_id, buttons.type_id]))[0]["Plan"]
    reads = [node for node in _nodes(plan) if node.get("Relation Name") == "resources"]
    assert reads
    assert all("Index" in node["Node Type"] for node in reads), reads
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in reads) == 20  # of 10,000
    assert not any(node.get("Rows Removed by Filter") for node in reads), reads


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


async def test_the_authorizer_asks_about_what_the_cache_holds(world: World, pool: Pool, writer: Writer) -> None:
    await writer.open_cluster("uid", ["*.*"])
    [watch] = await writer.declare(CONFIG_MAPS.type)
    known = dataclasses.replace(CONFIG_MAPS, id=watch.type_id)
    await put(writer, watch, "prod", "dev", "dev", "gone")
    world.let("dev", user("alice"), reading())
    world.let("void", user("alice"), reading())
    reviews = {CLUSTER: SubjectAccessReviews(world.client)}
    authorizer = ReviewAuthorizer(reviews, partial(namespaces_of, pool), TTL)
    scope = await authorizer.scope(identity("alice"), "list", [known], namespace=None, name=None)
    assert scope == {known.id: Grant.of(["dev"])}
    assert world.reviews == 4
