"""Compressed answers: who gets one, that it is the same document byte for byte, and that real clients read it."""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
import requests
from playwright.sync_api import sync_playwright

from presenter.cache.pool import Address, Pool
from presenter.cache.writer import Writer
from tests.api.service import Service, serving
from tests.api.world import BUTTONS, PANELS, WIDGETS, World, first_list
from tests.objects import make_object
from tests.rules import Rules

pytestmark = pytest.mark.asyncio(loop_scope="session")

ALL = f"group={WIDGETS}&namespace=*"
QUERIES = (
    f"{ALL}&raw=true",
    f"{ALL}&raw=true&limit=5",
    f"{ALL}&raw=true&status_raw=true",
    f"{ALL}&status_raw=true",
    ALL,
    f"{ALL}&raw=true&name=nobody",
    f"{ALL}&raw=true&version=v1beta1",
    "group=core&resource=nodes&raw=true",
    "group=nothing.krateo.io&namespace=*&raw=true",
)
BUTTONS_THERE = 700
"""More than one part of an answer holds."""


async def fetch(service: Service, path: str, accepted: str | None, body: bytes | None = None) -> tuple[bytes, str]:
    """The bytes as they come, and how they are encoded."""
    headers = dict(service.authorization) | ({} if accepted is None else {"Accept-Encoding": accepted})
    async with (
        aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=["Accept-Encoding"]) as session,
        session.request("GET" if body is None else "POST", service.url + path, headers=headers, data=body) as answer,
    ):
        assert answer.status == 200, await answer.text()
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert answer.headers["Content-Type"] == "application/json"
        return await answer.read(), answer.headers.get("Content-Encoding", "identity")


@pytest.mark.parametrize("query", QUERIES)
async def test_a_page_is_the_same_document_in_either_form(world: World, query: str) -> None:
    as_it_is, none = await fetch(world.service, f"/resources?{query}", None)
    compressed, coding = await fetch(world.service, f"/resources?{query}", "gzip")
    assert (none, coding) == ("identity", "gzip")
    assert gzip.decompress(compressed) == as_it_is
    assert isinstance(json.loads(as_it_is)["items"], list)


async def test_so_is_one_object_and_what_is_asked_for_by_post(world: World) -> None:
    one = f"/resources/{world.find(group=WIDGETS, resource='panels', name='zoë', namespace='default').global_uid}"
    for path, body in ((one, None), (f"{one}?status_raw=false", None), ("/resources", b'{"group":"core"}')):
        as_it_is, _ = await fetch(world.service, path, "identity", body)
        compressed, coding = await fetch(world.service, path, "gzip", body)
        assert coding == "gzip"
        assert gzip.decompress(compressed) == as_it_is


async def test_an_object_says_the_same_alone_as_on_a_page(world: World) -> None:
    """Alone it is made of its row, on a page of its piece."""
    items = (await world.service.query(f"{ALL}&raw=true")).items
    assert items
    for item in items:
        [alone] = (await world.service.detail(item["global_uid"], "status_raw=false")).items
        assert alone == item


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        (None, "identity"),
        ("", "identity"),
        ("gzip", "gzip"),
        ("GZip", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip, deflate, br, zstd", "gzip"),
        ("deflate, zstd", "identity"),
        ("zstd;q=1, gzip;q=0.1", "gzip"),
        ("gzip;q=0", "identity"),
        ("gzip;q=0, *", "identity"),
        ("gzip;q=0.000", "identity"),
        ("identity;q=0, gzip", "gzip"),
        ("identity;q=0, *", "gzip"),
        ("identity;q=0.5, gzip;q=0.4", "identity"),
        ("identity, gzip", "gzip"),
        ("identity;q=0.4, *;q=0.5", "gzip"),
        ("*", "gzip"),
        ("*;q=0, identity", "identity"),
        ("*;q=0, gzip;q=0.1", "gzip"),
        ("gzip ; q=0.5", "gzip"),
        ("gzip;q=2", "identity"),
        ("gzip;q=nan, deflate", "identity"),
        ("gzip;level=9", "identity"),
        (",, gzip ,", "gzip"),
        ("nonsense", "identity"),
        ('g zip; =;;,"gzip"', "identity"),
    ],
)
async def test_who_is_sent_what(world: World, accepted: str | None, coding: str) -> None:
    """By RFC 9110, §12.5.3; the identity is always acceptable unless it is excluded."""
    assert (await fetch(world.service, f"/resources?{ALL}&raw=true", accepted))[1] == coding


@pytest.mark.parametrize("accepted", ["identity;q=0", "*;q=0", "gzip;q=0, identity;q=0", "zstd, identity;q=0, *;q=0"])
async def test_who_accepts_nothing_that_there_is_is_told_what_there_is(world: World, accepted: str) -> None:
    answer = await world.service.query(ALL, **{"Accept-Encoding": accepted})
    message = answer.failure(406)
    assert accepted in message
    assert "gzip and identity" in message
    assert answer.json["reason"] == "NotAcceptable"


async def test_errors_are_not_compressed(world: World) -> None:
    answer = await world.service.query("group=&limit=x", **{"Accept-Encoding": "gzip"})
    assert "limit" in answer.failure(400)
    assert "Content-Encoding" not in answer.headers


# -- large pages, where some rows have no piece ------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="session")
async def large(database: Address) -> AsyncIterator[Service]:
    """Of the buttons every third is as an earlier version has left it."""
    async with Pool.opened(database, size=1) as pool:
        writer = Writer(pool, "test")
        await writer.open_cluster("uid", ["*.*.krateo.io"])
        await Rules(writer).open_to_everybody()
        [panels] = await writer.declare(PANELS)
        [buttons] = await writer.declare(BUTTONS)
        await first_list(writer, panels, make_object("whole", raw={"text": "x" * 3_000_000}))
        made = [make_object(f"b{n:04}", kind="Button", raw={"text": f"{n}" * 2000}) for n in range(BUTTONS_THERE)]
        await first_list(writer, buttons, *made)
        await writer.discovered()
        async with pool.connection() as connection:
            await connection.execute("UPDATE resources SET piece = NULL, piece_of = NULL WHERE name ~ '[0369]$'")
    async with serving(database) as service:
        yield service


async def test_a_page_in_many_parts_is_the_same_document_in_either_form(large: Service) -> None:
    path = f"/resources?group={WIDGETS}&namespace=*&raw=true&limit=5000&sort_by=name"
    as_it_is, _ = await fetch(large, path, None)
    compressed, _ = await fetch(large, path, "gzip")
    assert gzip.decompress(compressed) == as_it_is
    assert len(as_it_is) > 5_000_000 > 20 * len(compressed)
    page = json.loads(as_it_is)
    assert page["count"] == len(page["items"]) == BUTTONS_THERE + 1
    assert [item["raw"]["text"][:3] for item in page["items"][:3]] == ["000", "111", "222"]


# -- clients -----------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="session", params=[f"{ALL}&raw=true", f"{ALL}&raw=true&limit=1&cursor="])
async def asked(request: pytest.FixtureRequest, world: World) -> tuple[str, bytes]:
    """A page's URL, and the page."""
    path = f"/resources?{request.param}"
    return world.service.url + path, (await fetch(world.service, path, None))[0]


async def test_curl_reads_it(world: World, asked: tuple[str, bytes]) -> None:
    headers = ("-H", f"Authorization: {world.service.authorization['Authorization']}")
    assert await run("curl", "-gsS", "--compressed", *headers, asked[0]) == asked[1]


async def test_pythons_requests_reads_it(world: World, asked: tuple[str, bytes]) -> None:
    url, page = asked
    answer = await asyncio.to_thread(requests.get, url, headers=world.service.authorization, timeout=30)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.content == page


async def test_aiohttp_reads_it(world: World, asked: tuple[str, bytes]) -> None:
    url, page = asked
    async with aiohttp.ClientSession(headers=world.service.authorization) as session, session.get(url) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert await answer.read() == page


_GO = """
package main

import ("io"; "net/http"; "os")

func main() {
    request, _ := http.NewRequest("GET", os.Args[1], nil)
    request.Header.Set("Authorization", os.Args[2])
    answer, err := http.DefaultClient.Do(request)
    if err != nil { panic(err) }
    if !answer.Uncompressed { panic("it did not come compressed") }
    if _, err := io.Copy(os.Stdout, answer.Body); err != nil { panic(err) }
}
"""


@pytest.mark.skipif(shutil.which("go") is None, reason="there is no Go on this machine")
async def test_gos_net_http_reads_it(world: World, asked: tuple[str, bytes], tmp_path: Path) -> None:
    """As snowplow does: it has not asked for gzip itself, its transport has."""
    (tmp_path / "main.go").write_text(_GO)
    url, page = asked
    token = world.service.authorization["Authorization"]
    assert await run("go", "run", f"{tmp_path / 'main.go'}", url, token) == page


async def test_a_browser_reads_it(world: World, asked: tuple[str, bytes], tmp_path: Path) -> None:
    """Chromium, which is sent a page that its script asks for."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium on this machine")
    url, page = asked
    async with asyncio.timeout(60):
        found = await asyncio.to_thread(_in_browser, chromium, url, dict(world.service.authorization))
    assert found == json.loads(page)


def _in_browser(chromium: str, url: str, headers: dict[str, str]) -> object:
    arguments = ["--no-sandbox", "--disable-background-networking"]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=arguments)
        page = browser.new_context(extra_http_headers=headers).new_page()
        page.goto(url)
        found = page.evaluate("async () => { const answer = await fetch(location.href); return await answer.json() }")
        browser.close()
    return found


async def run(*command: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode(errors="replace")
    return out
