"""`scripts/release` in a clone: what has to agree does, and a release comes out the same wherever it is built."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from presenter import __version__

NEXT = "99.0.0"
PLACES = [
    ("presenter/__init__.py", f'__version__ = "{__version__}"'),
    ("charts/resources-presenter/Chart.yaml", f"\nversion: {__version__}"),
    ("charts/resources-presenter/Chart.yaml", f"\nappVersion: {__version__}"),
    ("Dockerfile", f"ARG VERSION={__version__}"),
    ("docs/install.md", f"-t resources-presenter:{__version__}"),
    ("CHANGELOG.md", "## Unreleased"),
]
"""Where a version stands, and a text by which it can be got wrong there."""


def run(where: Path, *command: str, code: int = 0) -> str:
    """Run a command there; returns all that it printed."""
    person = {"NAME": "tester", "EMAIL": "tester@example.com"}
    git = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in person.items()}
    done = subprocess.run(command, cwd=where, env=os.environ | git, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def clone_of(checkout: Path, where: Path) -> Path:
    """The files of the checkout as they are, committed in a repository of their own."""
    names = run(checkout, "git", "ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")
    for name in names:
        if (checkout / name).is_file():
            (where / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(checkout / name, where / name)
    run(where, "git", "init", "--quiet")
    run(where, "git", "add", "--all")
    run(where, "git", "commit", "--quiet", "--message", "all of it")
    return where


@pytest.fixture
def clone(checkout: Path, tmp_path: Path) -> Path:
    return clone_of(checkout, tmp_path)


def test_it_agrees_as_it_is(checkout: Path) -> None:
    run(checkout, "scripts/release", "--check")


@pytest.mark.parametrize(("place", "text"), PLACES)
def test_a_version_that_differs_is_found(clone: Path, place: str, text: str) -> None:
    path = clone / place
    path.write_text(path.read_text().replace(text, text.replace(__version__, NEXT).replace("Unreleased", NEXT), 1))
    assert "says" in run(clone, "scripts/release", "--check", code=1)


def test_a_tag_that_differs_is_found(clone: Path) -> None:
    run(clone, "git", "tag", f"v{NEXT}")
    said = run(clone, "scripts/release", "--check", code=1)
    assert f"the tag of this commit says '{NEXT}'" in said


@pytest.mark.timeout(300)
def test_a_release(clone: Path, checkout: Path) -> None:
    (clone / "left-over").touch()
    assert "not committed" in run(clone, "scripts/release", NEXT, code=1)
    (clone / "left-over").unlink()

    assert f"v{NEXT} is made" in run(clone, "scripts/release", NEXT)
    assert run(clone, "git", "status", "--porcelain") == ""
    assert run(clone, "git", "describe").strip() == f"v{NEXT}"
    run(clone, "scripts/release", "--check")
    assert re.search(rf"## Unreleased\n\n## {NEXT} - \d{{4}}-\d\d-\d\d\n", (clone / "CHANGELOG.md").read_text())

    made = {path.name: path for path in (clone / "dist").iterdir()}
    assert made.keys() == {
        f"resources_presenter-{NEXT}-py3-none-any.whl",
        f"resources_presenter-{NEXT}.tar.gz",
        f"resources_presenter-{NEXT}.cdx.json",
        "SHA256SUMS",
    }
    sums = dict(line.split()[::-1] for line in made.pop("SHA256SUMS").read_text().splitlines())
    assert sums == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in made.items()}
    wheel, sdist, parts = (
        made[f"resources_presenter-{NEXT}{end}"] for end in ("-py3-none-any.whl", ".tar.gz", ".cdx.json")
    )
    with zipfile.ZipFile(wheel) as archive:
        assert f'__version__ = "{NEXT}"' in archive.read("presenter/__init__.py").decode()
    with tarfile.open(sdist) as source:
        assert f"resources_presenter-{NEXT}/presenter/app.py" in source.getnames()

    listed = json.loads(parts.read_text())
    root = listed["metadata"]["component"]
    assert (listed["bomFormat"], root["name"], root["version"]) == ("CycloneDX", "resources-presenter", NEXT)
    locked = dict(re.findall(r"^([\w.-]+)==(\S+)", (checkout / "locks" / "runtime.txt").read_text(), re.MULTILINE))
    assert {part["name"]: part["version"] for part in listed["components"]} == locked
    assert all(part["purl"] for part in listed["components"])

    sums_file = (clone / "dist" / "SHA256SUMS").read_text()
    for name in run(clone, "git", "ls-files", "-z").split("\0")[:-1]:
        os.utime(clone / name, (0, 0))
    run(clone, "bash", "-c", "umask 077 && scripts/release --build")
    assert (clone / "dist" / "SHA256SUMS").read_text() == sums_file, "by another clock and umask"

    assert "released already" in run(clone, "scripts/release", NEXT, code=1)
    assert "is older than" in run(clone, "scripts/release", "0.0.1", code=1)
    assert "nothing" in run(clone, "scripts/release", "99.0.1", code=1), "is unreleased"
