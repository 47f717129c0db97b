"""HEAD, OPTIONS, and what browsers ask before they ask (CORS)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio

from presenter.cache.pool import Address
from presenter.config import AccessSettings
from tests.api.service import Service, serving
from tests.api.world import WIDGETS, World

pytestmark = pytest.mark.asyncio(loop_scope="session")

PORTAL = "https://portal.example"
PANELS = f"/resources?group={WIDGETS}&resource=panels&namespace=*"
OF_THE_MOMENT = {"date", "server-timing", "x-cache-lag-seconds"}


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (PANELS, 200),
        (f"{PANELS}&limit=5000&raw=true", 200),
        (f"{PANELS}&limit=0", 400),
        ("/resources/test:nothing", 404),
        ("/livez", 200),
        ("/docs", 200),
        ("/nothing", 404),
    ],
)
async def test_head_is_get_without_the_body(world: World, path: str, code: int) -> None:
    head = await world.service.send("HEAD", path, headers=world.service.authorization)
    got = await world.service.get(path)  # on the connection that HEAD came on, or another: neither is confused
    assert (head.code, head.body) == (code, b"")
    assert got.code == code
    assert got.body
    assert head.headers.keys() == got.headers.keys()
    for name in {name.lower() for name in got.headers} - OF_THE_MOMENT:
        assert head.headers[name] == got.headers[name]


async def test_head_asks_who_it_is_too(world: World) -> None:
    assert (await world.service.send("HEAD", PANELS)).code == 401


async def test_head_is_counted_without_the_bytes_that_are_not_sent(shared_database: Address) -> None:
    async with serving(shared_database) as service:

        async def sent() -> float:
            metrics = (await service.get("/metrics")).body.decode()
            [total] = re.findall(r"^presenter_http_response_bytes_total (\S+)$", metrics, re.MULTILINE)
            return float(total)

        before = await sent()
        between = await sent()
        assert (await service.send("HEAD", "/openapi.json")).code == 200
        assert await sent() - between == pytest.approx(between - before, abs=2000), "the document has tens of kB"


@pytest.mark.parametrize(
    ("path", "allowed"), [("/resources", "GET, POST, HEAD, OPTIONS"), ("/livez", "GET, HEAD, OPTIONS")]
)
async def test_options_tells_the_methods(world: World, path: str, allowed: str) -> None:
    answer = await world.service.send("OPTIONS", path)
    assert (answer.code, answer.body) == (204, b"")
    assert answer.headers["Allow"] == allowed


async def test_options_of_nothing_is_nothing(world: World) -> None:
    assert (await world.service.send("OPTIONS", "/nothing")).code == 404


async def test_by_default_no_page_may_read_answers(world: World) -> None:
    for method in ("GET", "OPTIONS"):
        answer = await world.service.send(
            method,
            PANELS,
            headers={**world.service.authorization, "Origin": PORTAL, "Access-Control-Request-Method": "GET"},
        )
        assert [name for name in answer.headers if name.lower().startswith("access-control")] == []


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(shared_database: Address) -> AsyncIterator[Service]:
    """A service whose answers pages of the portal may read."""
    forever = AccessSettings(RBAC_MAX_STALENESS=timedelta(days=1))
    async with serving(shared_database, access=forever, CORS_ORIGINS=f"{PORTAL}, http://localhost:3000") as service:
        yield service


async def test_pages_of_an_origin_may_ask(shared: Service) -> None:
    for origin in (PORTAL, "http://localhost:3000"):
        answer = await shared.send(
            "OPTIONS",
            PANELS,
            headers={
                "Origin": origin,
                "Access-Control-Request-Method": "GET",
                "Access-Control-Request-Headers": "authorization, x-krateo-traceid",
            },
        )
        assert answer.code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert answer.headers["Access-Control-Allow-Headers"] == "authorization, x-krateo-traceid"
        assert {"GET", "POST"} <= set(answer.headers["Access-Control-Allow-Methods"].split(", "))
        assert answer.headers["Access-Control-Max-Age"] == "300"


@pytest.mark.parametrize(("path", "code"), [(PANELS, 200), (f"{PANELS}&limit=0", 400), ("/nothing", 404)])
async def test_pages_of_an_origin_may_read_answers_and_failures(shared: Service, path: str, code: int) -> None:
    answer = await shared.get(path, Origin=PORTAL)
    assert answer.code == code
    assert answer.headers["Access-Control-Allow-Origin"] == PORTAL
    assert "Origin" in ", ".join(answer.headers.getall("Vary"))
    assert "X-Cache-State" in answer.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_pages_of_another_origin_may_not(shared: Service) -> None:
    stranger = "https://elsewhere.example"
    assert "Access-Control-Allow-Origin" not in (await shared.get(PANELS, Origin=stranger)).headers
    asked = await shared.send("OPTIONS", PANELS, headers={"Origin": stranger, "Access-Control-Request-Method": "GET"})
    assert asked.code == 400
    assert "Access-Control-Allow-Origin" not in asked.headers


async def test_who_is_no_browser_notices_nothing(shared: Service, world: World) -> None:
    assert (await shared.get(PANELS)).headers.keys() == (await world.service.get(PANELS)).headers.keys()
    assert (await shared.send("OPTIONS", PANELS)).code == 204


async def test_preflights_are_counted(shared: Service) -> None:
    await shared.send("OPTIONS", "/resources", headers={"Origin": PORTAL, "Access-Control-Request-Method": "GET"})
    metrics = (await shared.get("/metrics")).body.decode()
    assert 'presenter_http_requests_total{code="200",method="OPTIONS"' in metrics


async def test_all_origins_may_be_allowed(shared_database: Address) -> None:
    async with serving(shared_database, CORS_ORIGINS="*") as service:
        assert (await service.get("/livez", Origin=PORTAL)).headers["Access-Control-Allow-Origin"] == "*"
