"""Where the output of the commands goes, and what becomes of it there."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.e2e.processes import PRESENTER
from tests.e2e.tools import Pasted, paste
from tests.restaction.test_migrate import PLAIN
from tests.restaction.world import World

COMMANDS = {
    "resolve": "resolve action.yaml",
    "migrate": "migrate action.yaml",
    "compare": "compare action.yaml action.yaml",
    "compare as JSON": "compare action.yaml action.yaml --json",
    "lint": "lint broken.yaml action.yaml",
    "lint as JSON": "lint action.yaml --json",
    "help": "lint --help",
}


async def run(world: World, home: Path, line: str) -> Pasted:
    (home / "action.yaml").write_text(PLAIN)
    (home / "broken.yaml").write_text(PLAIN.replace("sort_by(", "sort_by(("))
    kubeconfig = shlex.quote(str(world.kubeconfig))
    return await paste(f"set -o pipefail; export KUBECONFIG={kubeconfig}; {PRESENTER} restaction {line}", home)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
async def test_what_cannot_be_printed_is_an_error(world: World, tmp_path: Path, command: str) -> None:
    full = await run(world, tmp_path, f"{command} >/dev/full")
    said = full.err.splitlines()[-1]
    assert (full.code, said) == (2, "presenter: standard output: cannot be written: No space left on device")
    closed = await run(world, tmp_path, f"{command} >&-")
    assert (closed.code, closed.err) == (
        2,
        "presenter: standard output is closed: send it somewhere, such as >/dev/null\n",
    )
    assert "Traceback" not in full.err


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
async def test_who_reads_may_go_when_they_have_seen_enough(world: World, tmp_path: Path, command: str) -> None:
    done = await run(world, tmp_path, f"{command} | true")
    assert "Traceback" not in done.err
    assert "cannot be written" not in done.err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("<&-", "<stdin>: cannot be read: it is closed"),
        (r"< <(printf 'kind: \xe9')", "<stdin>: cannot be read: not UTF-8"),
    ],
)
async def test_what_cannot_be_read_from_standard_input(world: World, tmp_path: Path, line: str, says: str) -> None:
    done = await run(world, tmp_path, f"migrate - {line}")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(says)
