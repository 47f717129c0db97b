"""A RESTAction that pages through panels, resolved against the real service as Krateo's snowplow does it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from presenter.restaction.endpoints import ClusterEndpoints
from presenter.restaction.jq import Jq
from presenter.restaction.manifest import Manifest, RestAction, expression
from presenter.restaction.resolver import Services, resolve
from presenter.sandbox import Cluster, Sandbox, fill
from tests.e2e.system import PANELS, Json, Service, System, without_managed_fields

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


@pytest.fixture
def action() -> RestAction:
    return Manifest.read(Path(__file__).with_name("restaction.yaml")).only()


@pytest.fixture
async def jq() -> AsyncIterator[Jq]:
    async with Jq() as jq:
        yield jq


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A cluster with several pages of dashboard panels."""
    cluster = Cluster()
    fill(cluster, 600)
    async with Sandbox(cluster=cluster) as running:
        yield running


@pytest.mark.parametrize(("context", "expected"), CONTEXTS)
async def test_the_path_is_what_the_portal_sends(action: RestAction, jq: Jq, context: Json, expected: str) -> None:
    path = await jq.first(expression(action.calls[0].path) or "", context)
    assert expected in path
    assert path.endswith('labels={"krateo.io/portal-page":"dashboard"}')
    assert " " not in path


async def test_following_the_cursor_gives_every_panel_once_and_newest_first(
    system: System, action: RestAction, jq: Jq
) -> None:
    service = await (await system.start()).ready()
    expected = {
        panel["metadata"]["uid"]: without_managed_fields(panel)
        for panel in system.sandbox.cluster.objects(PANELS)
        if panel["metadata"].get("labels", {}).get("krateo.io/portal-page") == "dashboard"
    }
    assert len(expected) > 3 * PAGE
    for context, path in CONTEXTS:
        pages = await _walk(service, action, jq, context)
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


async def _walk(service: Service, action: RestAction, jq: Jq, context: Json) -> list[list[Json]]:
    """All pages, each asked for with the slice that the one before it gave."""
    pages = []
    async with _endpoints(service) as endpoints:
        while True:
            resolved = await resolve(action, context, Services(jq, endpoints, service.token))
            assert not resolved.problems
            pages.append(resolved.result["panels"])
            if resolved.result["slice"]["cursor"] is None:
                assert "cursor" not in resolved.context["panels"]
                return pages
            context = {"slice": resolved.result["slice"]}


async def test_a_call_that_fails_gives_a_status(system: System, action: RestAction, jq: Jq) -> None:
    service = await (await system.start()).ready()
    first = {"perPage": PAGE}
    for page, token, change, code, reason, says in [
        ({"perPage": PAGE, "cursor": "bm90LWEtY3Vyc29y"}, None, {}, 400, "BadRequest", "cursor"),
        ({"perPage": 5001}, None, {}, 400, "BadRequest", "limit"),
        (first, "", {}, 401, "Unauthorized", "Bearer"),
        (first, "e30.e30.e30", {}, 401, "Unauthorized", "token"),
        (first, None, {"v1beta1": "v2"}, 404, "NotFound", "v2"),
        (first, None, {"panels&": "walls&", "widgets.templates.krateo.io": "apps"}, 404, "NotFound", "apps"),
    ]:
        async with _endpoints(service) as endpoints:
            services = Services(jq, endpoints, service.token if token is None else token)
            resolved = await resolve(_changed(action, change), {"slice": page}, services)
        assert resolved.result.keys() == {"slice", "panelsError"}
        status = resolved.result["panelsError"]
        assert status == {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "message": status["message"],
            "reason": reason,
            "code": code,
        }
        assert says in status["message"]
        assert not resolved.failed


def _endpoints(service: Service) -> ClusterEndpoints:
    return ClusterEndpoints(None, {"resources-presenter-endpoint": service.url})


def _changed(action: RestAction, change: dict[str, str]) -> RestAction:
    """With something else in the path, and without the filter, which would not stand it."""
    [call] = action.calls
    for old, new in change.items():
        call = replace(call, path=call.path.replace(old, new))
    return replace(action, calls=(call,), filter=None)
