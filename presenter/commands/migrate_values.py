"""`presenter migrate-values`: the Helm values of Krateo's Go services, as values of this chart."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from presenter.commands.go_values import INGESTER, MAPPINGS, PRESENTER, Service, Values, service_of, translated
from presenter.errors import ConfigError

_STEPS: dict[Any, Service] = {f"install-{service}": service for service in (INGESTER, PRESENTER)}
"""Steps of krateoctl's configuration, whose `with.values` are a chart's."""
_OF_HELM = ("USER-SUPPLIED VALUES", "COMPUTED VALUES")
"""What `helm get values` prints above the values."""


def migrate_values(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Values of resources-presenter, of resources-ingester, or krateoctl's configuration.",
        ),
    ],
) -> None:
    """Print the Helm values of the Go services as values of this chart, and name what is left.

    A FILE has the values of one of the two, as they are given to Helm or as `helm get values` prints them, or it is
    krateoctl's configuration, which has those of both; `-` is the standard input. What could not be translated is
    named on the standard error.
    """
    given: dict[Service, Values] = {}
    for path in files:
        for service, values in _values(path):
            given[service] = given.get(service, {}) | values
    ours, told = translated(given)
    typer.echo(yaml.safe_dump(ours, sort_keys=False, width=120), nl=False)
    for line in told:
        sys.stderr.write(f"not translated: {line}\n")


def _values(path: Path) -> Iterator[tuple[Service, Values]]:
    """The values in a file, and whose they are. Raises ConfigError where it has none."""
    try:
        document = yaml.safe_load(sys.stdin.read() if str(path) == "-" else path.read_text())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no YAML: {error}") from error
    if not isinstance(document, dict) or not document:
        raise ConfigError(f"{path} has no Helm values: allowed is a mapping, such as `config: {{DB_HOST: …}}`")
    steps = list(_steps(document))
    if not steps:
        values = {name: value for name, value in document.items() if name not in _OF_HELM}
        _require_mappings(path, values)
        steps = [(service_of(values), values)]
    for service, values in steps:
        _require_mappings(path, values)
        yield service, values


def _require_mappings(path: Path, values: Any) -> None:
    for name, value in values.items() if isinstance(values, dict) else [("with.values", values)]:
        if name in (MAPPINGS | {"with.values"}) and not isinstance(value, dict | None):
            raise ConfigError(f"{path}: {name} is {value!r}: allowed is a mapping")


def _steps(document: Any) -> Iterator[tuple[Service, Any]]:
    """The values of the two charts in krateoctl's configuration, where a step is called by its key or by its `id`."""
    if isinstance(document, list):
        for each in document:
            yield from _steps(each)
    elif isinstance(document, dict):
        if (service := _STEPS.get(document.get("id"))) is not None:
            yield service, _of_step(document)
        for name, inner in document.items():
            if name in _STEPS and isinstance(inner, dict):
                yield _STEPS[name], _of_step(inner)
            else:
                yield from _steps(inner)


def _of_step(step: Values) -> Any:
    given = step.get("with") or {}
    return (given.get("values") or {}) if isinstance(given, dict) else given
