"""What the documentation tells people to type is typed, and what it tells RESTActions to send is sent."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jq
import pytest
import yarl

from presenter.api.declarations import parameters_of
from presenter.api.parameters import DetailParameters, ListParameters
from tests.e2e.system import Launch, Service, System, token
from tests.e2e.tools import paste, require

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text()
PATHS = re.findall(r"\$\{ (\"/resources.*?) \}$", PAGE, re.MULTILINE | re.DOTALL)
PARAMETERS = set(parameters_of(ListParameters)) | set(parameters_of(DetailParameters))
CONTEXTS: list[dict[str, Any]] = [
    {},
    {"slice": {"perPage": 3, "cursor": None}, "namespace": "demo-system", "search": "a & b", "sortBy": "name"},
]


def parameters(url: str) -> set[str]:
    """Those that a URL names."""
    return set(parse_qs(urlsplit(url).query, keep_blank_values=True))


# -- what people type, beside the demo ---------------------------------------------------------------------------------

ENVIRONMENT = ". /tmp/presenter-demo-…/environment"
FOR_A_SHELL = re.compile(r"(\. /tmp|ask\b|curl |presenter |cat |echo |[A-Z_]+=)")
FOR_ELSEWHERE = re.compile(
    r"(scripts/|pip |kubectl |helm |export )"  # a checkout, a cluster, a service of one's own
    r"|(\{|retry: |api:|apiVersion: |\$\{ |\$ |import )"  # answers, RESTActions, commands on unknown files, Python
)


def blocks(page: str) -> list[str]:
    """The indented lines of a page, those together that stand together."""
    text = (ROOT / page).read_text()
    return [
        textwrap.dedent(block).strip() for block in re.findall(r"(?:^    .*\n(?:\n(?=    ))?)+", text, re.MULTILINE)
    ]


def for_a_shell(page: str) -> list[str]:
    """Those that can be run beside the demo. Of the others it must be known what they are."""
    kinds = [(block, bool(FOR_A_SHELL.match(block))) for block in blocks(page)]
    assert [block for block, shell in kinds if not shell and not FOR_ELSEWHERE.match(block)] == []
    return [block for block, shell in kinds if shell]


@pytest.fixture
async def demo(presenter: Launch, home: Path) -> str:
    """What the demo prints that is to be typed first."""
    process = await presenter("demo", "--port", "0", TMPDIR=str(home))
    await process.line("^Ctrl-C stops everything")
    return (await process.line(r"^\. .*/environment$"))[0]


async def typed(script: list[str], demo: str, home: Path) -> str:
    """What is printed by lines that are typed as they stand. All of them must succeed."""
    beginning = ["set -euo pipefail", 'curl() { command curl --fail-with-body "$@"; }']
    pasted = await paste("\n".join([*beginning, *script]).replace(ENVIRONMENT, demo), home, patience=240)
    assert pasted.code == 0, pasted
    return pasted.out


@pytest.mark.timeout(600)
async def test_every_line_can_be_typed_while_the_demo_runs(demo: str, home: Path) -> None:
    require("curl")
    assert all(ENVIRONMENT in (ROOT / page).read_text() for page in ("README.md", "docs/api.md", "docs/restactions.md"))

    answer, _, told = (await typed(for_a_shell("README.md"), demo, home)).partition("sandbox: ")
    page = json.loads(answer)
    assert (page["count"], len(page["items"])) == (5, 5)
    assert page["cursor"]
    assert told.startswith("yes, by ")
    assert "cluster sandbox: " in told

    lines = "\n".join(for_a_shell("docs/api.md")).splitlines()
    [followed] = [line for line in lines if line.startswith("curl ")]
    lines.remove(followed)
    asked = [line for line in lines if line.startswith("ask ")]
    script = [f"{line}\necho" if line in asked else line for line in lines]  # each answer on a line of its own
    answers = (await typed(script, demo, home)).splitlines()
    for line, answer in zip(asked, answers, strict=True):
        page = json.loads(answer)
        assert page["count"] == len(page["items"]) > 0, line
    assert {name for line in asked for name in re.findall(r"[?&](\w+)=", line)} | {"group"} == PARAMETERS

    stream = await typed([ENVIRONMENT, followed], demo, home)
    assert stream.startswith("retry: 1000\nid: ")
    assert "\nevent: end\n" in stream

    compared = await typed(for_a_shell("docs/restactions.md"), demo, home)
    assert compared.splitlines()[-1].split()[-1] == "equivalent"

    for command, shown in re.findall(
        r"^    \$ (presenter can-i .*)\n    (.*)$", (ROOT / "docs/access.md").read_text(), re.MULTILINE
    ):
        assert await typed([ENVIRONMENT, f"{command} || true"], demo, home) == f"{shown}\n"


@pytest.mark.parametrize("user", ["a", "ab", "abc", "müller"])
async def test_what_a_token_says_can_be_looked_at(user: str, home: Path) -> None:
    [line] = [block for block in blocks("docs/troubleshooting.md") if block.startswith("echo ")]
    shown = await typed([f"TOKEN={token(user)}", line], "", home)
    assert json.loads(shown)["username"] == user


# -- what RESTActions send ---------------------------------------------------------------------------------------------


@pytest.fixture
async def service(system: System) -> Service:
    return await (await system.start(CLUSTER_NAME="prod-eu")).ready()


async def test_every_path_can_be_sent(service: Service) -> None:
    sent: set[str] = set()
    for path in PATHS:
        for context in CONTEXTS:
            url = jq.compile(path).input_value(context).first()
            headers = {"Authorization": f"Bearer {service.token}"}
            async with service.session.get(yarl.URL(service.url + url, encoded=True), headers=headers) as response:
                assert response.status == 200, (url, await response.text())
            sent |= parameters(url)
    assert sent == set(parameters_of(ListParameters))
