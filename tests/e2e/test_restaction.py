"""A RESTAction that pages through panels, evaluated by jq and sent as Krateo's snowplow does it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import jq
import pytest
import yaml
import yarl

from presenter.sandbox import Cluster, Sandbox, fill
from tests.e2e.system import PANELS, Json, Service, System, without_managed_fields

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PAGE = 7

CONTEXTS: list[tuple[Json, str]] = [
    ({}, "&limit=null&raw=true&cursor=&"),  # in jq null != "" is true
    ({"slice": {}}, "&limit=null&raw=true&cursor=&"),
    ({"slice": {"perPage": None}}, "&limit=null&raw=true&cursor=&"),
    ({"slice": {"perPage": PAGE}}, f"&limit={PAGE}&raw=true&cursor=&"),
    ({"slice": {"perPage": str(PAGE)}}, f"&limit={PAGE}&raw=true&cursor=&"),
    ({"slice": {"perPage": PAGE, "cursor": ""}}, f"&limit={PAGE}&raw=true&labels="),
    ({"slice": {"perPage": "NULL"}}, "&limit=NULL&raw=true&cursor=&"),
    ({"slice": {"perPage": "NULL", "cursor": ""}}, "&limit=5000&raw=true&labels="),
    ({"slice": {"perPage": ""}}, "&limit=&raw=true&cursor=&"),
    ({"slice": {"perPage": "", "cursor": ""}}, "&limit=5000&raw=true&labels="),
    ({"slice": {"perPage": PAGE, "cursor": None}}, f"&limit={PAGE}&raw=true&cursor=&"),
]


@dataclass(frozen=True)
class RestAction:
    """What snowplow does with one."""

    path: str
    filter: str

    @classmethod
    def read(cls, file: Path) -> RestAction:
        spec = yaml.safe_load(file.read_text())["spec"]
        path = spec["api"][0]["path"].strip()
        assert path.startswith("${")
        assert path.endswith("}")
        return cls(path[2:-1], spec["filter"])

    def path_for(self, context: Json) -> str:
        """The path that a call with this context asks for."""
        path: str = jq.compile(self.path).input_value(context).first()
        return path

    def result(self, context: Json, answer: Json) -> Json:
        """What the portal gets of an answer."""
        result: Json = jq.compile(self.filter).input_value({**context, "panels": answer}).first()
        return result


@pytest.fixture
def action() -> RestAction:
    return RestAction.read(Path(__file__).with_name("restaction.yaml"))


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A cluster with several pages of dashboard panels."""
    cluster = Cluster()
    fill(cluster, 600)
    async with Sandbox(cluster=cluster) as running:
        yield running


async def _send(service: Service, path: str, token: str | None = None) -> tuple[aiohttp.ClientResponse, Any]:
    """As it is: nothing is escaped that jq did not escape."""
    headers = {
        "Authorization": f"Bearer {service.token if token is None else token}",
        "Accept-Encoding": "gzip",
        "X-Krateo-TraceId": TRACE_ID,
    }
    async with service.session.get(yarl.URL(service.url + path, encoded=True), headers=headers) as response:
        return response, await response.json()


@pytest.mark.parametrize(("context", "expected"), CONTEXTS)
def test_the_path_is_what_the_portal_sends(action: RestAction, context: Json, expected: str) -> None:
    path = action.path_for(context)
    assert expected in path
    assert path.endswith('labels={"krateo.io/portal-page":"dashboard"}')
    assert " " not in path


async def test_following_the_cursor_gives_every_panel_once_and_newest_first(system: System, action: RestAction) -> None:
    service = await (await system.start()).ready()
    expected = {
        panel["metadata"]["uid"]: without_managed_fields(panel)
        for panel in system.sandbox.cluster.objects(PANELS)
        if panel["metadata"].get("labels", {}).get("krateo.io/portal-page") == "dashboard"
    }
    assert len(expected) > 3 * PAGE
    for context, path in CONTEXTS:
        pages = await _walk(service, action, context)
        panels = [panel for page in pages for panel in page]
        assert len(panels) == len(expected), context
        assert {panel["metadata"]["uid"]: panel for panel in panels} == expected, context
        times = [panel["metadata"]["creationTimestamp"] for panel in panels]
        assert times == sorted(times, reverse=True), context
        if f"limit={PAGE}&" in path:
            assert [len(page) for page in pages[:-1]] == [PAGE] * (len(pages) - 1)
            assert 0 < len(pages[-1]) <= PAGE
        else:
            assert len(pages) == 1


async def _walk(service: Service, action: RestAction, context: Json) -> list[list[Json]]:
    """All pages, each asked for with the slice that the one before it gave."""
    pages = []
    while True:
        response, answer = await _send(service, action.path_for(context))
        assert response.status == 200, answer
        assert response.content_type == "application/json"
        assert response.headers["X-Krateo-TraceId"] == TRACE_ID
        result = action.result(context, answer)
        pages.append(result["panels"])
        if result["slice"]["cursor"] is None:
            assert "cursor" not in answer
            return pages
        context = {"slice": result["slice"]}


async def test_a_call_that_fails_is_answered_with_a_status(system: System, action: RestAction) -> None:
    service = await (await system.start()).ready()
    good = action.path_for({"slice": {"perPage": PAGE}})
    tampered = action.path_for({"slice": {"perPage": PAGE, "cursor": "bm90LWEtY3Vyc29y"}})
    too_many = action.path_for({"slice": {"perPage": 5001}})
    for path, token, code, reason, says in [
        (tampered, None, 400, "BadRequest", "cursor"),
        (too_many, None, 400, "BadRequest", "limit"),
        (good, "", 401, "Unauthorized", "Bearer"),
        (good, "e30.e30.e30", 401, "Unauthorized", "token"),
        (good.replace("v1beta1", "v2"), None, 404, "NotFound", "v2"),
        (good.replace("panels", "walls").replace("widgets.templates.krateo.io", "apps"), None, 404, "NotFound", "apps"),
    ]:
        response, status = await _send(service, path, token)
        assert (response.status, response.content_type) == (code, "application/json")
        assert status == {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": status["message"],
            "reason": reason,
            "code": code,
        }
        assert says in status["message"]
