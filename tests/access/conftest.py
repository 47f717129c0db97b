"""What the tests of tokens share: an issuer that listens, and clocks that stand still."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator

import pytest

from presenter.config import variables
from tests.access.issuer import Clock, Issuer


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of this program is set, whatever the machine the tests run on has."""
    for name in variables():
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """The time of day."""
    clock = Clock(time.time())
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", clock)
        yield clock


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with Issuer() as issuer:
        yield issuer
