"""Tables and metadata-only answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from presenter.sandbox import Sandbox
from presenter.sandbox.metadata import timestamp
from presenter.sandbox.tables import at_path
from tests.sandbox.harness import PANELS, PANELS_PATH, Client, crd, panel

TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
PARTIAL = "application/json;as={};v=v1;g=meta.k8s.io"


def aged(name: str, age: timedelta, **spec: Any) -> dict[str, Any]:
    manifest = panel(name, **spec)
    manifest["metadata"]["creationTimestamp"] = timestamp(datetime.now(UTC) - age)
    return manifest


async def test_a_list_as_a_table(client: Client, sandbox: Sandbox) -> None:
    sandbox.cluster.create(aged("a", timedelta(days=3), title="First"))
    sandbox.cluster.create(aged("b", timedelta(minutes=30)))
    table = await client.get(PANELS_PATH, TABLE)
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Title", "Age"]
    assert [row["cells"] for row in table["rows"]] == [["a", "First", "3d"], ["b", None, "30m"]]
    assert {row["object"]["kind"] for row in table["rows"]} == {"PartialObjectMetadata"}
    whole = await client.get(PANELS_PATH, TABLE, includeObject="Object")
    assert [row["object"]["kind"] for row in whole["rows"]] == ["Panel", "Panel"]
    bare = await client.get(PANELS_PATH, TABLE, includeObject="None")
    assert "object" not in bare["rows"][0]


async def test_one_object_and_a_watch_as_tables(client: Client, sandbox: Sandbox) -> None:
    created = sandbox.cluster.create(panel("a", title="x"))
    table = await client.get(f"{PANELS_PATH}/a", TABLE)
    assert table["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]
    assert table["rows"][0]["cells"][:2] == ["a", "x"]
    watch = await client.watch(PANELS_PATH, TABLE, allowWatchBookmarks="true")
    sandbox.cluster.merge_patch(PANELS, "a", "default", {"spec": {"title": "y"}})
    events = [await watch.next() for _ in range(2)]
    assert [(event["type"], event["object"]["rows"][0]["cells"][1]) for event in events] == [
        ("ADDED", "x"),
        ("MODIFIED", "y"),
    ]
    sandbox.bookmark()
    bookmark = await watch.next()
    assert (bookmark["object"]["kind"], bookmark["object"]["rows"]) == ("Table", [])


async def test_metadata_only(client: Client, sandbox: Sandbox) -> None:
    created = sandbox.cluster.create(panel("a", title="x"))
    one = await client.get(f"{PANELS_PATH}/a", {"Accept": PARTIAL.format("PartialObjectMetadata")})
    expected = {"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": created["metadata"]}
    assert one == expected
    accept = {"Accept": PARTIAL.format("PartialObjectMetadataList")}
    listed = await client.get(PANELS_PATH, accept)
    assert (listed["kind"], listed["items"]) == ("PartialObjectMetadataList", [expected])
    partial = {"Accept": PARTIAL.format("PartialObjectMetadata")}
    watch = await client.watch(PANELS_PATH, partial, allowWatchBookmarks="true")
    assert (await watch.next())["object"] == expected
    sandbox.bookmark()
    bookmark = await watch.next()
    assert (bookmark["type"], bookmark["object"]["kind"]) == ("BOOKMARK", "PartialObjectMetadata")


async def test_numbers_stay_numbers_in_cells_and_odd_dates_are_told(client: Client, sandbox: Sandbox) -> None:
    definition = crd("gadgets", "Gadget")
    definition["spec"]["versions"][0]["additionalPrinterColumns"] = [
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
        {"name": "Since", "type": "date", "jsonPath": ".spec.since"},
        {"name": "Tags", "type": "string", "jsonPath": ".spec.tags"},
    ]
    sandbox.cluster.create(definition)
    gadget = {**panel("a", size=3, since="long ago", tags=["x"]), "kind": "Gadget"}
    sandbox.cluster.create(gadget)
    table = await client.get(PANELS_PATH.replace("panels", "gadgets"), TABLE)
    assert table["rows"][0]["cells"][1:4] == [3, "<invalid>", '["x"]']


@pytest.mark.parametrize(
    ("path", "values"),
    [
        (".a.b", [1]),
        (".a['b']", [1]),
        (".list[0].x", ["p"]),
        (".list[5].x", []),
        (".list[*].x", ["p", "q"]),
        ('.list[?(@.x=="q")].y', [2]),
        (".missing.more", []),
        (r".dotted\.key", ["v"]),
    ],
)
def test_simple_json_paths(path: str, values: list[Any]) -> None:
    document = {"a": {"b": 1}, "list": [{"x": "p"}, {"x": "q", "y": 2}], "dotted.key": "v"}
    assert at_path(document, path) == values
