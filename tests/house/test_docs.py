"""What the documentation says of the settings, the API and its own files is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from presenter.api.parameters import DetailParameters, ListParameters
from presenter.config import variables

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def first_column(page: Path, heading: str) -> set[str]:
    """The code words in the first column of the table that a heading like `| variable |` begins."""
    _, _, table = page.read_text().partition(f"| {heading} |")
    rows = table.partition("\n\n")[0].splitlines()[2:]
    return {word for row in rows for word in re.findall(r"`(\w+)`", row.split("|")[1])}


def test_the_readme_lists_every_environment_variable_and_no_other() -> None:
    assert first_column(ROOT / "README.md", "variable") == set(variables())


def test_the_api_page_lists_every_parameter_and_no_other() -> None:
    fields = set(ListParameters.model_fields) | set(DetailParameters.model_fields)
    assert first_column(ROOT / "docs/api.md", "parameter") == fields


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_a_page_links_to_is_there(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
