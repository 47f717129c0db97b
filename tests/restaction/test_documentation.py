"""What docs/restactions.md tells people to type prints what it shows, on 2,000 panels in 50 namespaces."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import textwrap
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from presenter.cache.pool import Address
from presenter.restaction.rules import RULES, widgets
from tests.e2e.tools import paste
from tests.restaction.portal import ENDPOINT, Portal, home_page

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "restactions.md").read_text()
GUIDE = Path(__file__).with_name("guide")
SHOWN = re.findall(r"^    \$ (.*)\n((?:    (?!\$ ).*\n|\n(?=    (?!\$ )))*)", PAGE, re.MULTILINE)
"""Commands, and what follows them."""

OF_THIS_RUN = re.compile(r"(?<=cursor=)[\w-]+|[\d.]+(?= ms|  *\d+ bytes| bytes)|http://[\d.:]+")
COSTS = re.compile(r"^(bytes|milliseconds) .*$", re.MULTILINE)


@pytest.fixture
async def large(database: Address) -> AsyncIterator[Portal]:
    with tempfile.TemporaryDirectory(prefix="page-", ignore_cleanup_errors=True) as home:
        async with home_page(database, Path(home)) as running:
            yield running


def lines(text: str) -> Counter[str]:
    """Its lines, without what is another time another."""
    text = COSTS.sub(r"\1", "\n".join(" ".join(line.split()) for line in text.splitlines()))
    return Counter(OF_THIS_RUN.sub("…", line) for line in text.splitlines() if line)


@pytest.mark.timeout(300)
async def test_every_command_prints_what_is_shown(large: Portal) -> None:
    home = large.kubeconfig.parent
    shutil.copy(GUIDE / "old.yaml", home / "home-tiles.yaml")
    shutil.copy(GUIDE / "new.yaml", home / "by-hand.yaml")
    settings = f"export PATH={Path(sys.executable).parent}:$PATH KUBECONFIG={large.kubeconfig} COLUMNS=120"
    settings += f" PRESENTER={large.service.url}"
    assert len(SHOWN) == 5
    for command, shown in SHOWN:
        pasted = await paste(f"{settings} TOKEN={large.options('admin').token}\n{command}", home)
        printed = lines(pasted.out + pasted.err)
        expected = lines(shown)
        if expected.pop("…", 0):
            assert expected <= printed, (command, expected - printed)
        else:
            assert expected == printed, (command, expected - printed, printed - expected)


def test_the_page_quotes_what_migrate_says() -> None:
    source = "".join(file.read_text() for file in (ROOT / "presenter" / "restaction").glob("*.py"))
    _, _, table = PAGE.partition("| it says | do |")
    said = [row.split(" | ")[0].removeprefix("| ") for row in table.partition("\n\n")[0].splitlines()[2:]]
    assert len(said) > 5
    for message in said:
        assert all(part.strip() in source for part in message.split("…")), message


def test_the_restaction_to_try_is_one_that_is_proven() -> None:
    [shown] = re.findall(r"^    cat >newest.yaml <<'END'\n((?:    .*\n)+?)    END$", PAGE, re.MULTILINE)
    assert textwrap.dedent(shown) == (ROOT / "tests/restaction/variants/migrated/newest.yaml").read_text()


def test_the_secret_by_hand_is_like_that_of_the_chart() -> None:
    chart = (ROOT / "charts/resources-presenter/templates/endpoint.yaml").read_text()
    secret = yaml.safe_load(textwrap.dedent(re.findall(r"^    apiVersion: v1\n(?:    .*\n)+", PAGE, re.MULTILINE)[0]))
    assert secret["metadata"]["name"] == ENDPOINT
    assert set(secret["stringData"]) == set(
        re.findall(r"^  ([\w-]+):", chart.partition("stringData:")[2], re.MULTILINE)
    )


def test_the_page_lists_every_rule() -> None:
    _, _, table = PAGE.partition("| rule |")
    named = {name for row in table.partition("\n\n")[0].splitlines()[2:] for name in re.findall(r"`([\w-]+)`", row)}
    assert {rule.__name__.replace("_", "-") for rule in (*RULES, *widgets.RULES)} <= named
