"""The maps of the code are complete, and what the documentation calls a module is one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "presenter"
ROOMS = sorted(path.parent for path in PACKAGE.rglob("__init__.py"))
PAGES = [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def contents(room: Path) -> set[str]:
    """The modules and rooms in a room."""
    modules = {path.stem for path in room.glob("*.py")} - {"__init__"}
    return modules | {path.parent.name for path in room.glob("*/__init__.py")}


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.relative_to(ROOT)))
def test_a_room_says_what_each_of_its_modules_is(room: Path) -> None:
    told = ast.get_docstring(ast.parse((room / "__init__.py").read_text())) or ""
    assert sorted(name for name in contents(room) if not re.search(rf"\b{name}\b", told)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_module_that_a_page_names_is_there(page: Path) -> None:
    rooms = "|".join(path.name for path in ROOMS if path.parent == PACKAGE)
    named = set(re.findall(rf"`(?:presenter/)?((?:{rooms})/\w+)(?:\.py)?`", page.read_text()))
    assert [
        name for name in sorted(named) if not (PACKAGE / name).is_dir() and not (PACKAGE / f"{name}.py").exists()
    ] == []
