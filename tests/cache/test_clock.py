"""How long ago something was is told rightly, however the clock jumps by which it was noted."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenter.cache.clock import Ages, Reading

JUMP = st.one_of(st.floats(10, 300), st.floats(-300, -10))


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


@given(STEPS)
def test_ages_are_right_whatever_the_clock_jumps(steps: list[Step]) -> None:
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
        jumped = ages.jumped(Reading.between(now, now, now + ahead), dict(noted).copy)
        for who, moment in noted.items():
            assert now + ahead - moment - jumped.get(who, 0.0) == pytest.approx(now - written[who], abs=1e-6)


def test_a_slow_answer_is_no_jump() -> None:
    first, slow = Reading.between(10, 10.1, said=1_000), Reading.between(20, 30, said=1_011)
    assert slow.jumped_since(first) == 0
    assert Reading.between(20, 20.1, said=1_020).jumped_since(first) == pytest.approx(10)
    assert first.jumped_since(None) == 0
