"""`presenter settings`: the environment variables that are read, as a list and as the tables of the documentation."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from inspect import getdoc
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import ByteSize, SecretStr
from pydantic.fields import FieldInfo

from presenter.config import GROUPS, variables

_KINDS: dict[Any, str] = {
    bool: "`true` or `false`",
    int: "number",
    str: "text",
    ByteSize: "bytes",
    timedelta: "duration",
    tuple: "list",
    dict: "parameters",
    Path: "path",
    SecretStr: "secret",
}


def settings(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables of docs/configuration.md.")] = False,
) -> None:
    """List the environment variables this program reads, with their defaults."""
    if markdown:
        typer.echo(settings_reference(), nl=False)
        return
    for name, (default, description) in variables().items():
        typer.echo(f"{name:18} {description}" + (f" [default: {default}]" if default else ""))


def settings_reference() -> str:
    """The settings in Markdown, as docs/configuration.md has them: a table of variables for each group."""
    return "\n".join(line for group in GROUPS for line in _section(getdoc(group) or "", group.model_fields.values()))


def _section(meaning: str, fields: Any) -> Iterator[str]:
    """The first sentence of what a group means is the heading, the rest of it stands above the table."""
    heading, _, rest = meaning.replace("\n", " ").partition(".")
    yield from (f"## {heading}", "")
    if rest:
        yield from (rest.strip(), "")
    yield from ("| variable | value | default | |", "|---|---|---|---|")
    for field in fields:
        default, description = variables()[field.alias]
        yield f"| `{field.alias}` | {_value(field)} | {f'`{default}`' if default else ''} | {description} |"
    yield ""


def _value(field: FieldInfo) -> str:
    """What may be written, in a word or two."""
    kinds = get_args(field.annotation) if get_origin(field.annotation) is UnionType else (field.annotation,)
    [kind] = [kind for kind in kinds if kind is not NoneType]
    if get_origin(kind) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(kind))
    words = _KINDS[get_origin(kind) or kind]
    if kind is int:
        words += "".join(f" from {bound.ge}" for bound in field.metadata if hasattr(bound, "ge"))
        words += "".join(f" to {bound.le}" for bound in field.metadata if hasattr(bound, "le"))
    return words
