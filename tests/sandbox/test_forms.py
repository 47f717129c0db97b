"""Tables and metadata-only answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import yaml

from presenter.sandbox import Sandbox
from presenter.sandbox.metadata import timestamp
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
    assert bare["rows"][0]["object"] is None
    refused = await client.send("GET", PANELS_PATH, None, TABLE, includeObject="some")
    assert (refused.status, refused.json["reason"]) == (400, "BadRequest")
    assert refused.json["message"].endswith("must be 'Metadata', 'Object', 'None', or empty")


async def test_one_object_and_a_watch_as_tables(client: Client, sandbox: Sandbox) -> None:
    created = sandbox.cluster.create(panel("a", title="x"))
    table = await client.get(f"{PANELS_PATH}/a", TABLE)
    assert table["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]
    assert table["rows"][0]["cells"][:2] == ["a", "x"]
    watch = await client.watch(PANELS_PATH, TABLE, allowWatchBookmarks="true")
    sandbox.cluster.merge_patch(PANELS, "a", "default", {"spec": {"title": "y"}})
    added, end, modified = [await watch.next() for _ in range(3)]
    assert [(event["type"], event["object"]["rows"][0]["cells"][1]) for event in (added, end, modified)] == [
        ("ADDED", "x"),
        ("BOOKMARK", None),
        ("MODIFIED", "y"),
    ]
    assert added["object"]["columnDefinitions"] == table["columnDefinitions"]
    assert end["object"]["columnDefinitions"] is modified["object"]["columnDefinitions"] is None, "told once"
    sandbox.bookmark()
    bookmark = await watch.next()
    (row,) = bookmark["object"]["rows"]
    assert (bookmark["object"]["kind"], row["cells"]) == ("Table", ["", None, None])
    assert row["object"]["metadata"] == {"resourceVersion": str(sandbox.cluster.resource_version)}


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
    bookmark = await watch.next()
    assert (bookmark["type"], bookmark["object"]["kind"]) == ("BOOKMARK", "PartialObjectMetadata")
    for path, kind in ((PANELS_PATH, "PartialObjectMetadata"), (f"{PANELS_PATH}/a", "PartialObjectMetadataList")):
        refused = await client.send("GET", path, None, {"Accept": PARTIAL.format(kind)})
        assert (refused.status, refused.json["reason"]) == (406, "NotAcceptable")


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


async def test_columns_without_any_declared_are_name_and_age(client: Client, sandbox: Sandbox) -> None:
    definition = crd("gadgets", "Gadget")
    del definition["spec"]["versions"][0]["additionalPrinterColumns"]
    sandbox.cluster.create(definition)
    sandbox.cluster.create({**panel("a"), "kind": "Gadget"})
    table = await client.get(PANELS_PATH.replace("panels", "gadgets"), TABLE)
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Age"]


async def test_yaml(client: Client, sandbox: Sandbox) -> None:
    created = sandbox.cluster.create(panel("a", title="é", text="yes"))
    answered = await client.send("GET", f"{PANELS_PATH}/a", None, {"Accept": "application/yaml"})
    assert (answered.status, answered.headers["Content-Type"]) == (200, "application/yaml")
    assert yaml.safe_load(answered.body)["spec"] == created["spec"]
    refused = await client.send("GET", PANELS_PATH, None, {"Accept": "application/yaml"}, watch="true")
    assert refused.status == 406, "a watch is no YAML"


async def test_media_types_that_there_are_not(client: Client) -> None:
    custom = await client.send("GET", PANELS_PATH, None, {"Accept": "text/html"})
    assert (custom.status, custom.json["message"]) == (
        406,
        "only the following media types are accepted: application/json, application/yaml",
    )
    built_in = await client.send("GET", "/api/v1/configmaps", None, {"Accept": "text/html"})
    assert (built_in.status, built_in.json["details"]) == (406, {})
    assert built_in.json["message"].startswith("406: Not Acceptable\n\nAvailable representations: application/json")
