"""The service describes itself completely, and keeps to it."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import CHECKS
from schemathesis.generation import GenerationMode

from presenter.api.declarations import parameters_of
from presenter.api.pages.parameters import PageParameters
from presenter.api.parameters import ChangesParameters, DetailParameters, ListParameters
from tests.api.service import Json
from tests.api.world import WIDGETS, World

pytestmark = pytest.mark.asyncio(loop_scope="session")

FAILURES = {"400", "401", "403", "404", "406", "429", "500", "503"}
OPERATIONS = {
    ("/resources", "get"): FAILURES,
    ("/resources", "post"): FAILURES | {"413"},
    ("/resources/{global_uid}", "get"): FAILURES,
}
CHANGES = ("/changes", "get")
NUMBERED = ("/resources", "get")
HEALTH = ("/livez", "/readyz", "/metrics")


async def document_of(world: World) -> Json:
    answer = await world.service.send("GET", "/openapi.json")
    assert answer.headers["Content-Type"] == "application/json"
    document: Json = answer.json
    return document


async def test_every_endpoint_is_there(world: World) -> None:
    document = await document_of(world)
    described = {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert described == OPERATIONS.keys() | {CHANGES} | {(path, "get") for path in HEALTH}
    for path, method in described:
        assert document["paths"][path][method]["summary"]


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
async def test_every_answer_is_there(world: World, path: str, method: str) -> None:
    document = await document_of(world)
    operation = document["paths"][path][method]
    told = {"X-Cache-State", "X-Cache-Lag-Seconds"} | ({"ETag"} if method == "get" else set())
    told |= set() if "global_uid" in path else {"X-Cache-Position"}
    unchanged = operation["responses"].pop("304", None)
    assert (unchanged is not None) == (method == "get")
    assert unchanged is None or unchanged["headers"].keys() == told
    assert operation["responses"].keys() == {"200"} | OPERATIONS[path, method]
    for code, response in operation["responses"].items():
        assert response["description"]
        names = ["ResourcePage"] if code == "200" else ["Status"]
        if code == "200" and (path, method) == NUMBERED:
            names.append("PaginatedResponse_Resource")
        references = [{"$ref": f"#/components/schemas/{name}"} for name in names]
        schema = response["content"]["application/json"]["schema"]
        assert schema == (references[0] if len(references) == 1 else {"oneOf": references})
        assert all(document["components"]["schemas"][name]["example"] for name in names)
    links = {"Link"} if (path, method) == NUMBERED else set()
    assert operation["responses"]["200"]["headers"].keys() == told | links
    assert operation["security"] == [{"token": []}]
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"


async def test_the_stream_of_changes_is_there(world: World) -> None:
    document = await document_of(world)
    operation = document["paths"]["/changes"]["get"]
    assert operation["responses"].keys() == {"200", "410"} | FAILURES
    assert operation["responses"]["200"]["content"].keys() == {"text/event-stream"}
    named = {parameter["name"] for parameter in operation["parameters"]}
    assert named == parameters_of(ChangesParameters).keys() | {"Last-Event-ID"}
    assert operation["security"] == [{"token": []}]


async def test_health_needs_no_token(world: World) -> None:
    document = await document_of(world)
    assert all("security" not in document["paths"][path]["get"] for path in HEALTH)
    assert "security" not in document


async def test_every_parameter_is_there_with_what_is_allowed_and_an_example(world: World) -> None:
    paths = (await document_of(world))["paths"]
    listed = {parameter["name"]: parameter for parameter in paths["/resources"]["get"]["parameters"]}
    detail = {parameter["name"]: parameter for parameter in paths["/resources/{global_uid}"]["get"]["parameters"]}
    assert listed.keys() == parameters_of(PageParameters).keys() | {"If-None-Match"}
    assert detail.keys() == parameters_of(DetailParameters).keys() | {"global_uid", "If-None-Match"}
    assert [name for name, parameter in listed.items() if parameter["required"]] == ["group"]
    assert [name for name, parameter in detail.items() if parameter["required"]] == ["global_uid"]
    for parameter in (*listed.values(), *detail.values()):
        assert parameter["description"]
        assert "example" in parameter or "example" in parameter["content"]["application/json"]
        if parameter["name"] != "global_uid":
            assert "Allowed: " in parameter["description"]
    for name, default in (("namespace", "default"), ("limit", 100), ("sort_by", "created_at"), ("raw", False)):
        assert listed[name]["schema"]["default"] == default
    assert detail["raw"]["schema"]["default"] is detail["status_raw"]["schema"]["default"] is True


async def test_a_body_has_the_same_fields_as_a_query_string(world: World) -> None:
    content = (await document_of(world))["paths"]["/resources"]["post"]["requestBody"]["content"]["application/json"]
    assert content["schema"]["properties"].keys() == parameters_of(ListParameters).keys()
    assert content["schema"]["required"] == ["group"]
    assert content["schema"]["additionalProperties"] is False
    assert (await world.service.post(content["example"])).items


async def test_every_example_of_a_parameter_is_accepted(world: World) -> None:
    for parameter in (await document_of(world))["paths"]["/resources"]["get"]["parameters"]:
        name = parameter["name"]
        if parameter["in"] == "header" or name == "cursor":  # an example cannot be signed
            continue
        example = parameter.get("example") or parameter["content"]["application/json"]["example"]
        numbered = {"page": 1} if name == "total" else {}
        answer = await world.service.page(**({"group": WIDGETS, **numbered} | {name: example}))
        assert answer.code == 200, answer.body


async def test_the_example_of_an_item_is_one(world: World) -> None:
    example = (await document_of(world))["components"]["schemas"]["Resource"]["example"]
    item = next(item for item in (await world.service.page(group=WIDGETS)).items if "composition_id" in item)
    assert example.keys() == item.keys()
    assert example["global_uid"] == f"{example['cluster_name']}:{example['uid']}"


async def test_the_documentation_is_a_page_on_the_document(world: World) -> None:
    page = await world.service.send("GET", "/docs")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "/openapi.json" in page.body.decode()
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())
    assert len(loaded) == 3
    for path in loaded:  # all of it from here: behind a firewall there is nothing else
        assert (await world.service.send("GET", path)).code == 200
    home = await world.service.send("GET", "/")
    assert (home.code, home.headers["Location"]) == (307, "docs")


@pytest.mark.parametrize(
    ("path", "method", "mode"),
    [
        *((path, method, GenerationMode.POSITIVE) for path, method in OPERATIONS),
        *((path, method, GenerationMode.NEGATIVE) for path, method in OPERATIONS),
        *((path, "get", GenerationMode.POSITIVE) for path in HEALTH),
    ],
)
async def test_whatever_is_sent_the_answer_is_one_that_is_described(
    world: World, path: str, method: str, mode: GenerationMode
) -> None:
    """Schemathesis makes requests from the document, well-formed and not, and holds the answers against it."""
    operation = schemathesis.openapi.from_dict(await document_of(world))[path][method.upper()]
    checks = [
        CHECKS.get_one(name)
        for name in (
            "not_a_server_error",
            "status_code_conformance",
            "content_type_conformance",
            "response_schema_conformance",
            "response_headers_conformance",
        )
    ]

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        case.call_and_validate(base_url=world.service.url, headers=world.service.authorization, checks=checks)

    await asyncio.to_thread(ask)
