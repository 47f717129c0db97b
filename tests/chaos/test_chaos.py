"""Everything fails at random, for a quarter of a minute per seed; `scripts/chaos` does it for longer."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from tests.chaos.plan import GROUPS, chosen, plan
from tests.chaos.run import CONSUMERS, Summary, run

SECONDS = 14
BEFALLEN = {("api", "history", "streams"): 1, ("database",): 1, ("watchers",): 1, ("servers",): 1}
"""So many faults of these groups at least must truly have happened. Which of the API server's meet a request depends on
when the watchers, which have faults of their own, ask."""


@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", [35, 39])
async def test_the_cache_survives_everything(seed: int) -> None:
    summary = await run(seed, SECONDS, chosen(GROUPS))
    for groups, least in BEFALLEN.items():
        assert sum(_befallen(summary, GROUPS[group]) for group in groups) >= least, summary
    assert summary.writes > 300
    assert summary.pages > 100
    assert summary.unchanged > 10
    assert summary.events > 1000
    assert summary.resumed > CONSUMERS


def _befallen(summary: Summary, kinds: Collection[str]) -> int:
    return sum(summary.befallen[kind] for kind in kinds)


def test_a_seed_decides_everything() -> None:
    assert plan(7, 600, chosen(GROUPS), 2) == plan(7, 600, chosen(GROUPS), 2)
    assert plan(7, 600, chosen(GROUPS), 2) != plan(8, 600, chosen(GROUPS), 2)


def test_faults_are_chosen_by_kind_and_by_group() -> None:
    lanes = plan(1, 600, chosen(["database", "compact"]), 2)
    assert {step.kind for step in lanes["database"]} == set(GROUPS["database"])
    assert {step.kind for step in lanes["api server"]} == {"compact"}
    assert lanes["watcher 0"] == lanes["watcher 1"] == []
    with pytest.raises(ValueError, match="no such fault: earthquake"):
        chosen(["earthquake"])
