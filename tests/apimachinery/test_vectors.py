"""Every answer of a real kube-apiserver, given again by these modules alone, and by the sandbox over HTTP."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import pytest

from presenter.apimachinery import fields, golang, list_options
from presenter.apimachinery.continuation import Continue
from presenter.apimachinery.errors import StatusError
from presenter.apimachinery.tables import Column, TableConvertor
from presenter.sandbox import Sandbox
from tests.apimachinery.vectors import ANSWERS, GENERATED, SELECTABLE, THINGS, VECTORS, Json, crd, manifest, split
from tests.sandbox.harness import Client

TABLE = VECTORS["table"]


def answered(objects: dict[str, list[Json]], path: str, query: dict[str, str]) -> tuple[Any, ...]:
    """What a list is answered with, by these modules: a status with names, or with a reason and a message."""
    try:
        options = list_options.parse(query)
        own = SELECTABLE if path == THINGS else ()
        options.field_selector.check((*fields.METADATA, *own), default=not own)
        start = Continue.decode(options.continue_).start.removeprefix("/") if options.continue_ else ""
        options.version()
    except StatusError as refused:
        return refused.status, refused.reason, refused.message
    names = [
        object["name"]
        for object in objects[path]
        if object["name"] >= start
        and options.label_selector.matches(object["labels"])
        and options.field_selector.matches(values_of(object))
    ]
    return 200, names[: options.limit] if options.limit else names


def values_of(object: Json) -> dict[str, str]:
    spec = object["spec"] or {}
    own = {path: spec.get(path.removeprefix("spec.")) for path in SELECTABLE}
    texts = {path: "" if value is None else golang.sprint(value) for path, value in own.items()}
    return {"metadata.name": object["name"], "metadata.namespace": object["namespace"], **texts}


@pytest.mark.parametrize("vector", ANSWERS, ids=[vector["path"].rpartition("/")[2] for vector in ANSWERS])
def test_answers(vector: Json) -> None:
    assert answered(VECTORS["objects"], *split(vector["path"])) == expected(vector)


def expected(vector: Json) -> tuple[Any, ...]:
    if vector["status"] == 200:
        return 200, vector["names"]
    return vector["status"], vector["reason"], vector["message"]


def test_answers_to_random_requests() -> None:
    for vector in GENERATED["answers"]:
        assert answered(GENERATED["objects"], *split(vector["path"])) == expected(vector), vector["path"]


def test_table() -> None:
    columns = [
        Column(
            column["name"],
            column["type"],
            column["jsonPath"],
            column.get("format", ""),
            column.get("description", ""),
            column.get("priority", 0),
        )
        for column in TABLE["columns"]
    ]
    convertor = TableConvertor(columns)
    asked = datetime.fromisoformat(TABLE["asked"])
    created = (asked - timedelta(minutes=48)).isoformat()
    for row in TABLE["rows"]:
        object = {
            "metadata": {"name": row["cells"][0], "creationTimestamp": created},
            "spec": row["spec"],
            "status": row["status"],
        }
        assert typed(convertor.cells(object, asked)) == typed(row["cells"])


def test_random_tables() -> None:
    table = GENERATED["table"]
    convertor = TableConvertor([Column("X", column["type"], column["jsonPath"]) for column in table["columns"]])
    asked = datetime.fromisoformat(table["asked"])
    for number, row in enumerate(table["rows"]):
        metadata = {"name": f"o{number:02}", "labels": {"x": "lab"}}
        _, *cells = convertor.cells({"metadata": metadata, "spec": row["spec"]}, asked)
        assert typed(cells) == typed(row["cells"])


def typed(cells: list[Any]) -> list[tuple[bool, Any]]:
    """Cells that differ where one is a number and the other a boolean; numbers as far as a client reads them."""
    return [(type(cell) is bool, float(cell) if type(cell) is int and abs(cell) > 2**53 else cell) for cell in cells]


@pytest.fixture(scope="module")
def told() -> dict[str, Json]:
    """What the sandbox answers to each vector's path, and the order of a list over all namespaces."""

    async def ask() -> dict[str, Json]:
        async with Sandbox() as sandbox, aiohttp.ClientSession() as session:
            client = Client(session, sandbox)
            namespaces = {key.partition("/")[0] for key in VECTORS["order"]} | {"sel", "pg"}
            for name in sorted(namespaces - {"kube-system"}):
                sandbox.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
            sandbox.cluster.create(crd())
            for path, objects in VECTORS["objects"].items():
                for object in objects:
                    sandbox.cluster.create(manifest(path, object))
            for key in VECTORS["order"]:
                namespace, _, name = key.partition("/")
                metadata = {"name": name, "namespace": namespace}
                if namespace not in ("sel", "pg"):
                    sandbox.cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
            paths = [vector["path"] for vector in ANSWERS] + ["/api/v1/configmaps"]
            return {path: (await client.send("GET", path)).json for path in paths}

    return asyncio.run(ask())


@pytest.mark.parametrize("vector", ANSWERS, ids=[vector["path"].rpartition("/")[2] for vector in ANSWERS])
def test_the_sandbox_answers_so(told: dict[str, Json], vector: Json) -> None:
    body = told[vector["path"]]
    if vector["status"] != 200:
        expected = vector["status"], vector["reason"], vector["message"]
        assert (body["code"], body["reason"], body["message"]) == expected
        return
    assert [item["metadata"]["name"] for item in body["items"]] == vector["names"]
    assert body["metadata"].get("remainingItemCount") == vector["remainingItemCount"]
    assert ("continue" in body["metadata"]) == vector.get("continue", False)


def test_the_order_of_the_sandbox(told: dict[str, Json]) -> None:
    items = told["/api/v1/configmaps"]["items"]
    assert [f"{i['metadata']['namespace']}/{i['metadata']['name']}" for i in items] == VECTORS["order"]
