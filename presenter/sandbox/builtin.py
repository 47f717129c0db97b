"""The resource types that every cluster has, as far as the sandbox knows them: those of `builtin.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from presenter.apimachinery.tables import AGE, Column
from presenter.sandbox.registry import Definition, Version


def _definition(declared: dict[str, Any]) -> Definition:
    values: dict[str, Any] = {"group": "", "namespaced": True, "version": "v1"}
    values |= {key: tuple(value) if isinstance(value, list) else value for key, value in declared.items()}
    columns = [_column(*item) for item in values.pop("columns", {}).items()] + [AGE] * values.pop("age", True)
    about_version = {key: values.pop(key) for key in ("status", "scale") if key in values}
    version = Version(values.pop("version"), tuple(columns), **about_version)
    return Definition(versions=(version,), singular=values["kind"].lower(), **values)


def _column(name: str, text: str) -> Column:
    """`.status.phase`, or with a type before it `integer .status.readyReplicas`."""
    *type, path = text.split()
    return Column(name, "".join(type) or "string", path)


BUILT_IN = tuple(map(_definition, yaml.safe_load(Path(__file__).with_name("builtin.yaml").read_text(encoding="utf-8"))))
