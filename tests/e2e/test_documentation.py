"""What docs/api.md tells people to type is typed, and what it tells RESTActions to send is sent."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jq
import pytest
import yarl

from presenter.api.parameters import DetailParameters, ListParameters
from tests.e2e.system import KEY, Service, System
from tests.e2e.tools import paste, require

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
SETTINGS = re.findall(r"^    (export TOKEN=.*|ask\(\) .*)$", PAGE, re.MULTILINE)
LINES = re.findall(r"^    (ask .*|[A-Z_]+=.*)$", PAGE, re.MULTILINE)
PATHS = re.findall(r"\$\{ (\"/resources.*?) \}$", PAGE, re.MULTILINE | re.DOTALL)
PARAMETERS = set(ListParameters.model_fields) | set(DetailParameters.model_fields)
CONTEXTS: list[dict[str, Any]] = [
    {},
    {"slice": {"perPage": 3, "cursor": None}, "namespace": "demo-system", "search": "a & b", "sortBy": "name"},
]


@pytest.fixture
async def service(system: System) -> Service:
    return await (await system.start(CLUSTER_NAME="prod-eu")).ready()


def parameters(url: str) -> set[str]:
    """Those that a URL names."""
    return set(parse_qs(urlsplit(url).query, keep_blank_values=True))


async def test_every_line_can_be_typed(service: Service, home: Path) -> None:
    require("curl")
    script = [
        "set -eu",
        f'export SIGN_KEY={KEY} PATH="{Path(sys.executable).parent}:$PATH"',
        *(line.replace("curl", "curl --fail-with-body") for line in SETTINGS),
        *(f"{line}\necho" if line.startswith("ask ") else line for line in LINES),
    ]
    pasted = await paste("\n".join(script).replace("http://localhost:8080", service.url), home)
    assert pasted.code == 0, pasted
    asked = [line for line in LINES if line.startswith("ask ")]
    for line, answer in zip(asked, pasted.out.splitlines(), strict=True):
        page = json.loads(answer)
        assert page["count"] == len(page["items"]), line
    assert {name for line in asked for name in re.findall(r"[?&](\w+)=", line)} | {"group"} == PARAMETERS


async def test_every_path_can_be_sent(service: Service) -> None:
    sent: set[str] = set()
    for path in PATHS:
        for context in CONTEXTS:
            url = jq.compile(path).input_value(context).first()
            headers = {"Authorization": f"Bearer {service.token}"}
            async with service.session.get(yarl.URL(service.url + url, encoded=True), headers=headers) as response:
                assert response.status == 200, (url, await response.text())
            sent |= parameters(url)
    assert sent == set(ListParameters.model_fields)
