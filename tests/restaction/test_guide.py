"""The migration that the guide describes: the same comes out, whoever asks and however the pages are cut."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from presenter.cache.pool import Address
from presenter.restaction.compare import report
from presenter.restaction.manifest import Manifest, RestAction
from presenter.restaction.migrator import migrated
from presenter.restaction.resolve import services
from tests.restaction.portal import NAMESPACES, Portal, home_page

GUIDE = Path(__file__).with_name("guide")


@pytest.fixture
async def large(database: Address) -> AsyncIterator[Portal]:
    with tempfile.TemporaryDirectory(prefix="guide-", ignore_cleanup_errors=True) as home:
        async with home_page(database, Path(home)) as running:
            yield running


def actions() -> tuple[RestAction, RestAction, RestAction]:
    """The old one, the one that the guide makes of it, and what `migrate` makes of it."""
    old, new = (Manifest.read(GUIDE / f"{name}.yaml") for name in ("old", "new"))
    [result] = migrated([old])
    return old.only(), new.only(), Manifest.parse(result.text).only()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("user", "tiles", "per_page"), [("admin", 1800, 250), ("member", 180, 25)])
async def test_the_guides_migration_changes_nothing_but_the_cost(
    large: Portal, user: str, tiles: int, per_page: int
) -> None:
    old, *new = actions()
    async with services(large.options(user), lambda _: None) as of:
        for action, size in itertools.product(new, (None, per_page)):
            found = await report(old, action, {}, of, size)
            assert found.equivalent, found.comparison
            assert found.comparison.objects == tiles
            assert found.comparison.ties == ({"$.tiles": "creationTimestamp"} if user == "admin" else {})
            pages = 1 if size is None else -(-tiles // size)
            assert len(found.new.requests) == len(found.old.lengths) == len(found.new.lengths) == pages
            assert len(found.old.requests) >= pages * (1 + len(NAMESPACES))
