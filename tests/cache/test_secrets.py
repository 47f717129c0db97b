"""Secrets that an earlier version stored, with more of them than is kept now."""

from __future__ import annotations

import json
from typing import Any

import pytest

from presenter.cache.pool import Pool
from presenter.cache.writer import Checkpoint, Writer
from presenter.resource import SECRET_ANNOTATIONS, Object, ResourceType, Watch
from tests.objects import make_object

SECRETS = ResourceType("", "v1", "secrets", "Secret", True, ("v1",))
CONFIG_MAPS = ResourceType("", "v1", "configmaps", "ConfigMap", True, ("v1",))
READABLE = {"kapp.k14s.io/original": '{"data":{"password":"c2VjcmV0"}}'}
HARMLESS = dict.fromkeys(sorted(SECRET_ANNOTATIONS), "something")


def secret(annotations: Any, name: str = "mine") -> Object:
    metadata = {"name": name, "namespace": "default", "uid": name} | (
        {} if annotations == "absent" else {"annotations": annotations}
    )
    raw = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
    return make_object(name, uid=name, version="v1", kind="Secret", group="", raw=raw)


async def open_cluster(writer: Writer, *, secret_data: bool = False) -> None:
    await writer.open_cluster("cluster-uid", ["*.*", "secrets"], secret_data=secret_data)


async def listed(writer: Writer, type: ResourceType, *objects: Object) -> Watch:
    [watch] = await writer.declare(type)
    await writer.begin_list(watch)
    await writer.list_page(watch, objects)
    await writer.finish_list(watch, "100")
    return watch


async def annotations_of(pool: Pool, watch: Watch) -> list[Any]:
    async with pool.connection() as connection:
        rows = await connection.fetch("SELECT raw FROM resources WHERE type_id = $1 ORDER BY name", watch.type_id)
    return [json.loads(row["raw"])["metadata"].get("annotations") for row in rows]


async def test_secrets_whose_annotations_tell_more_are_listed_anew(writer: Writer, pool: Pool) -> None:
    await open_cluster(writer)
    watch = await listed(writer, SECRETS, secret(HARMLESS, "first"), secret(READABLE, "second"))
    others = await listed(writer, CONFIG_MAPS, secret(READABLE))
    await open_cluster(writer)
    assert await writer.checkpoint(watch) is None, "nothing of it is served before it was listed"
    assert await writer.checkpoint(others) == Checkpoint("100")
    blanked = dict.fromkeys(READABLE, "")
    watch = await listed(writer, SECRETS, secret(HARMLESS, "first"), secret(blanked, "second"))
    assert await annotations_of(pool, watch) == [HARMLESS, blanked], "though at the same resourceVersion"
    await open_cluster(writer)
    assert await writer.checkpoint(watch) == Checkpoint("100"), "which was for once"


@pytest.mark.parametrize("annotations", ["absent", None, {}, HARMLESS, {"a": ""}], ids=str)
async def test_secrets_that_are_as_they_should_be_are_resumed(writer: Writer, annotations: Any) -> None:
    await open_cluster(writer)
    watch = await listed(writer, SECRETS, secret(annotations))
    await open_cluster(writer)
    assert await writer.checkpoint(watch) == Checkpoint("100")


async def test_secrets_that_are_kept_whole_are_resumed(writer: Writer) -> None:
    await open_cluster(writer, secret_data=True)
    watch = await listed(writer, SECRETS, secret(READABLE))
    await open_cluster(writer, secret_data=True)
    assert await writer.checkpoint(watch) == Checkpoint("100")
    await open_cluster(writer, secret_data=False)
    assert await writer.checkpoint(watch) is None


async def test_secrets_of_another_cluster_are_not_looked_at(writer: Writer, pool: Pool) -> None:
    other = Writer(pool, "other")
    for each in (writer, other):
        await open_cluster(each)
    mine, theirs = await listed(writer, SECRETS, secret(HARMLESS)), await listed(other, SECRETS, secret(READABLE))
    await open_cluster(writer)
    assert await writer.checkpoint(mine) == Checkpoint("100")
    assert await other.checkpoint(theirs) == Checkpoint("100")
