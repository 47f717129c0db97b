"""The pieces a watch is made of: lines, what is read ahead, delays."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenter.kube.client import LineSplitter
from presenter.kube.read_ahead import Budget, ReadAhead
from presenter.kube.timings import MAX_SERVER_DELAY, Backoff, BackoffTimings
from tests.eventually import eventually

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


class Source:
    """A stream of items, each as large as its number: endless pauses before `held`, an error at the end."""

    def __init__(
        self, items: list[int], *, pauses: list[bool] | None = None, held: int | None = None, error: bool = False
    ) -> None:
        self._items = items
        self._pauses = pauses or []
        self._held = held
        self._error = error
        self.read = 0
        self.closed = False
        self.go_on = asyncio.Event()

    async def stream(self) -> AsyncGenerator[int, None]:
        try:
            for index, item in enumerate(self._items):
                if index < len(self._pauses) and self._pauses[index]:
                    await asyncio.sleep(0)
                if index == self._held:
                    await self.go_on.wait()
                self.read += 1
                yield item
            if self._error:
                raise OSError("broken")
        finally:
            self.closed = True

    async def reading(self, at: int) -> None:
        """Wait until so many items were asked for."""

        async def look() -> int:
            return self.read

        await eventually(look, lambda read: read >= at)


def received(source: Source, budget: Budget | None = None, **bounds: Any) -> ReadAhead[int]:
    return ReadAhead(source.stream(), int, budget or Budget(), **bounds)


async def drained(stream: ReadAhead[int]) -> list[list[int]]:
    """All batches to come."""
    found = []
    while batch := await stream.batch():
        found.append(batch)
        await asyncio.sleep(0)
    return found


@given(
    st.lists(st.integers(1, 50), max_size=60),
    st.lists(st.booleans()),
    st.booleans(),
    st.integers(1, 9),
    st.integers(1, 50),
    st.integers(1, 200),
)
def test_what_is_received_comes_whole_in_batches_within_bounds(
    items: list[int], pauses: list[bool], fails: bool, max_items: int, largest: int, stream_bytes: int
) -> None:
    budget = Budget(100)

    async def main() -> list[list[int]]:
        source = Source(items, pauses=pauses, error=fails)
        found: list[list[int]] = []
        async with received(
            source, budget, ends=largest.__le__, max_items=max_items, max_bytes=40, stream_bytes=stream_bytes
        ) as stream:
            try:
                while batch := await stream.batch():
                    found.append(batch)
                    ahead = sum(items[sum(map(len, found)) : source.read])
                    assert ahead < stream_bytes + 50
            except OSError:
                assert fails
            else:
                assert not fails
        assert source.closed
        return found

    found = asyncio.run(main())
    assert [item for batch in found for item in batch] == items
    for batch in found:
        assert 0 < len(batch) <= max_items
        assert sum(batch) <= 40 or len(batch) == 1
        assert all(item < largest for item in batch[:-1])
    budget.take(99)
    assert not budget.exhausted, "everything was given back"


@given(st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=20), min_size=2, max_size=5), st.integers(1, 100))
def test_streams_that_share_a_budget_keep_it_and_all_come_to_their_end(streams: list[list[int]], size: int) -> None:
    budget = Budget(size)

    async def main() -> None:
        sources = [Source(items) for items in streams]
        taken = [0] * len(sources)

        def read_ahead() -> int:
            return sum(
                sum(items[have : source.read]) for items, have, source in zip(streams, taken, sources, strict=True)
            )

        async def follow(number: int) -> list[int]:
            found: list[int] = []
            async with received(sources[number], budget, max_items=2) as stream:
                while batch := await stream.batch():
                    found += batch
                    taken[number] = len(found)
                    assert read_ahead() < size + 30 * len(sources), "one item too much for each at most"
                    await asyncio.sleep(0)
            return found

        async with asyncio.timeout(20):
            assert await asyncio.gather(*map(follow, range(len(sources)))) == streams

    asyncio.run(main())
    assert not budget.exhausted
    budget.take(size)
    assert budget.exhausted


async def test_an_item_is_handed_on_at_once_and_more_together_while_the_consumer_is_busy() -> None:
    source = Source([1, 2, 3, 4, 5, 6], held=1)
    async with received(source) as stream:
        assert await stream.batch() == [1]
        source.go_on.set()
        await source.reading(6)
        assert await stream.batch() == [2, 3, 4, 5, 6]
        assert await stream.batch() is None


async def test_a_stream_that_has_read_enough_waits_for_its_consumer() -> None:
    source = Source([10] * 20)
    async with received(source, max_items=2, stream_bytes=55) as stream:
        await source.reading(6)
        await _idle()
        assert source.read == 6
        assert await stream.batch() == [10, 10]
        await _idle()
        assert source.read == 6, "a batch counts until it is done with"
        assert [item for batch in await drained(stream) for item in batch] == [10] * 18


async def test_what_one_stream_holds_another_waits_for_but_for_one_item() -> None:
    budget = Budget(50)
    greedy, modest = Source([10] * 9), Source([10] * 9)
    async with received(greedy, budget) as first:
        await greedy.reading(5)
        await _idle()
        async with received(modest, budget) as second:
            await modest.reading(1)
            await _idle()
            assert (greedy.read, modest.read) == (5, 1)
            assert await second.batch() == [10]
            await _idle()
            assert modest.read == 1
            assert await first.batch() == [10] * 5
            both = await asyncio.gather(drained(first), drained(second))
    assert [sum(map(len, batches)) for batches in both] == [4, 8]
    assert not budget.exhausted


async def test_what_has_gathered_is_handed_on_after_a_cut_and_nothing_more_is_read() -> None:
    source = Source([1, 2, 3, 4, 5], held=3)
    async with received(source, max_items=2) as stream:
        await source.reading(3)
        stream.cut()
        assert await drained(stream) == [[1, 2], [3]]
        assert source.closed
    assert source.read == 3


async def test_a_cut_ends_who_waits_for_more() -> None:
    source = Source([1], held=0)
    async with received(source) as stream:
        waiting = asyncio.create_task(stream.batch())
        await _idle()
        stream.cut()
        async with asyncio.timeout(20):
            assert await waiting is None


async def test_a_cut_works_on_a_stream_that_waits_for_room() -> None:
    source = Source([10] * 9)
    async with received(source, Budget(20)) as stream:
        await source.reading(2)
        stream.cut()
        assert await drained(stream) == [[10, 10]]
    assert source.closed


async def test_leaving_early_closes_the_source_and_gives_back_what_it_held() -> None:
    budget = Budget(25)
    source = Source([10] * 9)
    async with received(source, budget, max_items=1) as stream:
        assert await stream.batch() == [10]
        await source.reading(3)
    assert source.closed
    assert not budget.exhausted
    budget.take(24)
    assert not budget.exhausted


async def test_an_error_that_nobody_waits_for_any_more_is_let_go() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    source = Source([1], error=True)
    async with received(source):
        await eventually(partial(_value, source, "closed"), bool)
    gc.collect()
    assert told == []


async def _value(source: Source, name: str) -> Any:
    return getattr(source, name)


async def _idle() -> None:
    """Let everything run that can run."""
    for _ in range(20):
        await asyncio.sleep(0)


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
