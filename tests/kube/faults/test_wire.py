"""Faults of the connection to the API server, and of what it answers: the cache ends equal to the cluster."""

from __future__ import annotations

import dataclasses
import json
import time

import msgspec
import pytest

from presenter.kube.reflector import FRUITLESS_WATCHES
from presenter.kube.timings import BackoffTimings
from tests.eventually import eventually
from tests.kube.world import CONFIG_MAPS, FAST, World

TOO_LARGE = msgspec.json.encode(
    {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": "Timeout: Too large resource version: 9999, current: 1",
        "reason": "Timeout",
        "details": {"causes": [{"reason": "ResourceVersionTooLarge"}], "retryAfterSeconds": 1},
        "code": 504,
    }
).decode()


async def history_expires(world: World, *, in_stream: bool) -> None:
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await world.watching()
        expired = world.sandbox.faults.expire(resource=CONFIG_MAPS, in_stream=in_stream)
        world.sandbox.faults.cut("abort", resource=CONFIG_MAPS)
        world.change()
        await world.sees(lambda: expired.times == 0 and world.lists(CONFIG_MAPS) == 2)
        await world.equal()
        assert (await world.state(CONFIG_MAPS, "live")).lists == 2


async def test_fault_01_http_410_on_watch(world: World) -> None:
    await history_expires(world, in_stream=False)


async def test_fault_02_in_stream_410(world: World) -> None:
    await history_expires(world, in_stream=True)


async def test_fault_03_410_on_page_2(world: World) -> None:
    for number in range(700):
        world.put(f"many-{number}")
    world.sandbox.faults.break_off("mid-line", resource=CONFIG_MAPS)  # a list streamed goes on in pages
    world.sandbox.faults.expire_page(resource=CONFIG_MAPS)
    async with world.following(CONFIG_MAPS):
        await world.equal()
        assert (await world.state(CONFIG_MAPS, "live")).lists == 1
    pages = world.sandbox.requests.matching(verb="list", resource="configmaps")
    tokens = [page.query["continue"] for page in pages if "continue" in page.query]
    assert len(tokens) == 2  # one for each attempt: the inconsistent token of the 410 was never used
    assert len(set(tokens)) == 1


async def test_fault_04_410_again_on_the_relist(world: World, listing: str) -> None:
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await world.watching()
        faults = [
            world.sandbox.faults.expire(resource=CONFIG_MAPS),
            world.sandbox.faults.refuse(410, verb="list", resource=CONFIG_MAPS, times=3),
        ]
        if listing == "streamed":
            faults.append(world.sandbox.faults.refuse(410, verb="watch", resource=CONFIG_MAPS, times=2))
        world.sandbox.faults.cut("abort", resource=CONFIG_MAPS)
        world.change()
        await world.sees(lambda: all(fault.times == 0 for fault in faults))
        await world.equal()


async def test_fault_04_410_again_on_the_relist_in_a_stream(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await world.watching()
        expired = world.sandbox.faults.expire(resource=CONFIG_MAPS, times=3)
        world.sandbox.faults.cut("abort", resource=CONFIG_MAPS)
        world.change()
        await world.befell(expired)
        await world.equal()


async def refused_for_a_while(world: World, status: int, *, body: str | None = None, content: str = "") -> None:
    """At the first list, and on the watch that follows: each time the same request is made again, later."""
    faults = world.sandbox.faults

    def refuse(verb: str) -> None:
        refused.append(faults.refuse(status, verb=verb, resource=CONFIG_MAPS, times=2, body=body, content_type=content))

    refused = [faults.refuse(status, verb="get", resource="namespaces", times=1, body=body, content_type=content)]
    refuse("list")
    refuse("watch")
    async with world.following(CONFIG_MAPS):
        await world.befell(refused[-1])
        await world.equal()
        assert (await world.state(CONFIG_MAPS, "live")).error == ""
        refuse("watch")
        faults.cut("abort", resource=CONFIG_MAPS)
        world.change()
        await world.befell(refused[-1])
        await world.equal()
        await world.state(CONFIG_MAPS, "live")
    await resume(world)
    assert all(fault.times == 0 for fault in refused)
    assert (await world.watches(CONFIG_MAPS))[0].lists == 1


async def resume(world: World) -> None:
    world.change()
    async with world.following(CONFIG_MAPS):
        await world.equal()


async def test_fault_05_504_too_large_resource_version(world: World) -> None:
    await refused_for_a_while(world, 504, body=TOO_LARGE, content="application/json")


async def test_fault_06_429_with_retry_after(world: World, listing: str) -> None:
    verb = "watch" if listing == "streamed" else "list"
    world.sandbox.faults.refuse(429, verb=verb, resource=CONFIG_MAPS, times=1, retry_after=1)
    async with world.following(CONFIG_MAPS):
        await world.sandbox.requests.seen(1, verb=verb, resource="configmaps", status=429)
        refused = time.monotonic()
        row = await world.state(CONFIG_MAPS, "error")
        await world.sees(lambda: any(r.status == 200 for r in world.sandbox.requests.matching(resource="configmaps")))
        assert time.monotonic() - refused > 0.9
        await world.equal()
    assert "429" in row.error


async def test_fault_07_in_stream_500_without_reason(world: World) -> None:
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await world.watching()
        error = world.sandbox.faults.stream_error(500, "", "", resource=CONFIG_MAPS, times=FRUITLESS_WATCHES + 1)
        world.sandbox.faults.cut("error", resource=CONFIG_MAPS)
        world.change()
        await world.befell(error)
        await world.equal()
        assert (await world.state(CONFIG_MAPS, "live")).lists == 2


@pytest.mark.parametrize(("status", "body"), [(502, "<html>Bad Gateway</html>"), (503, "<html>")])
async def test_fault_08_html_502_and_503(world: World, status: int, body: str) -> None:
    await refused_for_a_while(world, status, body=body, content="text/html")


async def cut_again_and_again(world: World, how: str) -> None:
    async with world.following(CONFIG_MAPS):
        await world.equal()
        for round_ in range(1, 4):
            await world.watching(round_)
            world.change()
            world.put("last", a=str(round_))
            assert world.sandbox.faults.cut(how, resource=CONFIG_MAPS) == 1
            world.put("deleted", a="again")
            world.put("meanwhile", a=str(round_))
            await world.equal()
        assert (await world.watches(CONFIG_MAPS))[0].lists == 1


async def cut_in_a_list(world: World, how: str) -> None:
    world.sandbox.faults.break_off(how, resource=CONFIG_MAPS, times=2)
    async with world.following(CONFIG_MAPS):
        await world.equal()
        world.change()
        await world.equal()


async def test_fault_09_line_cut_in_the_middle(world: World) -> None:
    await cut_again_and_again(world, "mid-line")


async def test_fault_09_line_cut_in_the_middle_of_a_list(world: World) -> None:
    await cut_in_a_list(world, "mid-line")


async def test_fault_10_reset_in_mid_stream(world: World) -> None:
    await cut_again_and_again(world, "abort")


async def test_fault_10_reset_in_mid_stream_of_a_list(world: World) -> None:
    await cut_in_a_list(world, "abort")


async def test_fault_11_silent_half_open_connection(world: World) -> None:
    async with world.following(CONFIG_MAPS, timings=dataclasses.replace(FAST, silence=0.5)):
        await world.equal()
        await world.watching()
        world.sandbox.bookmark()
        version = str(world.sandbox.cluster.resource_version)
        await eventually(lambda: world.watches(CONFIG_MAPS), lambda rows: rows[0].checkpoint == version)
        silence = world.sandbox.faults.drop_events(resource=CONFIG_MAPS)
        world.change()
        await world.watching(2)
        await world.equal()
        world.sandbox.faults.remove(silence)
        assert (await world.watches(CONFIG_MAPS))[0].lists == 1


@pytest.mark.parametrize("verb", ["list", "watch"])
async def test_fault_11_silent_half_open_connection_from_the_first(world: World, verb: str) -> None:
    stalled = world.sandbox.faults.stall(verb=verb, resource=CONFIG_MAPS, times=1)
    if verb == "list":
        world.sandbox.faults.no_streaming_lists()
    async with world.following(CONFIG_MAPS, timings=dataclasses.replace(FAST, silence=0.5)):
        await world.befell(stalled)
        world.change()
        await world.equal()
        world.put("later", a="1")
        await world.equal()


async def test_fault_12_instant_close_loop(world: World) -> None:
    slow = dataclasses.replace(FAST, backoff=BackoffTimings(0.4, 0.4))
    async with world.following(CONFIG_MAPS, timings=slow):
        await world.equal()
        await world.watching()
        closing = world.sandbox.faults.break_off("end", resource=CONFIG_MAPS, times=None)
        world.sandbox.faults.cut("end", resource=CONFIG_MAPS)
        row = await world.state(CONFIG_MAPS, "error")
        assert "ended at once" in row.error
        world.change()
        await world.watching(2)
        second = time.monotonic()
        await world.watching(4)
        assert time.monotonic() - second > 0.3  # two delays of 0.2 s or more
        world.sandbox.faults.remove(closing)
        await world.equal()


@pytest.mark.parametrize("repeated", [False, True], ids=["without a word", "after what was told before"])
async def test_fault_12_instant_close_loop_without_end(world: World, repeated: bool) -> None:
    """What happens meanwhile is listed, for no watch ever tells of it."""
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await world.watching()
        known = json.dumps(world.sandbox.cluster.objects(CONFIG_MAPS)[0]).encode()
        closing = world.sandbox.faults.break_off(
            "end",
            resource=CONFIG_MAPS,
            times=None,
            first=b'{"type":"ADDED","object":%s}\n' % known if repeated else b"",
        )
        world.sandbox.faults.cut("end", resource=CONFIG_MAPS)
        for round_ in (2, 3):
            world.change()
            await world.equal()
            assert (await world.watches(CONFIG_MAPS))[0].lists >= round_
        began = world.sandbox.requests.count(verb="watch", resource="configmaps")
        world.sandbox.faults.remove(closing)
        await world.equal()
        await world.state(CONFIG_MAPS, "live")
        assert world.sandbox.requests.count(verb="watch", resource="configmaps") <= began + 3


async def test_fault_13_line_of_more_than_4_mib(world: World) -> None:
    world.put("at-the-start", value="äöü€😀" * 400_000)
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await world.watching()
        world.put("later", value="äöü€😀" * 400_000)
        await world.equal()
        assert (await world.watches(CONFIG_MAPS))[0].lists == 1


@pytest.mark.parametrize("size", [1, 7])
async def test_fault_14_multibyte_split_across_chunks(world: World, size: int) -> None:
    world.put("multibyte", value="äöü€😀" * 20)
    world.sandbox.faults.fragment(size, resource=CONFIG_MAPS)
    async with world.following(CONFIG_MAPS):
        await world.equal()
        await world.watching()
        world.put("multibyte", value="😀€üöä" * 20)
        await world.equal()
        assert (await world.watches(CONFIG_MAPS))[0].lists == 1


async def test_fault_15_missing_kind_on_list_items(world: World) -> None:
    world.sandbox.faults.no_streaming_lists()
    async with world.following(CONFIG_MAPS):
        await world.equal()
        [found] = [found for found in await world.known_types() if found.name == CONFIG_MAPS]
        page = await world.client.list_page(found, limit=10)
    assert page.items
    assert all(msgspec.json.decode(item).keys().isdisjoint({"kind", "apiVersion"}) for item in page.items)
    assert {row["raw"]["kind"] for row in (await world.cached(CONFIG_MAPS)).values()} == {"ConfigMap"}


async def test_fault_29_no_bookmarks(world: World) -> None:
    world.sandbox.bookmark_interval = 0.1
    world.sandbox.faults.no_bookmarks()
    async with world.following(CONFIG_MAPS, timings=dataclasses.replace(FAST, silence=0.4)):
        await world.equal()
        await world.watching(3)  # opened anew after every silence, and none was taken for an error
        world.change()
        await world.equal()
        row = await world.state(CONFIG_MAPS, "live")
    assert (row.lists, row.error) == (1, "")
