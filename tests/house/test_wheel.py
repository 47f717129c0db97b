"""The wheel carries all that the program reads while it runs, not only its modules."""

import subprocess
import sys
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    dist = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(dist)]
    subprocess.run(command, cwd=checkout, check=True, capture_output=True, text=True)
    (built,) = dist.glob("*.whl")
    return zipfile.Path(built)


def files_below(folder: Path | zipfile.Path) -> set[str]:
    found: set[str] = set()
    for entry in folder.iterdir():
        if entry.name == "__pycache__":
            continue
        if entry.is_dir():
            found |= {f"{entry.name}/{name}" for name in files_below(entry)}
        else:
            found.add(entry.name)
    return found


def test_everything_in_the_package_is_in_the_wheel(checkout: Path, wheel: zipfile.Path) -> None:
    packed = files_below(wheel / "presenter")
    migrations = {f"migrations/{name}" for name in files_below(checkout / "migrations")}
    assert packed == files_below(checkout / "presenter") | migrations
    assert "migrations/env.py" in packed
    assert any(name.startswith("migrations/versions/") for name in packed)
    assert any(name.startswith("sandbox/manifests/") for name in packed)


def test_nothing_else_is(wheel: zipfile.Path) -> None:
    assert {entry.name for entry in wheel.iterdir() if not entry.name.endswith(".dist-info")} == {"presenter"}


def test_it_tells_its_licence_and_its_command(checkout: Path, wheel: zipfile.Path) -> None:
    (about,) = (entry for entry in wheel.iterdir() if entry.name.endswith(".dist-info"))
    metadata = HeaderParser().parsestr((about / "METADATA").read_text())
    assert metadata["License-Expression"] == "Apache-2.0"
    assert (about / "licenses" / "LICENSE").read_text() == (checkout / "LICENSE").read_text()
    assert "presenter = presenter.commands.main:main" in (about / "entry_points.txt").read_text()
