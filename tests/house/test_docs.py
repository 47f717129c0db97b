"""What the documentation says of the settings, the API and its own files is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import presenter
from presenter import go_services
from presenter.api.declarations import parameters_of
from presenter.api.parameters import DetailParameters, ListParameters
from presenter.commands.settings import settings_reference
from presenter.config import variables

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

TESTED_ELSEWHERE = {
    *("HTTPS_PROXY", "NO_PROXY"),  # tests/e2e/test_surroundings.py
    "SSL_CERT_FILE",  # tests/access/test_keys.py
    *go_services.VARIABLES,  # tests/test_config.py
}
NO_VARIABLES = {
    "GLOBAL_UID",  # of a shell, in docs/api.md
    "KUBEBUILDER_ASSETS",  # of the tests, in CONTRIBUTING.md
    *("POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD"),  # of PostgreSQL's image
}


def first_column(page: Path, heading: str) -> set[str]:
    """The code words in the first column of the table that a heading like `| variable |` begins."""
    _, _, table = page.read_text().partition(f"| {heading} |")
    rows = table.partition("\n\n")[0].splitlines()[2:]
    return {word for row in rows for word in re.findall(r"`(\w+)`", row.split("|")[1])}


def test_the_tables_of_settings_are_those_of_the_program() -> None:
    page = (ROOT / "docs/configuration.md").read_text()
    assert page.partition("scripts/docs writes it. -->\n\n")[2] == settings_reference(), "run scripts/docs"


def test_the_readme_names_settings_that_there_are() -> None:
    assert first_column(ROOT / "README.md", "variable") <= set(variables())


def test_every_variable_that_is_named_anywhere_is_one() -> None:
    """Of the program, or of another and tested; or not a variable of the environment at all."""
    chart = [path for path in (ROOT / "charts").rglob("*") if path.is_file()]
    named = {word for path in (*PAGES, *chart) for word in re.findall(r"\b[A-Z]+(?:_[A-Z0-9]+)+\b", path.read_text())}
    assert named - set(variables()) <= TESTED_ELSEWHERE | NO_VARIABLES


def test_the_readme_leads_to_every_page() -> None:
    linked = set(re.findall(r"\]\(docs/([\w-]+\.md)", (ROOT / "README.md").read_text()))
    assert linked == {page.name for page in (ROOT / "docs").glob("*.md")}


def anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_heading_a_page_links_to_is_there(page: Path) -> None:
    links = re.findall(r"\]\(([\w./-]*\.md|)#([\w-]+)\)", page.read_text())
    assert [link for link in links if link[1] not in anchors(page.parent / link[0] if link[0] else page)] == []


def test_the_api_page_lists_every_parameter_and_no_other() -> None:
    fields = set(parameters_of(ListParameters)) | set(parameters_of(DetailParameters))
    assert first_column(ROOT / "docs/api.md", "parameter") == fields


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_a_page_links_to_is_there(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_map_of_the_code_names_every_module() -> None:
    """The docstring of the package, whose indented lines begin with names."""
    lines = re.findall(r"^    (\S.*?) {2,}", presenter.__doc__ or "", re.MULTILINE)
    named = {name.rstrip("/") for line in lines for name in line.split(", ")}
    there = Path(presenter.__file__).parent
    modules = {path.stem for path in there.glob("[!_]*.py")} | {
        path.parent.name for path in there.glob("*/__init__.py")
    }
    assert named == modules
