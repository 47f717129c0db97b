"""The pieces a watch is made of: lines, batches, delays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenter.kube.backoff import MAX_SERVER_DELAY, Backoff, BackoffTimings
from presenter.kube.batches import batches
from presenter.kube.lines import LineSplitter

_texts = st.text(alphabet="aé😀\r\0")


@given(st.lists(_texts), _texts, st.lists(st.integers(0, 200)))
def test_lines_come_whole_however_the_stream_is_cut(texts: list[str], last: str, cuts: list[int]) -> None:
    expected = [text.encode() for text in texts]
    unterminated = last.encode()
    stream = b"".join(line + b"\n" for line in expected) + unterminated
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    splitter = LineSplitter()
    found = [line for start, end in pairwise(edges) for line in splitter.feed(stream[start:end])]
    assert found == [line for line in expected if line]
    assert splitter.unterminated == bool(unterminated)


async def _stream(items: list[int], pauses: list[bool], error: Exception | None) -> AsyncGenerator[int, None]:
    for index, item in enumerate(items):
        if index < len(pauses) and pauses[index]:
            await asyncio.sleep(0)
        yield item
    if error is not None:
        raise error


@given(st.lists(st.integers(1, 50), max_size=60), st.lists(st.booleans()), st.booleans(), st.integers(1, 9))
def test_batches_lose_nothing_and_keep_their_bounds(
    items: list[int], pauses: list[bool], fails: bool, max_items: int
) -> None:
    async def main() -> list[list[int]]:
        found = []
        source = _stream(items, pauses, OSError("broken") if fails else None)
        try:
            async for batch in batches(source, int, max_items=max_items, max_bytes=40, buffer_bytes=10**6):
                found.append(batch)
                await asyncio.sleep(0)
        except OSError:
            assert fails
        else:
            assert not fails
        return found

    found = asyncio.run(main())
    assert [item for batch in found for item in batch] == items
    for batch in found:
        assert len(batch) <= max_items
        assert sum(batch) <= 40 or len(batch) == 1


async def test_an_item_is_handed_on_at_once_and_more_together_while_the_consumer_is_busy() -> None:
    busy, all_sent = asyncio.Event(), asyncio.Event()

    async def source() -> AsyncGenerator[int, None]:
        yield 1
        await busy.wait()
        for item in range(2, 7):
            yield item
        all_sent.set()
        await asyncio.Event().wait()

    found = batches(source(), int)
    assert await anext(found) == [1]
    busy.set()
    await all_sent.wait()
    assert await anext(found) == [2, 3, 4, 5, 6]
    await found.aclose()


async def test_a_full_buffer_closes_the_source_and_what_was_read_is_still_handed_on() -> None:
    closed = asyncio.Event()

    async def source() -> AsyncGenerator[int, None]:
        try:
            while True:
                yield 10
        finally:
            closed.set()

    found = [batch async for batch in batches(source(), int, max_items=2, buffer_bytes=55)]
    assert found == [[10, 10], [10, 10], [10, 10]]
    assert closed.is_set()


async def test_leaving_early_closes_the_source() -> None:
    closed = asyncio.Event()

    async def source() -> AsyncGenerator[int, None]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            closed.set()

    found = batches(source(), int)
    assert await anext(found) == [1]
    await found.aclose()
    assert closed.is_set()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def longest(low: float, high: float) -> float:
    assert 0 < low < high
    return high


def test_delays_double_up_to_the_maximum_and_start_over_after_health() -> None:
    clock = Clock()
    backoff = Backoff(BackoffTimings(0.8, 30, 120), clock=clock, jitter=longest)
    delays = []
    for _ in range(8):
        delays.append(backoff.next())
        clock.now += delays[-1] + 119
    assert delays == [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30]
    clock.now += 2
    assert backoff.next() == 0.8


@pytest.mark.parametrize(("asked", "expected"), [(0.1, 0.8), (7.0, 7.0), (86400.0, MAX_SERVER_DELAY), (None, 0.8)])
def test_the_server_may_ask_for_more(asked: float | None, expected: float) -> None:
    assert Backoff(BackoffTimings(0.8, 30, 120), clock=Clock(), jitter=longest).next(asked) == expected


def test_delays_differ() -> None:
    assert len({Backoff(BackoffTimings()).next() for _ in range(20)}) > 10
