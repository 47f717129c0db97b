"""What the scripts promise without running the system: help, and locks that hold everywhere."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = ["audit", "bench", "bootstrap", "chaos", "check", "docs", "lock", "release", "test", "tools"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_says_what_a_script_does(checkout: Path, tmp_path: Path, name: str) -> None:
    done = subprocess.run(
        [checkout / "scripts" / name, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"scripts/{name}")


@pytest.mark.parametrize("name", ["audit", "bootstrap", "check", "docs", "lock", "release", "tools"])
def test_an_unknown_argument_is_refused(checkout: Path, name: str) -> None:
    done = subprocess.run([checkout / "scripts" / name, "--nonsense"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "--help" in done.stderr


def test_every_script_is_known_and_can_be_run(checkout: Path) -> None:
    programs = {path.name for path in (checkout / "scripts").iterdir() if path.suffix != ".sh"}
    assert programs == {*SCRIPTS, "run"}
    for program in (*(checkout / "scripts" / name for name in programs), checkout / ".ci" / "run"):
        assert os.access(program, os.X_OK), f"{program} is not executable"


@pytest.mark.parametrize("name", ["runtime", "build", "development", "tools"])
def test_locks_pin_by_hash_and_name_no_index(checkout: Path, name: str) -> None:
    lock = (checkout / "locks" / f"{name}.txt").read_text()
    assert "://" not in lock
    assert "--index" not in lock
    for requirement in re.split(r"\n(?=\w)", lock):
        assert re.match(r"[\w-]+(\[\w+\])?==\S+", requirement), requirement
        assert "--hash=sha256:" in requirement


def test_a_package_index_that_is_away_is_one_line(checkout: Path, tmp_path: Path) -> None:
    for name in ("scripts", "locks"):
        shutil.copytree(checkout / name, tmp_path / name)
    shutil.copy(checkout / "pyproject.toml", tmp_path)
    away = {"PIP_INDEX_URL": "http://user:secret@127.0.0.1:9/simple", "PIP_RETRIES": "1", "PATH": os.environ["PATH"]}
    done = subprocess.run([tmp_path / "scripts/bootstrap"], env=away, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""
    _, told = done.stderr.splitlines()
    assert told.startswith(
        "bootstrap: the package index (http://127.0.0.1:9/simple) cannot be used: Failed to establish"
    )
    assert "Connection refused. Set PIP_INDEX_URL, HTTPS_PROXY or PIP_CERT" in told
    assert "Retrying" not in told
