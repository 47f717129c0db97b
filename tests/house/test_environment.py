"""Only `presenter.config` reads the environment, so that the table of variables can be complete."""

import ast
from pathlib import Path

READERS = {"environ", "environb", "getenv", "getenvb"}


def reads_of_environment(source: str) -> list[int]:
    """The lines that name one of os's ways to the environment: `os.getenv`, `from os import environ`."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(value=ast.Name(id="os"), attr=name) if name in READERS:
                lines.append(node.lineno)
            case ast.ImportFrom(module="os", names=names) if any(alias.name in READERS for alias in names):
                lines.append(node.lineno)
            case ast.Import(names=names) if any(alias.name == "os" and alias.asname for alias in names):
                lines.append(node.lineno)
    return lines


def test_every_way_to_the_environment_is_seen() -> None:
    source = 'import os\nos.environ["A"]\nfrom os import getenv\nimport os as system\nos.path.join("a", "b")\n'
    assert sorted(reads_of_environment(source)) == [2, 3, 4]


def test_only_config_reads_the_environment(checkout: Path) -> None:
    package = checkout / "presenter"
    found = {
        f"{path.relative_to(checkout)}:{line}"
        for path in package.rglob("*.py")
        if path != package / "config.py"
        for line in reads_of_environment(path.read_text())
    }
    assert not found, f"pass a setting from presenter.config instead: {sorted(found)}"
