"""How long ago something was is told rightly, however the clock jumps by which it was noted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenter.cache.clock import Ages, Reading, SteadyClock

JUMP = st.one_of(st.floats(50, 300), st.floats(-300, -50))
"""Further than all steps together take: else a write may look like one that was moved."""


@dataclass
class Step:
    """Seconds until a jump (0: none), and from there to a reading; who writes before the jump, and who after it."""

    until: float
    jump: float
    rest: float
    before: set[int]
    after: set[int]


STEPS = st.lists(
    st.builds(
        Step,
        until=st.floats(0.1, 1),
        jump=st.one_of(st.just(0.0), JUMP),
        rest=st.floats(0.1, 1),
        before=st.sets(st.integers(0, 3)),
        after=st.sets(st.integers(0, 3)),
    ),
    min_size=1,
    max_size=20,
)


@given(STEPS, st.booleans())
def test_ages_are_right_whatever_the_clock_jumps(steps: list[Step], moving: bool) -> None:
    now, ahead = 1_000.0, 0.0
    ages: Ages[int] = Ages()
    written: dict[int, float] = {}
    noted: dict[int, float] = {}
    ages.jumped(Reading.between(now, now, now), dict)
    for step in steps:
        for who in step.before:
            written[who], noted[who] = now, now + ahead
        now += step.until
        ahead += step.jump
        for who in step.after:
            written[who], noted[who] = now, now + ahead
        now += step.rest
        if moving:  # as the leader does, when it sees it
            for who, moment in noted.items():
                if (now + ahead - moment) / (step.jump or math.inf) > 0.5:
                    noted[who] = moment + step.jump
        jumped = ages.jumped(Reading.between(now, now, now + ahead), dict(noted).copy)
        for who, moment in noted.items():
            assert now + ahead - moment - jumped.get(who, 0.0) == pytest.approx(now - written[who], abs=1e-6)


@given(STEPS)
def test_rows_are_dated_in_order_and_hardly_off_whatever_the_clock_jumps(steps: list[Step]) -> None:
    now, ahead = 1_000.0, 0.0
    clock = SteadyClock(lambda: now)
    clock.read(Reading(now, now, 0))
    began = last = clock.now().timestamp()
    assert began == now
    for step in steps:
        for jump, passed in ((0.0, step.until), (step.jump, step.rest)):
            now, ahead = now + passed, ahead + jump
            if abs(ahead) > 170:
                return  # further than it is made for
            clock.read(Reading(now + ahead, now, 0))
            said = clock.now().timestamp()
            assert said > last
            assert said == pytest.approx(now, abs=0.01 * (now - began) + 1e-5)
            last = said


def test_dates_go_on_from_those_before_and_make_up_for_the_difference() -> None:
    now = 1_000.0
    clock = SteadyClock(lambda: now)
    clock.read(Reading(now, now, 0))
    clock.go_on_from(datetime.fromtimestamp(now + 100, UTC))
    assert clock.now().timestamp() == 1_100
    now += 1
    assert clock.now().timestamp() == pytest.approx(1_100.99)
    now += 20_000
    clock.read(Reading(now, now, 0))
    assert clock.now().timestamp() == pytest.approx(now)
    clock.go_on_from(datetime.fromtimestamp(now + 1_000, UTC))
    assert clock.now().timestamp() == pytest.approx(now), "a date that is further ahead is wrong itself"


def test_a_machine_that_slept_is_no_reason_to_date_rows_back() -> None:
    now = 1_000.0
    clock = SteadyClock(lambda: now)
    clock.read(Reading(now, now, 0))
    assert clock.now().timestamp() == 1_000
    now += 1
    clock.read(Reading(now + 3_600, now, 0))
    assert clock.now().timestamp() == pytest.approx(4_601)


def test_a_slow_answer_is_no_jump() -> None:
    first, slow = Reading.between(10, 10.1, said=1_000), Reading.between(20, 30, said=1_011)
    assert slow.jumped_since(first) == 0
    assert Reading.between(20, 20.1, said=1_020).jumped_since(first) == pytest.approx(10)
    assert first.jumped_since(None) == 0
